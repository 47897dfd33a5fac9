#include "devices/vga/function.hpp"

namespace doppel::devices::vga {

Function::Function(const Vga& vga, Mapper frame_buffer, Mapper register_block, u64 rom_size, Mapper rom)
    : PciFunction({.vendor = 0x1234,
                   .device = 0x1111,
                   .class_code = 0x03'0000,
                   .revision = 2,
                   .subsystem_vendor = 0x1af4,
                   .subsystem = 0x1100}) {
  add_bar(0, BarKind::kPrefetchable32, vga.memory().size(), std::move(frame_buffer));
  add_bar(2, BarKind::kMemory32, Vga::kRegisterBlockSize, std::move(register_block));
  if (rom_size != 0) add_bar(kPciRomBar, BarKind::kRom, rom_size, std::move(rom));
}

}  // namespace doppel::devices::vga
