// The control socket: other programs ask about the running machine and steer it. Each line is a JSON object,
// {"execute": COMMAND, arguments…}; each gets one line back, {"return": …} or {"error": SENTENCE}. Messages
// are hostile input. It runs on the event thread; pictures are made on a thread of its own.
#pragma once

#include <memory>
#include <string>

#include "core/machine/machine.hpp"

namespace doppel::machine {

class ControlServer {
 public:
  // `where` is "unix:PATH". Throws ConfigError. `machine` outlives it; the event loop has stopped before it
  // ends.
  ControlServer(const std::string& where, boost::asio::io_context& events, Machine& machine);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  ~ControlServer();

 private:
  class Impl;
  class Session;
  std::shared_ptr<Impl> impl_;
};

}  // namespace doppel::machine
