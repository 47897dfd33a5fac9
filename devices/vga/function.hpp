// The VGA as a PCI function, compatible with QEMU's "stdvga" (1234:1111): BAR 0 is the linear frame buffer,
// BAR 2 the register block, and the expansion ROM is the video BIOS. The legacy ports and window do not
// depend on it.
#pragma once

#include "devices/pci_function.hpp"
#include "devices/vga/vga.hpp"

namespace doppel::devices::vga {

class Function final : public PciFunction {
 public:
  // Each mapper puts its part into the guest's address space. `rom_size` is a power of two; 0: no ROM.
  Function(const Vga& vga, Mapper frame_buffer, Mapper register_block, u64 rom_size, Mapper rom);
};

}  // namespace doppel::devices::vga
