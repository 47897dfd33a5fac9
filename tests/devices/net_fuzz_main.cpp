// A hostile guest for the network cards: random registers, rings, descriptors and contexts, mostly shaped
// like what a driver does, while frames come in. Whatever it does, a card that is reset and set up works
// again. What is looked for beside that are crashes, hangs and accesses out of bounds, by the sanitizers.
//   fuzz_net [--seconds N] [--seed N]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>

#include "devices/virtio/virtio_net.hpp"
#include "devices/virtio/virtio_pci.hpp"
#include "tests/devices/e1000_machine.hpp"
#include "tests/devices/hostile.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using namespace doppel::devices::e1000;
using devices::testing::E1000Machine;
using devices::testing::Hostile;

namespace {

constexpr u64 kRam = u64{4} << 20;

u64 address(Hostile& random) {
  switch (random.below(12)) {
    case 0:
      return random.value();
    case 1:
      return kRam - random.below(64);
    default:
      return random.below(kRam);
  }
}

NetFrame frame(Hostile& random, const MacAddress& mac) {
  NetFrame made(random.below(8) ? random.below(1600) : random.below(kLargestFrame + 1));
  // Headers are at the front; most of the time would go into the rest.
  std::fill_n(made.bytes.data(), made.bytes.size(), u8{0});
  for (u8& byte : std::span(made.bytes.data(), std::min<std::size_t>(made.bytes.size(), 200)))
    byte = static_cast<u8>(random.below(4) ? 0 : random.value());
  if (made.bytes.size() < 60) return made;
  if (random.below(4)) std::copy(mac.begin(), mac.end(), made.bytes.begin());
  static constexpr u8 kIp[] = {8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 6};
  if (random.below(2)) std::copy(std::begin(kIp), std::end(kIp), made.bytes.begin() + 12);
  made.segment = random.below(16) ? u16{0} : u16{1460};
  made.checksums_good = random.below(2);
  return made;
}

// The network's side: what was sent is taken, something comes in. False: a frame that no card may make.
bool network(Hostile& random, NetPort& port, const MacAddress& mac) {
  for (u64 n = random.below(64); n != 0; --n) {
    NetFrame sent;
    if (!port.take(sent)) break;
    if (sent.bytes.empty() || sent.bytes.size() > kLargestFrame) return false;
  }
  if (port.can_deliver()) port.deliver(frame(random, mac));
  return true;
}

void round_trip(Hostile& random, auto& card) {
  SnapshotIo saved;
  card.snapshot(saved);
  auto stream = saved.stream();
  for (u64 damage = random.below(6); damage != 0; --damage)
    stream[random.below(stream.size())] = static_cast<u8>(random.below(256));
  SnapshotIo loading(stream);
  try {
    card.snapshot(loading);
  } catch (const SnapshotError&) {
    card.reset();
  }
}

class E1000Guest {
 public:
  explicit E1000Guest(u32 seed) : random_(seed), m_(seed % 2 != 0) { m_.start(); }
  bool step() {
    switch (random_.below(16)) {
      case 0:
        m_.plug_in();
        m_.start(static_cast<u32>(random_.value()));
        m_.next = 0;
        break;
      case 1:
        random_.access(m_.card, kMemorySize + kPortsSize);
        break;
      case 2:
        m_.card.config_write(static_cast<u8>(random_.below(64) * 4), 4, static_cast<u32>(random_.value()));
        m_.card.update_bars();
        break;
      case 3:
        if (random_.below(64) == 0) round_trip(random_, m_.card);
        break;
      case 4:
        m_.clock.advance(random_.below(1'000'000));
        break;
      case 5:
      case 6:
        registers();
        break;
      default:
        descriptors();
    }
    return network(random_, m_.port, E1000Machine::kMac);
  }
  // Nothing that happened before matters.
  bool works_after_all() {
    m_.plug_in();
    m_.next = 0;
    m_.start();
    while (m_.port.received()) m_.port.pop();
    (void)m_.sent();
    const std::vector<u8> bytes(100, 0xff);
    m_.write_packet(bytes);
    m_.put(E1000Machine::kBuffers, E1000Machine::legacy(100, kTxEop));
    m_.kick();
    m_.deliver(bytes);
    return m_.sent() == std::vector<std::vector<u8>>{bytes} && m_.get(kRdh) == 1;
  }

