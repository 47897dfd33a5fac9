// What the control socket can be asked: one table of commands over a Machine. It knows no sockets.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "core/machine/machine.hpp"

namespace doppel::machine {

// The answer to one line, as one line without its end. Never throws.
using Answer = std::function<std::string()>;

struct Request {
  Answer answer;      // makes the answer
  bool slow = false;  // takes longer than an event loop should: call it on another thread
};

// Understands one line. What is wrong with it is the answer.
[[nodiscard]] Request understand(const std::string& line, Machine& machine);

}  // namespace doppel::machine
