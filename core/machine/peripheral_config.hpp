// The virtio devices of a machine besides disks and network cards, as the user asked for them. Filled by the
// command line, read by Peripherals.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::machine {

struct PeripheralConfig {
  struct Port {
    std::string name, path;  // the guest's name for it, the host's socket
  };
  struct Share {
    std::string tag, path;
    bool read_only = false;
  };
  struct Vsock {
    u32 cid;           // of the guest
    std::string path;  // the host's socket
  };

  bool rng = false, balloon = false;
  std::string console;  // where hvc0 goes: a file; empty: nowhere
  std::vector<Port> ports;
  std::vector<Share> shares;
  std::optional<Vsock> vsock;
};

}  // namespace doppel::machine
