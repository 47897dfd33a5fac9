// What `--boot` and the display say: from which kinds of devices firmware tries to boot, and how it asks and
// waits. Parsed from the command line, written into CMOS and fw_cfg. The syntax is that of QEMU's -boot.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/types.hpp"

namespace doppel::bios {

struct BootOptions {
  std::string order = "cad";              // a, b: floppy, c: disk, d: CD, n: network
  std::string once;                       // instead of `order`, until the first reset; empty: none
  bool menu = false;                      // offer the boot menu
  std::optional<u32> menu_wait_ms;        // how long; the firmware's default if not given
  std::optional<u32> retry_wait_ms;       // after a failed boot; without it firmware stops there
  bool screen_on_serial = true;           // text goes to the VGA and, for those who do not see it, to COM1
  bool strict = false;                    // boot from nothing else than device_paths
  std::vector<std::string> device_paths;  // Open Firmware names of devices, tried before `order`
};

// "dc", "d", "order=dc,menu=on,once=d,splash-time=1000,reboot-timeout=5000,strict=on". Or a sentence.
[[nodiscard]] std::variant<BootOptions, std::string> parse_boot_options(std::string_view text);

// CMOS bytes that hold an order's first three kinds, as SeaBIOS and the Bochs BIOS read them.
struct CmosBootOrder {
  u8 third;  // 0x38: the third in the high half; bit 0: do not check a floppy's signature
  u8 first;  // 0x3d: the first in the low half, the second in the high half
};
[[nodiscard]] CmosBootOrder cmos_boot_order(std::string_view order);

}  // namespace doppel::bios
