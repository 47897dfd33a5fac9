// `doppel ctl` and `doppel screenshot`: one command to a running machine's control socket, and its answer for
// people.
#pragma once

#include <string>
#include <vector>

namespace doppel::cli {

struct ControlCall {
  std::string socket;  // path, or unix:PATH
  std::string command;
  std::vector<std::string> arguments;
};

// Sends it and prints the answer; returns the process' exit status.
[[nodiscard]] int call_control(const ControlCall& call);

}  // namespace doppel::cli
