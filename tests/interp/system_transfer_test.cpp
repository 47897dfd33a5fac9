// Far JMP, CALL, RET and IRET, call gates, task switches, and segment loads.
#include "jit/interp/far_transfer.hpp"
#include "system_fixture.hpp"

using namespace doppel;
using namespace doppel::interp;
using namespace doppel::interp::test;

namespace {

constexpr u64 kTarget = 0x9000;

Insn insn_of(u8 op_size) {
  Insn insn;
  insn.op_size = op_size;
  insn.length = 5;
  return insn;
}

template <class T>
void put_stack(Machine& m, std::initializer_list<u64> values) {
  u64 at = m.cpu.state.gpr[core::kRsp];
  for (const u64 value : values) {
    m.put<T>(at, static_cast<T>(value));
    at += sizeof(T);
  }
}

}  // namespace

TEST_CASE("far jump: privilege and presence") {
  struct {
    u8 cpl;
    u16 selector;
    u64 descriptor;  // of kFree, if the selector is that
    std::optional<Vector> fault;
    u32 error;
  } const cases[] = {
      {0, kCode0, 0, std::nullopt, 0},
      {0, kCode0 | 3, 0, Vector::kGP, kCode0},  // RPL above CPL
      {3, kCode3, 0, std::nullopt, 0},
      {3, kCode0, 0, Vector::kGP, kCode0},
      {0, kCode3, 0, Vector::kGP, kCode3 & ~3},
      {3, kConforming, 0, std::nullopt, 0},
      {0, 3, 0, Vector::kGP, 0},
      {0, kData0, 0, Vector::kGP, kData0},
      {0, 0xff8, 0, Vector::kGP, 0xff8},
      {0, 4, 0, Vector::kGP, 4},  // no LDT
      {0, kFree, flat(kCodeType & ~core::kSegPresent), Vector::kNP, kFree},
      {0, kFree, descriptor(0, 0xfff, kCodeType), Vector::kGP, 0},  // offset beyond the limit
      {0, kTssSelector, 0, Vector::kGP, kTssSelector},              // a busy TSS
  };
  for (const auto& c : cases) {
    Machine m(Mode::kProtected, c.cpl);
    if (c.descriptor) m.put_gdt(c.selector, c.descriptor);
    CHECK(far_jump(m.cpu, insn_of(4), c.selector, kTarget) == !c.fault);
    if (c.fault) {
      check_fault(m, *c.fault, c.error);
      CHECK(m.cpu.state.rip == kRip);
      continue;
    }
    CHECK(m.cpu.state.rip == kTarget);
    CHECK(m.cpu.state.cpl == c.cpl);
    CHECK(m.cpu.state.segment[core::kCs].selector == ((c.selector & ~3) | c.cpl));
  }
}

