// The e1000's way in: filters, and frames into the guest's descriptors. Source: Intel 317453, 3.2.
#include <algorithm>
#include <array>
#include <boost/endian/conversion.hpp>
#include <cstring>

#include "devices/net/checksum.hpp"
#include "devices/net/e1000.hpp"
#include "devices/net/ip_headers.hpp"

namespace doppel::devices {

using namespace e1000;
using boost::endian::load_big_u16;

namespace {

constexpr std::size_t kType = 2 * sizeof(MacAddress), kTagSize = 4, kFrameChecksum = 4;
constexpr std::size_t kShortest = 60, kLongest = 1518, kLongestLong = 16384 - kFrameChecksum;
constexpr std::size_t kUdpChecksum = 6;  // RFC 768

struct ChecksumResult {
  u8 status = kRxIxsm, errors = 0;
};

// What the card says of the checksums of an IPv4 packet (3.2.9). `rxcsum` is the register.
ChecksumResult check(std::span<const u8> frame, bool trusted, u32 rxcsum) {
  ChecksumResult result;
  const auto ip = ipv4_packet(frame);
  if (!ip || !ip->whole) return result;
  constexpr u16 kGood = 0xffff;
  if (rxcsum & kRxcsumIpofl) {
    result.status = kRxIpcs;
    if (!trusted && checksum_add(ip->header) != kGood) result.errors |= kRxIpe;
  }
  const bool tcp = ip->protocol() == kProtocolTcp, udp = ip->protocol() == kProtocolUdp;
  const std::size_t field = tcp ? kTcpChecksum : kUdpChecksum;
  if (!(rxcsum & kRxcsumTuofl) || ip->is_fragment() || !(tcp || udp) || ip->payload.size() < field + 2)
    return result;
  if (udp && load_big_u16(ip->payload.data() + field) == 0) return result;  // it has none
  result.status = static_cast<u8>((result.status & ~kRxIxsm) | kRxTcpcs);
  if (trusted) return result;
  if (checksum_add(ip->payload, ip->pseudo_header(ip->payload.size())) != kGood) result.errors |= kRxTcpe;
  return result;
}

}  // namespace

void E1000::receive() {
  auto ring = reg(kRctl) & kRctlEn ? this->ring(kRdbal) : std::nullopt;
  u32 causes = 0;
  const u32 low = ring ? ring->size >> (1 + (reg(kRctl) >> kRctlRdmtsShift & 3)) : 0;
  while (const NetFrame* frame = port_.received()) {
    bool inexact = false;
    // A card that nobody drives hears nothing.
    if (ring && wanted(*frame, inexact)) {
      const u32 before = ring->filled();
      if (!place(*ring, *frame, inexact)) break;
      causes |= kIntRxt0 | (before > low && ring->filled() <= low ? kIntRxdmt0 : 0);
    }
    port_.pop();
  }
  if (causes != 0) raise(causes);
}

// --- Filters (3.2.1).

bool E1000::wanted(const NetFrame& frame, bool& inexact) {
  const std::size_t size = frame.bytes.size();
  // A segment made for a card that takes larger ones is another card's.
  if (size < kEthernetHeader || size > kLongestLong || frame.segment != 0) return false;
  if (size > kLongest && !(reg(kRctl) & kRctlLpe)) {
    count(kRoc);
    return false;
  }
  return address_matches({frame.bytes.data(), sizeof(MacAddress)}, inexact) && vlan_matches(frame);
}

bool E1000::address_matches(std::span<const u8> to, bool& inexact) const {
  const u32 rctl = reg(kRctl);
  const u32 low = to[0] | u32{to[1]} << 8 | u32{to[2]} << 16 | u32{to[3]} << 24;
  const u32 high = to[4] | u32{to[5]} << 8;
  for (u32 i = 0; i < 16; ++i) {
    const u32 rah = reg(kRah + i * 8);
    if ((rah & kRahAv) && (rah & 0xffff) == high && reg(kRal + i * 8) == low) return true;
  }
  if (low == ~u32{0} && high == 0xffff && (rctl & kRctlBam)) return true;
  inexact = true;
  if (!(to[0] & 1)) return rctl & kRctlUpe;
  if (rctl & kRctlMpe) return true;
  static constexpr u32 kShifts[] = {4, 3, 2, 0};
  const u32 hash = high >> kShifts[rctl >> kRctlMoShift & 3] & 0xfff;
  return reg(kMta + hash / 32 * 4) >> hash % 32 & 1;
}

bool E1000::is_tagged(const NetFrame& frame) const {
  const std::span<const u8> bytes(frame.bytes.data(), frame.bytes.size());
  return bytes.size() >= kEthernetHeader + kTagSize && load_big_u16(bytes.data() + kType) == reg(kVet);
}

bool E1000::vlan_matches(const NetFrame& frame) const {
  const u32 rctl = reg(kRctl);
  if (!(rctl & kRctlVfe) || !is_tagged(frame)) return true;
  const u16 tag = load_big_u16(frame.bytes.data() + kType + 2);
  const bool canonical = tag >> 12 & 1, wanted_canonical = rctl & kRctlCfi;
  if ((rctl & kRctlCfien) && canonical != wanted_canonical) return false;
  const u32 id = tag & 0xfff;
  return reg(kVfta + id / 32 * 4) >> id % 32 & 1;
}

// --- Into memory.

u32 E1000::buffer_size() const {
  const u32 bsize = reg(kRctl) >> kRctlBsizeShift & 3;
  return (reg(kRctl) & kRctlBsex) && bsize != 0 ? 32768u >> bsize : 2048u >> bsize;
}

bool E1000::place(Ring& ring, const NetFrame& frame, bool inexact) {
  std::span<const u8> bytes(frame.bytes.data(), frame.bytes.size());
  const ChecksumResult checked = check(bytes, frame.checksums_good, reg(kRxcsum));
  const bool strip = (reg(kCtrl) & kCtrlVme) && is_tagged(frame);
  const u16 tag = strip ? load_big_u16(bytes.data() + kType + 2) : u16{0};
  NetFrame changed;
  if (strip || bytes.size() < kShortest) {
    changed = NetFrame(bytes.data(), bytes.size());
    if (strip) changed.bytes.erase(changed.bytes.begin() + kType, changed.bytes.begin() + kType + kTagSize);
    changed.bytes.resize(std::max(changed.bytes.size(), kShortest));
    bytes = {changed.bytes.data(), changed.bytes.size()};
  }

  // The frame's own checksum reads as zeroes.
  static constexpr std::array<u8, kFrameChecksum> kNoChecksum{};
  const std::size_t total = bytes.size() + (reg(kRctl) & kRctlSecrc ? 0 : kFrameChecksum);
  const std::size_t buffer = buffer_size(), needed = (total + buffer - 1) / buffer;
  if (needed >= ring.size) {
    count(kMpc);
    ++dropped_;
    return true;
  }
  if (needed > ring.filled()) {
    count(kRnbc);
    return false;
  }
  count_frame({kTpr, kGprc, kTorl, kGorcl, kBprc, kMprc, kPrc64}, {frame.bytes.data(), frame.bytes.size()});
  ++received_;
  const std::size_t from = reg(kRxcsum) & 0xff;  // PCSS
  const u16 sum =
      from < bytes.size() ? static_cast<u16>(~__builtin_bswap16(checksum_add(bytes.subspan(from)))) : u16{0};
  for (std::size_t done = 0; done < total;) {
    const std::size_t part = std::min(buffer, total - done);
    const std::size_t data = done < bytes.size() ? std::min(part, bytes.size() - done) : 0;
    const auto descriptor = ring.descriptor();
    u64 address;
    std::memcpy(&address, descriptor.data(), sizeof address);
    // Address 0 takes nothing (3.2.3).
    if (address != 0 && !(ram_.write(address, bytes.subspan(std::min(done, bytes.size()), data)) &&
                          ram_.write(address + data, std::span(kNoChecksum).first(part - data))))
      ++bad_dma_;
    done += part;
    const bool last = done == total;
    const u16 fields[] = {static_cast<u16>(part), sum};
    std::memcpy(descriptor.data() + 8, fields, sizeof fields);
    descriptor[13] = last ? checked.errors : u8{0};
    std::memcpy(descriptor.data() + 14, &tag, sizeof tag);
    finish(ring, last ? static_cast<u8>(kRxDd | kRxEop | checked.status | (strip ? kRxVp : 0) |
                                        (inexact ? kRxPif : 0))
                      : kRxDd);
    ring.step();
  }
  reg(kRdh) = ring.head;
  return true;
}

}  // namespace doppel::devices
