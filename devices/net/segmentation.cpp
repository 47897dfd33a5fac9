#include "devices/net/segmentation.hpp"

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <cstring>
#include <utility>

#include "devices/net/checksum.hpp"
#include "devices/net/ip_headers.hpp"

namespace doppel::devices {

namespace {

namespace endian = boost::endian;

constexpr std::size_t kUdpLength = 4, kUdpHeader = 8;  // RFC 768
constexpr std::size_t kLargestIp = 65535, kVlanTag = 4;

// Whether every field that is changed lies in the header.
bool sensible(const TransmitContext& context, std::size_t size) {
  const std::size_t ip = context.ip.start + (context.is_ipv4 ? kIpv4Header : kIpv6Header);
  const std::size_t transport = context.tcp.start + (context.is_tcp ? kTcpHeader : kUdpHeader);
  return context.segment != 0 && ip <= context.header && transport <= context.header &&
         context.tcp.offset + 2u <= context.header && context.header < size && size <= kLargestPacket;
}

// Lengths, numbers and flags of the piece that begins `done` bytes into the payload.
void adapt_headers(std::span<u8> frame, const TransmitContext& context, std::size_t index, std::size_t done,
                   bool last, InsertChecksums insert) {
  u8* ip = frame.data() + context.ip.start;
  u8* transport = frame.data() + context.tcp.start;
  const std::size_t transport_size = frame.size() - context.tcp.start;
  if (context.is_ipv4) {
    endian::store_big_u16(ip + kIpv4Length, static_cast<u16>(frame.size() - context.ip.start));
    endian::store_big_u16(ip + kIpv4Identification,
                          static_cast<u16>(endian::load_big_u16(ip + kIpv4Identification) + index));
  } else {
    endian::store_big_u16(ip + kIpv6Length, static_cast<u16>(frame.size() - context.ip.start - kIpv6Header));
  }
  if (context.is_tcp) {
    endian::store_big_u32(transport + kTcpSequence,
                          endian::load_big_u32(transport + kTcpSequence) + static_cast<u32>(done));
    if (!last) transport[kTcpFlags] = static_cast<u8>(transport[kTcpFlags] & ~(kTcpFin | kTcpPush));
  } else {
    endian::store_big_u16(transport + kUdpLength, static_cast<u16>(transport_size));
  }
  if (insert.transport) {
    // The driver's sum of the pseudo-header lacks the length.
    u8 length[2];
    endian::store_big_u16(length, static_cast<u16>(transport_size));
    u8* field = frame.data() + context.tcp.offset;
    const u16 sum = checksum_add({field, 2}, checksum_add(length));
    std::memcpy(field, &sum, sizeof sum);
    insert_checksum(frame, {context.tcp.start, context.tcp.offset, 0});
  }
  if (insert.ip) insert_checksum(frame, context.ip);
}

}  // namespace

bool insert_checksum(std::span<u8> frame, const ChecksumFields& fields) {
  const std::size_t end =
      fields.end == 0 ? frame.size() : std::min<std::size_t>(fields.end + 1u, frame.size());
  if (fields.start >= end || fields.offset + 2u > frame.size()) return false;
  const u16 sum = final_checksum(frame.subspan(fields.start, end - fields.start));
  std::memcpy(frame.data() + fields.offset, &sum, sizeof sum);
  return true;
}

std::size_t cut_into_segments(NetFrame packet, const TransmitContext& context, InsertChecksums insert,
                              bool large, const std::function<void(NetFrame)>& send) {
  const std::size_t size = packet.bytes.size(), header = context.header;
  if (!sensible(context, size)) return 0;
  const std::size_t payload = size - header, pieces = (payload + context.segment - 1) / context.segment;
  if (pieces > kMostSegments) return 0;
  const bool fits = size - context.ip.start <= kLargestIp && size + kVlanTag <= kLargestFrame;
  if (pieces == 1 || (large && context.is_tcp && fits)) {
    adapt_headers({packet.bytes.data(), size}, context, 0, 0, true, insert);
    if (pieces > 1) packet.segment = context.segment;
    send(std::move(packet));
    return 1;
  }
  for (std::size_t i = 0, done = 0; i < pieces; ++i, done += context.segment) {
    const std::size_t part = std::min<std::size_t>(context.segment, payload - done);
    NetFrame frame(header + part);
    frame.checksums_good = packet.checksums_good;
    std::memcpy(frame.bytes.data(), packet.bytes.data(), header);
    std::memcpy(frame.bytes.data() + header, packet.bytes.data() + header + done, part);
    adapt_headers({frame.bytes.data(), frame.bytes.size()}, context, i, done, i + 1 == pieces, insert);
    send(std::move(frame));
  }
  return pieces;
}

}  // namespace doppel::devices
