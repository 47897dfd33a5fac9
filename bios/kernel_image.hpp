// Starting a kernel file without firmware: finds out which boot protocol the file speaks, loads it, and
// leaves the first vCPU at its entry with ACPI tables and BIOS data in place. The machine calls boot() at
// start and at every reset, on a vCPU that was just reset; secondary vCPUs get set_memory_types()
// (entry_state.hpp).
#pragma once

#include "bios/boot_request.hpp"
#include "core/cpu_state.hpp"

namespace doppel::bios {

enum class KernelKind { kLinux, kPvh, kMultiboot, kUnknown };

// Which protocol boot() would use. Cheap; a file of a known kind may still be damaged.
[[nodiscard]] KernelKind kernel_kind(std::span<const u8> file);

// After an error guest RAM and the vCPU are in no particular state.
[[nodiscard]] Error boot(const BootRequest& request, core::GuestRam& ram, core::CpuState& state);

}  // namespace doppel::bios
