#include "devices/net/user_network.hpp"

#include <arpa/inet.h>
#include <doctest.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "devices/net/checksum.hpp"
#include "devices/storage/file_io.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

constexpr u8 kTcp = 6, kUdp = 17;
constexpr u8 kSyn = 2, kRst = 4, kAck = 16;

u16 get16(const NetFrame& frame, std::size_t at) {
  return static_cast<u16>(frame.bytes[at] << 8 | frame.bytes[at + 1]);
}
std::size_t resident_kib() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word && word != "RssAnon:") {
  }
  std::size_t value = 0;
  status >> value;
  return value;
}

u32 get32(const NetFrame& frame, std::size_t at) {
  return u32{get16(frame, at)} << 16 | get16(frame, at + 2);
}

// 10.0.2.15, by hand, on a user network whose process may have few descriptors.
class Guest {
 public:
  static constexpr rlim_t kFiles = 400;

  Guest() {
    ::getrlimit(RLIMIT_NOFILE, &limit_);
    const rlimit lower{kFiles, limit_.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &lower);
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK(::bind(server_.get(), reinterpret_cast<sockaddr*>(&any), sizeof any) == 0);
    CHECK(::listen(server_.get(), 4096) == 0);
    socklen_t size = sizeof any;
    CHECK(::getsockname(server_.get(), reinterpret_cast<sockaddr*>(&any), &size) == 0);
    server_port = ntohs(any.sin_port);
    settle();  // the NAT learns where 10.0.2.15 is
  }
  ~Guest() { ::setrlimit(RLIMIT_NOFILE, &limit_); }

