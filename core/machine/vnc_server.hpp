// Shows the screen to VNC viewers and takes their keys and pointer, through libvncserver. It has one thread,
// which sleeps while nobody is connected and draws at most 30 pictures a second otherwise.
#pragma once

#include <memory>
#include <string>

#include "core/machine/display.hpp"
#include "core/machine/host_input.hpp"

namespace doppel::machine {

struct VncConfig {
  std::string where;     // ":N", "HOST:N" or "unix:PATH"; N below 100 means port 5900 + N
  std::string password;  // at most 8 characters count; empty: none
};

class VncServer {
 public:
  // Throws ConfigError.
  VncServer(const VncConfig& config, const Display& display, HostInput& input);
  VncServer(const VncServer&) = delete;
  VncServer& operator=(const VncServer&) = delete;
  ~VncServer();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace doppel::machine
