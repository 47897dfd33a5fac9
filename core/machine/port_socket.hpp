// The host's end of a port of the virtio console: a UNIX socket that takes one client at a time. Its event
// handlers run on the event thread, write() on the vCPU's. Made by Peripherals.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "core/types.hpp"
#include "devices/char_backend.hpp"

namespace doppel::machine {

class PortSocket final : public devices::CharBackend {
 public:
  struct Guest {
    // Takes bytes later, as many as it can, and calls `taken` with how many, on any thread.
    std::function<void(std::string bytes, std::function<void(std::size_t)> taken)> offer;
    std::function<void(bool connected)> connected;  // a client came or went; any thread
  };

  // Throws ConfigError.
  PortSocket(boost::asio::io_context& events, const std::string& path);
  ~PortSocket() override;

  void start(Guest guest);
  // What the client does not read is lost beyond a megabyte, and all of it while there is no client.
  void write(u8 byte) override;
  // The guest can take bytes again.
  void room();

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace doppel::machine
