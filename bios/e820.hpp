// The memory map that firmware would report through INT 15h, AX=E820h: which physical addresses are RAM,
// which the guest must leave alone. Every boot protocol hands it to the guest in its own form; it knows none
// of them. Source: ACPI Specification, "System Address Map Interfaces".
#pragma once

#include <vector>

#include "core/guest_ram.hpp"

namespace doppel::bios {

inline constexpr u64 kOneMiB = 0x10'0000;
inline constexpr u64 kEbda = 0x9'fc00;  // extended BIOS data area: the last KiB below 640 KiB
inline constexpr u64 kEndOfBaseRam = 0xa'0000;

enum class E820Type : u32 { kRam = 1, kReserved = 2 };

struct E820Entry {
  u64 base = 0, size = 0;
  E820Type type = E820Type::kRam;

  bool operator==(const E820Entry&) const = default;
};

// Sorted by address, without overlaps.
[[nodiscard]] std::vector<E820Entry> memory_map(const core::GuestRam& ram);

}  // namespace doppel::bios
