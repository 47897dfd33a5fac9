// The machine's processors and how they form sockets, as the user asked for them. Filled by the command line,
// read by PcBoard and Processor.
#pragma once

#include "core/types.hpp"

namespace doppel::machine {

inline constexpr u32 kMaxProcessors = 64;

struct Topology {
  u32 cpus = 1 /* in all, to kMaxProcessors */, cores = 1 /* of a socket */, threads = 1 /* of a core */;
};

}  // namespace doppel::machine
