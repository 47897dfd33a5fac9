// The 82540EM: registers, EEPROM, PHY, interrupts, both rings, offloads, filters, and nonsense.
#include <doctest.h>

#include "devices/net/checksum.hpp"
#include "devices/net/large_segments.hpp"
#include "tests/devices/e1000_machine.hpp"
#include "tests/devices/hostile.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

using Frames = std::vector<std::vector<u8>>;
constexpr MacAddress kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

std::vector<u8> frame_to(const MacAddress& to, std::size_t size = 100) {
  std::vector<u8> frame(size, 0x5a);
  std::copy(to.begin(), to.end(), frame.begin());
  return frame;
}

// With the sums that a driver leaves to the card: the IP checksum zero, TCP's the pseudo-header's.
std::vector<u8> tcp_packet(std::size_t payload, bool length_in_sum) {
  std::vector<u8> packet = frame_to(E1000Machine::kMac, 54 + payload);
  for (std::size_t i = 0; i < payload; ++i) packet[54 + i] = static_cast<u8>(i * 7);
  u8* ip = packet.data() + 12;
  const u8 headers[42] = {8,    0,    0x45, 0, 0,  0, 0xff, 0xff, 0, 0, 64, 6, 0,    0,
                          10,   0,    0,    1, 10, 0, 0,    2,    0, 1, 0,  2, 0xff, 0xff,
                          0xff, 0xf0, 0,    0, 0,  0, 0x50, 0x19, 1, 0, 0,  0, 0,    0};
  std::copy(std::begin(headers), std::end(headers), ip);
  packet[16] = static_cast<u8>((40 + payload) >> 8);
  packet[17] = static_cast<u8>(40 + payload);
  const std::size_t length = length_in_sum ? 20 + payload : 0;
  const u8 tail[4] = {0, 6, static_cast<u8>(length >> 8), static_cast<u8>(length)};
  const u16 sum = checksum_add(tail, checksum_add({packet.data() + 26, 8}));
  std::memcpy(packet.data() + 50, &sum, sizeof sum);
  return packet;
}

u32 big_endian(const std::vector<u8>& bytes, std::size_t at, u32 width) {
  u32 value = 0;
  for (u32 i = 0; i < width; ++i) value = value << 8 | bytes[at + i];
  return value;
}

void check_sums(const std::vector<u8>& frame) {
  CHECK(checksum_add({frame.data() + 14, 20}) == 0xffff);
  const std::size_t length = frame.size() - 34;
  const u8 tail[4] = {0, 6, static_cast<u8>(length >> 8), static_cast<u8>(length)};
  CHECK(checksum_add({frame.data() + 34, length}, checksum_add(tail, checksum_add({frame.data() + 26, 8}))) ==
        0xffff);
}

}  // namespace

