// The network card's model, its port, and what makes large segments.
#include "devices/virtio/virtio_net.hpp"

#include <doctest.h>

#include <array>
#include <cstring>
#include <optional>
#include <vector>

#include "core/bus.hpp"
#include "devices/net/checksum.hpp"
#include "devices/net/large_segments.hpp"
#include "devices/net/nat_limits.hpp"
#include "devices/virtio/virtio_pci.hpp"
#include "tests/devices/hostile.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;

namespace {

constexpr u64 kBar = 0xe000'0000;
constexpr u16 kSize = 16;

// A card with its queues at fixed places of RAM, split layout; and the network's side of its port.
struct Rig {
  explicit Rig(u64 features) {
    port.connect([] {}, true);
    card.emplace(port, MacAddress{2, 0, 0, 0, 0, 1}, counters);
    function.emplace(
        *card, ram, mmio, [](u64, u32) {}, counters);
    function->reset();
    function->config_write(0x14, 4, 0xe001'0000);
    function->config_write(0x20, 4, static_cast<u32>(kBar));
    function->config_write(4, 2, 6);
    function->update_bars();
    set(0x14, 1, 3);
    for (u32 half = 0; half < 2; ++half) {
      set(0x08, 4, half);
      set(0x0c, 4, (features | u64{1} << 32) >> half * 32 & 0xffff'ffff);
    }
    set(0x14, 1, 11);
    for (u16 queue = 0; queue < 3; ++queue) {
      set(0x16, 2, queue);
      set(0x18, 2, kSize);
      set(0x20, 8, place(queue));
      set(0x28, 8, place(queue) + 0x1000);
      set(0x30, 8, place(queue) + 0x2000);
      set(0x1c, 2, 1);
    }
    set(0x14, 1, 15);
  }
  static u64 place(u16 queue) { return 0x10'0000 + queue * 0x4000u; }
  void set(u64 at, u32 width, u64 value) { mmio.write(kBar + at, width, value); }
  u8 status() { return static_cast<u8>(mmio.read(kBar + 0x14, 1)); }
  template <class T>
  void store(u64 pa, T value) {
    CHECK(ram.write(pa, {reinterpret_cast<const u8*>(&value), sizeof value}));
  }
  template <class T>
  T load(u64 pa) {
    T value{};
    CHECK(ram.read(pa, {reinterpret_cast<u8*>(&value), sizeof value}));
    return value;
  }
  // One descriptor, made available without a notification.
  void add(u16 queue, u64 address, u32 length, bool device_writes) {
    const u16 index = added[queue] % kSize;
    store<u64>(place(queue) + index * 16u, address);
    store<u32>(place(queue) + index * 16u + 8, length);
    store<u32>(place(queue) + index * 16u + 12, device_writes ? 2 : 0);
    store<u16>(place(queue) + 0x1004 + index * 2u, index);
    store<u16>(place(queue) + 0x1002, ++added[queue]);
  }
  void notify(u16 queue) { mmio.write(kBar + 0x3000 + queue * 4u, 2, queue); }
  u16 used(u16 queue) { return load<u16>(place(queue) + 0x2002); }
  void send(const NetFrame& frame, const std::array<u8, 12>& header) {
    CHECK(ram.write(0x2'0000, header));
    CHECK(ram.write(0x2'0000 + 12, {frame.bytes.data(), frame.bytes.size()}));
    add(1, 0x2'0000, static_cast<u32>(12 + frame.bytes.size()), false);
    notify(1);
  }

  Counters counters;
  std::recursive_mutex lock;
  Bus mmio{"mmio", counters, lock};
  GuestRam ram{u64{4} << 20};
  NetPort port{[](const std::function<void()>& work) { work(); }};
  std::optional<VirtioNet> card;
  std::optional<VirtioPci> function;
  u16 added[3] = {};
};

constexpr u64 kChecksum = 1, kGuestChecksum = 2, kGuestTso4 = 1u << 7, kMerge = 1u << 15, kControl = 1u << 17;

// TCP over IPv4 with `size` bytes of data.
NetFrame tcp_frame(std::size_t size, u8 flags = 0x10, bool with_segment_option = false) {
  const std::size_t tcp = with_segment_option ? 24 : 20;
  NetFrame frame(14 + 20 + tcp + size);
  std::fill(frame.bytes.begin(), frame.bytes.end(), u8{0x5a});
  u8* ip = frame.bytes.data() + 14;
  ip[-2] = 8;
  ip[-1] = 0;
  std::memset(ip, 0, 20 + tcp);
  ip[0] = 0x45;
  ip[2] = static_cast<u8>((20 + tcp + size) >> 8);
  ip[3] = static_cast<u8>(20 + tcp + size);
  ip[9] = 6;
  ip[20 + 12] = static_cast<u8>(tcp / 4 << 4);
  ip[20 + 13] = flags;
  if (with_segment_option) std::memcpy(ip + 40, "\2\4\x05\xb4", 4);
  return frame;
}

u16 tcp_sum(const NetFrame& frame) {
  const std::size_t size = frame.bytes.size() - 34;
  const u8 tail[] = {0, 6, static_cast<u8>(size >> 8), static_cast<u8>(size)};
  return checksum_add({frame.bytes.data() + 34, size},
                      checksum_add(tail, checksum_add({frame.bytes.data() + 26, 8})));
}

}  // namespace

TEST_CASE("the Internet checksum: RFC 1071's example, odd lengths, any split") {
  const u8 bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7, 0xaa};
  CHECK(checksum_add({bytes, 8}) == 0xf2dd);  // ddf2 in network order
  CHECK(checksum_add({bytes, 9}) == checksum_add({bytes + 8, 1}, checksum_add({bytes, 8})));
  CHECK(checksum_add({}) == 0);
}

TEST_CASE("a checksum is completed inside the frame only") {
  std::array<u8, 40> bytes{};
  CHECK(complete_checksum(bytes, 20, 16));
  CHECK_FALSE(complete_checksum(bytes, 20, 19));
  CHECK_FALSE(complete_checksum(bytes, 41, 0));
  CHECK_FALSE(complete_checksum(bytes, 65535, 65535));
  CHECK_FALSE(complete_checksum(bytes, 39, 0));
}

TEST_CASE("a frame that the guest sends arrives, with its checksum") {
  Rig rig(kChecksum);
  NetFrame frame = tcp_frame(100);
  rig.send(frame, {1, 0, 0, 0, 0, 0, 34, 0, 16, 0});
  CHECK(rig.used(1) == 1);
  NetFrame taken;
  REQUIRE(rig.port.take(taken));
  REQUIRE(taken.bytes.size() == frame.bytes.size());
  CHECK(checksum_add({taken.bytes.data() + 34, taken.bytes.size() - 34}) == 0xffff);
  CHECK_FALSE(rig.port.take(taken));
}

TEST_CASE("frames that make no sense are dropped, their memory goes back") {
  Rig rig(kChecksum);
  NetFrame taken;
  rig.send(tcp_frame(100), {1, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0});  // a checksum beyond the end
  rig.send(tcp_frame(100), {0, 1, 0, 0, 100, 0});                  // segmentation that was not negotiated
  rig.send(tcp_frame(100), {0, 77});
  rig.send(NetFrame(5), {});
  rig.add(1, 0x2'0000, 200'000, false);  // larger than any packet
  rig.notify(1);
  CHECK(rig.used(1) == 5);
  CHECK_FALSE(rig.port.take(taken));
  CHECK(rig.status() == 15);
}

TEST_CASE("a guest that floods waits: what was accepted arrives, nothing more is taken") {
  Rig rig(0);
  u32 sent = 0;
  const NetFrame frame = tcp_frame(60'000);
  for (; sent < 200 && rig.used(1) == static_cast<u16>(sent); ++sent) rig.send(frame, {});
  CHECK(sent < 100);  // 4 MiB of frames and no more
  u32 taken = 0;
  for (NetFrame one; rig.port.take(one); ++taken) CHECK(one.bytes.size() == frame.bytes.size());
  CHECK(taken == sent);
}

TEST_CASE("a frame for the guest waits for enough buffers, and uses several") {
  Rig rig(kMerge);
  rig.port.deliver(tcp_frame(1000));
  CHECK(rig.used(0) == 0);
  rig.add(0, 0x3'0000, 512, true);
  rig.notify(0);
  CHECK(rig.used(0) == 0);
  rig.add(0, 0x3'1000, 512, true);
  rig.add(0, 0x3'2000, 512, true);
  rig.notify(0);
  CHECK(rig.used(0) == 3);
  CHECK(rig.load<u16>(0x3'0000 + 10) == 3);
  CHECK(rig.load<u8>(0x3'2000 + 10) == 0x5a);
}

TEST_CASE("a large segment is described to the driver") {
  Rig rig(kChecksum | kGuestChecksum | kGuestTso4 | kMerge);
  CHECK(rig.port.guest_takes_large());
  fit_to_wire(tcp_frame(5000), true, [&](NetFrame frame) { rig.port.deliver(std::move(frame)); });
  rig.add(0, 0x4'0000, 8192, true);
  rig.notify(0);
  REQUIRE(rig.used(0) == 1);
  CHECK(rig.load<u16>(0x4'0000) == 0x0101);  // needs a checksum, TCP over IPv4
  CHECK(rig.load<u16>(0x4'0000 + 4) == kWireSegment);
  CHECK(rig.load<u16>(0x4'0000 + 6) == 34);
  CHECK(rig.load<u16>(0x4'0000 + 8) == 16);
}

TEST_CASE("a reset forgets what the driver wanted and keeps what waits for it") {
  Rig rig(kGuestChecksum | kGuestTso4 | kMerge);
  rig.add(0, 0x4'0000, 64, true);
  rig.port.deliver(tcp_frame(1000));
  rig.set(0x14, 1, 0);
  CHECK_FALSE(rig.port.guest_takes_large());
  rig.port.deliver(tcp_frame(1000));
  CHECK(rig.port.received() == nullptr);  // nobody listens
}

TEST_CASE("address filters, by the control queue") {
  Rig rig(kMerge | kControl | 1u << 18 | 1u << 23);
  const auto command = [&](std::vector<u8> bytes) {
    CHECK(rig.ram.write(0x5'0000, bytes));
    const u16 index = rig.added[2] % kSize;  // two descriptors: the command, its answer
    rig.store<u64>(Rig::place(2) + 14 * 16, 0x5'0000);
    rig.store<u32>(Rig::place(2) + 14 * 16 + 8, static_cast<u32>(bytes.size()));
    rig.store<u32>(Rig::place(2) + 14 * 16 + 12, 1 | 15 << 16);
    rig.store<u64>(Rig::place(2) + 15 * 16, 0x5'1000);
    rig.store<u32>(Rig::place(2) + 15 * 16 + 8, 1);
    rig.store<u32>(Rig::place(2) + 15 * 16 + 12, 2);
    rig.store<u16>(Rig::place(2) + 0x1004 + index * 2u, 14);
    rig.store<u16>(Rig::place(2) + 0x1002, ++rig.added[2]);
    rig.notify(2);
    return rig.load<u8>(0x5'1000);
  };
  CHECK(command({0, 0, 0}) == 0);   // not promiscuous
  CHECK(command({0, 99, 1}) == 1);  // no such switch
  CHECK(command({1, 0, 0xff, 0xff, 0xff, 0xff}) == 1);
  CHECK(command({1, 0, 1, 0, 0, 0, 1, 2}) == 1);  // shorter than it says
  CHECK(command({9}) == 1);
  for (int i = 0; i < 4; ++i) rig.add(0, 0x6'0000, 2048, true);
  rig.notify(0);
  const auto arrives = [&](MacAddress to) {
    const u16 before = rig.used(0);
    NetFrame frame = tcp_frame(10);
    std::copy(to.begin(), to.end(), frame.bytes.begin());
    rig.port.deliver(std::move(frame));
    return rig.used(0) != before;
  };
  CHECK(arrives({2, 0, 0, 0, 0, 1}));
  CHECK_FALSE(arrives({2, 0, 0, 0, 0, 2}));
  CHECK(arrives({0xff, 0xff, 0xff, 0xff, 0xff, 0xff}));
  CHECK_FALSE(arrives({0x33, 0x33, 0, 0, 0, 1}));
  CHECK(command({1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x33, 0x33, 0, 0, 0, 1}) == 0);
  CHECK(arrives({0x33, 0x33, 0, 0, 0, 1}));
}

TEST_CASE("only a SYN with the wire's segment size asks for larger ones") {
  NetFrame syn = tcp_frame(0, 2, true), data = tcp_frame(0, 16, true);
  ask_for_large_segments(syn, 20'000);
  ask_for_large_segments(data, 20'000);
  CHECK((syn.bytes[56] << 8 | syn.bytes[57]) == 20'000);
  CHECK(tcp_sum(syn) == 0xffff);
  CHECK((data.bytes[56] << 8 | data.bytes[57]) == kWireSegment);
}

TEST_CASE("what is too long for the wire and no TCP becomes fragments") {
  NetFrame frame = tcp_frame(4000);
  frame.bytes[14 + 9] = 17;  // UDP
  std::vector<NetFrame> pieces;
  fit_to_wire(frame, true, [&](NetFrame piece) { pieces.push_back(std::move(piece)); });
  REQUIRE(pieces.size() == 3);
  std::size_t bytes = 0;
  for (NetFrame& piece : pieces) {
    CHECK(piece.bytes.size() <= kEthernetHeader + kWireMtu);
    CHECK(checksum_add({piece.bytes.data() + 14, 20}) == 0xffff);
    CHECK((piece.bytes[20] << 8 & 0x2000) == (&piece == &pieces.back() ? 0 : 0x2000));
    CHECK(((piece.bytes[20] & 0x1f) << 8 | piece.bytes[21]) * 8u == bytes);
    bytes += piece.bytes.size() - 34;
  }
  CHECK(bytes == 4020);
}

TEST_CASE("frames of noise harm nothing") {
  testing::Hostile random(11);
  NatLimits limits;
  for (int i = 0; i < 200'000; ++i) {
    NetFrame frame = tcp_frame(random.below(60), static_cast<u8>(random.below(32)), random.below(2));
    frame.bytes.resize(random.below(frame.bytes.size() + 1));
    for (u64 n = random.below(6); n != 0 && !frame.bytes.empty(); --n)
      frame.bytes[random.below(frame.bytes.size())] = static_cast<u8>(random.value());
    (void)limits.accept(frame);
    ask_for_large_segments(frame, 9000);
    if (random.below(4) == 0) frame.bytes.resize(1515 + random.below(5000));
    fit_to_wire(std::move(frame), random.below(2), [](const NetFrame&) {});
  }
}