 private:
  void registers() {
    static constexpr u32 kUseful[] = {kCtrl,  kIcr,   kItr,    kIcs,  kIms,  kImc,   kRctl,  kTctl,
                                      kRdbal, kRdbah, kRdlen,  kRdh,  kRdt,  kTdbal, kTdbah, kTdlen,
                                      kTdh,   kTdt,   kRxcsum, kMdic, kEecd, kEerd,  kVet};
    const u32 reg = kUseful[random_.below(std::size(kUseful))];
    const u64 value = random_.below(3)   ? random_.value()
                      : random_.below(3) ? random_.below(64)
                                         : address(random_);
    m_.set(reg, value);
    (void)m_.get(reg);
  }
  void descriptors() {
    for (u64 n = 1 + random_.below(6); n != 0; --n) {
      const u32 length = static_cast<u32>(random_.below(4) ? random_.below(3000) : random_.below(1u << 20));
      u8 command = static_cast<u8>((random_.below(3) ? 0 : kTxEop) | (random_.below(2) ? kTxTse : 0) |
                                   (random_.below(4) ? 0 : random_.below(256)));
      switch (random_.below(4)) {
        case 0:
          m_.put(address(random_), E1000Machine::legacy(length & 0xffff, command & ~kTxDext) |
                                       random_.below(256) << 40 | random_.below(256) << 16);
          break;
        case 1:
          if (random_.below(2))
            m_.put_context(command | kTucmdIp | kTucmdTcp, static_cast<u16>(random_.below(3000)));
          else
            m_.put(random_.value(),
                   u64{command | 0x20u} << 24 | random_.below(256) << 40 | random_.below(1u << 16) << 48);
          break;
        default:
          m_.put(address(random_), E1000Machine::data(length, command, static_cast<u8>(random_.below(4))) |
                                       random_.below(1u << 16) << 48);
      }
    }
    m_.kick();
    m_.set(kRdt, random_.below(8) ? (m_.get(kRdh) + 7) % 8 : random_.below(10));
    if (random_.below(4) == 0)
      m_.store<u64>(E1000Machine::kReceiveRing + random_.below(8) * 16, address(random_));
  }

