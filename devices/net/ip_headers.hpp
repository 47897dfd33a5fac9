// IPv4 and TCP headers in frames that nobody has checked (RFC 791, RFC 9293): where their parts are, nothing
// beyond the frame. Used by whoever looks into frames (a card's checksums, segments, the NAT's limits); what
// is too short or wrong for its purpose each of them says itself.
#pragma once

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <optional>
#include <span>

#include "devices/net/checksum.hpp"
#include "devices/net/net_port.hpp"

namespace doppel::devices {

inline constexpr u16 kEtherIpv4 = 0x0800, kEtherIpv6 = 0x86dd;
inline constexpr u8 kProtocolTcp = 6, kProtocolUdp = 17;

// Sizes of the fixed headers, and offsets in them.
inline constexpr std::size_t kIpv4Header = 20, kIpv4Length = 2, kIpv4Identification = 4, kIpv4Fragment = 6,
                             kIpv4Protocol = 9, kIpv4Checksum = 10, kIpv4Addresses = 12;
inline constexpr std::size_t kIpv6Header = 40, kIpv6Length = 4, kIpv6Next = 6,
                             kIpv6Addresses = 8;  // RFC 8200
inline constexpr std::size_t kTcpHeader = 20, kTcpSequence = 4, kTcpAcknowledged = 8, kTcpOffset = 12,
                             kTcpFlags = 13, kTcpChecksum = 16;

inline constexpr u16 kMoreFragments = 0x2000, kFragmentOffset = 0x1fff;
inline constexpr u8 kTcpFin = 0x01, kTcpSyn = 0x02, kTcpReset = 0x04, kTcpPush = 0x08, kTcpAck = 0x10;

// What a frame says that it carries; 0 if it is no frame.
[[nodiscard]] inline u16 ether_type(std::span<const u8> frame) {
  return frame.size() < kEthernetHeader ? u16{0} : boost::endian::load_big_u16(frame.data() + 12);
}

// `Byte` is u8 or const u8.
template <class Byte>
struct Ipv4Packet {
  std::span<Byte> header;   // at least the fixed part; options as far as they are there
  std::span<Byte> payload;  // as far as it is there
  bool whole;               // the header makes sense, and everything is there

  [[nodiscard]] u8 protocol() const { return header[kIpv4Protocol]; }
  [[nodiscard]] u16 fragment_field() const {
    return boost::endian::load_big_u16(header.data() + kIpv4Fragment);
  }
  [[nodiscard]] bool is_fragment() const { return fragment_field() & (kMoreFragments | kFragmentOffset); }
  // The sum of the pseudo-header, for a payload of `length`.
  [[nodiscard]] u16 pseudo_header(std::size_t length) const {
    const u8 tail[] = {0, protocol(), static_cast<u8>(length >> 8), static_cast<u8>(length)};
    return checksum_add(tail, checksum_add(header.subspan(kIpv4Addresses, 8)));
  }
};

// The IPv4 packet in a frame; nothing: it is none, or the fixed header is not all there.
template <class Byte>
[[nodiscard]] std::optional<Ipv4Packet<Byte>> ipv4_packet(std::span<Byte> frame) {
  if (ether_type(frame) != kEtherIpv4 || frame.size() < kEthernetHeader + kIpv4Header) return std::nullopt;
  const std::span<Byte> ip = frame.subspan(kEthernetHeader);
  const std::size_t header = (ip[0] & 15u) * 4, length = boost::endian::load_big_u16(ip.data() + kIpv4Length);
  const std::size_t there = std::min(length, ip.size());
  return Ipv4Packet<Byte>{
      .header = ip.first(std::clamp(header, kIpv4Header, ip.size())),
      .payload = ip.first(there).subspan(std::min(header, there)),
      .whole = ip[0] >> 4 == 4 && header >= kIpv4Header && header <= length && length <= ip.size()};
}

// How long the header of a TCP segment says that it is; the fixed part is there.
[[nodiscard]] inline std::size_t tcp_header_size(std::span<const u8> segment) {
  return (segment[kTcpOffset] >> 4) * 4u;
}
// It makes sense, and all of it is there.
[[nodiscard]] inline bool has_tcp_header(std::span<const u8> segment) {
  return segment.size() >= kTcpHeader && tcp_header_size(segment) >= kTcpHeader &&
         tcp_header_size(segment) <= segment.size();
}

}  // namespace doppel::devices
