// Control, debug and model-specific registers, descriptor-table registers, system calls, ports, reset.
#include <initializer_list>

#include "jit/interp/control_register.hpp"
#include "jit/interp/msr.hpp"
#include "jit/interp/port.hpp"
#include "jit/interp/reset.hpp"
#include "system_fixture.hpp"

using namespace doppel;
using namespace doppel::interp;
using namespace doppel::interp::test;
using namespace doppel::core;

namespace msr = doppel::core::msr;

TEST_CASE("control registers: what is refused") {
  constexpr u64 kOn = kCr0Pe | kCr0Et;
  struct {
    Mode mode;
    u8 cpl, number;
    u64 value;
    bool ok;
  } const cases[] = {
      {Mode::kReal, 0, 0, kCr0Pe, true},
      {Mode::kReal, 0, 0, kCr0Pg, false},  // PG without PE
      {Mode::kReal, 0, 0, kCr0Nw, false},  // NW without CD
      {Mode::kReal, 0, 0, kCr0Nw | kCr0Cd, true},
      {Mode::kLong, 0, 0, kOn | kCr0Pg | u64{1} << 32, false},
      {Mode::kLong, 0, 0, kOn, false},  // PG off in 64-bit mode
      {Mode::kLong, 3, 0, kOn | kCr0Pg, false},
      {Mode::kLong, 0, 3, u64{1} << 40, false},  // above MAXPHYADDR
      {Mode::kLong, 0, 3, u64{1} << 63, false},  // no PCIDs
      {Mode::kLong, 0, 3, kPageTables, true},
      {Mode::kLong, 0, 4, kCr4Pae | kCr4Pge, true},
      {Mode::kLong, 0, 4, 0, false},                   // PAE off in long mode
      {Mode::kLong, 0, 4, kCr4Pae | 1u << 13, false},  // VMXE
      {Mode::kLong, 0, 4, kCr4Pae | u64{1} << 33, false},
      {Mode::kProtected, 0, 4, kCr4Pcide, false},  // PCIDE outside long mode
      {Mode::kLong, 0, 8, 15, true},
      {Mode::kLong, 0, 8, 16, false},
  };
  for (const auto& c : cases) {
    Machine m(c.mode, c.cpl);
    CAPTURE(c.number);
    CAPTURE(c.value);
    CHECK(write_control_register(m.cpu, c.number, c.value) == c.ok);
    if (!c.ok) check_fault(m, Vector::kGP, 0);
  }
  Machine m(Mode::kLong);
  CHECK(!write_control_register(m.cpu, 1, 0));
  check_fault(m, Vector::kUD, 0);
}

