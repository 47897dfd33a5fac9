// Segment and gate descriptors: their fields, and finding them in the GDT and LDT. Used by everything that
// loads a segment or passes a gate. Reads tables as implicit supervisor accesses; it checks no privilege.
// Source: AMD APM Vol. 2, "Segment Descriptors"; Intel SDM Vol. 3A, "Segment Descriptors", "System
// Descriptor Types".
#pragma once

#include "jit/interp/semantics.hpp"

namespace doppel::interp {

// Types of descriptors with S = 0. In long mode the "16" ones but the LDT are illegal, the "32" ones are the
// 64-bit forms.
enum class SystemType : u8 {
  kTss16 = 1,
  kLdt = 2,
  kTss16Busy = 3,
  kCallGate16 = 4,
  kTaskGate = 5,
  kInterruptGate16 = 6,
  kTrapGate16 = 7,
  kTss32 = 9,
  kTss32Busy = 11,
  kCallGate32 = 12,
  kInterruptGate32 = 14,
  kTrapGate32 = 15,
};
inline constexpr u8 kTssBusyBit = 2;  // in the type of a TSS descriptor

// Questions about attributes (SegmentRegister::attributes layout).
constexpr bool is_code(u32 attributes) {
  return (attributes & (core::kSegS | core::kSegCode)) == (core::kSegS | core::kSegCode);
}
constexpr bool is_conforming(u32 attributes) {
  return attributes & core::kSegConforming;
}
constexpr bool is_writable_data(u32 attributes) {
  return (attributes & (core::kSegS | core::kSegCode | core::kSegWritable)) ==
         (core::kSegS | core::kSegWritable);
}
constexpr bool is_readable(u32 attributes) {  // data, or readable code
  return (attributes & core::kSegS) && (attributes & (core::kSegCode | core::kSegReadable)) != core::kSegCode;
}

struct Descriptor {
  u64 low = 0;
  u64 high = 0;  // second half of long mode's 16-byte system descriptors, else 0

  [[nodiscard]] u16 attributes() const { return static_cast<u16>((low >> 40) & 0xf0ff); }
  [[nodiscard]] SystemType type() const { return static_cast<SystemType>((low >> 40) & 0xf); }
  [[nodiscard]] bool is_segment() const { return attributes() & core::kSegS; }
  [[nodiscard]] bool present() const { return attributes() & core::kSegPresent; }
  [[nodiscard]] u8 dpl() const { return static_cast<u8>((low >> 45) & 3); }
  [[nodiscard]] u64 base() const {
    return ((low >> 16) & 0xff'ffff) | ((low >> 32) & 0xff00'0000) | (high << 32);
  }
  [[nodiscard]] u32 limit() const {
    const auto raw = static_cast<u32>((low & 0xffff) | ((low >> 32) & 0xf'0000));
    return attributes() & core::kSegG ? raw << 12 | 0xfff : raw;
  }

  // Gates.
  [[nodiscard]] u16 gate_selector() const { return static_cast<u16>(low >> 16); }
  [[nodiscard]] u64 gate_offset() const {
    const u64 offset = low & 0xffff;
    return gate_is_wide() ? offset | ((low >> 32) & 0xffff'0000) | (high << 32) : offset;
  }
  [[nodiscard]] bool gate_is_wide() const { return static_cast<u8>(type()) & 8; }  // not a 286 gate
  [[nodiscard]] u32 gate_parameters() const { return (low >> 32) & 0x1f; }
  [[nodiscard]] u32 gate_ist() const { return (low >> 32) & 7; }
};

constexpr bool null_selector(u16 selector) {
  return (selector & 0xfffc) == 0;
}
constexpr u32 selector_error(u16 selector) {
  return selector & 0xfffc;
}

// A linear address in a system table: outside long mode it wraps at 4 GiB.
inline u64 table_address(const core::CpuState& s, u64 base, u64 offset) {
  return core::long_mode(s) ? base + offset : (base + offset) & 0xffff'ffff;
}

enum class Lookup : u8 {
  kFound,
  kOutside,  // beyond the table's limit, no LDT, or a malformed 16-byte descriptor
  kFaulted,  // the access to the table raised a fault
};
[[nodiscard]] Lookup lookup_descriptor(Vcpu& cpu, u16 selector, Descriptor& out);

// The same for those who fault: raises `vector` with the selector as error code if it is outside.
[[nodiscard]] bool require_descriptor(Vcpu& cpu, u16 selector, Vector vector, Descriptor& out);

// Sets the accessed bit of a code or data descriptor in its table, if it is clear.
[[nodiscard]] bool mark_accessed(Vcpu& cpu, u16 selector, Descriptor& descriptor);

// The linear address of byte 5 (type, DPL, P) of a GDT entry: where TSS busy bits are changed.
u64 gdt_access_byte(const core::CpuState& s, u16 selector);

// What a segment register holds after loading `descriptor`.
inline core::SegmentRegister segment_register(u16 selector, const Descriptor& d) {
  return {d.base(), d.limit(), selector, d.attributes()};
}

}  // namespace doppel::interp
