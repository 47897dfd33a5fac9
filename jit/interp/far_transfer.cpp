#include "jit/interp/far_transfer.hpp"

#include <algorithm>
#include <optional>

#include "jit/interp/families.hpp"
#include "jit/interp/stack_frame.hpp"
#include "jit/interp/task_switch.hpp"

namespace doppel::interp {

using core::CpuState;
using core::SegmentRegister;

bool make_target(Vcpu& cpu, u16 selector, Descriptor& code, u8 cpl, u64 rip, CodeTarget& out) {
  const bool is64 = core::long_mode(cpu.state) && (code.attributes() & core::kSegL);
  const bool reachable = is64 ? mmu::canonical(cpu.state, rip) : rip <= code.limit();
  if (!reachable) return cpu.raise(Vector::kGP);
  if (!mark_accessed(cpu, selector, code)) return false;
  out = {segment_register(static_cast<u16>((selector & ~3) | cpl), code), rip};
  return true;
}

void commit_target(Vcpu& cpu, const CodeTarget& target) {
  cpu.state.segment[core::kCs] = target.cs;
  cpu.state.rip = target.rip;
  code_segment_changed(cpu);
}

namespace {

u64 truncate(u64 value, u32 size) {
  return size == 8 ? value : value & ((u64{1} << (size * 8)) - 1);
}

bool raise_selector(Vcpu& cpu, Vector vector, u16 selector) {
  return cpu.raise(vector, selector_error(selector));
}

// L and D together are reserved in long mode.
bool reserved_size(const CpuState& s, const Descriptor& d) {
  return core::long_mode(s) && (d.attributes() & core::kSegL) && (d.attributes() & core::kSegDb);
}

// ---------------------------------------------------------------------------------------------------------------
// Real and virtual-8086 mode.

[[nodiscard]] bool real_target(Vcpu& cpu, u16 selector, u64 rip, CodeTarget& out) {
  const CpuState& s = cpu.state;
  const SegmentRegister cs =
      core::real_mode(s) ? real_segment(s.segment[core::kCs], selector) : virtual_8086_segment(selector);
  if (rip > cs.limit) return cpu.raise(Vector::kGP);
  out = {cs, rip};
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// JMP and CALL.

enum class Transfer : u8 { kJump, kCall };

// A code segment named by the instruction itself: the privilege level stays.
[[nodiscard]] bool check_direct(Vcpu& cpu, u16 selector, const Descriptor& d) {
  const CpuState& s = cpu.state;
  const u8 rpl = selector & 3;
  const bool privilege_fits =
      is_conforming(d.attributes()) ? d.dpl() <= s.cpl : rpl <= s.cpl && d.dpl() == s.cpl;
  if (!is_code(d.attributes()) || !privilege_fits || reserved_size(s, d))
    return raise_selector(cpu, Vector::kGP, selector);
  return d.present() || raise_selector(cpu, Vector::kNP, selector);
}

[[nodiscard]] bool check_gate(Vcpu& cpu, u16 selector, const Descriptor& gate) {
  const u8 rpl = selector & 3;
  if (gate.dpl() < std::max(rpl, cpu.state.cpl)) return raise_selector(cpu, Vector::kGP, selector);
  return gate.present() || raise_selector(cpu, Vector::kNP, selector);
}

// The code segment a call gate names. A jump may not change the privilege level.
[[nodiscard]] bool gate_code(Vcpu& cpu, Transfer transfer, const Descriptor& gate, Descriptor& code) {
  const CpuState& s = cpu.state;
  const u16 selector = gate.gate_selector();
  if (null_selector(selector)) return cpu.raise(Vector::kGP);
  if (!require_descriptor(cpu, selector, Vector::kGP, code)) return false;
  const bool same_level_only = transfer == Transfer::kJump && !is_conforming(code.attributes());
  const bool privilege_fits = same_level_only ? code.dpl() == s.cpl : code.dpl() <= s.cpl;
  const bool size_fits =
      !core::long_mode(s) || ((code.attributes() & core::kSegL) && !(code.attributes() & core::kSegDb));
  if (!is_code(code.attributes()) || !privilege_fits || !size_fits)
    return raise_selector(cpu, Vector::kGP, selector);
  return code.present() || raise_selector(cpu, Vector::kNP, selector);
}

u32 gate_size(const CpuState& s, const Descriptor& gate) {
  return core::long_mode(s) ? 8 : gate.gate_is_wide() ? 4 : 2;
}

void push_return(Frame& frame, const Vcpu& cpu, const Insn& insn, u32 size) {
  frame.push(cpu.state.segment[core::kCs].selector, size);
  frame.push(rip_after(cpu, insn), size);
}

// The new ring's stack with the old SS:RSP and, outside long mode, the parameters from the old stack.
[[nodiscard]] bool inner_frame(Vcpu& cpu, const Descriptor& gate, u8 cpl, std::optional<Frame>& frame) {
  CpuState& s = cpu.state;
  const u32 size = gate_size(s, gate);
  Stack stack;
  if (core::long_mode(s)) {
    u64 rsp = 0;
    if (!read_rsp(cpu, rsp_offset(cpl), rsp)) return false;
    stack = flat_stack({.selector = cpl}, rsp);
    stack.implicit = true;
  } else if (!inner_stack(cpu, cpl, stack)) {
    return false;
  }
  frame.emplace(stack);
  frame->push(s.segment[core::kSs].selector, size);
  frame->push(s.gpr[core::kRsp], size);
  if (core::long_mode(s)) return true;
  std::array<u64, 31> parameters;
  FramePops old(cpu, size);
  const u32 count = gate.gate_parameters();
  for (u32 i = 0; i < count; ++i)
    if (!old.pop(parameters[i])) return false;
  for (u32 i = count; i-- > 0;) frame->push(parameters[i], size);
  return true;
}

[[nodiscard]] bool through_call_gate(Vcpu& cpu, const Insn& insn, Transfer transfer, u16 selector,
                                     const Descriptor& gate) {
  CpuState& s = cpu.state;
  Descriptor code;
  if (!check_gate(cpu, selector, gate) || !gate_code(cpu, transfer, gate, code)) return false;
  const u8 cpl = is_conforming(code.attributes()) ? s.cpl : code.dpl();
  CodeTarget target;
  if (!make_target(cpu, gate.gate_selector(), code, cpl, gate.gate_offset(), target)) return false;
  if (transfer == Transfer::kCall) {
    std::optional<Frame> frame;
    if (cpl == s.cpl)
      frame.emplace(core::long_mode(s) ? flat_stack(s.segment[core::kSs], s.gpr[core::kRsp])
                                       : current_stack(s));
    else if (!inner_frame(cpu, gate, cpl, frame))
      return false;
    push_return(*frame, cpu, insn, gate_size(s, gate));
    if (!frame->write(cpu)) return false;
    commit_stack(s, frame->stack());
  }
  commit_target(cpu, target);
  return true;
}

[[nodiscard]] bool to_code_segment(Vcpu& cpu, const Insn& insn, Transfer transfer, const CodeTarget& target) {
  CpuState& s = cpu.state;
  if (transfer == Transfer::kCall) {
    Frame frame(current_stack(s));
    push_return(frame, cpu, insn, insn.op_size);
    if (!frame.write(cpu)) return false;
    commit_stack(s, frame.stack());
  }
  commit_target(cpu, target);
  return true;
}

[[nodiscard]] bool to_task(Vcpu& cpu, const Insn& insn, Transfer transfer, u16 tss) {
  cpu.state.rip = rip_after(cpu, insn);
  return task_switch(cpu, tss, transfer == Transfer::kJump ? TaskSwitch::kJump : TaskSwitch::kCall);
}

[[nodiscard]] bool through_system_descriptor(Vcpu& cpu, const Insn& insn, Transfer transfer, u16 selector,
                                             const Descriptor& d) {
  const bool is_long = core::long_mode(cpu.state);
  switch (d.type()) {
    case SystemType::kCallGate32:
      return through_call_gate(cpu, insn, transfer, selector, d);
    case SystemType::kCallGate16:
      if (!is_long) return through_call_gate(cpu, insn, transfer, selector, d);
      break;
    case SystemType::kTaskGate:
      if (!is_long) return check_gate(cpu, selector, d) && to_task(cpu, insn, transfer, d.gate_selector());
      break;
    case SystemType::kTss16:
    case SystemType::kTss32:
      // A TSS named directly: its own DPL and presence decide.
      if (!is_long) return check_gate(cpu, selector, d) && to_task(cpu, insn, transfer, selector);
      break;
    default:
      break;
  }
  return raise_selector(cpu, Vector::kGP, selector);
}

[[nodiscard]] bool far_transfer(Vcpu& cpu, const Insn& insn, Transfer transfer, u16 selector, u64 offset) {
  CpuState& s = cpu.state;
  const u64 rip = truncate(offset, insn.op_size);
  CodeTarget target;
  if (real_segments(s))
    return real_target(cpu, selector, rip, target) && to_code_segment(cpu, insn, transfer, target);
  Descriptor d;
  if (null_selector(selector)) return cpu.raise(Vector::kGP);
  if (!require_descriptor(cpu, selector, Vector::kGP, d)) return false;
  if (!d.is_segment()) return through_system_descriptor(cpu, insn, transfer, selector, d);
  return check_direct(cpu, selector, d) && make_target(cpu, selector, d, s.cpl, rip, target) &&
         to_code_segment(cpu, insn, transfer, target);
}

// ---------------------------------------------------------------------------------------------------------------
// RET and IRET.

// The code segment of a return address: its RPL is the privilege level to return to.
[[nodiscard]] bool return_code(Vcpu& cpu, u16 selector, Descriptor& d) {
  const CpuState& s = cpu.state;
  if (null_selector(selector)) return cpu.raise(Vector::kGP);
  if (!require_descriptor(cpu, selector, Vector::kGP, d)) return false;
  const u8 rpl = selector & 3;
  const bool privilege_fits = is_conforming(d.attributes()) ? d.dpl() <= rpl : d.dpl() == rpl;
  if (!is_code(d.attributes()) || rpl < s.cpl || !privilege_fits || reserved_size(s, d))
    return raise_selector(cpu, Vector::kGP, selector);
  return d.present() || raise_selector(cpu, Vector::kNP, selector);
}

// The stack that a return pops for ring `cpl`; `to64`: the code returned to is 64-bit.
[[nodiscard]] bool return_stack(Vcpu& cpu, u16 selector, u64 rsp, u8 cpl, bool to64, Stack& out) {
  SegmentRegister ss;
  if (!check_stack_segment(cpu, selector, cpl, Vector::kGP, to64, ss)) return false;
  if (to64) {
    out = flat_stack(ss, rsp);
    return true;
  }
  out = segmented_stack(ss, rsp);
  // With a 16-bit stack only SP is loaded.
  if (out.mask == 0xffff) out.sp = (cpu.state.gpr[core::kRsp] & ~u64{0xffff}) | (rsp & 0xffff);
  return true;
}

bool to_64_bit(const CpuState& s, const Descriptor& code) {
  return core::long_mode(s) && (code.attributes() & core::kSegL);
}

[[nodiscard]] bool protected_return(Vcpu& cpu, const Insn& insn, u16 extra_bytes) {
  CpuState& s = cpu.state;
  FramePops pops(cpu, insn.op_size);
  u64 rip = 0;
  u16 selector = 0;
  Descriptor code;
  CodeTarget target;
  if (!pops.pop(rip) || !pops.pop_selector(selector) || !return_code(cpu, selector, code)) return false;
  pops.skip(extra_bytes);
  const u8 cpl = selector & 3;
  Stack stack = pops.stack();
  if (cpl > s.cpl) {
    u64 rsp = 0;
    u16 ss = 0;
    if (!pops.pop(rsp) || !pops.pop_selector(ss)) return false;
    if (!return_stack(cpu, ss, rsp, cpl, to_64_bit(s, code), stack)) return false;
    stack.sp = stack.moved(extra_bytes);
  }
  if (!make_target(cpu, selector, code, cpl, rip, target)) return false;
  const bool outward = cpl > s.cpl;
  commit_stack(s, stack);
  commit_target(cpu, target);
  if (outward) null_inaccessible_segments(s);
  return true;
}

constexpr u64 kStatusFlags = core::kArithmeticFlags | core::kTf | core::kDf | core::kNt;

// The flags an IRET of `size` bytes may change besides IF, IOPL and the virtual ones.
u64 return_flags(u32 size) {
  return size == 2 ? kStatusFlags : kStatusFlags | core::kRf | core::kAc | core::kId;
}

void merge_rflags(CpuState& s, u64 image, u64 mask) {
  load_rflags(s, (core::rflags(s) & ~mask) | (image & mask));
}

// IRET in virtual-8086 mode with IOPL < 3 and CR4.VME: IF is VIF.
[[nodiscard]] bool virtual_flags(Vcpu& cpu, u64 image, u64& merged) {
  const bool interruptible = (image & core::kIf) && (cpu.state.rflags & core::kVip);
  if (interruptible || (image & core::kTf)) return cpu.raise(Vector::kGP);
  merged = (image & ~(core::kIf | core::kVif)) | (image & core::kIf ? core::kVif : 0);
  return true;
}

[[nodiscard]] bool real_return(Vcpu& cpu, const Insn& insn) {  // real and virtual-8086 mode
  CpuState& s = cpu.state;
  const u32 size = insn.op_size;
  u64 mask = return_flags(size) | core::kIf;
  bool virtual_if = false;
  if (core::real_mode(s)) {
    mask |= core::kIopl;
  } else if ((s.rflags & core::kIopl) != core::kIopl) {
    if (!(s.cr4 & core::kCr4Vme) || size != 2) return cpu.raise(Vector::kGP);
    virtual_if = true;
    mask = kStatusFlags | core::kVif;
  }
  FramePops pops(cpu, size);
  u64 rip = 0, flags = 0;
  u16 selector = 0;
  CodeTarget target;
  if (!pops.pop(rip) || !pops.pop_selector(selector) || !pops.pop(flags)) return false;
  if (!real_target(cpu, selector, rip, target)) return false;
  if (virtual_if && !virtual_flags(cpu, flags, flags)) return false;
  commit_stack(s, pops.stack());
  merge_rflags(s, flags, mask);
  commit_target(cpu, target);
  return true;
}

// The frame of an interrupt that came from virtual-8086 mode; EIP, CS, EFLAGS are popped already.
[[nodiscard]] bool return_to_virtual_8086(Vcpu& cpu, FramePops& pops, u64 rip, u16 cs, u64 flags) {
  CpuState& s = cpu.state;
  u64 rsp = 0;
  std::array<u16, core::kSegmentCount> selectors{};
  selectors[core::kCs] = cs;
  if (!pops.pop(rsp)) return false;
  for (const core::Segment i : {core::kSs, core::kEs, core::kDs, core::kFs, core::kGs})
    if (!pops.pop_selector(selectors[i])) return false;
  if (rip > 0xffff) return cpu.raise(Vector::kGP);
  for (u32 i = 0; i < core::kSegmentCount; ++i) s.segment[i] = virtual_8086_segment(selectors[i]);
  s.gpr[core::kRsp] = rsp;
  s.rip = rip;
  load_rflags(s, flags & (return_flags(4) | core::kIf | core::kIopl | core::kVm | core::kVif | core::kVip));
  code_segment_changed(cpu);
  return true;
}

[[nodiscard]] bool protected_interrupt_return(Vcpu& cpu, const Insn& insn) {
  CpuState& s = cpu.state;
  const u32 size = insn.op_size;
  if (s.rflags & core::kNt) {
    if (core::long_mode(s)) return cpu.raise(Vector::kGP);
    s.rip = rip_after(cpu, insn);
    return task_return(cpu);
  }
  FramePops pops(cpu, size);
  u64 rip = 0, flags = 0;
  u16 selector = 0;
  if (!pops.pop(rip) || !pops.pop_selector(selector) || !pops.pop(flags)) return false;
  if ((flags & core::kVm) && s.cpl == 0 && size == 4 && !core::long_mode(s))
    return return_to_virtual_8086(cpu, pops, rip, selector, flags);

  Descriptor code;
  CodeTarget target;
  if (!return_code(cpu, selector, code)) return false;
  const u8 cpl = selector & 3;
  Stack stack = pops.stack();
  if (cpl > s.cpl || core::code64(s)) {
    u64 rsp = 0;
    u16 ss = 0;
    if (!pops.pop(rsp) || !pops.pop_selector(ss)) return false;
    if (!return_stack(cpu, ss, rsp, cpl, to_64_bit(s, code), stack)) return false;
  }
  if (!make_target(cpu, selector, code, cpl, rip, target)) return false;

  u64 mask = return_flags(size);
  const u8 iopl = (s.rflags >> 12) & 3;
  if (s.cpl <= iopl) mask |= core::kIf;
  if (s.cpl == 0) mask |= core::kIopl | (size == 2 ? 0 : core::kVif | core::kVip);
  const bool outward = cpl > s.cpl;
  commit_stack(s, stack);
  merge_rflags(s, flags, mask);
  commit_target(cpu, target);
  if (outward) null_inaccessible_segments(s);
  return true;
}

bool interrupt_return(Vcpu& cpu, const Insn& insn) {
  const bool ok = real_segments(cpu.state) ? real_return(cpu, insn) : protected_interrupt_return(cpu, insn);
  if (!ok) return false;
  cpu.state.nmi_blocked = false;
  if (cpu.state.pending.load(std::memory_order_relaxed) & core::kPendingNmi) cpu.state.attention = 1;
  return true;
}

constexpr Row kRows[] = {
    row_branch<interrupt_return>(ZYDIS_MNEMONIC_IRET),
    row_branch<interrupt_return>(ZYDIS_MNEMONIC_IRETD),
    row_branch<interrupt_return>(ZYDIS_MNEMONIC_IRETQ),
};

}  // namespace

bool far_jump(Vcpu& cpu, const Insn& insn, u16 selector, u64 offset) {
  return far_transfer(cpu, insn, Transfer::kJump, selector, offset);
}

bool far_call(Vcpu& cpu, const Insn& insn, u16 selector, u64 offset) {
  return far_transfer(cpu, insn, Transfer::kCall, selector, offset);
}

bool far_return(Vcpu& cpu, const Insn& insn, u16 extra_bytes) {
  if (!real_segments(cpu.state)) return protected_return(cpu, insn, extra_bytes);
  FramePops pops(cpu, insn.op_size);
  u64 rip = 0;
  u16 selector = 0;
  CodeTarget target;
  if (!pops.pop(rip) || !pops.pop_selector(selector) || !real_target(cpu, selector, rip, target))
    return false;
  pops.skip(extra_bytes);
  commit_stack(cpu.state, pops.stack());
  commit_target(cpu, target);
  return true;
}

const Rows kFarTransferRows = kRows;

}  // namespace doppel::interp