TEST_CASE("the way into long mode and out") {
  Machine m(Mode::kLong);  // for the page tables
  CpuState& s = m.cpu.state;
  s.cr0 = kCr0Pe | kCr0Et;
  s.cr4 = 0;
  s.efer = 0;
  s.segment[kCs] = {0, 0xffff'ffff, kCode0, 0xc09b};
  code_segment_changed(m.cpu);
  REQUIRE(write_msr(m.cpu, msr::kEfer, kEferLme));
  CHECK(!write_control_register(m.cpu, 0, kCr0Pe | kCr0Pg));  // PAE is off
  check_fault(m, Vector::kGP, 0);
  REQUIRE(write_control_register(m.cpu, 4, kCr4Pae));
  REQUIRE(write_control_register(m.cpu, 3, kPageTables));
  REQUIRE(write_control_register(m.cpu, 0, kCr0Pe | kCr0Pg));
  CHECK(s.efer == (kEferLme | kEferLma));
  CHECK(s.code_bits == 32);
  CHECK(!write_msr(m.cpu, msr::kEfer, 0));  // LME with paging on
  REQUIRE(write_control_register(m.cpu, 0, kCr0Pe));
  CHECK(s.efer == kEferLme);
}

TEST_CASE("a model without a feature refuses its CR4 and EFER bits") {
  Machine m(Mode::kLong);
  m.model.features.reset();
  for (const u64 bit : {kCr4Smep, kCr4Smap, kCr4Osxsave, kCr4Fsgsbase, kCr4La57}) {
    CHECK(!write_control_register(m.cpu, 4, kCr4Pae | bit));
    check_fault(m, Vector::kGP, 0);
  }
  CHECK(!write_msr(m.cpu, msr::kEfer, m.cpu.state.efer | 1u << 12));  // SVME
}

TEST_CASE("LMSW cannot leave protected mode; SMSW and UMIP") {
  Machine m(Mode::kProtected);
  Insn insn;
  insn.op_size = 4;
  insn.op[0] = {OperandKind::kGpr, kRax * 8, 4};
  m.cpu.state.gpr[kRax] = kCr0Ts;
  REQUIRE(m.run(kControlRegisterRows, ZYDIS_MNEMONIC_LMSW, insn));
  CHECK(m.cpu.state.cr0 == (kCr0Pe | kCr0Ts | kCr0Et));
  REQUIRE(m.run(kControlRegisterRows, ZYDIS_MNEMONIC_SMSW, insn));
  CHECK(m.cpu.state.gpr[kRax] == m.cpu.state.cr0);

  Machine user(Mode::kProtected, 3);
  user.cpu.state.cr4 = kCr4Umip;
  for (const auto& [rows, mnemonic] : {std::pair{&kControlRegisterRows, ZYDIS_MNEMONIC_SMSW},
                                       {&kDescriptorTableRows, ZYDIS_MNEMONIC_SGDT},
                                       {&kDescriptorTableRows, ZYDIS_MNEMONIC_SIDT},
                                       {&kDescriptorTableRows, ZYDIS_MNEMONIC_SLDT},
                                       {&kDescriptorTableRows, ZYDIS_MNEMONIC_STR}}) {
    CHECK(!user.run(*rows, mnemonic, insn));
    check_fault(user, Vector::kGP, 0);
  }
}

TEST_CASE("debug registers") {
  Machine m(Mode::kLong);
  CpuState& s = m.cpu.state;
  REQUIRE(write_debug_register(m.cpu, 6, 0));
  CHECK(s.dr[6] == 0xffff'0ff0);
  REQUIRE(write_debug_register(m.cpu, 5, 0xffff'ffff & ~(1u << 13)));  // an alias of DR7
  CHECK(s.dr[7] == 0xffff'07ff);
  CHECK(!write_debug_register(m.cpu, 7, u64{1} << 32));
  check_fault(m, Vector::kGP, 0);
  s.cr4 |= kCr4De;
  CHECK(!write_debug_register(m.cpu, 4, 0));
  check_fault(m, Vector::kUD, 0);
  s.dr[7] |= 1u << 13;
  u64 value = 0;
  CHECK(!read_debug_register(m.cpu, 0, value));
  const auto fault = m.take_fault();
  REQUIRE(fault.has_value());
  CHECK(fault->address == 1u << 13);

  s.dr[7] = 0x400 | 1u << 2 | 1u << 6 | u64{1} << 28;  // L1 execute, L3 write
  s.dr[1] = s.dr[3] = 0x1234;
  CHECK(code_breakpoint(m.cpu, 0x1234) == 2);
  CHECK(code_breakpoint(m.cpu, 0x1235) == 0);
}

TEST_CASE("model-specific registers: what is stored, what is refused") {
  struct {
    u32 index;
    u64 value;
    bool ok;
  } const cases[] = {
      {msr::kFsBase, 0x7fff'ffff'ffff, true},
      {msr::kFsBase, u64{1} << 47, false},
      {msr::kGsBase, 0xffff'8000'0000'0000, true},
      {msr::kKernelGsBase, u64{1} << 63, false},
      {msr::kLstar, 0xffff'ffff'8000'0000, true},
      {msr::kLstar, 0x8000'0000'0000, false},
      {msr::kSfmask, 0x4'7700, true},
      {msr::kSfmask, u64{1} << 32, false},
      {msr::kPat, 0x0007'0406'0007'0406, true},
      {msr::kPat, 0x02, false},
      {msr::kPat, 0x0300'0000'0000'0000, false},
      {msr::kMtrrDefType, 0xc06, true},
      {msr::kMtrrDefType, 0xc02, false},
      {msr::kMtrrDefType, 0x1000, false},
      {msr::kMtrrPhysBase0, 0x8000'0006, true},
      {msr::kMtrrPhysBase0, 0x8000'0806, false},
      {msr::kMtrrPhysMask7, 0xff'8000'0800, true},
      {msr::kMtrrPhysMask7, u64{1} << 40, false},
      {msr::kMtrrFix4kF8000, 0x0505'0505'0505'0505, true},
      {msr::kMtrrFix64k00000, 0x02, false},
      {msr::kMtrrCap, 0, false},
      {msr::kMcgCap, 0, false},
      {msr::kMcgStatus, 8, false},
      {msr::kEfer, 1u << 1, false},
      {msr::kTscAux, u64{1} << 32, false},
      {msr::kSpecCtrl, 0, false},  // not claimed by CPUID
      {0x1234, 0, false},
  };
  for (const auto& c : cases) {
    Machine m(Mode::kLong);
    CAPTURE(c.index);
    CHECK(write_msr(m.cpu, c.index, c.value) == c.ok);
    if (!c.ok) continue;
    u64 value = 0;
    REQUIRE(read_msr(m.cpu, c.index, value));
    CHECK(value == c.value);
  }
}

TEST_CASE("configuration of AMD processors that systems rely on") {
  Machine m(Mode::kLong);
  u64 value = 0;
  REQUIRE(read_msr(m.cpu, msr::kDeCfg, value));
  CHECK((value & 2) != 0);  // LFENCE serialises
  REQUIRE(read_msr(m.cpu, msr::kHwcr, value));
  CHECK((value >> 24 & 1) == 1);  // TscFreqSel
  CHECK(write_msr(m.cpu, msr::kHwcr, value));
}

TEST_CASE("TSC and TSC_ADJUST move together") {
  Machine m(Mode::kLong);
  m.model.features.set(static_cast<std::size_t>(Feature::kTscAdjust));
  m.clock.advance(1000);
  const u64 before = m.cpu.tsc();
  REQUIRE(write_msr(m.cpu, msr::kTscAdjust, 500));
  CHECK(m.cpu.tsc() == before + 500);
  REQUIRE(write_msr(m.cpu, msr::kTsc, 0));
  CHECK(m.cpu.tsc() == 0);
  CHECK(m.cpu.state.tsc_adjust == 0 - before);
}

TEST_CASE("unknown registers raise #GP and are counted, with a bounded set of names") {
  Machine m(Mode::kLong);
  m.cpu.state.gpr[kRcx] = 0xc001'1111;
  CHECK(!m.run(kMsrRows, ZYDIS_MNEMONIC_RDMSR));
  check_fault(m, Vector::kGP, 0);
  CHECK(m.counters.values()["msr.unknown.read 0xc0011111"] == 1);
  u64 value = 0;
  for (u32 i = 0; i < 100; ++i) CHECK(!read_msr(m.cpu, 0x5000'0000 + i, value));
  CHECK(m.counters.values()["msr.unknown.read elsewhere"] == 100);
  Machine user(Mode::kLong, 3);
  user.cpu.state.gpr[kRcx] = msr::kTsc;
  CHECK(!user.run(kMsrRows, ZYDIS_MNEMONIC_RDMSR));
  check_fault(user, Vector::kGP, 0);
}

TEST_CASE("RDTSC and CR4.TSD") {
  for (const u8 cpl : {u8{0}, u8{3}}) {
    Machine m(Mode::kLong, cpl);
    m.cpu.state.cr4 |= kCr4Tsd;
    CHECK(m.run(kMsrRows, ZYDIS_MNEMONIC_RDTSC) == (cpl == 0));
  }
}

TEST_CASE("SYSCALL and SYSRET") {
  Machine m(Mode::kLong, 3);
  CpuState& s = m.cpu.state;
  s.star = u64{0x23} << 48 | u64{kCode64} << 32;
  s.lstar = 0xffff'ffff'8100'0000;
  s.sfmask = kIf | kTf;
  s.rflags = kIf | kFlagsFixed;
  REQUIRE(m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSCALL));
  CHECK(s.rip == s.lstar);
  CHECK(s.cpl == 0);
  CHECK(s.code_bits == 64);
  CHECK(s.gpr[kRcx] == kRip + 2);
  CHECK((s.gpr[kR11] & kIf) != 0);
  CHECK((s.rflags & kIf) == 0);
  CHECK(s.segment[kCs].selector == kCode64);
  CHECK(s.segment[kSs].selector == kCode64 + 8);

  Insn insn;
  insn.op_size = 8;
  REQUIRE(m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSRET, insn));
  CHECK(s.rip == kRip + 2);
  CHECK(s.cpl == 3);
  CHECK((s.rflags & kIf) != 0);
  CHECK(s.segment[kCs].selector == 0x33);
  CHECK(s.segment[kSs].selector == 0x2b);

  CHECK(!m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSRET, insn));
  check_fault(m, Vector::kGP, 0);
  CHECK(!m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSENTER));
  check_fault(m, Vector::kUD, 0);
  s.efer &= ~kEferSce;
  CHECK(!m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSCALL));
  check_fault(m, Vector::kUD, 0);
}

TEST_CASE("SYSENTER and SYSEXIT outside long mode") {
  Machine m(Mode::kProtected, 3);
  CpuState& s = m.cpu.state;
  CHECK(!m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSENTER));
  check_fault(m, Vector::kGP, 0);
  s.sysenter_cs = kCode0;
  s.sysenter_eip = 0x9000;
  s.sysenter_esp = 0xa000;
  REQUIRE(m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSENTER));
  CHECK(s.cpl == 0);
  CHECK(s.rip == 0x9000);
  CHECK(s.gpr[kRsp] == 0xa000);
  s.gpr[kRcx] = kUserStack;
  s.gpr[kRdx] = kRip;
  REQUIRE(m.run(kSyscallRows, ZYDIS_MNEMONIC_SYSEXIT));
  CHECK(s.cpl == 3);
  CHECK(s.segment[kCs].selector == kCode3);
  CHECK(s.segment[kSs].selector == kData3);
}

TEST_CASE("LGDT, SGDT, LLDT, LTR") {
  Machine m(Mode::kLong);
  CpuState& s = m.cpu.state;
  Insn insn;
  insn.op_size = 8;
  insn.op[0] = {OperandKind::kMemory, 0, 10};
  insn.disp = 0x6000;
  m.put<u16>(0x6000, 0x7f);
  m.put<u64>(0x6002, kGdt);
  REQUIRE(m.run(kDescriptorTableRows, ZYDIS_MNEMONIC_LGDT, insn));
  CHECK(s.gdtr.limit == 0x7f);
  m.put<u64>(0x6002, u64{1} << 47);
  CHECK(!m.run(kDescriptorTableRows, ZYDIS_MNEMONIC_LGDT, insn));
  check_fault(m, Vector::kGP, 0);
  REQUIRE(m.run(kDescriptorTableRows, ZYDIS_MNEMONIC_SGDT, insn));
  CHECK(m.get<u64>(0x6002) == kGdt);

  struct {
    ZydisMnemonic mnemonic;
    u64 low, high;
    std::optional<Vector> fault;
  } const cases[] = {
      {ZYDIS_MNEMONIC_LTR, descriptor(kTss, 0x67, 0x89), 0xffff'8000, std::nullopt},
      {ZYDIS_MNEMONIC_LTR, descriptor(kTss, 0x67, 0x8b), 0, Vector::kGP},  // busy
      {ZYDIS_MNEMONIC_LTR, descriptor(kTss, 0x67, 0x81), 0, Vector::kGP},  // 16-bit
      {ZYDIS_MNEMONIC_LTR, descriptor(kTss, 0x67, 0x09), 0, Vector::kNP},
      {ZYDIS_MNEMONIC_LTR, descriptor(kTss, 0x67, 0x89), 0x8000, Vector::kGP},        // not canonical
      {ZYDIS_MNEMONIC_LTR, descriptor(kTss, 0x67, 0x89), u64{1} << 40, Vector::kGP},  // upper type
      {ZYDIS_MNEMONIC_LLDT, descriptor(0x3000, 0xff, 0x82), 0, std::nullopt},
      {ZYDIS_MNEMONIC_LLDT, descriptor(0x3000, 0xff, 0x02), 0, Vector::kNP},
      {ZYDIS_MNEMONIC_LLDT, flat(kDataType), 0, Vector::kGP},
  };
  insn.op[0] = {OperandKind::kGpr, kRax * 8, 2};
  for (const auto& c : cases) {
    s.gpr[kRax] = kFree;
    m.put<u64>(kGdt + kFree, c.low);
    m.put<u64>(kGdt + kFree + 8, c.high);
    CHECK(m.run(kDescriptorTableRows, c.mnemonic, insn) == !c.fault);
    if (c.fault) {
      check_fault(m, *c.fault, kFree);
      continue;
    }
    const SegmentRegister& loaded = c.mnemonic == ZYDIS_MNEMONIC_LTR ? s.tr : s.ldtr;
    CHECK(loaded.selector == kFree);
    CHECK(loaded.base == ((c.high << 32) | (c.mnemonic == ZYDIS_MNEMONIC_LTR ? kTss : 0x3000)));
    if (c.mnemonic == ZYDIS_MNEMONIC_LTR) CHECK((m.get<u64>(kGdt + kFree) >> 41 & 1) == 1);
  }
}

TEST_CASE("port permission: IOPL and the TSS's bitmap") {
  struct {
    u8 cpl, iopl;
    u16 port;
    u32 width;
    u32 tss_limit;
    bool ok;
  } const cases[] = {
      {0, 0, 0x3f8, 1, 0, true},
      {3, 3, 0x3f8, 1, 0, true},
      {3, 2, 0x3f8, 1, 0x1000, false},  // bit set
      {3, 0, 0x3f0, 4, 0x1000, true},
      {3, 0, 0x3f6, 2, 0x1000, true},
      {3, 0, 0x3f7, 2, 0x1000, false},  // the second port's bit
      {3, 0, 0x3f0, 1, 0x66, false},
      {3, 0, 0x3f0, 1, 0x100 + 0x3f0 / 8, false},  // the byte after is beyond the limit
      {3, 0, 0x3f0, 1, 0x101 + 0x3f0 / 8, true},
  };
  for (const auto& c : cases) {
    Machine m(Mode::kProtected, c.cpl);
    m.cpu.state.rflags |= u64{c.iopl} << 12;
    m.cpu.state.tr.limit = c.tss_limit;
    m.put<u16>(kTss + 0x66, 0x100);
    m.put<u8>(kTss + 0x100 + 0x3f8 / 8, 1);
    CHECK(port_permitted(m.cpu, c.port, c.width) == c.ok);
  }
}

TEST_CASE("SWAPGS and the base instructions") {
  Machine m(Mode::kLong);
  CpuState& s = m.cpu.state;
  s.segment[kGs].base = 1;
  s.kernel_gs_base = 2;
  REQUIRE(m.run(kSegmentRows, ZYDIS_MNEMONIC_SWAPGS));
  CHECK(s.segment[kGs].base == 2);
  CHECK(s.kernel_gs_base == 1);
  Insn insn;
  insn.op[0] = {OperandKind::kGpr, kRax * 8, 8};
  CHECK(!m.run(kSegmentRows, ZYDIS_MNEMONIC_WRGSBASE, insn));
  check_fault(m, Vector::kUD, 0);
  s.cr4 |= kCr4Fsgsbase;
  s.gpr[kRax] = u64{1} << 47;
  CHECK(!m.run(kSegmentRows, ZYDIS_MNEMONIC_WRGSBASE, insn));
  check_fault(m, Vector::kGP, 0);
  insn.op[0].size = 4;
  s.gpr[kRax] = 0xffff'ffff'8000'0000;
  REQUIRE(m.run(kSegmentRows, ZYDIS_MNEMONIC_WRFSBASE, insn));
  CHECK(s.segment[kFs].base == 0x8000'0000);
}

TEST_CASE("reset, INIT and startup") {
  Machine m(Mode::kLong);
  CpuState& s = m.cpu.state;
  s.lstar = 5;
  reset(m.cpu, true);
  CHECK(s.rip == 0xfff0);
  CHECK(s.segment[kCs].base == 0xffff'0000);
  CHECK(s.code_bits == 16);
  CHECK(s.cpl == 0);
  CHECK(s.cr0 == 0x6000'0010);
  CHECK(s.efer == 0);
  CHECK(s.lstar == 0);
  CHECK(s.gpr[kRdx] != 0);
  CHECK(s.activity == Activity::kRunning);

  reset(m.cpu, false);
  CHECK(s.activity == Activity::kWaitForSipi);
  start_up(m.cpu, 0x9a);
  CHECK(s.activity == Activity::kRunning);
  CHECK(s.segment[kCs].selector == 0x9a00);
  CHECK(s.segment[kCs].base == 0x9a000);
  CHECK(s.rip == 0);
  start_up(m.cpu, 0x10);  // not waiting: ignored
  CHECK(s.segment[kCs].selector == 0x9a00);

  s.lstar = 5;
  s.cr0 = kCr0Pe | kCr0Et;
  initialize(m.cpu);  // the controller says that this is the bootstrap processor
  CHECK(s.lstar == 5);
  CHECK(s.cr0 == kCr0Et);
  CHECK(s.activity == Activity::kRunning);
}
