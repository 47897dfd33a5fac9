// The words after --net and QEMU's -nic and -netdev user: a network and its options, separated by commas.
// Used by options.cpp.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "core/machine/net_config.hpp"

namespace doppel::cli {

// What `text` after `option` means (no card for "none"), or a sentence that says what is wrong with it.
[[nodiscard]] std::variant<std::optional<machine::NetConfig>, std::string> parse_net(
    const std::string& option, const std::string& text);

}  // namespace doppel::cli
