// How much a guest can make a NAT keep: sockets of the host, fragments of packets. Looks at each frame before
// the NAT sees it. What is dropped is lost as on a busy network; the guest sends it again. Used by
// UserNetwork.
#pragma once

#include <chrono>

#include "devices/net/net_port.hpp"

namespace doppel::devices {

class NatLimits {
 public:
  // Whether the NAT may see a frame of the guest.
  [[nodiscard]] bool accept(const NetFrame& frame);
  // The NAT opened or closed a socket.
  void opened() { ++sockets_; }
  void closed() { --sockets_; }
  // No more connections for now.
  [[nodiscard]] bool full() const;

 private:
  // A NAT keeps every fragment for 30 s, and each costs it two pages at least: a guest gets so many of them,
  // and so many more in a second.
  static constexpr double kFragments = 8192, kFragmentsPerSecond = 1000;

  [[nodiscard]] bool accept_fragment();

  u32 sockets_ = 0;
  double fragments_left_ = kFragments;
  std::chrono::steady_clock::time_point fragments_counted_ = std::chrono::steady_clock::now();
};

}  // namespace doppel::devices