TEST_CASE("e1000: identity, registers through memory and ports, resets") {
  E1000Machine m;
  CHECK(m.card.config_read(0, 4) == 0x100e'8086);
  CHECK(m.card.config_read(0x0a, 2) == 0x0200);
  CHECK(m.get(kStatus) == 0x283);  // full duplex, link up, 1000 Mbit/s
  m.set(kRal + 8, 0x1234'5678);
  m.ports.write(E1000Machine::kPorts, 4, kRal + 8);
  CHECK(m.ports.read(E1000Machine::kPorts + 4, 4) == 0x1234'5678);
  m.ports.write(E1000Machine::kPorts + 4, 4, 0x55);
  CHECK(m.get(kRal + 8) == 0x55);
  m.set(kRdlen, ~0u);
  CHECK(m.get(kRdlen) == 0xfff80);
  m.set(kMta + 127 * 4, 0xdead'beef);
  CHECK(m.mmio.read(E1000Machine::kBar + kMta + 127 * 4 + 2, 2) == 0xdead);
  m.set(kCtrl, kCtrlRst);
  CHECK((m.get(kCtrl) & kCtrlRst) == 0);
  CHECK(m.get(kRal + 8) == 0);
  CHECK(m.get(kRal) == 0x0000'0002);
  CHECK(m.get(kRah) == (kRahAv | 0x0100));
}

TEST_CASE("e1000: an unknown register is counted and reads as zero") {
  E1000Machine m;
  CHECK(m.get(0x5ffc) == 0);
  CHECK(m.get(0x1'0000) == 0);
  m.set(0x0034, 1);
  CHECK(m.mmio.read(E1000Machine::kBar + 1, 2) == 0);
  m.ports.write(E1000Machine::kPorts, 4, 0x2'0000);
  CHECK(m.ports.read(E1000Machine::kPorts + 4, 4) == 0);
  CHECK(m.counters.values().at("e1000.unknown") == 5);
}

TEST_CASE("e1000: the EEPROM, by EERD and bit by bit") {
  E1000Machine m;
  const auto by_eerd = [&](u32 word) {
    m.set(kEerd, word << 8 | 1);
    CHECK((m.get(kEerd) & 0x10) != 0);
    return static_cast<u16>(m.get(kEerd) >> 16);
  };
  const auto by_eecd = [&](u32 word) {
    constexpr u32 kSk = 1, kCs = 2, kDi = 4, kDo = 8;
    m.set(kEecd, 0x40);
    CHECK((m.get(kEecd) & 0x80) != 0);
    u16 value = 0;
    for (u32 i = 9; i-- != 0;) {
      const u32 pins = 0x40 | kCs | ((0b110'000000 | word) >> i & 1 ? kDi : 0);
      m.set(kEecd, pins);
      m.set(kEecd, pins | kSk);
    }
    CHECK((m.get(kEecd) & kDo) == 0);  // a zero comes first
    for (u32 i = 0; i < 16; ++i) {
      m.set(kEecd, 0x40 | kCs);
      m.set(kEecd, 0x40 | kCs | kSk);
      value = static_cast<u16>(value << 1 | ((m.get(kEecd) & kDo) != 0));
    }
    m.set(kEecd, 0);
    return value;
  };
  u16 sum = 0;
  for (u32 word = 0; word < 64; ++word) {
    sum = static_cast<u16>(sum + by_eerd(word));
    CHECK(by_eecd(word) == by_eerd(word));
  }
  CHECK(sum == 0xbaba);
  CHECK(by_eerd(0) == 0x0002);
  CHECK(by_eerd(2) == 0x0100);
  CHECK(by_eerd(64) == 0);
}

TEST_CASE("e1000: the PHY says that the link is up; negotiating anew is a link change") {
  E1000Machine m;
  const auto phy = [&](u32 index, u32 address = 1) {
    m.set(kMdic, 2u << 26 | address << 21 | index << 16);
    return m.get(kMdic);
  };
  CHECK((phy(1) & 0xffff) == 0x796d);
  CHECK((phy(2) & 0xffff) == 0x0141);
  CHECK((phy(3) & 0xffff) == 0x0c20);
  CHECK((phy(2) >> 28) == 1);
  CHECK((phy(2, 2) >> 28) == 5);  // nobody there: an error
  m.set(kMdic, 1u << 26 | 1u << 21 | 1u << 16);
  CHECK((phy(1) & 0xffff) == 0x796d);  // cannot be written
  (void)m.get(kIcr);
  m.set(kMdic, 1u << 26 | 1u << 21 | 0x1340);
  CHECK(m.get(kIcr) == kIntLsc);
  CHECK((phy(0) & 0xffff) == 0x1140);
}

TEST_CASE("e1000: causes, mask, and the time between interrupts") {
  E1000Machine m;
  m.set(kIcs, kIntRxt0);
  CHECK_FALSE(m.intx);
  m.set(kIms, kIntRxt0 | kIntTxdw);
  CHECK(m.intx);
  CHECK(m.get(kIms) == (kIntRxt0 | kIntTxdw));
  m.set(kImc, kIntRxt0);
  CHECK_FALSE(m.intx);
  m.set(kIms, kIntRxt0);
  CHECK(m.get(kIcr) == kIntRxt0);
  CHECK_FALSE(m.intx);
  CHECK(m.get(kIcr) == 0);
  m.set(kIcs, kIntRxt0 | kIntTxdw);
  m.set(kIcr, kIntRxt0);  // clears by writing, too
  CHECK(m.intx);
  CHECK(m.get(kIcr) == kIntTxdw);

  m.set(kItr, 1000);  // 256 us
  m.set(kIcs, kIntTxdw);
  CHECK(m.intx);
  (void)m.get(kIcr);
  m.set(kIcs, kIntTxdw);
  CHECK_FALSE(m.intx);
  m.clock.advance(255'000);
  CHECK_FALSE(m.intx);
  m.clock.advance(1'000);
  CHECK(m.intx);
  (void)m.get(kIcr);
  m.set(kIcs, kIntTxdw);
  m.set(kCtrl, kCtrlRst);
  m.clock.advance(1'000'000);
  CHECK_FALSE(m.intx);
}

TEST_CASE("e1000: a frame in one legacy descriptor, and in several") {
  E1000Machine m;
  m.start();
  m.set(kIms, kIntTxdw);
  const auto frame = frame_to(kBroadcast);
  m.write_packet(frame);
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(100, kTxEop | kTxRs));
  CHECK(m.sent().empty());
  m.kick();
  REQUIRE(m.sent() == Frames{frame});
  CHECK(m.intx);
  CHECK((m.load<u8>(E1000Machine::kTransmitRing + 12) & kTxDd) != 0);
  CHECK(m.get(kTdh) == 1);
  CHECK(m.get(kIcr) == (kIntTxdw | kIntTxqe));

  m.put(E1000Machine::kBuffers, E1000Machine::legacy(60, 0));
  m.kick();  // in two parts, with a pause
  CHECK(m.sent().empty());
  m.put(0, E1000Machine::legacy(500, 0));  // nothing at address 0
  m.put(E1000Machine::kBuffers + 60, E1000Machine::legacy(40, kTxEop));
  m.kick();
  CHECK(m.sent() == Frames{frame});
  CHECK((m.load<u8>(E1000Machine::kTransmitRing + 3 * 16 + 12) & kTxDd) == 0);  // not asked for
  CHECK(m.get(kTpt) == 2);
  CHECK(m.get(kTpt) == 0);  // cleared by reading
  CHECK(m.get(kTotl) == 2 * 104);
  CHECK(m.get(kTotl) == 2 * 104);
  CHECK(m.get(kTotl + 4) == 0);  // clears both halves
  CHECK(m.get(kTotl) == 0);
  CHECK(m.get(kBptc) == 2);
  CHECK(m.get(kPtc64 + 4) == 2);
}

TEST_CASE("e1000: short frames are padded if asked, tags inserted, a legacy checksum put in") {
  E1000Machine m;
  m.start();
  m.set(kTctl, kTctlEn | kTctlPsp);
  m.set(kCtrl, kCtrlSlu | kCtrlVme);
  auto frame = frame_to(kBroadcast, 20);
  m.write_packet(frame);
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(20, kTxEop | kTxVle) | u64{0x2007} << 48);
  m.kick();
  auto sent = m.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].size() == 60);
  CHECK(big_endian(sent[0], 12, 4) == 0x8100'2007);
  CHECK(sent[0][16] == 0x5a);
  CHECK(sent[0][30] == 0);
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(20, kTxEop | kTxIc) | u64{18} << 16 | u64{14} << 40);
  m.kick();
  sent = m.sent();
  REQUIRE(sent.size() == 1);
  CHECK(big_endian(sent[0], 18, 2) == 0xffff - (0x5a5a + 0x5a5a + 0x5a5a) % 0xffff);
}

TEST_CASE("e1000: checksums of a packet that is not cut") {
  E1000Machine m;
  m.start();
  const auto packet = tcp_packet(101, true);
  m.write_packet(packet);
  m.put_context(kTucmdIp | kTucmdTcp, 0);
  m.put(E1000Machine::kBuffers, E1000Machine::data(packet.size(), kTxEop, kPoptsIxsm | kPoptsTxsm));
  m.kick();
  const auto sent = m.sent();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].size() == packet.size());
  check_sums(sent[0]);
  // The context stays; without POPTS nothing is touched.
  m.put(E1000Machine::kBuffers, E1000Machine::data(packet.size(), kTxEop, 0));
  m.kick();
  CHECK(m.sent() == Frames{packet});
}

TEST_CASE("e1000: a large packet becomes segments") {
  E1000Machine m;
  m.start();
  const auto packet = tcp_packet(3500, false);
  m.write_packet(packet);
  m.put_context(kTucmdIp | kTucmdTcp | kTxTse, 1000);
  m.put(E1000Machine::kBuffers, E1000Machine::data(54, kTxTse, kPoptsIxsm | kPoptsTxsm));
  m.put(E1000Machine::kBuffers + 54, E1000Machine::data(3500, kTxTse | kTxEop, 0));
  m.kick();
  const auto sent = m.sent();
  REQUIRE(sent.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    const auto& frame = sent[i];
    const std::size_t payload = i == 3 ? 500 : 1000;
    REQUIRE(frame.size() == 54 + payload);
    check_sums(frame);
    CHECK(big_endian(frame, 16, 2) == 40 + payload);
    CHECK(big_endian(frame, 18, 2) == (0xffff + i) % 0x1'0000);                   // identification
    CHECK(big_endian(frame, 38, 4) == static_cast<u32>(0xffff'fff0 + i * 1000));  // sequence
    CHECK(frame[47] == (i == 3 ? 0x19 : 0x10));                                   // FIN and PSH in the last
    CHECK(std::equal(frame.begin() + 54, frame.end(), packet.begin() + 54 + static_cast<long>(i) * 1000));
  }
  CHECK(m.get(kTsctc) == 1);
}

TEST_CASE("e1000: a network that takes large frames gets the packet whole") {
  E1000Machine m(true);
  m.start();
  const auto packet = tcp_packet(3500, false);
  m.write_packet(packet);
  m.put_context(kTucmdIp | kTucmdTcp | kTxTse, 1000);
  m.put(E1000Machine::kBuffers, E1000Machine::data(packet.size(), kTxTse | kTxEop, kPoptsIxsm | kPoptsTxsm));
  m.kick();
  NetFrame frame;
  REQUIRE(m.port.take(frame));
  CHECK(frame.segment == 1000);
  const std::vector<u8> bytes(frame.bytes.begin(), frame.bytes.end());
  CHECK(bytes.size() == packet.size());
  check_sums(bytes);
}

TEST_CASE("e1000: segmentation that makes no sense sends nothing") {
  E1000Machine m;
  m.start();
  const auto packet = tcp_packet(60'000, false);
  m.write_packet(packet);
  const auto send = [&](u64 low, u64 high) {
    m.put(low, high);
    m.put(E1000Machine::kBuffers,
          E1000Machine::data(packet.size(), kTxTse | kTxEop, kPoptsIxsm | kPoptsTxsm));
    m.kick();
    CHECK(m.sent().empty());
  };
  constexpr u64 kCommand = u64{kTucmdIp | kTucmdTcp | kTxTse | 0x20u} << 24;
  constexpr u64 kFields = 14 | 24 << 8 | u64{34} << 32 | u64{50} << 40;
  send(kFields, kCommand | u64{54} << 40);                    // segments of nothing
  send(kFields, kCommand | u64{54} << 40 | u64{1} << 48);     // too many
  send(kFields, kCommand | u64{20} << 40 | u64{1000} << 48);  // a header that ends too early
  send(kFields | u64{0xff} << 40, kCommand | u64{54} << 40 | u64{1000} << 48);
  send(kFields | 0xff, kCommand | u64{54} << 40 | u64{1000} << 48);
  CHECK(m.get(kTsctfc) == 5);
}

TEST_CASE("e1000: buffers outside RAM and packets too large are dropped, the ring goes on") {
  E1000Machine m;
  m.start();
  const auto frame = frame_to(kBroadcast);
  m.write_packet(frame);
  m.put(u64{4} << 20, E1000Machine::legacy(100, kTxEop | kTxRs));
  m.put(~u64{0} - 10, E1000Machine::legacy(100, kTxEop | kTxRs));
  m.put(E1000Machine::kBuffers, E1000Machine::data(0xfffff, kTxEop, 0));
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(5, kTxEop));
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(100, kTxEop));
  m.kick();
  CHECK(m.sent() == Frames{frame});
  CHECK(m.counters.values().at("e1000.dropped") == 4);
}

TEST_CASE("e1000: a head or tail outside the ring stops it; so does a ring outside RAM") {
  E1000Machine m;
  m.start();
  m.set(kTdt, 5000);
  CHECK(m.get(kTdh) == 0);
  m.set(kTdh, 9);
  m.set(kTdt, 1);
  CHECK(m.get(kTdh) == 9);
  m.set(kTdh, 0);
  m.set(kTdbah, 1);
  m.set(kTdt, 3);
  CHECK(m.get(kTdh) == 0);
  m.set(kRdt, 100);
  m.deliver(frame_to(kBroadcast));
  CHECK(m.get(kRdh) == 0);
  CHECK(m.port.received() == nullptr);
  m.set(kTdbah, 0);
  m.card.config_write(4, 2, 3);  // not a bus master
  m.set(kTdt, 3);
  CHECK(m.get(kTdh) == 0);
  m.card.config_write(4, 2, 7);
  CHECK(m.get(kTdh) == 3);
}

TEST_CASE("e1000: one visit takes a part of a long ring and comes back for the rest") {
  E1000Machine m;
  m.post_at_once = false;
  m.start();
  m.set(kTdlen, 1024 * 16);
  m.set(kTdt, 1000);
  CHECK(m.get(kTdh) == 512);
  REQUIRE(m.posted.size() == 1);
  m.posted[0]();
  CHECK(m.get(kTdh) == 1000);
}

TEST_CASE("e1000: a guest that floods waits for the network") {
  E1000Machine m;
  m.start();
  u32 count = 0;
  for (; count < 10'000 && m.get(kTdh) == m.next; ++count) {
    m.put(E1000Machine::kBuffers, E1000Machine::legacy(16'000, kTxEop));
    m.kick();
  }
  CHECK(count < 500);
  CHECK(m.sent().size() == count);  // what waited follows by itself
  CHECK(m.get(kTdh) == m.next);
}

TEST_CASE("e1000: a frame for the guest") {
  E1000Machine m;
  m.start();
  m.set(kIms, kIntRxt0);
  m.deliver(frame_to(E1000Machine::kMac));
  CHECK(m.intx);
  CHECK(m.get(kRdh) == 1);
  CHECK(m.load<u16>(E1000Machine::kReceiveRing + 8) == 104);  // with its checksum
  CHECK(m.receive_status(0) == (kRxDd | kRxEop | kRxIxsm));
  CHECK(m.load<u8>(E1000Machine::kBuffers + 99) == 0x5a);
  CHECK(m.load<u8>(E1000Machine::kBuffers + 100) == 0);
  // Short: padded. No checksum: asked for.
  m.set(kRctl, kRctlEn | kRctlBam | kRctlSecrc);
  m.deliver(frame_to(kBroadcast, 20));
  CHECK(m.load<u16>(E1000Machine::kReceiveRing + 16 + 8) == 60);
  CHECK(m.load<u8>(E1000Machine::kBuffers + 0x1'0000 + 20) == 0);
  CHECK(m.get(kGprc) == 2);
  CHECK(m.get(kBprc) == 1);
}

TEST_CASE("e1000: buffer sizes, frames over several, and frames that wait for them") {
  E1000Machine m;
  m.start(kRctlBam | 3u << kRctlBsizeShift);  // 256 bytes
  m.deliver(frame_to(kBroadcast, 600));
  CHECK(m.get(kRdh) == 3);
  CHECK(m.receive_status(0) == kRxDd);
  CHECK(m.receive_status(1) == kRxDd);
  CHECK(m.receive_status(2) == (kRxDd | kRxEop | kRxIxsm));
  CHECK(m.load<u16>(E1000Machine::kReceiveRing + 8) == 256);
  CHECK(m.load<u16>(E1000Machine::kReceiveRing + 2 * 16 + 8) == 604 - 512);
  m.deliver(frame_to(kBroadcast, 1200));  // five buffers where four are left
  CHECK(m.get(kRdh) == 3);
  m.set(kRdt, 0);
  CHECK(m.get(kRdh) == 0);

  m.start(kRctlBam | kRctlLpe | kRctlBsex | 1u << kRctlBsizeShift);  // 16 KiB
  m.set(kRdh, 0);
  m.deliver(frame_to(kBroadcast, 9000));
  CHECK(m.get(kRdh) == 1);
  m.set(kRctl, kRctlEn | kRctlBam);  // no long packets
  m.deliver(frame_to(kBroadcast, 1519));
  CHECK(m.get(kRdh) == 1);
  CHECK(m.get(kRoc) == 1);
  m.set(kRctl, kRctlEn | kRctlBam | kRctlLpe | 3u << kRctlBsizeShift);
  m.deliver(frame_to(kBroadcast, 9000));  // more than the ring holds
  CHECK(m.get(kMpc) == 1);
  CHECK(m.port.received() == nullptr);
}

TEST_CASE("e1000: few descriptors left") {
  E1000Machine m;
  m.start();
  m.set(kIms, kIntRxdmt0);
  for (int i = 0; i < 2; ++i) m.deliver(frame_to(kBroadcast));
  CHECK_FALSE(m.intx);
  m.deliver(frame_to(kBroadcast));  // four of eight
  CHECK(m.intx);
}

TEST_CASE("e1000: address filters") {
  E1000Machine m;
  m.start(0);
  const auto arrives = [&](const MacAddress& to) {
    const u32 before = m.get(kRdh);
    m.deliver(frame_to(to));
    const u32 after = m.get(kRdh);
    if (before != after) m.set(kRdt, before);
    return before != after;
  };
  const MacAddress other = {2, 0, 0, 0, 0, 2}, group = {0x33, 0x33, 0, 0, 0x12, 0x34};
  CHECK(arrives(E1000Machine::kMac));
  CHECK_FALSE(arrives(other));
  CHECK_FALSE(arrives(kBroadcast));
  CHECK_FALSE(arrives(group));
  m.set(kRctl, kRctlEn | kRctlBam);
  CHECK(arrives(kBroadcast));
  CHECK_FALSE(arrives(group));
  m.set(kRctl, kRctlEn | kRctlUpe);
  CHECK(arrives(other));
  CHECK_FALSE(arrives(group));
  m.set(kRctl, kRctlEn | kRctlMpe);
  CHECK(arrives(group));
  CHECK_FALSE(arrives(other));
  m.set(kRal + 15 * 8, 0x0000'0002);
  m.set(kRah + 15 * 8, 0x0200);
  CHECK_FALSE(arrives(other));  // not valid yet
  m.set(kRah + 15 * 8, kRahAv | 0x0200);
  CHECK(arrives(other));
  for (u32 mo = 0; mo < 4; ++mo) {
    static constexpr u32 kShifts[] = {4, 3, 2, 0};
    const u32 hash = 0x3412u >> kShifts[mo] & 0xfff;
    m.set(kRctl, kRctlEn | mo << kRctlMoShift);
    CHECK_FALSE(arrives(group));
    m.set(kMta + hash / 32 * 4, 1u << hash % 32);
    const u32 slot = m.get(kRdh);
    CHECK(arrives(group));
    CHECK((m.receive_status(slot) & kRxPif) != 0);
    m.set(kMta + hash / 32 * 4, 0);
  }
}

TEST_CASE("e1000: VLAN tags are filtered and stripped") {
  E1000Machine m;
  m.start(kRctlBam | kRctlVfe);
  auto frame = frame_to(kBroadcast);
  const u8 tag[] = {0x81, 0x00, 0x60, 0x25, 0x08, 0x06};
  std::copy(std::begin(tag), std::end(tag), frame.begin() + 12);
  m.deliver(frame);
  CHECK(m.get(kRdh) == 0);
  m.set(kRctl, kRctlEn | kRctlBam);
  m.deliver(frame);
  CHECK(m.get(kRdh) == 1);
  m.set(kRdh, 0);
  m.set(kRctl, kRctlEn | kRctlBam | kRctlVfe);
  m.set(kVfta + 4, 1u << 5);
  m.deliver(frame);
  CHECK(m.get(kRdh) == 1);
  CHECK((m.receive_status(0) & kRxVp) == 0);
  m.set(kCtrl, kCtrlSlu | kCtrlVme);
  m.deliver(frame);
  CHECK(m.get(kRdh) == 2);
  CHECK((m.receive_status(1) & kRxVp) != 0);
  CHECK(m.load<u16>(E1000Machine::kReceiveRing + 16 + 14) == 0x6025);
  CHECK(m.load<u16>(E1000Machine::kReceiveRing + 16 + 8) == 100);
  CHECK(m.load<u16>(E1000Machine::kBuffers + 0x1'0000 + 12) == 0x0608);
}

TEST_CASE("e1000: checksums of what comes in") {
  E1000Machine m;
  m.start(kRctlUpe);
  m.set(kRxcsum, kRxcsumIpofl | kRxcsumTuofl | 14);
  auto packet = tcp_packet(100, true);
  CHECK(insert_checksum(packet, {14, 24, 33}));
  CHECK(insert_checksum(packet, {34, 50, 0}));
  const auto errors = [&](u32 index) { return m.load<u8>(E1000Machine::kReceiveRing + index * 16 + 13); };
  m.deliver(packet);
  CHECK(m.receive_status(0) == (kRxDd | kRxEop | kRxIpcs | kRxTcpcs));
  CHECK(errors(0) == 0);
  const u16 sum = m.load<u16>(E1000Machine::kReceiveRing + 10);
  const u16 all = checksum_add({packet.data() + 14, packet.size() - 14});
  CHECK(sum == static_cast<u16>(~(all << 8 | all >> 8)));
  packet[60] ^= 1;
  m.deliver(packet);
  CHECK(errors(1) == kRxTcpe);
  packet[60] ^= 1;
  packet[22] ^= 1;  // time to live
  m.deliver(packet);
  CHECK(errors(2) == kRxIpe);
  packet[20] = 0x20;  // a fragment
  m.deliver(packet);
  CHECK(m.receive_status(3) == (kRxDd | kRxEop | kRxIpcs));
  m.set(kRxcsum, 0);
  m.deliver(packet);
  CHECK(m.receive_status(4) == (kRxDd | kRxEop | kRxIxsm));
}

TEST_CASE("e1000: a reset in the middle of a packet forgets it; a card that is off hears nothing") {
  E1000Machine m;
  m.start();
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(60, 0));
  m.kick();
  m.set(kCtrl, kCtrlRst);
  m.next = 0;
  m.deliver(frame_to(kBroadcast));
  CHECK(m.port.received() == nullptr);
  m.start();
  const auto frame = frame_to(kBroadcast);
  m.write_packet(frame);
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(100, kTxEop));
  m.kick();
  CHECK(m.sent() == Frames{frame});
}

TEST_CASE("e1000: a snapshot in the middle of a packet") {
  E1000Machine m, other;
  m.start();
  const auto frame = frame_to(kBroadcast);
  m.write_packet(frame);
  other.write_packet(frame);
  m.put(E1000Machine::kBuffers, E1000Machine::legacy(60, 0));
  m.kick();
  core::SnapshotIo saved;
  m.card.snapshot(saved);
  core::SnapshotIo loading(saved.stream());
  other.card.snapshot(loading);
  other.card.update_bars();
  other.next = m.next;
  other.put(E1000Machine::kBuffers + 60, E1000Machine::legacy(40, kTxEop));
  other.kick();
  CHECK(other.sent() == Frames{frame});
}

TEST_CASE("large TCP over IPv6 is cut, too") {
  std::vector<u8> packet = frame_to(E1000Machine::kMac, 74 + 4000);
  const u8 headers[] = {0x86, 0xdd, 0x60, 0, 0, 0, (20 + 4000) >> 8, (20 + 4000) & 0xff, 6, 64};
  std::copy(std::begin(headers), std::end(headers), packet.begin() + 12);
  packet[66] = 0x50;
  for (const bool large : {false, true}) {
    std::size_t payload = 0;
    fit_to_wire(NetFrame(packet.data(), packet.size()), large, [&](const NetFrame& frame) {
      const std::size_t length = frame.bytes.size() - 54;
      const u8* bytes = frame.bytes.data();
      CHECK(frame.bytes.size() <= kEthernetHeader + kWireMtu);
      CHECK((bytes[18] << 8 | bytes[19]) == static_cast<int>(length));
      const u8 tail[4] = {0, 6, static_cast<u8>(length >> 8), static_cast<u8>(length)};
      CHECK(checksum_add({bytes + 54, length}, checksum_add(tail, checksum_add({bytes + 22, 32}))) == 0xffff);
      payload += length - 20;
    });
    CHECK(payload == 4000);
  }
}

TEST_CASE("large TCP of the NAT is cut for a guest that takes no large segments") {
  const auto packet = tcp_packet(5000, true);
  std::vector<NetFrame> frames;
  fit_to_wire(NetFrame(packet.data(), packet.size()), false,
              [&](NetFrame frame) { frames.push_back(std::move(frame)); });
  REQUIRE(frames.size() == 4);
  for (const NetFrame& frame : frames) {
    CHECK(frame.bytes.size() <= kEthernetHeader + kWireMtu);
    CHECK(frame.segment == 0);
    check_sums({frame.bytes.begin(), frame.bytes.end()});
  }
}
