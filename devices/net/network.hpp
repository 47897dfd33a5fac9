// What a NetPort is plugged into: user-mode NAT, a link to another machine, a tap interface. Each runs a
// thread of its own from its constructor to its destructor. Owned by the machine.
#pragma once

#include <stdexcept>

#include "core/types.hpp"

namespace doppel::devices {

class Network {
 public:
  Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  virtual ~Network() = default;
};

// The host cannot give the network asked for; what() is a sentence for the user, without its full stop.
class NetworkError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace doppel::devices
