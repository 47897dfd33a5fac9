// Delivery of interrupts and exceptions: frames, stack switches, checks, and faults during delivery.
#include "system_fixture.hpp"

using namespace doppel;
using namespace doppel::interp;
using namespace doppel::interp::test;
using core::Activity;

namespace {

constexpr u8 kVector = 0x40;
constexpr u64 kHandler = 0x9000;
constexpr u64 kFlags = core::kIf | core::kFlagsFixed;

template <class T>
std::vector<u64> frame(const Machine& m, u32 count) {
  std::vector<u64> out;
  for (u32 i = 0; i < count; ++i)
    out.push_back(m.get<T>((m.cpu.state.gpr[core::kRsp] & 0xffff'ffff) + i * sizeof(T)));
  return out;
}

bool deliver(Machine& m, u8 vector, EventKind kind, u32 error = 0) {
  return deliver_event(m.cpu, vector, kind, error);
}

void raise(Machine& m, Vector vector, u32 error = 0, u64 address = 0) {
  m.cpu.raise(vector, error, address);
  deliver_fault(m.cpu);
}

}  // namespace

TEST_CASE("real mode: IVT, flags, frame") {
  Machine m(Mode::kReal);
  CpuState& s = m.cpu.state;
  s.gpr[core::kRsp] = 2;  // the frame wraps around the segment
  s.rflags = kFlags | core::kTf;
  s.segment[core::kCs] = {0x1230, 0xffff, 0x123, 0x93};
  m.put<u32>(kVector * 4, 0x2000'0100);
  REQUIRE(deliver(m, kVector, EventKind::kSoftware));
  CHECK(s.segment[core::kCs].selector == 0x2000);
  CHECK(s.segment[core::kCs].base == 0x20000);
  CHECK(s.rip == 0x100);
  CHECK((s.rflags & (core::kIf | core::kTf)) == 0);
  CHECK((s.gpr[core::kRsp] & 0xffff) == 0xfffc);
  CHECK(m.get<u16>(0) == 0x302 + 0);
  CHECK(m.get<u16>(0xfffe) == 0x123);
  CHECK(m.get<u16>(0xfffc) == kRip);
}

TEST_CASE("protected mode, same ring: gates of both sizes") {
  struct {
    SystemType type;
    bool clears_if;
    u32 size;
  } const cases[] = {{SystemType::kInterruptGate32, true, 4},
                     {SystemType::kTrapGate32, false, 4},
                     {SystemType::kInterruptGate16, true, 2},
                     {SystemType::kTrapGate16, false, 2}};
  for (const auto& c : cases) {
    Machine m(Mode::kProtected);
    CpuState& s = m.cpu.state;
    s.rflags = kFlags;
    m.put_idt(kVector, gate(kCode0, kHandler, c.type));
    const u64 before = s.gpr[core::kRsp];
    REQUIRE(deliver(m, kVector, EventKind::kExternal));
    CHECK(s.rip == kHandler);
    CHECK(before - s.gpr[core::kRsp] == 3 * c.size);
    CHECK(((s.rflags & core::kIf) == 0) == c.clears_if);
    const auto pushed = c.size == 4 ? frame<u32>(m, 3) : frame<u16>(m, 3);
    CHECK(pushed == std::vector<u64>{kRip, kCode0, kFlags});
  }
}

TEST_CASE("protected mode, to ring 0: stack from the TSS, error code") {
  Machine m(Mode::kProtected, 3);
  CpuState& s = m.cpu.state;
  s.rflags = kFlags;
  m.put_idt(13, gate(kCode0, kHandler, SystemType::kInterruptGate32));
  REQUIRE(deliver(m, 13, EventKind::kFault, 0x1234));
  CHECK(s.cpl == 0);
  CHECK(s.segment[core::kSs].selector == kData0);
  CHECK(s.gpr[core::kRsp] == kRing0Stack - 24);
  CHECK(frame<u32>(m, 6) == std::vector<u64>{0x1234, kRip, kCode3, kFlags, kUserStack, kData3});
}

TEST_CASE("long mode: alignment, IST, null SS, error code") {
  Machine m(Mode::kLong, 3);
  CpuState& s = m.cpu.state;
  s.rflags = kFlags;
  s.gpr[core::kRsp] = kUserStack + 3;
  m.put<u64>(kTss + 4, kRing0Stack + 8);
  m.put_idt(14, gate(kCode64, kHandler, SystemType::kInterruptGate32));
  REQUIRE(deliver(m, 14, EventKind::kFault, 4));
  CHECK(s.cpl == 0);
  CHECK(s.code_bits == 64);
  CHECK(s.segment[core::kSs].selector == 0);
  CHECK(s.gpr[core::kRsp] == kRing0Stack - 48);
  CHECK(frame<u64>(m, 6) == std::vector<u64>{4, kRip, kUser64, kFlags, kUserStack + 3, kData3});

  Machine ist(Mode::kLong);
  ist.cpu.state.rflags = kFlags;
  ist.put_idt(kVector, gate(kCode64, kHandler, SystemType::kTrapGate32, 0, 1));
  REQUIRE(deliver(ist, kVector, EventKind::kExternal));
  CHECK(ist.cpu.state.gpr[core::kRsp] == kIstStack - 40);
  CHECK(ist.cpu.state.segment[core::kSs].selector == kData0);
  CHECK((ist.cpu.state.rflags & core::kIf) != 0);
}

TEST_CASE("inner stacks are written as supervisor though the CPL is still 3") {
  constexpr u64 kSupervisorPage = 0x83;  // P, RW, PS
  Machine protected_mode(Mode::kProtected, 3), long_mode(Mode::kLong, 3);
  protected_mode.put<u32>(kPageTables, kSupervisorPage);
  protected_mode.cpu.state.cr3 = kPageTables;
  protected_mode.cpu.state.cr4 = core::kCr4Pse;
  protected_mode.cpu.state.cr0 |= core::kCr0Pg;
  long_mode.put<u64>(kPageTables + 0x2000, kSupervisorPage);
  for (Machine* m : {&protected_mode, &long_mode}) {
    m->cpu.mmu.flush_all();
    m->cpu.mmu.mode_changed();
    const u16 code = m == &long_mode ? kCode64 : kCode0;
    m->put_idt(kVector, gate(code, kHandler, SystemType::kInterruptGate32));
    CHECK(deliver(*m, kVector, EventKind::kExternal));
    CHECK(m->cpu.state.rip == kHandler);
  }
}

TEST_CASE("what stops delivery, and that nothing shows") {
  struct {
    Mode mode;
    u8 cpl;
    EventKind kind;
    u64 gate;
    u16 idt_limit;
    Vector vector;
    u32 error;
  } const cases[] = {
      // Gate privilege counts for INT n only; EXT is set for the others.
      {Mode::kProtected, 3, EventKind::kSoftware, gate(kCode0, 0, SystemType::kInterruptGate32, 0), 0xfff,
       Vector::kGP, kVector * 8 + 2},
      {Mode::kLong, 3, EventKind::kSoftwareTrap, gate(kCode64, 0, SystemType::kInterruptGate32, 0), 0xfff,
       Vector::kGP, kVector * 8 + 2},
      {Mode::kProtected, 0, EventKind::kExternal,
       gate(kCode0, 0, SystemType::kInterruptGate32) & ~(u64{core::kSegPresent} << 40), 0xfff, Vector::kNP,
       kVector * 8 + 3},
      {Mode::kProtected, 0, EventKind::kExternal, gate(kCode0, 0, SystemType::kCallGate32), 0xfff,
       Vector::kGP, kVector * 8 + 3},
      {Mode::kLong, 0, EventKind::kExternal, gate(kCode64, 0, SystemType::kInterruptGate16), 0xfff,
       Vector::kGP, kVector * 8 + 3},
      {Mode::kProtected, 0, EventKind::kSoftware, gate(kCode0, 0, SystemType::kTrapGate32), kVector * 8 + 6,
       Vector::kGP, kVector * 8 + 2},
      {Mode::kLong, 0, EventKind::kExternal, gate(kCode64, 0, SystemType::kTrapGate32), kVector * 16 + 14,
       Vector::kGP, kVector * 8 + 3},
      {Mode::kProtected, 0, EventKind::kSoftware, gate(0, 0, SystemType::kTrapGate32), 0xfff, Vector::kGP, 0},
      {Mode::kProtected, 0, EventKind::kExternal, gate(kData0, 0, SystemType::kTrapGate32), 0xfff,
       Vector::kGP, kData0 + 1},
      {Mode::kLong, 0, EventKind::kSoftware, gate(kCode0, 0, SystemType::kTrapGate32), 0xfff, Vector::kGP,
       kCode0},
      {Mode::kProtected, 0, EventKind::kSoftware, gate(kCode3, 0, SystemType::kTrapGate32), 0xfff,
       Vector::kGP, kCode3 & ~3},
  };
  for (const auto& c : cases) {
    Machine m(c.mode, c.cpl);
    CpuState& s = m.cpu.state;
    m.put_idt(kVector, c.gate);
    s.idtr.limit = c.idt_limit;
    const u64 rsp = s.gpr[core::kRsp];
    const u16 cs = s.segment[core::kCs].selector;
    REQUIRE(!deliver(m, kVector, c.kind));
    check_fault(m, c.vector, c.error);
    CHECK(s.gpr[core::kRsp] == rsp);
    CHECK(s.segment[core::kCs].selector == cs);
    CHECK(s.rip == kRip);
    CHECK(s.cpl == c.cpl);
  }
}

TEST_CASE("bad inner stacks") {
  struct {
    u16 ss;
    u64 descriptor;
    u32 tss_limit;
    Vector vector;
    u32 error;
  } const cases[] = {
      {0, 0, 0x67, Vector::kTS, 1},
      {kData3, 0, 0x67, Vector::kTS, (kData3 & ~3) + 1},
      {kCode0, 0, 0x67, Vector::kTS, kCode0 + 1},
      {kFree, flat(kDataType & ~core::kSegPresent), 0x67, Vector::kSS, kFree + 1},
      {0xff0, 0, 0x67, Vector::kTS, 0xff1},
      {kData0, 0, 8, Vector::kTS, kTssSelector + 1},
      {kFree, descriptor(0, 0xfff, kDataType | core::kSegDb), 0x67, Vector::kSS, kFree + 1},  // ESP outside
  };
  for (const auto& c : cases) {
    Machine m(Mode::kProtected, 3);
    m.put<u32>(kTss + 8, c.ss);
    m.cpu.state.tr.limit = c.tss_limit;
    if (c.descriptor) m.put_gdt(c.ss, c.descriptor);
    m.put_idt(kVector, gate(kCode0, kHandler, SystemType::kInterruptGate32));
    REQUIRE(!deliver(m, kVector, EventKind::kExternal));
    check_fault(m, c.vector, c.error);
    CHECK(m.cpu.state.gpr[core::kRsp] == kUserStack);
    CHECK(m.get<u32>(kRing0Stack - 4) == 0);
  }
}

TEST_CASE("a frame that does not fit is not begun") {
  Machine m(Mode::kLong, 3);
  m.put_idt(kVector, gate(kCode64, kHandler, SystemType::kInterruptGate32));
  m.put<u64>(kTss + 4, 0x20'0010);  // two slots above the mapped 2 MiB; the rest is mapped
  REQUIRE(!deliver(m, kVector, EventKind::kExternal));
  const auto fault = m.take_fault();
  REQUIRE(fault);
  CHECK(fault->vector == Vector::kPF);
  CHECK(m.get<u64>(0x1f'fff8) == 0);
  m.put<u64>(kTss + 4, u64{1} << 60);
  REQUIRE(!deliver(m, kVector, EventKind::kExternal));
  check_fault(m, Vector::kSS, 1);
}

TEST_CASE("faults: CR2, DR6, RF in the image") {
  struct {
    Vector vector;
    u64 address;
    bool rf;
  } const cases[] = {{Vector::kGP, 0, true},
                     {Vector::kPF, 0xdead000, true},
                     {Vector::kDB, 1u << 14, false},  // single step: a trap
                     {Vector::kDB, 1u << 13, true}};  // general detect: a fault
  for (const auto& c : cases) {
    Machine m(Mode::kLong);
    CpuState& s = m.cpu.state;
    s.dr[6] = 0xffff'0ff3;
    s.dr[7] = 0x2400;
    m.put_idt(static_cast<u8>(c.vector), gate(kCode64, kHandler, SystemType::kInterruptGate32));
    raise(m, c.vector, 0, c.address);
    REQUIRE(s.rip == kHandler);
    const bool with_error = core::has_error_code(c.vector);
    const u64 image = m.get<u64>(s.gpr[core::kRsp] + (with_error ? 24 : 16));
    CHECK(((image & core::kRf) != 0) == c.rf);
    CHECK((s.rflags & core::kRf) == 0);
    if (c.vector == Vector::kPF) CHECK(s.cr2 == c.address);
    if (c.vector == Vector::kDB) {
      CHECK(s.dr[6] == (0xffff'0ff0 | c.address));
      CHECK(s.dr[7] == 0x400);
    }
  }
}

TEST_CASE("double fault table") {
  // The first exception's gate is bad in a way that raises #NP (contributory); which handler runs?
  struct {
    Vector first;
    u8 expected;
  } const cases[] = {
      {Vector::kGP, 8}, {Vector::kPF, 8}, {Vector::kDE, 8}, {Vector::kUD, 11}, {Vector::kAC, 11}};
  for (const auto& c : cases) {
    Machine m(Mode::kProtected);
    for (const u8 v : {8, 11}) m.put_idt(v, gate(kCode0, kHandler + v, SystemType::kInterruptGate32));
    m.put_idt(static_cast<u8>(c.first),
              gate(kCode0, 0, SystemType::kInterruptGate32) & ~(u64{core::kSegPresent} << 40));
    raise(m, c.first);
    CHECK(m.cpu.state.rip == kHandler + c.expected);
    CHECK(m.get<u32>(m.cpu.state.gpr[core::kRsp]) ==
          (c.expected == 8 ? 0 : static_cast<u32>(c.first) * 8 + 3));
    CHECK(m.cpu.state.activity == Activity::kRunning);
  }
}

TEST_CASE("triple fault shuts down") {
  for (const Mode mode : {Mode::kReal, Mode::kProtected, Mode::kLong}) {
    Machine m(mode);
    m.cpu.state.idtr.limit = 0;
    raise(m, Vector::kUD);
    CHECK(m.cpu.state.activity == Activity::kShutdown);
    CHECK(m.cpu.state.rip == kRip);
  }
}

TEST_CASE("software interrupts: what is pushed, and RIP when they fault") {
  Machine m(Mode::kProtected, 3);
  m.put_idt(kVector, gate(kCode0, kHandler, SystemType::kTrapGate32, 3));
  Insn insn;
  insn.imm = kVector;
  REQUIRE(m.run(kInterruptRows, ZYDIS_MNEMONIC_INT, insn));
  CHECK(m.get<u32>(m.cpu.state.gpr[core::kRsp]) == kRip + 2);

  Machine denied(Mode::kProtected, 3);
  denied.put_idt(kVector, gate(kCode0, kHandler, SystemType::kTrapGate32, 2));
  REQUIRE(!denied.run(kInterruptRows, ZYDIS_MNEMONIC_INT, insn));
  CHECK(denied.cpu.state.rip == kRip);
  check_fault(denied, Vector::kGP, kVector * 8 + 2);

  // INT1 ignores the gate's DPL.
  denied.put_idt(1, gate(kCode0, kHandler, SystemType::kTrapGate32, 0));
  CHECK(denied.run(kInterruptRows, ZYDIS_MNEMONIC_INT1));
  CHECK(denied.cpu.state.cpl == 0);
}

TEST_CASE("virtual-8086: to ring 0 and back") {
  Machine m(Mode::kProtected);
  CpuState& s = m.cpu.state;
  for (u16 i = 0; i < core::kSegmentCount; ++i)
    s.segment[i] = virtual_8086_segment(static_cast<u16>(0x100 + i));
  s.rflags = kFlags | core::kVm | core::kIopl;
  s.gpr[core::kRsp] = 0x800;
  code_segment_changed(m.cpu);
  REQUIRE(s.cpl == 3);
  m.put_idt(kVector, gate(kCode0, kHandler, SystemType::kInterruptGate32, 3));
  REQUIRE(deliver(m, kVector, EventKind::kExternal));
  CHECK(s.cpl == 0);
  CHECK(!core::virtual_8086(s));
  CHECK(s.segment[core::kDs].selector == 0);
  CHECK(frame<u32>(m, 9) == std::vector<u64>{kRip, 0x101, kFlags | core::kVm | core::kIopl, 0x800, 0x102,
                                             0x100, 0x103, 0x104, 0x105});
  Insn insn;
  insn.op_size = 4;
  REQUIRE(m.run(kFarTransferRows, ZYDIS_MNEMONIC_IRETD, insn));
  CHECK(core::virtual_8086(s));
  CHECK(s.cpl == 3);
  CHECK(s.rip == kRip);
  CHECK(s.gpr[core::kRsp] == 0x800);
  for (u16 i = 0; i < core::kSegmentCount; ++i) {
    CHECK(s.segment[i].selector == 0x100 + i);
    CHECK(s.segment[i].base == (0x100u + i) << 4);
  }
}

TEST_CASE("virtual-8086 with VME: INT n by the redirection bitmap") {
  for (const bool to_idt : {false, true}) {
    Machine m(Mode::kProtected);
    CpuState& s = m.cpu.state;
    for (auto& segment : s.segment) segment = virtual_8086_segment(0x3000);
    s.rflags = core::kFlagsFixed | core::kVm | core::kVif;  // IOPL 0, virtual interrupts on
    s.cr4 = core::kCr4Vme;
    s.gpr[core::kRsp] = 0x800;
    code_segment_changed(m.cpu);
    m.put<u16>(kTss + 0x66, 0x100);
    m.put<u8>(kTss + 0x100 - 32 + kVector / 8, to_idt ? 1 << kVector % 8 : 0);
    m.put<u32>(kVector * 4, 0x2000'0100);
    Insn insn;
    insn.imm = kVector;
    CHECK(m.run(kInterruptRows, ZYDIS_MNEMONIC_INT, insn) == !to_idt);
    if (to_idt) {
      check_fault(m, Vector::kGP, 0);
      continue;
    }
    CHECK(core::virtual_8086(s));
    CHECK(s.rip == 0x100);
    CHECK(s.segment[core::kCs].selector == 0x2000);
    CHECK((s.rflags & core::kVif) == 0);
    const u16 image = m.get<u16>(0x3'0000 + 0x800 - 2);
    CHECK((image & core::kIf) != 0);
    CHECK((image & core::kIopl) == core::kIopl);
  }
}

TEST_CASE("HLT, MWAIT") {
  Machine user(Mode::kLong, 3);
  CHECK(!user.run(kInterruptRows, ZYDIS_MNEMONIC_HLT));
  check_fault(user, Vector::kGP, 0);
  Machine m(Mode::kLong);
  CHECK(m.run(kInterruptRows, ZYDIS_MNEMONIC_HLT));
  CHECK(m.cpu.state.activity == Activity::kHalted);
  CHECK(m.cpu.state.rip == kRip + 2);
  // An event ends the halt and the interrupt shadow.
  m.cpu.state.interrupt_shadow = true;
  m.put_idt(2, gate(kCode64, kHandler, SystemType::kInterruptGate32));
  REQUIRE(deliver(m, 2, EventKind::kNmi));
  CHECK(m.cpu.state.activity == Activity::kRunning);
  CHECK(!m.cpu.state.interrupt_shadow);
  CHECK(m.cpu.state.nmi_blocked);
}
