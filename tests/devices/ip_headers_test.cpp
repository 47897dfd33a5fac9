#include "devices/net/ip_headers.hpp"

#include <doctest.h>

#include <algorithm>
#include <vector>

using namespace doppel;
using namespace doppel::devices;

namespace {

// An Ethernet frame with an IPv4 header; the rest are zeroes.
std::vector<u8> frame_of(std::size_t size, u32 version_and_header = 0x45, u32 length = 40) {
  std::vector<u8> frame(size);
  const u8 high = static_cast<u8>(length >> 8), low = static_cast<u8>(length);
  const u8 head[] = {
      8, 0, static_cast<u8>(version_and_header), 0, high, low, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0,
      2, 3};
  std::copy_n(head, std::min(sizeof head, size - 12), frame.begin() + 12);
  return frame;
}

}  // namespace

TEST_CASE("an IPv4 packet is read as far as it is there") {
  constexpr std::size_t kAll = kEthernetHeader + 40;
  struct {
    const char* what;
    std::size_t size;
    u32 version_and_header, length;
    std::size_t header, payload;
    bool whole;
  } const rows[] = {
      {"whole", kAll, 0x45, 40, 20, 20, true},
      {"with options", kAll, 0x47, 40, 28, 12, true},
      {"padded", kAll, 0x45, 30, 20, 10, true},
      {"nothing but its header", kAll, 0x45, 20, 20, 0, true},
      {"cut off", kAll, 0x45, 41, 20, 20, false},
      {"cut off behind its fixed header", kEthernetHeader + 20, 0x46, 40, 20, 0, false},
      {"shorter than its header", kAll, 0x46, 23, 24, 0, false},
      {"without length", kAll, 0x45, 0, 20, 0, false},
      {"with a header that is too short", kAll, 0x44, 40, 20, 24, false},
      {"with a header beyond its end", kAll, 0x4f, 40, 40, 0, false},
      {"of another version", kAll, 0x65, 40, 20, 20, false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.what);
    const std::vector<u8> frame = frame_of(row.size, row.version_and_header, row.length);
    const auto packet = ipv4_packet(std::span(frame));
    REQUIRE(packet);
    CHECK(packet->header.data() == frame.data() + kEthernetHeader);
    CHECK(packet->header.size() == row.header);
    CHECK(packet->payload.size() == row.payload);
    CHECK(packet->payload.data() + row.payload <= frame.data() + frame.size());
    CHECK(packet->whole == row.whole);
    CHECK(packet->protocol() == kProtocolTcp);
  }
}

TEST_CASE("what is no IPv4 packet, or has less than a header, is none") {
  for (std::size_t size = 0; size < kEthernetHeader + kIpv4Header; ++size) {
    CAPTURE(size);
    std::vector<u8> frame = frame_of(100);
    frame.resize(size);
    CHECK(!ipv4_packet(std::span(frame)));
    CHECK(ether_type(frame) == (size < kEthernetHeader ? 0 : kEtherIpv4));
  }
  std::vector<u8> other = frame_of(100);
  other[12] = 0x86;
  other[13] = 0xdd;
  CHECK(!ipv4_packet(std::span(other)));
  CHECK(ether_type(other) == kEtherIpv6);
}

TEST_CASE("a fragment is a part of a packet; \"do not fragment\" makes none") {
  for (const u16 field : {0, 0x4000, 0x2000, 1, 0x1fff}) {
    CAPTURE(field);
    const bool fragment = field != 0 && field != 0x4000;
    std::vector<u8> frame = frame_of(60);
    frame[kEthernetHeader + kIpv4Fragment] = static_cast<u8>(field >> 8);
    frame[kEthernetHeader + kIpv4Fragment + 1] = static_cast<u8>(field);
    CHECK(ipv4_packet(std::span(frame))->is_fragment() == fragment);
    CHECK(ipv4_packet(std::span(frame))->fragment_field() == field);
  }
}

TEST_CASE("the pseudo-header has addresses, protocol and length") {
  const std::vector<u8> frame = frame_of(60);
  const u8 pseudo[] = {10, 0, 2, 15, 10, 0, 2, 3, 0, 6, 0x12, 0x34};
  CHECK(ipv4_packet(std::span(frame))->pseudo_header(0x1234) == checksum_add(pseudo));
}

TEST_CASE("a TCP header is there if all of it is") {
  struct {
    std::size_t size;
    u8 words;
    bool there;
  } const rows[] = {{20, 5, true},  {19, 5, false}, {0, 5, false},  {20, 4, false},
                    {20, 6, false}, {24, 6, true},  {60, 15, true}, {59, 15, false}};
  for (const auto& row : rows) {
    CAPTURE(row.size);
    CAPTURE(row.words);
    std::vector<u8> segment(row.size);
    if (row.size > kTcpOffset) segment[kTcpOffset] = static_cast<u8>(row.words << 4 | 15);
    CHECK(has_tcp_header(segment) == row.there);
    if (row.size != 0) CHECK(tcp_header_size(segment) == row.words * 4u);
  }
}
