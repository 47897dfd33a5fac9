// An e1000 in a slot with guest RAM, and what its driver does by hand: registers through the BARs,
// descriptors in rings at fixed places. For its tests and the fuzzer.
#pragma once

#include <array>
#include <cstring>
#include <functional>
#include <vector>

#include "core/bus.hpp"
#include "devices/net/e1000.hpp"

namespace doppel::devices::testing {

using namespace e1000;

struct E1000Machine {
  static constexpr u64 kBar = 0xe000'0000, kTransmitRing = 0x1'0000, kReceiveRing = 0x2'0000,
                       kBuffers = 0x10'0000;
  static constexpr u16 kPorts = 0xc000;
  static constexpr u32 kSize = 8;  // descriptors in each ring
  static constexpr MacAddress kMac = {2, 0, 0, 0, 0, 1};

  explicit E1000Machine(bool large = false) {
    port.connect([] {}, large);
    card.on_intx([this](bool level) {
      intx = level;
      rises += level;
    });
    plug_in();
  }
  void plug_in() {
    card.reset();
    card.config_write(0x10, 4, static_cast<u32>(kBar));
    card.config_write(0x14, 4, kPorts);
    card.config_write(4, 2, 7);
    card.update_bars();
  }
  // Both rings and everything on. `rctl` is added.
  void start(u32 rctl = kRctlBam) {
    set(kTdbal, kTransmitRing);
    set(kTdlen, kSize * kDescriptorSize);
    set(kTctl, kTctlEn);
    for (u32 i = 0; i < kSize; ++i) store<u64>(kReceiveRing + i * 16, kBuffers + i * 0x1'0000);
    set(kRdbal, kReceiveRing);
    set(kRdlen, kSize * kDescriptorSize);
    set(kRdt, kSize - 1);
    set(kRctl, kRctlEn | rctl);
  }
  u32 get(u64 at) { return static_cast<u32>(mmio.read(kBar + at, 4)); }
  void set(u64 at, u64 value) { mmio.write(kBar + at, 4, value); }
  template <class T>
  void store(u64 pa, T value) {
    (void)ram.write(pa, {reinterpret_cast<const u8*>(&value), sizeof value});
  }
  template <class T>
  T load(u64 pa) {
    T value{};
    (void)ram.read(pa, {reinterpret_cast<u8*>(&value), sizeof value});
    return value;
  }

  // A descriptor at the tail, not yet handed over.
  void put(u64 low, u64 high) {
    store<u64>(kTransmitRing + next * 16, low);
    store<u64>(kTransmitRing + next * 16 + 8, high);
    next = (next + 1) % kSize;
  }
  void kick() { set(kTdt, next); }
  static u64 legacy(u64 length, u8 command) { return length | u64{command} << 24; }
  static u64 data(u64 length, u8 command, u8 options) {
    return length | 1u << 20 | u64{command | 0x20u} << 24 | u64{options} << 40;
  }
  // TCP over IPv4 without options in either header.
  void put_context(u8 command, u16 segment) {
    put(14 | 24 << 8 | 33 << 16 | u64{34} << 32 | u64{50} << 40,
        u64{command | 0x20u} << 24 | u64{54} << 40 | u64{segment} << 48);
  }
  void write_packet(const std::vector<u8>& bytes, u64 at = kBuffers) { (void)ram.write(at, bytes); }

  std::vector<std::vector<u8>> sent() {
    std::vector<std::vector<u8>> frames;
    for (NetFrame frame; port.take(frame);) frames.emplace_back(frame.bytes.begin(), frame.bytes.end());
    return frames;
  }
  void deliver(const std::vector<u8>& bytes) { port.deliver(NetFrame(bytes.data(), bytes.size())); }
  u8 receive_status(u32 index) { return load<u8>(kReceiveRing + index * 16 + 12); }

  core::Counters counters;
  std::recursive_mutex lock;
  core::Bus mmio{"mmio", counters, lock}, ports{"port", counters, lock};
  core::GuestRam ram{u64{4} << 20};
  core::ManualClock clock;
  std::vector<std::function<void()>> posted;
  bool post_at_once = true;
  NetPort port{[this](std::function<void()> work) {
    if (post_at_once)
      work();
    else
      posted.push_back(std::move(work));
  }};
  E1000 card{port, kMac, {ram, mmio, ports, clock}, counters};
  bool intx = false;
  u32 rises = 0;
  u32 next = 0;  // transmit descriptor
};

}  // namespace doppel::devices::testing
