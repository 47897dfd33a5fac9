// A virtio driver for tests, by hand: finds the registers of a VirtioPci function, does the handshake, and
// puts requests into a split or a packed queue in guest RAM.
#pragma once

#include <doctest.h>

#include <cstring>
#include <vector>

#include "core/bus.hpp"
#include "core/guest_ram.hpp"
#include "devices/virtio/virtio_blk.hpp"
#include "devices/virtio/virtio_pci.hpp"
#include "tests/devices/memory_disk.hpp"

namespace doppel::devices::testing {

inline constexpr u64 kVirtioBar = 0xe000'0000, kMsixBar = 0xe001'0000;
inline constexpr u64 kCommonAt = kVirtioBar, kIsrAt = kVirtioBar + 0x1000, kConfigAt = kVirtioBar + 0x2000,
                     kNotifyAt = kVirtioBar + 0x3000;
inline constexpr u64 kFeatureIndirect = u64{1} << 28, kFeatureEventIndex = u64{1} << 29,
                     kFeatureVersion1 = u64{1} << 32, kFeaturePacked = u64{1} << 34;

// The guest's side of any virtio device: RAM, buses, and the handshake. A derived one has the model and the
// PCI function around it, and calls attach().
struct VirtioHost {
  explicit VirtioHost(u64 ram_size = u64{4} << 20) : ram(ram_size) {}

  void attach(VirtioPci& function) {
    function.on_intx([this](bool level) { intx = level; });
    function.reset();
    place(function);
  }
  // BARs and command register, as firmware leaves them.
  static void place(VirtioPci& function) {
    function.config_write(0x14, 4, static_cast<u32>(kMsixBar));
    function.config_write(0x20, 4, static_cast<u32>(kVirtioBar));
    function.config_write(4, 2, 6);
    function.update_bars();
  }
  MsiSink msi() {
    return [this](u64 address, u32 data) { messages.emplace_back(address, data); };
  }

  u64 get(u64 at, u32 width) { return mmio.read(at, width); }
  void set(u64 at, u32 width, u64 value) { mmio.write(at, width, value); }
  u8 status() { return static_cast<u8>(get(kCommonAt + 0x14, 1)); }
  template <class T>
  T load(u64 pa) {
    T value{};
    CHECK(ram.read(pa, {reinterpret_cast<u8*>(&value), sizeof value}));
    return value;
  }
  template <class T>
  void store(u64 pa, T value) {
    CHECK(ram.write(pa, {reinterpret_cast<const u8*>(&value), sizeof value}));
  }

