// The registers of BIOS mode 3, 80x25 characters in sixteen colours, for machines that start without a BIOS.
#pragma once

#include "devices/vga/registers.hpp"

namespace doppel::devices::vga {

void apply_text_mode(Registers& registers);

}  // namespace doppel::devices::vga
