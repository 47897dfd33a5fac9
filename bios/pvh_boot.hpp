// The x86/HVM direct boot ABI ("PVH"): an ELF kernel whose XEN_ELFNOTE_PHYS32_ENTRY note names a 32-bit
// entry, such as a Linux vmlinux. Called by kernel_image.cpp. Source: Xen, docs/misc/pvh and
// public/arch-x86/hvm/start_info.h.
#pragma once

#include "bios/elf_image.hpp"
#include "core/cpu_state.hpp"

namespace doppel::bios {

// The entry's physical address, if the file has the note.
[[nodiscard]] std::optional<u32> pvh_entry(const ElfImage& image);
[[nodiscard]] Error start_pvh(const ElfImage& image, u32 entry, const BootRequest& request, u64 rsdp,
                              RamPlanner& planner, core::CpuState& state);

}  // namespace doppel::bios
