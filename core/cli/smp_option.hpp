// The --smp option: how many processors the machine has, and how they form sockets and cores.
#pragma once

#include <string>
#include <variant>

#include "core/types.hpp"

namespace doppel::cli {

struct SmpOption {
  u32 cpus = 1, cores = 1 /* of a socket */, threads = 1 /* of a core */;
};

// Parses "4", "cpus=4", "8,sockets=2,cores=2,threads=2" (QEMU's spelling; what is left out follows from the
// rest). On error a sentence for the user.
[[nodiscard]] std::variant<SmpOption, std::string> parse_smp_option(const std::string& text);

}  // namespace doppel::cli
