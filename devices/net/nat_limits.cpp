#include "devices/net/nat_limits.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <span>

#include "devices/net/ip_headers.hpp"

namespace doppel::devices {

namespace {

using boost::endian::load_big_u16;
using boost::endian::load_big_u32;

// What a NAT makes of a frame, as far as it matters here.
enum class Kind : u8 {
  kOther,     // no socket comes of it
  kTcp,       // a whole segment
  kDatagram,  // of UDP, ICMP and others; may need a socket
  kFragment,  // of an IPv4 packet
};

struct Packet {
  Kind kind = Kind::kOther;
  std::span<const u8> source, destination;  // addresses
  std::span<const u8> tcp;                  // with its header, if it is
  u8 protocol = 0;

  [[nodiscard]] u8 flags() const { return tcp[kTcpFlags]; }
  [[nodiscard]] u32 sequence() const { return load_big_u32(tcp.data() + kTcpSequence); }
  [[nodiscard]] u32 acknowledged() const { return load_big_u32(tcp.data() + kTcpAcknowledged); }
  // Bytes of the stream; an end counts as one.
  [[nodiscard]] u32 size() const {
    const std::size_t header = std::min(tcp_header_size(tcp), tcp.size());
    return static_cast<u32>(tcp.size() - header) + (flags() & kTcpFin ? 1 : 0);
  }
};

Packet packet_of(std::span<const u8> frame) {
  Packet packet;
  if (const auto ipv4 = ipv4_packet(frame)) {
    packet.protocol = ipv4->protocol();
    packet.source = ipv4->header.subspan(kIpv4Addresses, 4);
    packet.destination = ipv4->header.subspan(kIpv4Addresses + 4, 4);
    packet.tcp = ipv4->payload;
    if (ipv4->is_fragment()) {
      packet.kind = Kind::kFragment;
      return packet;
    }
  } else if (ether_type(frame) == kEtherIpv6 && frame.size() >= kEthernetHeader + kIpv6Header) {
    const auto ip = frame.subspan(kEthernetHeader);
    packet.protocol = ip[kIpv6Next];
    packet.source = ip.subspan(kIpv6Addresses, 16);
    packet.destination = ip.subspan(kIpv6Addresses + 16, 16);
    packet.tcp = ip.subspan(
        kIpv6Header, std::min<std::size_t>(load_big_u16(ip.data() + kIpv6Length), ip.size() - kIpv6Header));
  } else {
    return packet;
  }
  packet.kind = packet.protocol != kProtocolTcp   ? Kind::kDatagram
                : packet.tcp.size() >= kTcpHeader ? Kind::kTcp
                                                  : Kind::kOther;
  return packet;
}

// `near` and `far` are addresses, and places of ports in the header.
NatLimits::Stream stream_of(std::span<const u8> near, std::span<const u8> far, const u8* near_port,
                            const u8* far_port) {
  NatLimits::Stream stream{};
  std::copy(near.begin(), near.end(), stream.begin());
  std::copy(far.begin(), far.end(), stream.begin() + 16);
  std::copy_n(near_port, 2, stream.begin() + 32);
  std::copy_n(far_port, 2, stream.begin() + 34);
  return stream;
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
  const Packet packet = packet_of({frame.bytes.data(), frame.bytes.size()});
  switch (packet.kind) {
    case Kind::kOther:
      return true;
    case Kind::kTcp:
      current_ = stream_of(packet.source, packet.destination, packet.tcp.data(), packet.tcp.data() + 2);
      if ((packet.flags() & (kTcpSyn | kTcpAck)) == kTcpSyn && full()) return false;
      return packet.size() == 0 || accept_segment(*current_, packet.sequence() + packet.size());
    case Kind::kDatagram:
      return sockets_ < most_files() / 4 * 3;
    case Kind::kFragment:
      // Nobody sends TCP in fragments.
      return packet.protocol != kProtocolTcp && sockets_ < most_files() / 4 * 3 && accept_fragment();
  }
  return false;
}

bool NatLimits::accept_segment(const Stream& stream, u32 end) {
  if (segments_ >= kMostSegments) return false;
  ++segments_;
  Waiting& waiting = waiting_[stream];
  if (waiting.segments++ == 0 || static_cast<i32>(end - waiting.end) > 0) waiting.end = end;
  return true;
}

void NatLimits::answered(const NetFrame& frame) {
  if (waiting_.empty()) return;
  const Packet packet = packet_of({frame.bytes.data(), frame.bytes.size()});
  if (packet.kind != Kind::kTcp) return;
  const Stream stream =
      stream_of(packet.destination, packet.source, packet.tcp.data() + 2, packet.tcp.data());
  const auto found = waiting_.find(stream);
  if (found == waiting_.end()) return;
  const bool all =
      (packet.flags() & kTcpAck) && static_cast<i32>(packet.acknowledged() - found->second.end) >= 0;
  if (all || (packet.flags() & kTcpReset)) forget(stream);
}

void NatLimits::closed() {
  --sockets_;
  if (current_) forget(*current_);
}

void NatLimits::forget(const Stream& stream) {
  const auto found = waiting_.find(stream);
  if (found == waiting_.end()) return;
  segments_ -= found->second.segments;
  waiting_.erase(found);
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
