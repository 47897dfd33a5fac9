// How much a guest can make a NAT keep: sockets of the host, fragments of packets, TCP segments behind a hole
// in their stream. Looks at each frame before the NAT sees it. What is dropped is lost as on a busy network;
// the guest sends it again. Used by UserNetwork.
#pragma once

#include <array>
#include <chrono>
#include <map>
#include <optional>

#include "devices/net/net_port.hpp"

namespace doppel::devices {

class NatLimits {
 public:
  // A TCP connection: addresses and ports, the guest's first.
  using Stream = std::array<u8, 36>;

  // Whether the NAT may see a frame of the guest. handled() follows when it has, or will not.
  [[nodiscard]] bool accept(const NetFrame& frame);
  void handled() { current_.reset(); }
  // The NAT has a frame for the guest.
  void answered(const NetFrame& frame);
  // The NAT opened or closed a socket.
  void opened() { ++sockets_; }
  void closed();
  // No more connections for now.
  [[nodiscard]] bool full() const;

 private:
  // A NAT keeps every fragment for 30 s, and each costs it two pages at least: a guest gets so many of them,
  // and so many more in a second.
  static constexpr double kFragments = 8192, kFragmentsPerSecond = 1000;

  // All segments that may be waiting for others before them. Each costs two pages at least.
  static constexpr u32 kMostSegments = 16384;

  struct Waiting {
    u32 segments = 0;
    u32 end = 0;  // of the farthest one; when the NAT acknowledges that, none waits
  };

  [[nodiscard]] bool accept_fragment();
  [[nodiscard]] bool accept_segment(const Stream& stream, u32 end);
  void forget(const Stream& stream);

  u32 sockets_ = 0;
  std::map<Stream, Waiting> waiting_;
  u32 segments_ = 0;               // of all in waiting_
  std::optional<Stream> current_;  // of the frame that the NAT deals with
  double fragments_left_ = kFragments;
  std::chrono::steady_clock::time_point fragments_counted_ = std::chrono::steady_clock::now();
};

}  // namespace doppel::devices
