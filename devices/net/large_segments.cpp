#include "devices/net/large_segments.hpp"

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstring>
#include <optional>

#include "devices/net/checksum.hpp"
#include "devices/net/ip_headers.hpp"
#include "devices/net/segmentation.hpp"

namespace doppel::devices {

namespace {

using boost::endian::load_big_u16;
using boost::endian::store_big_u16;

constexpr u8 kOptionEnd = 0, kOptionNothing = 1, kOptionSegment = 2;

using Packet = Ipv4Packet<u8>;

// A sum in memory order, as checksum_add() gives it.
void put_sum(std::span<u8> bytes, std::size_t at, u16 sum) {
  std::memcpy(bytes.data() + at, &sum, sizeof sum);
}

std::span<u8> bytes_of(NetFrame& frame) {
  return {frame.bytes.data(), frame.bytes.size()};
}

bool whole_tcp(const Packet& packet) {
  return packet.protocol() == kProtocolTcp && !packet.is_fragment() && has_tcp_header(packet.payload);
}

// libslirp forgets what a guest's SYN said of segments when the host's connection takes a moment. `pseudo` is
// the sum of the pseudo-header without its length.
void deliver_segments(NetFrame frame, std::size_t ip_header, bool is_ipv4, u16 pseudo,
                      const std::function<void(NetFrame)>& deliver) {
  const std::span<u8> bytes = bytes_of(frame);
  const std::size_t tcp = kEthernetHeader + ip_header;
  TransmitContext context;
  context.ip = {kEthernetHeader, kEthernetHeader + kIpv4Checksum, static_cast<u16>(tcp - 1)};
  context.tcp = {static_cast<u8>(tcp), static_cast<u8>(tcp + kTcpChecksum), 0};
  context.header = static_cast<u8>(tcp + tcp_header_size(bytes.subspan(tcp)));
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
  if (ether_type(bytes) != kEtherIpv6 || bytes.size() < kEthernetHeader + kIpv6Header) return std::nullopt;
  const auto ip = bytes.subspan(kEthernetHeader);
  if (ip[kIpv6Next] != kProtocolTcp || !has_tcp_header(ip.subspan(kIpv6Header))) return std::nullopt;
  const u8 tail[2] = {0, kProtocolTcp};
  return checksum_add(tail, checksum_add(ip.subspan(kIpv6Addresses, 32)));
}

void deliver_fragments(const NetFrame& frame, const Packet& packet,
                       const std::function<void(NetFrame)>& deliver) {
  const std::size_t head = kEthernetHeader + packet.header.size();
  const std::size_t most = (kWireMtu - packet.header.size()) / 8 * 8;
  const u16 field = packet.fragment_field();
  for (std::size_t at = 0; at < packet.payload.size(); at += most) {
    const std::size_t size = std::min(most, packet.payload.size() - at);
    const bool last = at + size == packet.payload.size();
    NetFrame piece(head + size);
    std::memcpy(piece.bytes.data(), frame.bytes.data(), head);
    std::memcpy(piece.bytes.data() + head, packet.payload.data() + at, size);
    const std::span<u8> header(piece.bytes.data() + kEthernetHeader, packet.header.size());
    store_big_u16(header.data() + kIpv4Length, static_cast<u16>(header.size() + size));
    store_big_u16(header.data() + kIpv4Fragment,
                  static_cast<u16>(((field & kFragmentOffset) + at / 8) |
                                   (last ? field & kMoreFragments : kMoreFragments)));
    store_big_u16(header.data() + kIpv4Checksum, 0);
    put_sum(header, kIpv4Checksum, static_cast<u16>(~checksum_add(header)));
    deliver(std::move(piece));
  }
}

}  // namespace

void ask_for_large_segments(NetFrame& frame, u16 segment) {
  const auto packet = ipv4_packet(bytes_of(frame));
  if (!packet || !packet->whole || !whole_tcp(*packet)) return;
  const std::span<u8> tcp = packet->payload;
  if (!(tcp[kTcpFlags] & kTcpSyn)) return;
  const auto options = tcp.first(tcp_header_size(tcp)).subspan(kTcpHeader);
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
      put_sum(tcp, kTcpChecksum, static_cast<u16>(~checksum_add(tcp, packet->pseudo_header(tcp.size()))));
      return;
    }
    at += options[at + 1];
  }
}

void fit_to_wire(NetFrame frame, bool large, const std::function<void(NetFrame)>& deliver) {
  if (frame.bytes.size() <= kEthernetHeader + kWireMtu) return deliver(std::move(frame));
  // No card here takes large segments of IPv6.
  if (const auto pseudo = ipv6_tcp(frame))
    return deliver_segments(std::move(frame), kIpv6Header, false, *pseudo, deliver);
  const auto packet = ipv4_packet(bytes_of(frame));
  if (!packet || !packet->whole) return;
  if (whole_tcp(*packet) && !large) {
    deliver_segments(std::move(frame), packet->header.size(), true, packet->pseudo_header(0), deliver);
  } else if (whole_tcp(*packet)) {
    put_sum(packet->payload, kTcpChecksum, packet->pseudo_header(packet->payload.size()));
    frame.segment = kWireSegment;
    deliver(std::move(frame));
  } else {
    deliver_fragments(frame, *packet, deliver);
  }
}

}  // namespace doppel::devices