  void segment(u16 port, u8 flags, u32 sequence, u32 acknowledged = 0, std::size_t size = 0) {
    std::vector<u8> tcp(20 + size);
    put16(tcp, 0, port);
    put16(tcp, 2, server_port);
    put32(tcp, 4, sequence);
    put32(tcp, 8, acknowledged);
    tcp[12] = 5 << 4;
    tcp[13] = flags;
    put16(tcp, 14, 0xffff);
    send(ipv4(kTcp, std::move(tcp), 16));
  }
  void datagram(u16 port, std::size_t size) {
    std::vector<u8> udp(8 + size);
    put16(udp, 0, port);
    put16(udp, 2, server_port);
    put16(udp, 4, static_cast<u16>(udp.size()));
    send(ipv4(kUdp, std::move(udp), 6));
  }
  // The next TCP segment for a port of the guest, with one of these flags.
  bool hear(u16 port, u8 flags, NetFrame& out, int milliseconds = kPatience) {
    return wait(
        [&](const NetFrame& frame) {
          out = frame;
          return is_tcp(frame) && get16(frame, 36) == port && (frame.bytes[47] & flags) != 0;
        },
        milliseconds);
  }
  // The network has answered so many connections.
  bool hear_opened(std::size_t count) {
    return opened_.size() == count || wait([&](const NetFrame&) { return opened_.size() == count; });
  }
  // Opens a connection whose first byte is number 101; what the guest acknowledges.
  u32 connect(u16 port) {
    segment(port, kSyn, 100);
    NetFrame answer;
    REQUIRE(hear(port, kSyn, answer));
    const u32 acknowledged = get32(answer, 38) + 1;
    segment(port, kAck, 101, acknowledged);
    return acknowledged;
  }
  // Everything that was sent has been looked at: the network answers one after another, and this one at once.
  void settle() {
    send(ethernet(kArp,
                  {0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2}));
    CHECK(wait([](const NetFrame& frame) { return get16(frame, 12) == kArp; }));
  }
  static std::size_t descriptors() {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

  u16 server_port = 0;
  NetPort socket{[](const std::function<void()>& work) { work(); }};

 private:
  static constexpr int kPatience = 60'000;  // ms, for what must come: this may be a slow build on a busy host
  static constexpr u16 kArp = 0x0806;

  static bool is_tcp(const NetFrame& frame) {
    return frame.bytes.size() >= 54 && get16(frame, 12) == 0x0800 && frame.bytes[23] == kTcp;
  }
  // Takes the next frame, if there is one.
  bool take(NetFrame& frame) {
    const NetFrame* received = socket.received();
    if (!received) return false;
    frame = *received;
    socket.pop();
    if (is_tcp(frame) && (frame.bytes[47] & kSyn)) opened_.insert(get16(frame, 36));
    return true;
  }
  // Until the wanted frame; those before it are dropped.
  template <class Wanted>
  bool wait(Wanted wanted, int milliseconds = kPatience) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    NetFrame frame;
    while (std::chrono::steady_clock::now() < end) {
      if (!take(frame))
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      else if (wanted(frame))
        return true;
    }
    return false;
  }
  static void put16(std::vector<u8>& bytes, std::size_t at, u16 value) {
    bytes[at] = static_cast<u8>(value >> 8);
    bytes[at + 1] = static_cast<u8>(value);
  }
  static void put32(std::vector<u8>& bytes, std::size_t at, u32 value) {
    put16(bytes, at, static_cast<u16>(value >> 16));
    put16(bytes, at + 2, static_cast<u16>(value));
  }
  static std::vector<u8> ethernet(u16 type, const std::vector<u8>& payload) {
    std::vector<u8> frame{0x52, 0x55, 10, 0, 2, 2, 2, 0, 0, 0, 0, 9};
    frame.push_back(static_cast<u8>(type >> 8));
    frame.push_back(static_cast<u8>(type));
    frame.insert(frame.end(), payload.begin(), payload.end());
    return frame;
  }
  // `field`: where the payload has its checksum.
  static std::vector<u8> ipv4(u8 protocol, std::vector<u8> payload, std::size_t field) {
    std::vector<u8> ip{0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2};
    put16(ip, 2, static_cast<u16>(ip.size() + payload.size()));
    const u16 ip_sum = static_cast<u16>(~checksum_add(ip));
    std::memcpy(&ip[10], &ip_sum, sizeof ip_sum);
    const u8 tail[] = {0, protocol, static_cast<u8>(payload.size() >> 8), static_cast<u8>(payload.size())};
    const u16 pseudo = checksum_add(tail, checksum_add({ip.data() + 12, 8}));
    std::memcpy(&payload[field], &pseudo, sizeof pseudo);
    CHECK(complete_checksum(payload, 0, field));
    ip.insert(ip.end(), payload.begin(), payload.end());
    return ethernet(0x0800, ip);
  }
  void send(const std::vector<u8>& bytes) {
    // The network waits while its answers find no room.
    while (!socket.can_send()) {
      for (NetFrame frame; take(frame);) {
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    socket.send(NetFrame(bytes.data(), bytes.size()));
  }

  rlimit limit_{};
  std::set<u16> opened_;  // the guest's ports of connections that the network has answered
  FileDescriptor server_{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  UserNetwork network_{socket, UserNetworkConfig{}};
};

}  // namespace

TEST_CASE("a flood of connections gets half of the descriptors, and they come back") {
  Guest guest;
  const std::size_t before = Guest::descriptors();
  constexpr u16 kFirst = 2000, kCount = 5000;
  for (u16 port = kFirst; port < kFirst + kCount; ++port) guest.segment(port, kSyn, 100);
  guest.settle();
  CHECK(Guest::descriptors() - before == Guest::kFiles / 2);
  // Datagrams still pass: names are found.
  guest.datagram(1999, 100);
  guest.settle();
  CHECK(Guest::descriptors() - before == Guest::kFiles / 2 + 1);
  // libslirp hears no end of what it has not opened yet.
  CHECK(guest.hear_opened(Guest::kFiles / 2));
  for (u16 port = kFirst; port < kFirst + kCount; ++port) guest.segment(port, kRst, 101);
  guest.settle();
  CHECK(Guest::descriptors() - before == 1);
  NetFrame answer;
  guest.segment(1000, kSyn, 100);
  CHECK(guest.hear(1000, kSyn, answer));
}

TEST_CASE("a flood of datagrams gets three quarters of the descriptors") {
  Guest guest;
  const std::size_t before = Guest::descriptors();
  for (u16 port = 2000; port < 7000; ++port) guest.datagram(port, 1000);
  guest.settle();
  CHECK(Guest::descriptors() - before == Guest::kFiles / 4 * 3);
}

TEST_CASE("segments behind a hole in their stream are kept up to a number, and go with the connection") {
  Guest guest;
  const std::size_t before = resident_kib();
  constexpr u16 kFirst = 1000, kConnections = 4;
  u32 acknowledged[kConnections];
  for (u16 i = 0; i < kConnections; ++i) {
    acknowledged[i] = guest.connect(static_cast<u16>(kFirst + i));
    for (u32 n = 0; n < 20'000; ++n)
      guest.segment(static_cast<u16>(kFirst + i), kAck, 103 + 2 * n, acknowledged[i], 1);
  }
  guest.settle();
#ifndef __SANITIZE_THREAD__  // which keeps more about memory than there is in it
  CHECK(resident_kib() < before + 128 * 1024);
#endif
  // No more data, until the connections go.
  const u32 later = guest.connect(2000);
  NetFrame answer;
  guest.segment(2000, kAck, 101, later, 1);
  CHECK(!guest.hear(2000, kAck, answer, 300));
  for (u16 i = 0; i < kConnections; ++i)
    guest.segment(static_cast<u16>(kFirst + i), kRst | kAck, 101, acknowledged[i]);
  guest.segment(2000, kAck, 101, later, 1);
  CHECK(guest.hear(2000, kAck, answer));
  CHECK(get32(answer, 42) == 102);
}

TEST_CASE("a stream without holes is not limited") {
  Guest guest;
  const u32 acknowledged = guest.connect(1000);
  for (u32 n = 0; n < 40'000; ++n) guest.segment(1000, kAck, 101 + n, acknowledged, 1);
  NetFrame answer;
  u32 end = 0;
  while (end != 40'101 && guest.hear(1000, kAck, answer)) end = get32(answer, 42);
  CHECK(end == 40'101);
}
