// What the MMU tests share: a small machine (RAM, bus, one processor's state and Mmu) and a builder of page
// tables inside its RAM.
#pragma once

#include <doctest.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/bus.hpp"
#include "core/guest_ram.hpp"
#include "mmu/mmu.hpp"

namespace doppel::mmu::test {

using namespace doppel::core;

inline constexpr u64 kMiB = u64{1} << 20, kGiB = u64{1} << 30;

// Bits of paging-structure entries.
inline constexpr u64 kP = 1, kRw = 2, kUs = 4, kA = 0x20, kD = 0x40, kPs = 0x80, kG = 0x100,
                     kXd = u64{1} << 63;

// Remembers what it is asked; reads as `answer`.
class Recorder final : public Device {
 public:
  struct Event {
    bool write;
    u64 offset;
    u32 width;
    u64 value;
    bool operator==(const Event&) const = default;
  };
  [[nodiscard]] std::string_view name() const override { return "recorder"; }
  void reset() override {}
  [[nodiscard]] u64 read(u64 offset, u32 width) override {
    events.push_back({false, offset, width, 0});
    return answer;
  }
  void write(u64 offset, u32 width, u64 value) override { events.push_back({true, offset, width, value}); }
  void snapshot(SnapshotIo&) override {}

  std::vector<Event> events;
  u64 answer = 0;
};

enum class Paging { kNone, kLegacy, kPae, kFourLevel, kFiveLevel };

inline constexpr u64 kRamSize = 16 * kMiB;
inline constexpr u64 kRoot = 0x10'0000;    // CR3; further tables follow
inline constexpr u64 kMmio = 0xe000'0000;  // where the recorder is attached, 64 KiB
inline constexpr u64 kData = 0x80'0000;    // free RAM for pages under test

struct Machine {
  explicit Machine(Paging mode = Paging::kNone) : paging(mode) {
    mmio.attach(kMmio, 0x1'0000, device);
    if (paging == Paging::kNone) return;
    state.cr0 = kCr0Pe | kCr0Pg | kCr0Wp | kCr0Et;
    state.cr3 = kRoot;
    state.code_bits = 32;
    if (paging == Paging::kLegacy) state.cr4 = kCr4Pse | kCr4Pge;
    if (paging != Paging::kLegacy) {
      state.cr4 = kCr4Pae | kCr4Pge;
      state.efer = kEferNxe;
    }
    if (paging == Paging::kPae) {
      for (u64 i = 0; i < 4; ++i) state.pdpte[i] = (kRoot + (i + 1) * kPageSize) | kP;
      next_table = kRoot + 5 * kPageSize;
    }
    if (paging == Paging::kFourLevel || paging == Paging::kFiveLevel) {
      state.efer |= kEferLme | kEferLma;
      state.code_bits = 64;
    }
    if (paging == Paging::kFiveLevel) state.cr4 |= kCr4La57;
    mmu.mode_changed();
  }

  // Maps `la`: `entry` goes into the table of `level` (1: page table), `rights` into the entries above it.
  // Returns the physical address of `entry`.
  u64 map(u64 la, u64 entry, u32 level = 1, u64 rights = kP | kRw | kUs) {
    u64 table = paging == Paging::kPae ? state.pdpte[la >> 30 & 3] & ~u64{0xfff} : state.cr3 & ~u64{0xfff};
    for (u32 at = top_level();; --at) {
      const u64 pa = table + index(la, at) * entry_size();
      if (at == level) {
        memory.write(pa, entry_size(), entry);
        return pa;
      }
      u64 directory = memory.read(pa, entry_size());
      if (!(directory & kP)) {
        directory = next_table;
        next_table += kPageSize;
      }
      directory = (directory & ~(kXd | 0xfff)) | rights;
      memory.write(pa, entry_size(), directory);
      table = directory & ~(kXd | 0xfff);
    }
  }
  [[nodiscard]] u64 entry(u64 pa) { return memory.read(pa, entry_size()); }
  // The physical addresses of the entries for `la`, from the top to `level`.
  std::vector<u64> path(u64 la, u32 level = 1) {
    std::vector<u64> out;
    u64 table = paging == Paging::kPae ? state.pdpte[la >> 30 & 3] & ~u64{0xfff} : state.cr3 & ~u64{0xfff};
    for (u32 at = top_level(); at >= level; --at) {
      out.push_back(table + index(la, at) * entry_size());
      table = entry(out.back()) & ~(kXd | 0xfff);
    }
    return out;
  }

  [[nodiscard]] u32 top_level() const {
    return paging == Paging::kFiveLevel ? 5 : paging == Paging::kFourLevel ? 4 : 2;
  }
  [[nodiscard]] u32 entry_size() const { return paging == Paging::kLegacy ? 4 : 8; }
  [[nodiscard]] u64 index(u64 la, u32 level) const {
    const u32 width = paging == Paging::kLegacy ? 10 : 9;
    return la >> (12 + width * (level - 1)) & ((1u << width) - 1);
  }

  void set_cpl(u8 cpl) {
    state.cpl = cpl;
    mmu.mode_changed();
  }
  [[nodiscard]] const TlbEntry& tlb(u64 la) const { return state.tlb[la / kPageSize % kTlbEntries]; }
  u64 misses() { return counters["mmu.misses"]; }
  // The fault that was raised since the last call.
  Fault take_fault() {
    Fault fault = state.fault;
    state.fault = {};
    return fault;
  }

  Paging paging;
  u64 next_table = kRoot + kPageSize;
  Counters counters;
  std::recursive_mutex lock;
  GuestRam ram{kRamSize};
  Bus mmio{"mmio", counters, lock};
  Recorder device;
  PhysicalMemory memory{ram, mmio};
  CpuState state;
  Mmu mmu{state, memory, counters};
};

inline void check_fault(Machine& m, Vector vector, u32 error, u64 address) {
  const Fault fault = m.take_fault();
  CHECK(fault.pending);
  CHECK(fault.vector == vector);
  CHECK(fault.error == error);
  CHECK(fault.address == address);
}

}  // namespace doppel::mmu::test
