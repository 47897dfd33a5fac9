// The Linux/x86 boot protocol for bzImage files, 2.06 or later: reading the setup header of a file that may
// be hostile, and starting the kernel at its 64-bit or 32-bit entry. Called by kernel_image.cpp. Source:
// Linux, Documentation/arch/x86/boot.rst and zero-page.rst.
#pragma once

#include "bios/boot_request.hpp"
#include "bios/bytes.hpp"
#include "bios/ram_planner.hpp"
#include "core/cpu_state.hpp"

namespace doppel::bios {

struct LinuxKernel {
  std::span<const u8> setup_header;  // goes into the boot parameters as it is
  std::span<const u8> payload;       // the protected-mode kernel
  u32 load_address = 0;              // where the payload goes
  u64 needed_end = 0;                // RAM from load_address to here must be free
  u32 command_line_limit = 0;        // without the final zero
  u32 initrd_last_address = 0;
  bool has_64bit_entry = false;
  bool takes_data_above_4g = false;
  bool takes_setup_data = false;
};

[[nodiscard]] bool is_linux(const ByteView& file);
[[nodiscard]] Error parse_linux(const ByteView& file, LinuxKernel& kernel);
// `rsdp` is the address of the ACPI tables.
[[nodiscard]] Error start_linux(const LinuxKernel& kernel, const BootRequest& request, u64 rsdp,
                                RamPlanner& planner, core::CpuState& state);

}  // namespace doppel::bios
