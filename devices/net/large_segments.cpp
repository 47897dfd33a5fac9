#include "devices/net/large_segments.hpp"

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstring>
#include <optional>

#include "devices/net/checksum.hpp"
#include "devices/net/segmentation.hpp"

namespace doppel::devices {

namespace {

using boost::endian::load_big_u16;
using boost::endian::store_big_u16;

// Offsets in the IPv4 header (RFC 791) and the TCP header (RFC 9293).
constexpr std::size_t kTotalLength = 2, kFragment = 6, kProtocol = 9, kIpChecksum = 10, kSource = 12,
                      kSmallestIp = 20;
constexpr std::size_t kTcpOffset = 12, kTcpFlags = 13, kTcpChecksum = 16, kSmallestTcp = 20;
constexpr std::size_t kIpv6 = 40, kIpv6Next = 6, kIpv6Source = 8;  // RFC 8200
constexpr u16 kMoreFragments = 0x2000, kFragmentOffset = 0x1fff;
constexpr u8 kTcp = 6, kSyn = 2;
constexpr u8 kOptionEnd = 0, kOptionNothing = 1, kOptionSegment = 2;

// A sum in memory order, as checksum_add() gives it.
void put_sum(std::span<u8> bytes, std::size_t at, u16 sum) {
  std::memcpy(bytes.data() + at, &sum, sizeof sum);
}

// The parts of an IPv4 packet in a frame, or nothing if there is none that is whole.
struct Packet {
  std::span<u8> header, payload;
};
std::optional<Packet> ipv4(NetFrame& frame) {
  std::span<u8> bytes(frame.bytes.data(), frame.bytes.size());
  if (bytes.size() < kEthernetHeader + kSmallestIp || load_big_u16(bytes.data() + 12) != 0x0800)
    return std::nullopt;
  bytes = bytes.subspan(kEthernetHeader);
  const std::size_t header = (bytes[0] & 15u) * 4, total = load_big_u16(bytes.data() + kTotalLength);
  if (bytes[0] >> 4 != 4 || header < kSmallestIp || total < header || total > bytes.size())
    return std::nullopt;
  return Packet{bytes.first(header), bytes.subspan(header, total - header)};
}

u16 fragment_field(const Packet& packet) {
  return load_big_u16(packet.header.data() + kFragment);
}
bool fragmented(const Packet& packet) {
  return fragment_field(packet) & (kMoreFragments | kFragmentOffset);
}
bool whole_tcp(const Packet& packet) {
  if (packet.header[kProtocol] != kTcp || fragmented(packet) || packet.payload.size() < kSmallestTcp)
    return false;
  const std::size_t header = (packet.payload[kTcpOffset] >> 4) * 4u;
  return header >= kSmallestTcp && header <= packet.payload.size();
}

u16 pseudo_header(const Packet& packet, std::size_t length) {
  u8 tail[4] = {0, packet.header[kProtocol]};
  store_big_u16(tail + 2, static_cast<u16>(length));
  return checksum_add(tail, checksum_add(packet.header.subspan(kSource, 8)));
}

// libslirp forgets what a guest's SYN said of segments when the host's connection takes a moment. `pseudo` is
// the sum of the pseudo-header without its length.
void deliver_segments(NetFrame frame, std::size_t ip_header, bool is_ipv4, u16 pseudo,
                      const std::function<void(NetFrame)>& deliver) {
  const std::span<u8> bytes(frame.bytes.data(), frame.bytes.size());
  const std::size_t tcp = kEthernetHeader + ip_header;
  TransmitContext context;
  context.ip = {kEthernetHeader, kEthernetHeader + kIpChecksum, static_cast<u16>(tcp - 1)};
  context.tcp = {static_cast<u8>(tcp), static_cast<u8>(tcp + kTcpChecksum), 0};
  context.header = static_cast<u8>(tcp + (bytes[tcp + kTcpOffset] >> 4) * 4u);
  context.segment = static_cast<u16>(kEthernetHeader + kWireMtu - context.header);
  context.is_tcp = true;
  context.is_ipv4 = is_ipv4;
  if (is_ipv4) store_big_u16(bytes.data() + context.ip.offset, 0);
  put_sum(bytes, context.tcp.offset, pseudo);
  (void)cut_into_segments(std::move(frame), context, {.ip = is_ipv4, .transport = true}, false, deliver);
}

// The sum of the pseudo-header without its length, if it is TCP over IPv6 without extension headers.
std::optional<u16> ipv6_tcp(const NetFrame& frame) {
  const std::span<const u8> bytes(frame.bytes.data(), frame.bytes.size());
  if (bytes.size() < kEthernetHeader + kIpv6 + kSmallestTcp || load_big_u16(bytes.data() + 12) != 0x86dd)
    return std::nullopt;
  const auto ip = bytes.subspan(kEthernetHeader), tcp = ip.subspan(kIpv6);
  const std::size_t header = (tcp[kTcpOffset] >> 4) * 4u;
  if (ip[kIpv6Next] != kTcp || header < kSmallestTcp || header > tcp.size()) return std::nullopt;
  const u8 tail[2] = {0, kTcp};
  return checksum_add(tail, checksum_add(ip.subspan(kIpv6Source, 32)));
}

void deliver_fragments(const NetFrame& frame, const Packet& packet,
                       const std::function<void(NetFrame)>& deliver) {
  const std::size_t head = kEthernetHeader + packet.header.size();
  const std::size_t most = (kWireMtu - packet.header.size()) / 8 * 8;
  const u16 field = fragment_field(packet);
  for (std::size_t at = 0; at < packet.payload.size(); at += most) {
    const std::size_t size = std::min(most, packet.payload.size() - at);
    const bool last = at + size == packet.payload.size();
    NetFrame piece(head + size);
    std::memcpy(piece.bytes.data(), frame.bytes.data(), head);
    std::memcpy(piece.bytes.data() + head, packet.payload.data() + at, size);
    const std::span<u8> header(piece.bytes.data() + kEthernetHeader, packet.header.size());
    store_big_u16(header.data() + kTotalLength, static_cast<u16>(header.size() + size));
    store_big_u16(header.data() + kFragment,
                  static_cast<u16>(((field & kFragmentOffset) + at / 8) |
                                   (last ? field & kMoreFragments : kMoreFragments)));
    store_big_u16(header.data() + kIpChecksum, 0);
    put_sum(header, kIpChecksum, static_cast<u16>(~checksum_add(header)));
    deliver(std::move(piece));
  }
}

}  // namespace

void ask_for_large_segments(NetFrame& frame, u16 segment) {
  const auto packet = ipv4(frame);
  if (!packet || !whole_tcp(*packet)) return;
  const std::span<u8> tcp = packet->payload;
  if (!(tcp[kTcpFlags] & kSyn)) return;
  const auto options = tcp.subspan(kSmallestTcp, (tcp[kTcpOffset] >> 4) * 4u - kSmallestTcp);
  for (std::size_t at = 0; at < options.size() && options[at] != kOptionEnd;) {
    if (options[at] == kOptionNothing) {
      ++at;
      continue;
    }
    if (options.size() - at < 2 || options[at + 1] < 2 || options[at + 1] > options.size() - at) return;
    if (options[at] == kOptionSegment && options[at + 1] == 4) {
      if (load_big_u16(options.data() + at + 2) != kWireSegment) return;
      store_big_u16(options.data() + at + 2, segment);
      store_big_u16(tcp.data() + kTcpChecksum, 0);
      put_sum(tcp, kTcpChecksum,
              static_cast<u16>(~checksum_add(tcp, pseudo_header(*packet, packet->payload.size()))));
      return;
    }
    at += options[at + 1];
  }
}

void fit_to_wire(NetFrame frame, bool large, const std::function<void(NetFrame)>& deliver) {
  if (frame.bytes.size() <= kEthernetHeader + kWireMtu) return deliver(std::move(frame));
  // No card here takes large segments of IPv6.
  if (const auto pseudo = ipv6_tcp(frame))
    return deliver_segments(std::move(frame), kIpv6, false, *pseudo, deliver);
  const auto packet = ipv4(frame);
  if (!packet) return;
  if (whole_tcp(*packet) && !large) {
    deliver_segments(std::move(frame), packet->header.size(), true, pseudo_header(*packet, 0), deliver);
  } else if (whole_tcp(*packet)) {
    put_sum(packet->payload, kTcpChecksum, pseudo_header(*packet, packet->payload.size()));
    frame.segment = kWireSegment;
    deliver(std::move(frame));
  } else {
    deliver_fragments(frame, *packet, deliver);
  }
}

}  // namespace doppel::devices
