// Segment registers: loading them with all checks, what they become in each mode, and the CPU mode that CS
// implies. Called by MOV, POP, LxS and by every far transfer. It decides nothing about where control goes.
// Source: AMD APM Vol. 2, "Segmented Virtual Memory"; Intel SDM Vol. 3A, "Segment-Level Protection".
#pragma once

#include "jit/interp/descriptor_table.hpp"

namespace doppel::interp {

// MOV and POP to ES, SS, DS, FS, GS in any mode. Loading SS starts an interrupt shadow.
[[nodiscard]] bool load_segment(Vcpu& cpu, core::Segment segment, u16 selector);

// Whether `size` bytes at `offset` may be accessed through a register that holds `r`: limit, and outside real
// mode presence and type too.
[[nodiscard]] bool segment_permits(const core::CpuState& s, const core::SegmentRegister& r, u64 offset,
                                   u32 size, mmu::Access access);

// Real and virtual-8086 mode: segments are selector * 16, without descriptors.
inline bool real_segments(const core::CpuState& s) {
  return core::real_mode(s) || core::virtual_8086(s);
}
// `old` with a selector loaded in real mode: limit and attributes stay ("unreal mode").
core::SegmentRegister real_segment(const core::SegmentRegister& old, u16 selector);
core::SegmentRegister virtual_8086_segment(u16 selector);

// SS for code of privilege `cpl`: raises `on_error` with the selector, or #SS if it is not present.
// `null_allowed`: 64-bit code above privilege 3 may run on a null SS.
[[nodiscard]] bool check_stack_segment(Vcpu& cpu, u16 selector, u8 cpl, Vector on_error, bool null_allowed,
                                       core::SegmentRegister& out);
// ES, DS, FS or GS; a null selector gives an unusable register.
[[nodiscard]] bool check_data_segment(Vcpu& cpu, u16 selector, u8 cpl, Vector on_error,
                                      core::SegmentRegister& out);
// After a return to an outer ring: data segments it may not use become null.
void null_inaccessible_segments(core::CpuState& s);

// Derives CPL and code size from CS, EFER.LMA and EFLAGS.VM, and tells the MMU. To be called after any of
// them changed; nothing else sets CpuState::cpl and code_bits.
void code_segment_changed(Vcpu& cpu);

// A flat code or stack segment, as SYSCALL, SYSENTER and their returns load without looking at descriptors.
enum class FlatCode : u8 { kCompatibility, k64 };
core::SegmentRegister flat_code_segment(u16 selector, FlatCode size);
core::SegmentRegister flat_stack_segment(u16 selector);

// Loads RFLAGS as a whole and lets the dispatcher look at once at interrupts that became possible.
void load_rflags(core::CpuState& s, u64 value);

}  // namespace doppel::interp
