#include "devices/net/nat_limits.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <span>

namespace doppel::devices {

namespace {

// What a NAT makes of a frame, as far as it matters here.
enum class Kind : u8 {
  kSegment,     // of a TCP connection that exists, or nothing
  kConnection,  // a TCP connection
  kDatagram,    // of UDP, ICMP and others; may need a socket
  kFragment,    // of an IPv4 packet
};

constexpr std::size_t kIpv4 = 20, kIpv6 = 40, kTcpHeader = 20, kTcpFlags = 13;
constexpr u8 kTcp = 6, kSynAndAck = 0x12, kSyn = 0x02;

Kind transport(u8 protocol, std::span<const u8> payload) {
  if (protocol != kTcp) return Kind::kDatagram;
  const bool opens = payload.size() >= kTcpHeader && (payload[kTcpFlags] & kSynAndAck) == kSyn;
  return opens ? Kind::kConnection : Kind::kSegment;
}

Kind kind_of(std::span<const u8> frame) {
  if (frame.size() < kEthernetHeader) return Kind::kSegment;
  const auto ip = frame.subspan(kEthernetHeader);
  const u32 type = static_cast<u32>(frame[12] << 8 | frame[13]);
  if (type == 0x0800 && ip.size() >= kIpv4) {
    if ((ip[6] & 0x3f) | ip[7]) return Kind::kFragment;
    return transport(ip[9], ip.subspan(std::min<std::size_t>((ip[0] & 15u) * 4, ip.size())));
  }
  if (type == 0x86dd && ip.size() >= kIpv6) return transport(ip[6], ip.subspan(kIpv6));
  return Kind::kSegment;
}

// Descriptors the process may have, all in all.
u32 most_files() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<u32>(std::min<rlim_t>(limit.rlim_cur, 8192))
                                                 : 1024;
}

}  // namespace

// Half of the descriptors; a quarter more is for datagrams, so that names are found while connections are
// many, and the last one for the rest of the machine.
bool NatLimits::full() const {
  return sockets_ >= most_files() / 2;
}

bool NatLimits::accept(const NetFrame& frame) {
  switch (kind_of({frame.bytes.data(), frame.bytes.size()})) {
    case Kind::kSegment:
      return true;
    case Kind::kConnection:
      return !full();
    case Kind::kDatagram:
      return sockets_ < most_files() / 4 * 3;
    case Kind::kFragment:
      return sockets_ < most_files() / 4 * 3 && accept_fragment();
  }
  return false;
}

bool NatLimits::accept_fragment() {
  const auto now = std::chrono::steady_clock::now();
  const double passed = std::chrono::duration<double>(now - fragments_counted_).count();
  fragments_counted_ = now;
  fragments_left_ = std::min(kFragments, fragments_left_ + passed * kFragmentsPerSecond);
  if (fragments_left_ < 1) return false;
  fragments_left_ -= 1;
  return true;
}

}  // namespace doppel::devices
