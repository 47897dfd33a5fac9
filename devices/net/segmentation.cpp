#include "devices/net/segmentation.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/net/checksum.hpp"

namespace doppel::devices {

namespace {

// Offsets in the headers: IPv4 (RFC 791), IPv6 (RFC 8200), TCP (RFC 9293), UDP (RFC 768).
constexpr std::size_t kIpv4Length = 2, kIpv4Identification = 4, kIpv4Header = 20;
constexpr std::size_t kIpv6Length = 4, kIpv6Header = 40;
constexpr std::size_t kTcpSequence = 4, kTcpFlags = 13, kTcpHeader = 20;
constexpr std::size_t kUdpLength = 4, kUdpHeader = 8;
constexpr u8 kFinAndPush = 0x09;
constexpr std::size_t kLargestIp = 65535, kVlanTag = 4;

u32 get(const u8* at, u32 width) {
  u32 value = 0;
  for (u32 i = 0; i < width; ++i) value = value << 8 | at[i];
  return value;
}
void put(u8* at, u32 width, u32 value) {
  for (u32 i = 0; i < width; ++i) at[i] = static_cast<u8>(value >> (width - 1 - i) * 8);
}

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
    put(ip + kIpv4Length, 2, static_cast<u32>(frame.size() - context.ip.start));
    put(ip + kIpv4Identification, 2, get(ip + kIpv4Identification, 2) + static_cast<u32>(index));
  } else {
    put(ip + kIpv6Length, 2, static_cast<u32>(frame.size() - context.ip.start - kIpv6Header));
  }
  if (context.is_tcp) {
    put(transport + kTcpSequence, 4, get(transport + kTcpSequence, 4) + static_cast<u32>(done));
    if (!last) transport[kTcpFlags] = static_cast<u8>(transport[kTcpFlags] & ~kFinAndPush);
  } else {
    put(transport + kUdpLength, 2, static_cast<u32>(transport_size));
  }
  if (insert.transport) {
    // The driver's sum of the pseudo-header lacks the length.
    u8 length[2];
    put(length, 2, static_cast<u32>(transport_size));
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
  u16 sum = static_cast<u16>(~checksum_add(frame.subspan(fields.start, end - fields.start)));
  if (sum == 0) sum = 0xffff;  // in UDP zero means none, elsewhere both mean the same
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
