// `doppel run` and `doppel selftest`: files, terminal, signals, threads around one Machine.
#pragma once

#include "core/cli/options.hpp"

namespace doppel::cli {

// Runs the machine to its end and returns the process' exit status (core/machine/exit_status.hpp).
[[nodiscard]] int run(const RunOptions& options);

}  // namespace doppel::cli
