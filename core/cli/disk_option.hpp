// The words after --disk, --cdrom, --floppy and QEMU's -drive: a file name and options, separated by commas.
// Used by options.cpp.
#pragma once

#include <string>
#include <variant>

#include "core/machine/disk_config.hpp"

namespace doppel::cli {

// What `option` ("--disk", "-drive", ...) with `text` means, or a sentence that says what is wrong with it.
// A comma in a file name is written twice.
[[nodiscard]] std::variant<machine::DiskConfig, std::string> parse_disk(const std::string& option,
                                                                        const std::string& text);

}  // namespace doppel::cli
