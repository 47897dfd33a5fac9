// Processor state at the first instruction of a guest that no firmware started: flat 32-bit protected mode,
// 64-bit mode under identity page tables, or real mode. Called by the boot protocols, on a vCPU that was just
// reset. Sources: Intel SDM Vol. 3A, "Processor Management and Initialization"; the protocols' documents.
#pragma once

#include <optional>

#include "bios/ram_planner.hpp"
#include "core/cpu_state.hpp"

namespace doppel::bios {

// Selectors of the boot GDT; Linux calls them __BOOT_CS and __BOOT_DS.
inline constexpr u16 kBootCs = 0x10, kBootDs = 0x18;

// What firmware does on every processor before it starts an operating system: cacheable RAM, an uncached
// window for MMIO. The machine calls it for secondary processors too. `physical_address_bits` is CPUID's.
void set_memory_types(core::CpuState& state, u32 physical_address_bits);

// Both place a GDT; false when there is no room for it.
[[nodiscard]] bool enter_protected_mode(core::CpuState& state, RamPlanner& planner, u32 entry);
// `page_tables` comes from identity_page_tables().
[[nodiscard]] bool enter_long_mode(core::CpuState& state, RamPlanner& planner, u64 page_tables, u64 entry);
void enter_real_mode(core::CpuState& state, u16 cs, u16 ip);

// Places 4-level tables with 2 MiB pages that map [0, end), at least 4 GiB, to itself. At most 512 GiB.
[[nodiscard]] std::optional<u64> identity_page_tables(RamPlanner& planner, u64 end);

}  // namespace doppel::bios
