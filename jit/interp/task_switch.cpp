#include "jit/interp/task_switch.hpp"

#include <cstddef>

#include "jit/interp/segment.hpp"
#include "jit/interp/stack_frame.hpp"

namespace doppel::interp {

using core::CpuState;
using core::SegmentRegister;
using mmu::Access;

namespace {

struct Tss16 {
  u16 link;
  u16 inner_stacks[6];
  u16 ip, flags, gpr[8], segment[4], ldt;
};
static_assert(sizeof(Tss16) == 44);

struct Tss32 {
  u32 link;
  u32 inner_stacks[6];
  u32 cr3, eip, eflags, gpr[8], segment[6], ldt;
  u16 trap, io_map;
};
static_assert(sizeof(Tss32) == 104);

// What a task resumes with, from either form.
struct TaskState {
  bool wide = false;
  bool trap = false;
  u64 cr3 = 0;
  u64 rip = 0, rflags = 0;
  std::array<u32, 8> gpr{};
  std::array<u16, core::kSegmentCount> segment{};
  u16 ldt = 0;
};

constexpr u64 kTaskFlags = core::kArithmeticFlags | core::kTf | core::kIf | core::kDf | core::kIopl |
                           core::kNt | core::kRf | core::kVm | core::kAc | core::kVif | core::kVip |
                           core::kId;

bool is_wide(u32 attributes) {
  return attributes & 8;
}

[[nodiscard]] bool read_task(Vcpu& cpu, const Descriptor& tss, TaskState& out) {
  const u64 base = tss.base();
  const auto at = [&](u32 offset) { return table_address(cpu.state, base, offset); };
  out.wide = is_wide(tss.attributes());
  if (!out.wide) {
    Tss16 image;
    if (!cpu.mmu.read_system(at(0), image)) return false;
    out.rip = image.ip;
    out.rflags = image.flags;
    for (u32 i = 0; i < 8; ++i) out.gpr[i] = image.gpr[i];
    for (u32 i = 0; i < 4; ++i) out.segment[i] = image.segment[i];
    out.ldt = image.ldt;
    return true;
  }
  constexpr u32 kFirst = 64;  // the largest single access
  std::array<u8, kFirst> first;
  std::array<u8, sizeof(Tss32) - kFirst> rest;
  if (!cpu.mmu.read_system(at(0), first) || !cpu.mmu.read_system(at(kFirst), rest)) return false;
  Tss32 image;
  std::memcpy(&image, first.data(), first.size());
  std::memcpy(reinterpret_cast<u8*>(&image) + kFirst, rest.data(), rest.size());
  out.trap = image.trap & 1;
  out.cr3 = image.cr3;
  out.rip = image.eip;
  out.rflags = image.eflags;
  for (u32 i = 0; i < 8; ++i) out.gpr[i] = image.gpr[i];
  for (u32 i = 0; i < core::kSegmentCount; ++i) out.segment[i] = static_cast<u16>(image.segment[i]);
  out.ldt = static_cast<u16>(image.ldt);
  return true;
}

// The part of the old TSS that a switch overwrites.
struct SaveArea {
  u64 address = 0;
  u32 size = 0;
};
SaveArea save_area(const CpuState& s) {
  return is_wide(s.tr.attributes) ? SaveArea{table_address(s, s.tr.base, offsetof(Tss32, eip)),
                                             offsetof(Tss32, ldt) - offsetof(Tss32, eip)}
                                  : SaveArea{table_address(s, s.tr.base, offsetof(Tss16, ip)),
                                             offsetof(Tss16, ldt) - offsetof(Tss16, ip)};
}

[[nodiscard]] bool save_task(Vcpu& cpu, u64 flags) {
  const CpuState& s = cpu.state;
  const u64 address = save_area(s).address;
  if (is_wide(s.tr.attributes)) {
    std::array<u32, 16> image;  // EIP, EFLAGS, EAX..EDI, ES..GS
    image[0] = static_cast<u32>(s.rip);
    image[1] = static_cast<u32>(flags);
    for (u32 i = 0; i < 8; ++i) image[2 + i] = static_cast<u32>(s.gpr[i]);
    for (u32 i = 0; i < core::kSegmentCount; ++i) image[10 + i] = s.segment[i].selector;
    return cpu.mmu.write_system(address, image);
  }
  std::array<u16, 14> image;  // IP, FLAGS, AX..DI, ES..DS
  image[0] = static_cast<u16>(s.rip);
  image[1] = static_cast<u16>(flags);
  for (u32 i = 0; i < 8; ++i) image[2 + i] = static_cast<u16>(s.gpr[i]);
  for (u32 i = 0; i < 4; ++i) image[10 + i] = s.segment[i].selector;
  return cpu.mmu.write_system(address, image);
}

[[nodiscard]] bool load_ldt(Vcpu& cpu, u16 selector) {
  cpu.state.ldtr = {.selector = selector};
  if (null_selector(selector)) return true;
  Descriptor d;
  if (selector & 4) return cpu.raise(Vector::kTS, selector_error(selector));
  if (!require_descriptor(cpu, selector, Vector::kTS, d)) return false;
  if (d.is_segment() || d.type() != SystemType::kLdt || !d.present())
    return cpu.raise(Vector::kTS, selector_error(selector));
  cpu.state.ldtr = segment_register(selector, d);
  return true;
}

[[nodiscard]] bool load_code(Vcpu& cpu, u16 selector) {
  Descriptor d;
  if (null_selector(selector)) return cpu.raise(Vector::kTS);
  if (!require_descriptor(cpu, selector, Vector::kTS, d)) return false;
  const u8 rpl = selector & 3;
  const bool privilege_fits = is_conforming(d.attributes()) ? d.dpl() <= rpl : d.dpl() == rpl;
  if (!is_code(d.attributes()) || !privilege_fits) return cpu.raise(Vector::kTS, selector_error(selector));
  if (!d.present()) return cpu.raise(Vector::kNP, selector_error(selector));
  if (!mark_accessed(cpu, selector, d)) return false;
  cpu.state.segment[core::kCs] = segment_register(selector, d);
  code_segment_changed(cpu);
  return true;
}

// Descriptors of the new task. Faults from here on are the new task's.
[[nodiscard]] bool load_segments(Vcpu& cpu, const TaskState& task) {
  CpuState& s = cpu.state;
  if (!load_ldt(cpu, task.ldt)) return false;
  if (!core::virtual_8086(s)) {
    if (!load_code(cpu, task.segment[core::kCs])) return false;
    SegmentRegister loaded;
    if (!check_stack_segment(cpu, task.segment[core::kSs], s.cpl, Vector::kTS, false, loaded)) return false;
    s.segment[core::kSs] = loaded;
    for (const core::Segment i : {core::kEs, core::kDs, core::kFs, core::kGs}) {
      if (!check_data_segment(cpu, task.segment[i], s.cpl, Vector::kTS, loaded)) return false;
      s.segment[i] = loaded;
    }
  }
  return s.rip <= s.segment[core::kCs].limit || cpu.raise(Vector::kGP);
}

[[nodiscard]] bool load_page_tables(Vcpu& cpu, u64 cr3) {
  CpuState& s = cpu.state;
  if (!(s.cr0 & core::kCr0Pg)) return true;
  if ((s.cr4 & core::kCr4Pae) && !mmu::load_pdptes(s, cpu.mmu.memory(), cr3)) return cpu.raise(Vector::kGP);
  s.cr3 = cr3;
  cpu.mmu.flush_non_global();
  return true;
}

[[nodiscard]] bool enter_task(Vcpu& cpu, const TaskState& task, std::optional<u32> error_code) {
  CpuState& s = cpu.state;
  s.rip = task.rip;
  for (u32 i = 0; i < 8; ++i) s.gpr[i] = task.gpr[i];
  load_rflags(s, task.rflags & kTaskFlags);
  for (u32 i = 0; i < core::kSegmentCount; ++i)
    s.segment[i] = core::virtual_8086(s) ? virtual_8086_segment(task.segment[i])
                                         : SegmentRegister{.selector = task.segment[i]};
  constexpr u64 kLocalBreakpoints = 0x155;  // DR7.L0-L3, LE
  s.dr[7] &= ~kLocalBreakpoints;
  code_segment_changed(cpu);

  if (task.wide && !load_page_tables(cpu, task.cr3)) return false;
  if (!load_segments(cpu, task)) return false;
  if (error_code) {
    Frame frame(current_stack(s));
    frame.push(*error_code, task.wide ? 4 : 2);
    if (!frame.write(cpu)) return false;
    commit_stack(s, frame.stack());
  }
  constexpr u64 kTaskTrap = 1u << 15;  // DR6.BT
  return !task.trap || cpu.raise(Vector::kDB, 0, kTaskTrap);
}

// Everything that can stop a switch in the old task.
[[nodiscard]] bool check_switch(Vcpu& cpu, u16 selector, const Descriptor& tss, TaskSwitch kind) {
  CpuState& s = cpu.state;
  if (!tss.present()) return cpu.raise(Vector::kNP, selector_error(selector));
  const u32 needed = is_wide(tss.attributes()) ? sizeof(Tss32) : sizeof(Tss16);
  if (tss.limit() < needed - 1) return cpu.raise(Vector::kTS, selector_error(selector));
  const SaveArea area = save_area(s);
  if (!cpu.mmu.probe_system(area.address, area.size, Access::kWrite)) return false;
  if (!cpu.mmu.probe_system(gdt_access_byte(s, selector), 1, Access::kWrite)) return false;
  if (!cpu.mmu.probe_system(gdt_access_byte(s, s.tr.selector), 1, Access::kWrite)) return false;
  const bool links = kind == TaskSwitch::kCall || kind == TaskSwitch::kEvent;
  return !links || cpu.mmu.probe_system(table_address(s, tss.base(), 0), 2, Access::kWrite);
}

[[nodiscard]] bool set_busy(Vcpu& cpu, u16 selector, bool busy) {
  const u64 address = gdt_access_byte(cpu.state, selector);
  u8 access = 0;
  if (!cpu.mmu.read_system(address, access)) return false;
  return cpu.mmu.write_system(address, static_cast<u8>(busy ? access | kTssBusyBit : access & ~kTssBusyBit));
}

[[nodiscard]] bool switch_to(Vcpu& cpu, u16 selector, Descriptor tss, TaskSwitch kind,
                             std::optional<u32> error_code) {
  CpuState& s = cpu.state;
  TaskState task;
  if (!check_switch(cpu, selector, tss, kind) || !read_task(cpu, tss, task)) return false;

  const u64 old_flags = core::rflags(s);
  const bool nested = kind == TaskSwitch::kCall || kind == TaskSwitch::kEvent;
  const u16 old_selector = s.tr.selector;
  if (!nested && !set_busy(cpu, old_selector, false)) return false;
  if (!save_task(cpu, kind == TaskSwitch::kReturn ? old_flags & ~core::kNt : old_flags)) return false;
  if (nested) {
    if (!cpu.mmu.write_system(table_address(s, tss.base(), 0), old_selector)) return false;
    task.rflags |= core::kNt;
  }
  if (kind != TaskSwitch::kReturn && !set_busy(cpu, selector, true)) return false;

  tss.low |= u64{kTssBusyBit} << 40;
  s.tr = segment_register(selector, tss);
  s.cr0 |= core::kCr0Ts;
  // The new task is current whether or not its state loads: a fault stays pending in its context.
  static_cast<void>(enter_task(cpu, task, error_code));
  s.attention = 1;
  return true;
}

bool is_tss(const Descriptor& d, bool busy) {
  if (d.is_segment()) return false;
  return busy ? d.type() == SystemType::kTss16Busy || d.type() == SystemType::kTss32Busy
              : d.type() == SystemType::kTss16 || d.type() == SystemType::kTss32;
}

}  // namespace

bool task_switch(Vcpu& cpu, u16 selector, TaskSwitch kind, std::optional<u32> error_code) {
  Descriptor tss;
  if (selector & 4) return cpu.raise(Vector::kGP, selector_error(selector));
  if (!require_descriptor(cpu, selector, Vector::kGP, tss)) return false;
  if (!is_tss(tss, false)) return cpu.raise(Vector::kGP, selector_error(selector));
  return switch_to(cpu, selector, tss, kind, error_code);
}

bool task_return(Vcpu& cpu) {
  const CpuState& s = cpu.state;
  u16 link = 0;
  if (!cpu.mmu.read_system(table_address(s, s.tr.base, 0), link)) return false;
  Descriptor tss;
  if (link & 4) return cpu.raise(Vector::kTS, selector_error(link));
  if (!require_descriptor(cpu, link, Vector::kTS, tss)) return false;
  if (!is_tss(tss, true)) return cpu.raise(Vector::kTS, selector_error(link));
  return switch_to(cpu, link, tss, TaskSwitch::kReturn, std::nullopt);
}

}  // namespace doppel::interp
