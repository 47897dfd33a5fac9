// What the tests of system instructions share: one vCPU over a small RAM with a GDT, an IDT and a TSS at
// fixed places, in any mode, and ways to run one instruction of a family on it.
#pragma once

#include <doctest.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <variant>

#include "core/guest_ram.hpp"
#include "core/machine/vcpu_memory.hpp"
#include "core/msr.hpp"
#include "jit/interp/descriptor_table.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/interrupt.hpp"
#include "jit/interp/segment.hpp"

namespace doppel::interp::test {

using core::CpuState;

// Selectors of the GDT that Machine builds.
inline constexpr u16 kCode0 = 0x08, kData0 = 0x10, kCode3 = 0x1b, kData3 = 0x23, kCode64 = 0x28,
                     kUser64 = 0x33, kConforming = 0x38, kTssSelector = 0x40, kFree = 0x50;
// Physical (and linear) addresses.
inline constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kTss = 0x4000, kOtherTss = 0x5000, kPageTables = 0x10000,
                     kRing0Stack = 0x20000, kUserStack = 0x30000, kIstStack = 0x40000;
inline constexpr u64 kRip = 0x8000;  // of the instruction under test

inline constexpr u32 kCodeType = 0x9b, kDataType = 0x93;  // present, DPL 0, accessed
constexpr u32 ring(u32 dpl) {
  return dpl << core::kSegDplShift;
}

constexpr u64 descriptor(u64 base, u32 raw_limit, u32 attributes) {
  return (raw_limit & 0xffff) | (base & 0xff'ffff) << 16 | u64{attributes & 0xf0ff} << 40 |
         u64{raw_limit >> 16 & 0xf} << 48 | (base >> 24 & 0xff) << 56;
}
constexpr u64 flat(u32 attributes) {
  return descriptor(0, 0xf'ffff, attributes | core::kSegG);
}
constexpr u64 gate(u16 selector, u64 offset, SystemType type, u32 dpl = 0, u32 parameters_or_ist = 0) {
  return (offset & 0xffff) | u64{selector} << 16 | u64{parameters_or_ist} << 32 |
         u64{static_cast<u8>(type) | ring(dpl) | core::kSegPresent} << 40 | (offset >> 16 & 0xffff) << 48;
}

class ManualController final : public core::InterruptController {
 public:
  bool interrupt_ready() override { return vector.has_value(); }
  std::optional<u8> acknowledge() override { return std::exchange(vector, std::nullopt); }
  u8 cr8() override { return priority; }
  void set_cr8(u8 value) override { priority = value; }
  bool read_msr(u32, u64& value) override {
    value = 0xfee0'0900;
    return true;
  }
  bool write_msr(u32, u64) override { return true; }
  void set_tsc_offset(u64) override {}
  u8 priority = 0;
  std::optional<u8> vector;  // of the interrupt that is due
};

enum class Mode : u8 { kReal, kProtected, kLong };

struct Machine {
  explicit Machine(Mode mode, u8 cpl = 0) {
    CpuState& s = cpu.state;
    s.gpr[core::kGprRip] = s.rip = kRip;
    s.gdtr = {kGdt, 0xff};
    s.idtr = {kIdt, 0xfff};
    put_gdt(kCode0, flat(kCodeType | core::kSegDb));
    put_gdt(kData0, flat(kDataType | core::kSegDb));
    put_gdt(kCode3, flat(kCodeType | ring(3) | core::kSegDb));
    put_gdt(kData3, flat(kDataType | ring(3) | core::kSegDb));
    put_gdt(kCode64, flat(kCodeType | core::kSegL));
    put_gdt(kUser64, flat(kCodeType | ring(3) | core::kSegL));
    put_gdt(kConforming, flat(kCodeType | core::kSegConforming | core::kSegDb));
    put_gdt(kTssSelector, descriptor(kTss, 0x200, 0x8b));
    if (mode == Mode::kReal) {
      for (auto& segment : s.segment) segment = {0, 0xffff, 0, 0x93};
      s.idtr = {0, 0x3ff};
      code_segment_changed(cpu);
      return;
    }
    s.cr0 = core::kCr0Pe | core::kCr0Et;
    s.tr = {kTss, 0x200, kTssSelector, 0x8b};
    put<u32>(kTss + 4, kRing0Stack);
    put<u32>(kTss + 8, kData0);
    if (mode == Mode::kLong) enter_long_mode();
    run_at(cpl, mode == Mode::kLong);
  }

  void enter_long_mode() {
    constexpr u64 kTable = 7, kLargePage = 0x87;  // P, RW, US; PS
    put<u64>(kPageTables, (kPageTables + 0x1000) | kTable);
    put<u64>(kPageTables + 0x1000, (kPageTables + 0x2000) | kTable);
    put<u64>(kPageTables + 0x2000, kLargePage);
    CpuState& s = cpu.state;
    s.cr4 = core::kCr4Pae;
    s.cr3 = kPageTables;
    s.cr0 |= core::kCr0Pg;
    s.efer = core::kEferLme | core::kEferLma | core::kEferSce;
    put<u64>(kTss + 4, kRing0Stack);
    put<u64>(kTss + 0x24, kIstStack);
  }

  // Flat segments of that ring, as if it had always run there.
  void run_at(u8 cpl, bool is64) {
    CpuState& s = cpu.state;
    const u16 code = is64 ? (cpl == 0 ? kCode64 : kUser64) : (cpl == 0 ? kCode0 : kCode3);
    const u16 data = cpl == 0 ? kData0 : kData3;
    s.segment.fill({0, 0xffff'ffff, data, static_cast<u16>(0xc093 | ring(cpl))});
    s.segment[core::kCs] = {0, 0xffff'ffff, code,
                            static_cast<u16>(0x809b | ring(cpl) | (is64 ? core::kSegL : core::kSegDb))};
    s.gpr[core::kRsp] = cpl == 0 ? kRing0Stack - 0x1000 : kUserStack;
    code_segment_changed(cpu);
  }

  void put_gdt(u16 selector, u64 value, u64 high = 0) {
    put<u64>(kGdt + (selector & ~7u), value);
    if (high) put<u64>(kGdt + (selector & ~7u) + 8, high);
  }
  void put_idt(u8 vector, u64 value) {
    const u32 size = core::long_mode(cpu.state) ? 16 : 8;
    put<u64>(kIdt + vector * size, value);
    if (size == 16) put<u64>(kIdt + vector * size + 8, 0);
  }
  template <class T>
  void put(u64 pa, T value) {
    std::memcpy(ram.host(pa), &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] T get(u64 pa) const {
    T value;
    std::memcpy(&value, ram.host(pa), sizeof value);
    return value;
  }

  // Runs one instruction of a family; false if it faulted.
  bool run(const Rows& rows, ZydisMnemonic mnemonic, Insn insn = {}) {
    const auto row = std::ranges::find(rows, mnemonic, &Row::mnemonic);
    REQUIRE(row != rows.end());
    if (insn.length == 0) insn.length = 2;
    if (core::code64(cpu.state)) insn.flags |= jit::kCode64;
    std::array<Insn, 2> block{insn, Insn{}};
    block[0].run = row->bind(insn);
    block[1].run = [](Vcpu&, const Insn*) -> const Insn* { return nullptr; };
    REQUIRE(bool{block[0].run != nullptr});
    block[0].run(cpu, block.data());
    return !cpu.state.fault.pending;
  }

  // The fault now pending, taken; empty if there is none.
  std::optional<core::Fault> take_fault() {
    core::Fault fault = cpu.state.fault;
    cpu.state.fault = {};
    return fault.pending ? std::optional(fault) : std::nullopt;
  }

  core::GuestRam ram{2 << 20};
  core::Counters counters;
  std::recursive_mutex lock;
  core::Bus ports{"port", counters, lock};
  core::Bus mmio{"mmio", counters, lock};
  mmu::PhysicalMemory memory{ram, mmio};
  ManualController controller;
  core::ManualClock clock;
  core::CpuModel model = std::get<core::CpuModel>(core::parse_cpu_model("max"));
  machine::VcpuMemory cpu_memory{model, memory, ports, controller, clock, counters};
  Vcpu& cpu = *cpu_memory;
};

// CHECKs that exactly this fault is pending, and takes it.
inline void check_fault(Machine& m, Vector vector, u32 error) {
  const auto fault = m.take_fault();
  REQUIRE(fault.has_value());
  CHECK(static_cast<u32>(fault->vector) == static_cast<u32>(vector));
  CHECK(fault->error == error);
}

}  // namespace doppel::interp::test
