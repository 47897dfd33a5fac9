// The --smp option: how many processors the machine has, and how they form sockets and cores.
#pragma once

#include <string>
#include <variant>

#include "core/machine/topology.hpp"

namespace doppel::cli {

// Parses "4", "cpus=4", "8,sockets=2,cores=2,threads=2" (QEMU's spelling; what is left out follows from the
// rest). On error a sentence for the user.
[[nodiscard]] std::variant<machine::Topology, std::string> parse_smp_option(const std::string& text);

}  // namespace doppel::cli