  // Up to FEATURES_OK; returns whether that stayed.
  bool negotiate(u64 features) {
    set(kCommonAt + 0x14, 1, 0);
    set(kCommonAt + 0x14, 1, 3);
    for (u32 half = 0; half < 2; ++half) {
      set(kCommonAt + 0x08, 4, half);
      set(kCommonAt + 0x0c, 4, features >> half * 32 & 0xffff'ffff);
    }
    set(kCommonAt + 0x14, 1, 11);
    return status() & 8;
  }
  void enable(u16 queue, u16 size, u64 descriptors, u64 driver, u64 device) {
    set(kCommonAt + 0x16, 2, queue);
    set(kCommonAt + 0x18, 2, size);
    set(kCommonAt + 0x20, 4, descriptors);
    set(kCommonAt + 0x24, 4, descriptors >> 32);
    set(kCommonAt + 0x28, 8, driver);
    set(kCommonAt + 0x30, 8, device);
    set(kCommonAt + 0x1c, 2, 1);
  }
  void driver_ok() { set(kCommonAt + 0x14, 1, 15); }
  // Up to DRIVER_OK with queue 0 at these places. Returns whether FEATURES_OK stayed.
  bool start(u64 features, u16 queue_size, u64 descriptors = 0x1000, u64 driver = 0x4000,
             u64 device = 0x6000) {
    if (!negotiate(features)) return false;
    enable(0, queue_size, descriptors, driver, device);
    driver_ok();
    return true;
  }
  void notify(u16 queue = 0) { set(kNotifyAt + queue * 4u, 2, queue); }

  core::Counters counters;
  std::recursive_mutex lock;
  core::Bus mmio{"mmio", counters, lock};
  core::GuestRam ram;
  bool intx = false;
  std::vector<std::pair<u64, u32>> messages;
};

// A virtio disk.
struct VirtioMachine : VirtioHost {
  explicit VirtioMachine(u64 size = u64{1} << 20, bool read_only = false) : disk(size, read_only) {
    attach(function);
  }
  MemoryDisk disk;
  VirtioBlk model{disk, "doppel-0"};
  VirtioPci function{model, ram, mmio, msi(), counters};
};

struct Segment {
  u64 address;
  u32 length;
  bool device_writes;
};

// The driver's half of a queue in either layout. Requests get ids 0, 1, ... in turn. Queue n lies in the n-th
// 64 KiB of RAM.
class DriverQueue {
 public:
  DriverQueue(VirtioHost& machine, bool packed, u16 size, bool indirect = false, u16 queue = 0)
      : machine_(machine), packed_(packed), size_(size), indirect_(indirect), base_(queue * u64{0x1'0000}) {}

  static constexpr u64 kDescriptors = 0x1000, kDriver = 0x4000, kDevice = 0x6000, kIndirect = 0x8000;

  // For VirtioHost::negotiate() and driver_ok() around it.
  static void enable(VirtioHost& machine, u16 queue, u16 size) {
    const u64 base = queue * u64{0x1'0000};
    machine.enable(queue, size, base + kDescriptors, base + kDriver, base + kDevice);
  }

  void add(const std::vector<Segment>& segments) {
    std::vector<Segment> direct = segments;
    u16 extra = 0;
    if (indirect_) {
      for (std::size_t i = 0; i < segments.size(); ++i) {
        const u16 last = i + 1 == segments.size();
        put(base_ + kIndirect + i * 16, segments[i], packed_ ? 0 : !last, static_cast<u16>(i + 1));
      }
      direct = {{base_ + kIndirect, static_cast<u32>(segments.size() * 16), false}};
      extra = 4;
    }
    packed_ ? add_packed(direct, extra) : add_split(direct, extra);
  }
  // What the device gave back since the last call: bytes written, for each request.
  std::vector<u32> used() {
    std::vector<u32> out;
    if (!packed_) {
      for (; used_index_ != machine_.load<u16>(base_ + kDevice + 2); ++used_index_)
        out.push_back(machine_.load<u32>(base_ + kDevice + 4 + used_index_ % size_ * 8 + 4));
      return out;
    }
    while (true) {
      const u64 at = base_ + kDescriptors + used_index_ * 16u;
      const u16 flags = machine_.load<u16>(at + 14);
      if (bool(flags & 0x80) != used_wrap_ || bool(flags & 0x8000) != used_wrap_) return out;
      out.push_back(machine_.load<u32>(at + 8));
      const u16 id = machine_.load<u16>(at + 12);
      step(used_index_, used_wrap_, lengths_[id % lengths_.size()]);
    }
  }

 private:
  void put(u64 at, const Segment& segment, u16 flags, u16 last_field) {
    const u16 all = static_cast<u16>(flags | (segment.device_writes ? 2 : 0));
    machine_.store<u64>(at, segment.address);
    machine_.store<u32>(at + 8, segment.length);
    machine_.store<u16>(at + 12, packed_ ? last_field : all);
    machine_.store<u16>(at + 14, packed_ ? all : last_field);
  }
  void add_split(const std::vector<Segment>& segments, u16 extra) {
    const u16 head = next_descriptor_;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const u16 next = static_cast<u16>((next_descriptor_ + 1) % size_);
      put(base_ + kDescriptors + next_descriptor_ * 16u, segments[i],
          static_cast<u16>(extra | (i + 1 < segments.size() ? 1 : 0)), next);
      next_descriptor_ = next;
    }
    machine_.store<u16>(base_ + kDriver + 4 + available_ % size_ * 2, head);
    machine_.store<u16>(base_ + kDriver + 2, ++available_);
  }
  void add_packed(const std::vector<Segment>& segments, u16 extra) {
    const u16 id = static_cast<u16>(added_++ % lengths_.size());
    lengths_[id] = static_cast<u16>(segments.size());
    for (std::size_t i = 0; i < segments.size(); ++i) {
      const u16 turn = wrap_ ? 0x80 : 0x8000;
      put(base_ + kDescriptors + available_ * 16u, segments[i],
          static_cast<u16>(turn | extra | (i + 1 < segments.size() ? 1 : 0)), id);
      step(available_, wrap_, 1);
    }
  }
  void step(u16& index, bool& wrap, u16 by) const {
    index = static_cast<u16>(index + by);
    if (index < size_) return;
    index = static_cast<u16>(index - size_);
    wrap = !wrap;
  }

  VirtioHost& machine_;
  bool packed_;
  u16 size_;
  bool indirect_;
  u64 base_;
  u16 next_descriptor_ = 0, available_ = 0, used_index_ = 0;
  bool wrap_ = true, used_wrap_ = true;
  u32 added_ = 0;
  std::vector<u16> lengths_ = std::vector<u16>(64);
};

}  // namespace doppel::devices::testing
