#include "jit/interp/interrupt.hpp"

#include <thread>

#include "core/log.hpp"
#include "jit/interp/cache.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/far_transfer.hpp"
#include "jit/interp/stack_frame.hpp"
#include "jit/interp/task_switch.hpp"

namespace doppel::interp {

using core::CpuState;
using core::Fault;

namespace {

struct Event {
  u8 vector;
  bool software;  // gate DPL is checked, EXT is 0
  std::optional<u32> error_code;
};

constexpr u64 kClearedByDelivery = core::kTf | core::kNt | core::kRf | core::kVm;

// ---------------------------------------------------------------------------------------------------------------
// Real mode, and virtual-8086 interrupts that stay in it.

[[nodiscard]] bool deliver_real(Vcpu& cpu, const Event& e) {
  CpuState& s = cpu.state;
  const u32 entry = e.vector * 4u;
  if (entry + 3 > s.idtr.limit) return cpu.raise(Vector::kGP, e.vector * 8u + 2);
  u32 pointer = 0;
  if (!cpu.mmu.read_system(table_address(s, s.idtr.base, entry), pointer)) return false;
  Frame frame(current_stack(s));
  frame.push(core::rflags(s), 2);
  frame.push(s.segment[core::kCs].selector, 2);
  frame.push(s.rip, 2);
  if (!frame.write(cpu)) return false;
  commit_stack(s, frame.stack());
  s.rflags &= ~(core::kIf | core::kTf | core::kAc | core::kRf);
  commit_target(cpu, {real_segment(s.segment[core::kCs], static_cast<u16>(pointer >> 16)), pointer & 0xffff});
  return true;
}

// The task's interrupt redirection bitmap: 32 bytes below the I/O permission bitmap; a set bit sends the
// vector to the IDT.
[[nodiscard]] bool read_redirection(Vcpu& cpu, u8 vector, bool& to_idt) {
  constexpr u32 kIoMapField = 0x66, kBitmapBytes = 32;
  const CpuState& s = cpu.state;
  u16 io_map = 0;
  if (s.tr.limit < kIoMapField + 1) return cpu.raise(Vector::kGP);
  if (!cpu.mmu.read_system(table_address(s, s.tr.base, kIoMapField), io_map)) return false;
  const u32 at = io_map - kBitmapBytes + vector / 8;
  if (io_map < kBitmapBytes || at > s.tr.limit) return cpu.raise(Vector::kGP);
  u8 bits = 0;
  if (!cpu.mmu.read_system(table_address(s, s.tr.base, at), bits)) return false;
  to_idt = bits >> (vector % 8) & 1;
  return true;
}

// INT n in virtual-8086 mode with CR4.VME: through the IVT at linear address 0, without leaving the mode.
[[nodiscard]] bool deliver_redirected(Vcpu& cpu, u8 vector) {
  CpuState& s = cpu.state;
  u32 pointer = 0;
  if (!cpu.mmu.read<u32>(vector * 4u, pointer)) return false;
  const bool virtual_if = (s.rflags & core::kIopl) != core::kIopl;
  u64 image = core::rflags(s);
  if (virtual_if) image = (image & ~core::kIf) | core::kIopl | (image & core::kVif ? core::kIf : 0);
  Frame frame(current_stack(s));
  frame.push(image, 2);
  frame.push(s.segment[core::kCs].selector, 2);
  frame.push(s.rip, 2);
  if (!frame.write(cpu)) return false;
  commit_stack(s, frame.stack());
  s.rflags &= ~(core::kTf | core::kRf | (virtual_if ? core::kVif : core::kIf));
  commit_target(cpu, {virtual_8086_segment(static_cast<u16>(pointer >> 16)), pointer & 0xffff});
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Protected and long mode.

u32 gate_error(const Event& e) {
  return e.vector * 8u + 2;  // the IDT bit
}

[[nodiscard]] bool read_gate(Vcpu& cpu, const Event& e, Descriptor& gate) {
  const CpuState& s = cpu.state;
  const bool is_long = core::long_mode(s);
  const u32 size = is_long ? 16 : 8;
  const u32 offset = e.vector * size;
  if (offset + size - 1 > s.idtr.limit) return cpu.raise(Vector::kGP, gate_error(e));
  const u64 address = table_address(s, s.idtr.base, offset);
  gate = {};
  return is_long ? cpu.mmu.read_system(address, gate) : cpu.mmu.read_system(address, gate.low);
}

[[nodiscard]] bool check_gate(Vcpu& cpu, const Event& e, const Descriptor& gate) {
  bool type_fits = false;
  switch (gate.type()) {
    case SystemType::kInterruptGate32:
    case SystemType::kTrapGate32:
      type_fits = true;
      break;
    case SystemType::kInterruptGate16:
    case SystemType::kTrapGate16:
    case SystemType::kTaskGate:
      type_fits = !core::long_mode(cpu.state);
      break;
    default:
      break;
  }
  const bool privilege_fits = !e.software || gate.dpl() >= cpu.state.cpl;
  if (gate.is_segment() || !type_fits || !privilege_fits) return cpu.raise(Vector::kGP, gate_error(e));
  return gate.present() || cpu.raise(Vector::kNP, gate_error(e));
}

// The handler's code segment; `cpl` becomes the ring it runs in.
[[nodiscard]] bool handler_code(Vcpu& cpu, u16 selector, Descriptor& code, u8& cpl) {
  const CpuState& s = cpu.state;
  if (null_selector(selector)) return cpu.raise(Vector::kGP);
  if (!require_descriptor(cpu, selector, Vector::kGP, code)) return false;
  cpl = is_conforming(code.attributes()) ? s.cpl : code.dpl();
  const bool privilege_fits = code.dpl() <= s.cpl && (!core::virtual_8086(s) || cpl == 0);
  const bool size_fits =
      !core::long_mode(s) || ((code.attributes() & core::kSegL) && !(code.attributes() & core::kSegDb));
  if (!is_code(code.attributes()) || !privilege_fits || !size_fits)
    return cpu.raise(Vector::kGP, selector_error(selector));
  return code.present() || cpu.raise(Vector::kNP, selector_error(selector));
}

[[nodiscard]] bool handler_stack(Vcpu& cpu, const Descriptor& gate, u8 cpl, Stack& out) {
  const CpuState& s = cpu.state;
  const bool inward = cpl < s.cpl;
  if (!core::long_mode(s)) {
    if (inward) return inner_stack(cpu, cpl, out);
    out = current_stack(s);
  } else {
    u64 rsp = s.gpr[core::kRsp];
    if (const u32 ist = gate.gate_ist()) {
      if (!read_rsp(cpu, ist_offset(ist), rsp)) return false;
    } else if (inward && !read_rsp(cpu, rsp_offset(cpl), rsp)) {
      return false;
    }
    constexpr u64 kAlignment = 16;
    out = flat_stack(inward ? core::SegmentRegister{.selector = cpl} : s.segment[core::kSs],
                     rsp & ~(kAlignment - 1));
  }
  out.implicit = cpl < 3;
  return true;
}

void push_interrupted(Frame& frame, const CpuState& s, u32 size, bool with_stack) {
  if (core::virtual_8086(s))
    for (const core::Segment i : {core::kGs, core::kFs, core::kDs, core::kEs})
      frame.push(s.segment[i].selector, size);
  if (with_stack) {
    frame.push(s.segment[core::kSs].selector, size);
    frame.push(s.gpr[core::kRsp], size);
  }
  frame.push(core::rflags(s), size);
  frame.push(s.segment[core::kCs].selector, size);
  frame.push(s.rip, size);
}

[[nodiscard]] bool deliver_protected(Vcpu& cpu, const Event& e) {
  CpuState& s = cpu.state;
  Descriptor gate, code;
  if (!read_gate(cpu, e, gate) || !check_gate(cpu, e, gate)) return false;
  if (gate.type() == SystemType::kTaskGate)
    return task_switch(cpu, gate.gate_selector(), TaskSwitch::kEvent, e.error_code);

  u8 cpl = 0;
  Stack stack;
  CodeTarget target;
  if (!handler_code(cpu, gate.gate_selector(), code, cpl) || !handler_stack(cpu, gate, cpl, stack) ||
      !make_target(cpu, gate.gate_selector(), code, cpl, gate.gate_offset(), target))
    return false;
  const bool is_long = core::long_mode(s);
  const u32 size = is_long ? 8 : gate.gate_is_wide() ? 4 : 2;
  Frame frame(stack);
  push_interrupted(frame, s, size, is_long || cpl < s.cpl);
  if (e.error_code) frame.push(*e.error_code, size);
  if (!frame.write(cpu)) return false;

  if (core::virtual_8086(s))
    for (const core::Segment i : {core::kGs, core::kFs, core::kDs, core::kEs}) s.segment[i] = {};
  const bool masks =
      gate.type() == SystemType::kInterruptGate16 || gate.type() == SystemType::kInterruptGate32;
  commit_stack(s, frame.stack());
  s.rflags &= ~(kClearedByDelivery | (masks ? core::kIf : 0));
  commit_target(cpu, target);
  return true;
}

// Exceptions met while an external event is delivered say so in bit 0 of their error code.
void mark_external(Fault& fault) {
  constexpr u32 kExt = 1;
  switch (fault.vector) {
    case Vector::kTS:
    case Vector::kNP:
    case Vector::kSS:
    case Vector::kGP:
      fault.error |= kExt;
      break;
    default:
      break;
  }
}

}  // namespace

bool deliver_event(Vcpu& cpu, u8 vector, EventKind kind, u32 error_code) {
  CpuState& s = cpu.state;
  Event event{vector, kind == EventKind::kSoftware || kind == EventKind::kSoftwareTrap, std::nullopt};
  if (kind == EventKind::kFault && core::has_error_code(static_cast<Vector>(vector)))
    event.error_code = error_code;
  const bool ok = core::real_mode(s) ? deliver_real(cpu, event) : deliver_protected(cpu, event);
  if (s.fault.pending && !event.software) mark_external(s.fault);
  if (!ok) return false;
  s.interrupt_shadow = false;
  if (s.activity == core::Activity::kHalted) s.activity = core::Activity::kRunning;
  if (kind == EventKind::kNmi) s.nmi_blocked = true;
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Faults.

namespace {

enum class FaultClass : u8 { kBenign, kContributory, kPageFault, kDoubleFault };

FaultClass fault_class(Vector v) {
  switch (v) {
    case Vector::kDE:
    case Vector::kTS:
    case Vector::kNP:
    case Vector::kSS:
    case Vector::kGP:
      return FaultClass::kContributory;
    case Vector::kPF:
      return FaultClass::kPageFault;
    case Vector::kDF:
      return FaultClass::kDoubleFault;
    default:
      return FaultClass::kBenign;
  }
}

// What becomes of `second`, raised while `first` was delivered (SDM Vol. 3A, "Conditions for Generating a
// Double Fault"). Empty: shutdown.
std::optional<Fault> combine(const Fault& first, const Fault& second) {
  const FaultClass a = fault_class(first.vector), b = fault_class(second.vector);
  const bool serious = b == FaultClass::kContributory || b == FaultClass::kPageFault;
  if (a == FaultClass::kDoubleFault && serious) return std::nullopt;
  const bool doubles = (a == FaultClass::kContributory && b == FaultClass::kContributory) ||
                       (a == FaultClass::kPageFault && serious);
  return doubles ? Fault{Vector::kDF, true, 0, 0} : second;
}

constexpr u64 kDr6Breakpoints = 0xf, kDr6Bd = 1u << 13, kDr7Gd = 1u << 13;

// State that an exception leaves behind besides its frame.
void record(CpuState& s, const Fault& fault) {
  bool restartable = fault.vector != Vector::kMC && fault.vector != Vector::kDF;
  if (fault.vector == Vector::kPF) s.cr2 = fault.address;
  if (fault.vector == Vector::kDB) {
    s.dr[6] = (s.dr[6] & ~kDr6Breakpoints) | fault.address;
    s.dr[7] &= ~kDr7Gd;
    restartable = fault.address & kDr6Bd;
  }
  // Pushed with the flags: the instruction that IRET restarts meets no instruction breakpoint.
  if (restartable) s.rflags |= core::kRf;
}

Fault take_fault(CpuState& s) {
  const Fault fault = s.fault;
  s.fault = {};
  return fault;
}

void shut_down(CpuState& s) {
  s.activity = core::Activity::kShutdown;
  s.attention = 1;
}

}  // namespace

void deliver_fault(Vcpu& cpu) {
  constexpr u32 kMaxNested = 8;  // benign faults can follow each other for ever (#AC on a misaligned stack)
  CpuState& s = cpu.state;
  Fault fault = take_fault(s);
  for (u32 nested = 0; nested < kMaxNested; ++nested) {
    core::log(core::LogCategory::kInterrupt, "exception {} error {:#x} address {:#x} at {:#x}:{:#x}",
              static_cast<u32>(fault.vector), fault.error, fault.address, s.segment[core::kCs].selector,
              s.rip);
    record(s, fault);
    const bool ok = deliver_event(cpu, static_cast<u8>(fault.vector), EventKind::kFault, fault.error);
    if (ok && !s.fault.pending) return;
    const std::optional<Fault> next_fault = combine(fault, take_fault(s));
    if (!next_fault) break;
    fault = *next_fault;
  }
  core::log(core::LogCategory::kCpu, "shutdown after {} at {:#x}:{:#x}", static_cast<u32>(fault.vector),
            s.segment[core::kCs].selector, s.rip);
  shut_down(s);
}

// ---------------------------------------------------------------------------------------------------------------
// Instructions.

namespace {

bool software_event(Vcpu& cpu, const Insn& insn, u8 vector, EventKind kind) {
  cpu.state.rip = rip_after(cpu, insn);
  return deliver_event(cpu, vector, kind, 0);
}

bool int_n(Vcpu& cpu, const Insn& insn) {
  CpuState& s = cpu.state;
  const auto vector = static_cast<u8>(insn.imm);
  if (core::virtual_8086(s)) {
    bool to_idt = true;
    if ((s.cr4 & core::kCr4Vme) && !read_redirection(cpu, vector, to_idt)) return false;
    if (!to_idt) {
      s.rip = rip_after(cpu, insn);
      return deliver_redirected(cpu, vector);
    }
    if ((s.rflags & core::kIopl) != core::kIopl) return cpu.raise(Vector::kGP);
  }
  return software_event(cpu, insn, vector, EventKind::kSoftware);
}

bool int1(Vcpu& cpu, const Insn& insn) {
  return software_event(cpu, insn, static_cast<u8>(Vector::kDB), EventKind::kPrivilegedSoftware);
}

bool int3(Vcpu& cpu, const Insn& insn) {
  return software_event(cpu, insn, static_cast<u8>(Vector::kBP), EventKind::kSoftwareTrap);
}

bool into(Vcpu& cpu, const Insn& insn) {
  if (core::of(cpu.state.lazy))
    return software_event(cpu, insn, static_cast<u8>(Vector::kOF), EventKind::kSoftwareTrap);
  cpu.state.rip = rip_after(cpu, insn);
  return true;
}

bool bound(Vcpu& cpu, const Insn& insn) {
  const auto check = [&]<class T>() {
    std::array<T, 2> bounds{};
    if (!load(cpu, insn, bounds)) return false;
    const T index = read_gpr<T>(cpu, insn.op[0].reg);
    return (index >= bounds[0] && index <= bounds[1]) || cpu.raise(Vector::kBR);
  };
  return insn.op_size == 2 ? check.operator()<i16>() : check.operator()<i32>();
}

bool undefined(Vcpu& cpu, const Insn&) {
  return cpu.raise(Vector::kUD);
}

void halt(Vcpu& cpu) {
  cpu.state.activity = core::Activity::kHalted;
  cpu.state.attention = 1;
}

bool hlt(Vcpu& cpu, const Insn&) {
  if (cpu.state.cpl != 0) return cpu.raise(Vector::kGP);
  halt(cpu);
  return true;
}

bool monitor(Vcpu& cpu, const Insn& insn) {
  if (cpu.state.cpl != 0) return cpu.raise(Vector::kUD);
  if (cpu.state.gpr[core::kRcx] & 0xffff'ffff) return cpu.raise(Vector::kGP);
  u64 la = 0;
  return accumulator_address(cpu, insn, 1, mmu::Access::kRead, la) &&
         cpu.mmu.probe(la, 1, mmu::Access::kRead);
}

// Stores to the monitored line are not watched, so MWAIT may sleep only if nobody but an interrupt handler
// can make them; else it wakes at once, as the manuals allow.
bool mwait(Vcpu& cpu, const Insn&) {
  const CpuState& s = cpu.state;
  constexpr u64 kBreakOnMasked = 1;
  if (s.cpl != 0) return cpu.raise(Vector::kUD);
  if (s.gpr[core::kRcx] & 0xffff'ffff & ~kBreakOnMasked) return cpu.raise(Vector::kGP);
  if (cpu.model.cpus == 1 && (s.rflags & core::kIf))
    halt(cpu);
  else
    std::this_thread::yield();
  return true;
}

// Whoever waits for another processor lets it run, where the host has fewer.
bool pause(Vcpu& cpu, const Insn&) {
  constexpr u32 kPatience = 64;
  if (cpu.shared && ++cpu.pauses % kPatience == 0) cpu.state.notify(core::kPendingYield);
  return true;
}

constexpr Row kRows[] = {
    row_branch<int_n>(ZYDIS_MNEMONIC_INT),   row_branch<int1>(ZYDIS_MNEMONIC_INT1),
    row_branch<int3>(ZYDIS_MNEMONIC_INT3),   row_branch<into>(ZYDIS_MNEMONIC_INTO),
    row<bound>(ZYDIS_MNEMONIC_BOUND),        row_ends<undefined>(ZYDIS_MNEMONIC_UD0),
    row_ends<undefined>(ZYDIS_MNEMONIC_UD1), row_ends<undefined>(ZYDIS_MNEMONIC_UD2),
    row_ends<hlt>(ZYDIS_MNEMONIC_HLT),       row<monitor>(ZYDIS_MNEMONIC_MONITOR),
    row_ends<mwait>(ZYDIS_MNEMONIC_MWAIT),   row<pause>(ZYDIS_MNEMONIC_PAUSE),
};

}  // namespace

const Rows kInterruptRows = kRows;

}  // namespace doppel::interp