  Hostile random_;
  E1000Machine m_;
};

class VirtioNetGuest {
 public:
  explicit VirtioNetGuest(u32 seed) : random_(seed) {
    port_.connect([] {}, seed % 2 != 0);
    card_.emplace(port_, kMac, counters_);
    function_.emplace(
        *card_, ram_, mmio_, [](u64, u32) {}, counters_);
    start(false);
  }
  bool step() {
    switch (random_.below(16)) {
      case 0:
        start(true);
        break;
      case 1:
        mmio_.write(kBar + random_.below(0x4000), 1u << random_.below(4), random_.value());
        break;
      case 2:
        (void)mmio_.read(kBar + random_.below(0x4000), 1u << random_.below(4));
        break;
      case 3:
        if (random_.below(64) == 0) round_trip(random_, *function_);
        break;
      default:
        chains();
    }
    return network(random_, port_, kMac);
  }
  bool works_after_all() {
    function_->reset();
    start(false);
    for (NetFrame frame; port_.take(frame);) {
    }
    while (port_.received()) port_.pop();
    const std::vector<u8> bytes(112, 0);
    (void)ram_.write(0x2'0000, bytes);
    add(1, 0x2'0000, 112, 0, 0);
    add(0, 0x3'0000, 2048, 2, 0);
    notify(0);
    notify(1);
    port_.deliver(NetFrame(100));
    NetFrame sent;
    return port_.take(sent) && sent.bytes.size() == 100 && port_.received() == nullptr;
  }

 private:
  static constexpr u64 kBar = 0xe000'0000;
  static constexpr u16 kSize = 16;
  static constexpr MacAddress kMac = {2, 0, 0, 0, 0, 1};

  static u64 place(u16 queue) { return 0x10'0000 + queue * 0x4000u; }
  void common(u64 at, u32 width, u64 value) { mmio_.write(kBar + at, width, value); }
  template <class T>
  void store(u64 pa, T value) {
    (void)ram_.write(pa, {reinterpret_cast<const u8*>(&value), sizeof value});
  }
  void start(bool wild) {
    function_->config_write(0x14, 4, 0xe001'0000);
    function_->config_write(0x20, 4, static_cast<u32>(kBar));
    function_->config_write(4, 2, 6);
    function_->update_bars();
    common(0x14, 1, 0);
    common(0x14, 1, 3);
    const u64 features = (u64{1} << 32) | (wild ? random_.value() & 0xb7'988b : 0);
    for (u32 half = 0; half < 2; ++half) {
      common(0x08, 4, half);
      common(0x0c, 4, features >> half * 32 & 0xffff'ffff);
    }
    common(0x14, 1, 11);
    for (u16 queue = 0; queue < 3; ++queue) {
      added_[queue] = 0;
      for (u64 pa = place(queue); pa < place(queue) + 0x3000; pa += 8) store<u64>(pa, 0);
      common(0x16, 2, queue);
      common(0x18, 2, kSize);
      common(0x20, 8, wild && random_.below(32) == 0 ? address(random_) : place(queue));
      common(0x28, 8, place(queue) + 0x1000);
      common(0x30, 8, place(queue) + 0x2000);
      common(0x1c, 2, 1);
    }
    common(0x14, 1, 15);
  }
  void add(u16 queue, u64 where, u32 length, u16 flags, u16 next) {
    const u16 index = added_[queue] % kSize;
    store<u64>(place(queue) + index * 16u, where);
    store<u32>(place(queue) + index * 16u + 8, length);
    store<u16>(place(queue) + index * 16u + 12, flags);
    store<u16>(place(queue) + index * 16u + 14, next);
    store<u16>(place(queue) + 0x1004 + index * 2u, index);
    store<u16>(place(queue) + 0x1002, ++added_[queue]);
  }
  void notify(u16 queue) { mmio_.write(kBar + 0x3000 + queue * 4u, 2, queue); }
  void chains() {
    const u16 queue = static_cast<u16>(random_.below(3));
    for (u64 n = 1 + random_.below(4); n != 0; --n) {
      const u64 where = address(random_);
      // A header that makes sense, in front of a frame that does not.
      if (queue == 1 && random_.below(2)) {
        store<u64>(where, random_.below(2) | random_.below(5) << 8 | random_.below(64) << 16 |
                              random_.below(2000) << 32 | random_.below(64) << 48);
        store<u32>(where + 8, static_cast<u32>(random_.below(32)));
      }
      const u32 length = static_cast<u32>(random_.below(8) ? random_.below(3000) : random_.value());
      const u16 flags = static_cast<u16>((queue == 0 ? 2 : 0) ^ (random_.below(4) ? 0 : random_.below(8)));
      add(queue, where, length, flags, static_cast<u16>(random_.below(kSize)));
    }
    notify(queue);
  }

  Hostile random_;
  Counters counters_;
  std::recursive_mutex lock_;
  Bus mmio_{"mmio", counters_, lock_};
  GuestRam ram_{kRam};
  NetPort port_{[](const std::function<void()>& work) { work(); }};
  std::optional<VirtioNet> card_;
  std::optional<VirtioPci> function_;
  u16 added_[3] = {};
};

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  u32 seed = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--seconds") == 0) seconds = std::atof(argv[i + 1]);
    if (std::strcmp(argv[i], "--seed") == 0) seed = static_cast<u32>(std::strtoul(argv[i + 1], nullptr, 0));
  }
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  u64 steps = 0;
  const u32 first = seed;
  // A fresh pair of cards every so often, so that a seed that fails is a short way to the failure.
  for (; Clock::now() < end; ++seed) {
    E1000Guest e1000(seed);
    VirtioNetGuest virtio(seed);
    bool good = true;
    for (int i = 0; i < 2'000; ++i, steps += 2) good = e1000.step() && virtio.step() && good;
    const bool e1000_works = e1000.works_after_all(), virtio_works = virtio.works_after_all();
    if (good && e1000_works && virtio_works) continue;
    std::printf("seed %u: %s\n1 passed, 1 failed\n", seed,
                !good          ? "an impossible frame"
                : !e1000_works ? "the e1000 is dead"
                               : "the virtio card is dead");
    return 1;
  }
  std::printf("%llu steps, seeds %u to %u: 2 passed, 0 failed\n", static_cast<unsigned long long>(steps),
              first, seed - 1);
  return 0;
}