TEST_CASE("far jump sets the accessed bit and truncates the offset") {
  Machine m(Mode::kProtected);
  m.put_gdt(kFree, flat(kCodeType & ~core::kSegAccessed));
  REQUIRE(far_jump(m.cpu, insn_of(2), kFree, 0x1234'9000));
  CHECK(m.cpu.state.rip == 0x9000);
  CHECK(m.cpu.state.code_bits == 16);
  CHECK((m.get<u64>(kGdt + kFree) >> 40 & 1) == 1);
}

TEST_CASE("between compatibility and 64-bit mode") {
  Machine m(Mode::kLong);
  REQUIRE(far_jump(m.cpu, insn_of(4), kCode0, kTarget));
  CHECK(m.cpu.state.code_bits == 32);
  REQUIRE(far_jump(m.cpu, insn_of(4), kCode64, kTarget));
  CHECK(m.cpu.state.code_bits == 64);
  m.put_gdt(kFree, flat(kCodeType | core::kSegL | core::kSegDb));
  CHECK(!far_jump(m.cpu, insn_of(4), kFree, kTarget));
  check_fault(m, Vector::kGP, kFree);
}

TEST_CASE("real mode keeps limit and attributes") {
  Machine m(Mode::kReal);
  REQUIRE(far_call(m.cpu, insn_of(2), 0x2000, 0x100));
  CHECK(m.cpu.state.segment[core::kCs].base == 0x20000);
  REQUIRE(far_return(m.cpu, insn_of(2), 4));
  CHECK(m.cpu.state.rip == kRip + 5);
  CHECK(m.cpu.state.segment[core::kCs].selector == 0);
  CHECK((m.cpu.state.gpr[core::kRsp] & 0xffff) == 4);
  CHECK(!far_jump(m.cpu, insn_of(4), 0x2000, 0x10000));
  check_fault(m, Vector::kGP, 0);
}

TEST_CASE("call gate to ring 0 copies parameters; RETF undoes it") {
  Machine m(Mode::kProtected, 3);
  CpuState& s = m.cpu.state;
  m.put_gdt(kFree, gate(kCode0, kTarget, SystemType::kCallGate32, 3, 2));
  put_stack<u32>(m, {0x1111, 0x2222});
  REQUIRE(far_call(m.cpu, insn_of(4), kFree | 3, 0));
  CHECK(s.cpl == 0);
  CHECK(s.rip == kTarget);
  CHECK(s.gpr[core::kRsp] == kRing0Stack - 24);
  const u64 rsp = s.gpr[core::kRsp];
  const std::array<u32, 6> expected{kRip + 5, kCode3, 0x1111, 0x2222, kUserStack, kData3};
  for (u32 i = 0; i < 6; ++i) CHECK(m.get<u32>(rsp + i * 4) == expected[i]);

  s.segment[core::kDs] = {0, 0xffff'ffff, kData0, 0xc093};  // not for ring 3
  REQUIRE(far_return(m.cpu, insn_of(4), 8));
  CHECK(s.cpl == 3);
  CHECK(s.rip == kRip + 5);
  CHECK(s.gpr[core::kRsp] == kUserStack + 8);
  CHECK(s.segment[core::kSs].selector == kData3);
  CHECK(s.segment[core::kDs].selector == 0);
  CHECK(s.segment[core::kEs].selector == kData3);
}

TEST_CASE("call gates refuse") {
  struct {
    bool call;
    u64 gate;
    Vector vector;
    u32 error;
  } const cases[] = {
      {true, gate(kCode0, 0, SystemType::kCallGate32, 0), Vector::kGP, kFree},
      {true, gate(kCode0, 0, SystemType::kCallGate32, 3) & ~(u64{core::kSegPresent} << 40), Vector::kNP,
       kFree},
      {true, gate(0, 0, SystemType::kCallGate32, 3), Vector::kGP, 0},
      {true, gate(kData3, 0, SystemType::kCallGate32, 3), Vector::kGP, kData3 & ~3},
      {false, gate(kCode0, 0, SystemType::kCallGate32, 3), Vector::kGP, kCode0},  // JMP to an inner ring
  };
  for (const auto& c : cases) {
    Machine m(Mode::kProtected, 3);
    m.put_gdt(kFree, c.gate);
    CHECK(!(c.call ? far_call(m.cpu, insn_of(4), kFree, 0) : far_jump(m.cpu, insn_of(4), kFree, 0)));
    check_fault(m, c.vector, c.error);
    CHECK(m.cpu.state.gpr[core::kRsp] == kUserStack);
  }
}

TEST_CASE("64-bit call gate") {
  Machine m(Mode::kLong, 3);
  CpuState& s = m.cpu.state;
  m.put_gdt(kFree, gate(kCode64, kTarget, SystemType::kCallGate32, 3), 0xffff'8000);
  REQUIRE(far_call(m.cpu, insn_of(4), kFree, 0));
  CHECK(s.rip == 0xffff'8000'0000'9000);
  CHECK(s.cpl == 0);
  CHECK(s.segment[core::kSs].selector == 0);
  CHECK(s.gpr[core::kRsp] == kRing0Stack - 32);
  CHECK(m.get<u64>(kRing0Stack - 32) == kRip + 5);
  CHECK(m.get<u64>(kRing0Stack - 16) == kUserStack);
  REQUIRE(far_return(m.cpu, insn_of(8), 0));
  CHECK(s.cpl == 3);
  CHECK(s.gpr[core::kRsp] == kUserStack);
}

TEST_CASE("IRETQ") {
  struct {
    u16 cs, ss;
    u64 rip;
    std::optional<Vector> fault;
    u32 error;
  } const cases[] = {
      {kUser64, kData3, kTarget, std::nullopt, 0},
      {kCode64, 0, kTarget, std::nullopt, 0},  // null SS is fine in ring 0
      {kUser64, 3, kTarget, Vector::kGP, 0},   // but not in ring 3
      {kUser64, kData0, kTarget, Vector::kGP, kData0},
      {kCode3, kData3, kTarget, std::nullopt, 0},  // to compatibility mode
      {kCode64, kData0, u64{1} << 47, Vector::kGP, 0},
      {0, kData0, kTarget, Vector::kGP, 0},
  };
  for (const auto& c : cases) {
    Machine m(Mode::kLong);
    CpuState& s = m.cpu.state;
    s.nmi_blocked = true;
    put_stack<u64>(m, {c.rip, c.cs, core::kIf | core::kIopl | core::kCf, kUserStack, c.ss});
    const u64 rsp = s.gpr[core::kRsp];
    const bool ok = m.run(kFarTransferRows, ZYDIS_MNEMONIC_IRETQ, insn_of(8));
    CHECK(ok == !c.fault);
    if (c.fault) {
      check_fault(m, *c.fault, c.error);
      CHECK(s.gpr[core::kRsp] == rsp);
      CHECK(s.rip == kRip);
      continue;
    }
    CHECK(s.rip == c.rip);
    CHECK(s.gpr[core::kRsp] == kUserStack);
    CHECK(s.segment[core::kSs].selector == c.ss);
    CHECK(core::rflags(s) == (core::kIf | core::kIopl | core::kCf | core::kFlagsFixed));
    CHECK(s.cpl == (c.cs & 3));
    CHECK(!s.nmi_blocked);
  }
}

TEST_CASE("IRET in ring 3 changes neither IOPL nor IF") {
  Machine m(Mode::kProtected, 3);
  put_stack<u32>(m, {kTarget, kCode3, core::kIf | core::kIopl | core::kTf});
  REQUIRE(m.run(kFarTransferRows, ZYDIS_MNEMONIC_IRETD, insn_of(4)));
  CHECK(m.cpu.state.rflags == (core::kTf | core::kFlagsFixed));
  CHECK(m.cpu.state.gpr[core::kRsp] == kUserStack + 12);
}

TEST_CASE("an IRET that sets IF lets a waiting interrupt in at once") {
  Machine m(Mode::kProtected);
  m.cpu.state.pending = core::kPendingIntr;
  m.cpu.state.attention = 0;
  put_stack<u32>(m, {kTarget, kCode0, core::kIf});
  REQUIRE(m.run(kFarTransferRows, ZYDIS_MNEMONIC_IRETD, insn_of(4)));
  CHECK(m.cpu.state.attention == 1);
}

namespace {

// A 32-bit TSS at kOtherTss, described by kFree.
void put_other_task(Machine& m, u32 type = 0x89) {
  m.put_gdt(kFree, descriptor(kOtherTss, 0x67, type));
  m.put<u32>(kOtherTss + 0x20, kTarget);
  m.put<u32>(kOtherTss + 0x24, core::kFlagsFixed | core::kZf);
  for (u32 i = 0; i < 8; ++i) m.put<u32>(kOtherTss + 0x28 + i * 4, 0x100 + i);
  m.put<u32>(kOtherTss + 0x28 + core::kRsp * 4, kUserStack);
  for (u32 i = 0; i < core::kSegmentCount; ++i)
    m.put<u32>(kOtherTss + 0x48 + i * 4, i == core::kCs ? kCode0 : kData0);
}

bool busy(const Machine& m, u16 selector) {
  return m.get<u64>(kGdt + selector) >> 41 & 1;
}

}  // namespace

TEST_CASE("task switch by JMP and CALL, and back by IRET") {
  for (const bool call : {false, true}) {
    Machine m(Mode::kProtected);
    CpuState& s = m.cpu.state;
    put_other_task(m);
    s.gpr[core::kRbx] = 0xabcd;
    REQUIRE((call ? far_call(m.cpu, insn_of(4), kFree, 0) : far_jump(m.cpu, insn_of(4), kFree, 0)));
    CHECK(!s.fault.pending);
    CHECK(s.rip == kTarget);
    CHECK(s.gpr[core::kRbx] == 0x103);
    CHECK(s.gpr[core::kRsp] == kUserStack);
    CHECK(s.tr.selector == kFree);
    CHECK(core::zf(s.lazy));
    CHECK((s.cr0 & core::kCr0Ts) != 0);
    CHECK(((s.rflags & core::kNt) != 0) == call);
    CHECK(busy(m, kFree));
    CHECK(busy(m, kTssSelector) == call);
    CHECK(m.get<u32>(kTss + 0x20) == kRip + 5);
    CHECK(m.get<u32>(kTss + 0x28 + core::kRbx * 4) == 0xabcd);
    CHECK(m.get<u16>(kOtherTss) == (call ? kTssSelector : 0));
    if (!call) continue;

    m.put<u32>(kTss + 0x1c, 0);
    REQUIRE(m.run(kFarTransferRows, ZYDIS_MNEMONIC_IRETD, insn_of(4)));
    CHECK(s.tr.selector == kTssSelector);
    CHECK(s.rip == kRip + 5);
    CHECK(s.gpr[core::kRbx] == 0xabcd);
    CHECK(!busy(m, kFree));
    CHECK(busy(m, kTssSelector));
    CHECK((m.get<u32>(kOtherTss + 0x24) & core::kNt) == 0);
  }
}

TEST_CASE("16-bit TSS") {
  Machine m(Mode::kProtected);
  CpuState& s = m.cpu.state;
  m.put_gdt(kFree, descriptor(kOtherTss, 0x2b, 0x81));
  m.put<u16>(kOtherTss + 0x0e, kTarget);
  m.put<u16>(kOtherTss + 0x10, 2);
  m.put<u16>(kOtherTss + 0x12 + core::kRdx * 2, 0x4444);
  for (u32 i = 0; i < 4; ++i) m.put<u16>(kOtherTss + 0x22 + i * 2, i == core::kCs ? kCode0 : kData0);
  REQUIRE(far_jump(m.cpu, insn_of(4), kFree, 0));
  CHECK(!s.fault.pending);
  CHECK(s.rip == kTarget);
  CHECK(s.gpr[core::kRdx] == 0x4444);
  CHECK(s.segment[core::kFs].selector == 0);
}

TEST_CASE("task switches that fail before and after the switch") {
  struct {
    u32 field, value;  // patched into the new TSS
    u64 descriptor;    // replaces its descriptor
    bool switched;
    Vector vector;
    u32 error;
  } const cases[] = {
      {0, 0, descriptor(kOtherTss, 0x66, 0x89), false, Vector::kTS, kFree},
      {0, 0, descriptor(kOtherTss, 0x67, 0x09), false, Vector::kNP, kFree},
      {0, 0, descriptor(kOtherTss, 0x67, 0x8b), false, Vector::kGP, kFree},
      {0x4c, 0, 0, true, Vector::kTS, 0},                 // null CS
      {0x4c, kData0, 0, true, Vector::kTS, kData0},       // CS is data
      {0x50, kData3, 0, true, Vector::kTS, kData3 & ~3},  // SS of the wrong ring
      {0x54, 0xff8, 0, true, Vector::kTS, 0xff8},         // DS outside the GDT
      {0x60, kData0, 0, true, Vector::kTS, kData0},       // the LDT is none
      {0x64, 1, 0, true, Vector::kDB, 0},                 // T bit
  };
  for (const auto& c : cases) {
    Machine m(Mode::kProtected);
    CpuState& s = m.cpu.state;
    put_other_task(m);
    if (c.field) m.put<u32>(kOtherTss + c.field, c.value);
    if (c.descriptor) m.put_gdt(kFree, c.descriptor);
    CHECK(far_jump(m.cpu, insn_of(4), kFree, 0) == c.switched);
    check_fault(m, c.vector, c.error);
    CHECK(s.tr.selector == (c.switched ? kFree : kTssSelector));
    CHECK(busy(m, kTssSelector) == !c.switched);
    if (!c.switched) CHECK(m.get<u32>(kTss + 0x20) == 0);
  }
}

TEST_CASE("an exception through a task gate leaves its error code on the new stack") {
  Machine m(Mode::kProtected, 3);
  put_other_task(m);
  m.put_idt(13, gate(kFree, 0, SystemType::kTaskGate));
  m.cpu.raise(Vector::kGP, 0x1230);
  deliver_fault(m.cpu);
  CHECK(m.cpu.state.rip == kTarget);
  CHECK(m.cpu.state.cpl == 0);
  CHECK(m.cpu.state.gpr[core::kRsp] == kUserStack - 4);
  CHECK(m.get<u32>(kUserStack - 4) == 0x1230);
  CHECK(m.get<u32>(kTss + 0x20) == kRip);
}

TEST_CASE("segment loads") {
  struct {
    Mode mode;
    u8 cpl;
    core::Segment segment;
    u16 selector;
    u64 descriptor;  // of kFree
    std::optional<Vector> fault;
    u32 error;
  } const cases[] = {
      {Mode::kProtected, 0, core::kDs, kData0, 0, std::nullopt, 0},
      {Mode::kProtected, 0, core::kDs, 3, 0, std::nullopt, 0},
      {Mode::kProtected, 3, core::kDs, kData0, 0, Vector::kGP, kData0},
      {Mode::kProtected, 0, core::kDs, kData0 | 3, 0, Vector::kGP, kData0},
      {Mode::kProtected, 3, core::kEs, kConforming, 0, std::nullopt, 0},  // readable conforming code
      {Mode::kProtected, 0, core::kEs, kFree, flat(kCodeType & ~core::kSegReadable), Vector::kGP, kFree},
      {Mode::kProtected, 0, core::kFs, kFree, flat(kDataType & ~core::kSegPresent), Vector::kNP, kFree},
      {Mode::kProtected, 0, core::kFs, kTssSelector, 0, Vector::kGP, kTssSelector},
      {Mode::kProtected, 0, core::kSs, kData0, 0, std::nullopt, 0},
      {Mode::kProtected, 0, core::kSs, 0, 0, Vector::kGP, 0},
      {Mode::kProtected, 0, core::kSs, kData3, 0, Vector::kGP, kData3 & ~3},
      {Mode::kProtected, 0, core::kSs, kFree, flat(kDataType & ~core::kSegWritable), Vector::kGP, kFree},
      {Mode::kProtected, 0, core::kSs, kFree, flat(kDataType & ~core::kSegPresent), Vector::kSS, kFree},
      {Mode::kLong, 0, core::kSs, 0, 0, std::nullopt, 0},
      {Mode::kLong, 3, core::kSs, 3, 0, Vector::kGP, 0},
      {Mode::kReal, 0, core::kSs, 0x1234, 0, std::nullopt, 0},
  };
  for (const auto& c : cases) {
    Machine m(c.mode, c.cpl);
    if (c.descriptor) m.put_gdt(kFree, c.descriptor);
    CHECK(load_segment(m.cpu, c.segment, c.selector) == !c.fault);
    CHECK(m.cpu.state.interrupt_shadow == (!c.fault && c.segment == core::kSs));
    if (c.fault)
      check_fault(m, *c.fault, c.error);
    else
      CHECK(m.cpu.state.segment[c.segment].selector == c.selector);
  }
}

TEST_CASE("segmented addresses") {
  struct {
    u16 attributes;
    u32 limit;
    u64 offset;
    u32 size;
    mmu::Access access;
    bool ok;
  } const cases[] = {
      {0x93, 0xfff, 0xffc, 4, mmu::Access::kWrite, true},
      {0x93, 0xfff, 0xffd, 4, mmu::Access::kRead, false},
      {0x91, 0xfff, 0, 1, mmu::Access::kWrite, false},
      {0x13, 0xfff, 0, 1, mmu::Access::kRead, false},
      {0x97, 0xfff, 0xfff, 1, mmu::Access::kRead, false},  // expand-down
      {0x97, 0xfff, 0x1000, 1, mmu::Access::kRead, true},
      {0x97, 0xfff, 0xffff, 2, mmu::Access::kRead, false},
      {0x4097, 0xfff, 0xffff, 2, mmu::Access::kRead, true},
      {0x9b, 0xfff, 0, 1, mmu::Access::kRead, true},
      {0x9b, 0xfff, 0, 1, mmu::Access::kWrite, false},
      {0x99, 0xfff, 0, 1, mmu::Access::kRead, false},
      {0x4093, 0xffff'ffff, 0xffff'ffff, 2, mmu::Access::kRead, false},
  };
  for (const auto& c : cases) {
    Machine m(Mode::kProtected);
    m.cpu.state.segment[core::kSs] = {0x10'0000, c.limit, kFree, c.attributes};
    u64 la = 0;
    CHECK(segmented_address(m.cpu, core::kSs, c.offset, c.size, c.access, la) == c.ok);
    if (c.ok)
      CHECK(la == 0x10'0000 + c.offset);
    else
      check_fault(m, Vector::kSS, 0);
  }
}

TEST_CASE("LAR, LSL, VERR, VERW, ARPL") {
  struct {
    Mode mode;
    u8 cpl;
    u16 selector;
    bool lar, lsl, verr, verw;
  } const cases[] = {
      {Mode::kProtected, 0, kData0, true, true, true, true},
      {Mode::kProtected, 3, kData0, false, false, false, false},
      {Mode::kProtected, 0, kData0 | 3, false, false, false, false},
      {Mode::kProtected, 3, kConforming, true, true, true, false},
      {Mode::kProtected, 0, kCode0, true, true, true, false},
      {Mode::kProtected, 0, kTssSelector, true, true, false, false},
      {Mode::kProtected, 0, kFree, true, false, false, false},  // a task gate
      {Mode::kLong, 0, kFree, false, false, false, false},
      {Mode::kLong, 0, kTssSelector, true, true, false, false},
      {Mode::kProtected, 0, 0, false, false, false, false},
      {Mode::kProtected, 0, 0xff8, false, false, false, false},
  };
  const Operand rax{OperandKind::kGpr, core::kRax * 8, 4}, rcx{OperandKind::kGpr, core::kRcx * 8, 4};
  for (const auto& c : cases) {
    Machine m(c.mode, c.cpl);
    m.put_gdt(kFree, gate(kTssSelector, 0, SystemType::kTaskGate, 3));
    CpuState& s = m.cpu.state;
    const auto zf_after = [&](ZydisMnemonic mnemonic, bool two_operands) {
      s.gpr[core::kRcx] = c.selector;
      s.gpr[core::kRax] = 0x5555;
      Insn insn = insn_of(4);
      insn.op[0] = two_operands ? rax : rcx;
      insn.op[1] = rcx;
      REQUIRE(m.run(kSegmentRows, mnemonic, insn));
      return core::zf(s.lazy);
    };
    CHECK(zf_after(ZYDIS_MNEMONIC_LAR, true) == c.lar);
    CHECK(s.gpr[core::kRax] == (c.lar ? m.get<u64>(kGdt + (c.selector & ~7)) >> 32 & 0xff'ff00 : 0x5555));
    CHECK(zf_after(ZYDIS_MNEMONIC_LSL, true) == c.lsl);
    if (c.lsl) CHECK(s.gpr[core::kRax] == (c.selector == kTssSelector ? 0x200 : 0xffff'ffff));
    CHECK(zf_after(ZYDIS_MNEMONIC_VERR, false) == c.verr);
    CHECK(zf_after(ZYDIS_MNEMONIC_VERW, false) == c.verw);
  }
  Machine real(Mode::kReal);
  CHECK(!real.run(kSegmentRows, ZYDIS_MNEMONIC_VERR, insn_of(4)));
  check_fault(real, Vector::kUD, 0);
}
