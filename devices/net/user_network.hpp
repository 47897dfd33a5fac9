// User-mode NAT: the guest sees a router with DHCP, DNS and TFTP at 10.0.2.2, and its connections become this
// process's own, so that no privilege is needed. libslirp does the protocols; here are its thread and its
// timers. Plugged into a NetPort by the machine.
#pragma once

#include <poll.h>

#include <atomic>
#include <list>
#include <thread>
#include <vector>

#include "devices/net/nat_limits.hpp"
#include "devices/net/net_port.hpp"
#include "devices/net/network.hpp"
#include "devices/net/user_network_config.hpp"
#include "devices/net/wake_event.hpp"

struct Slirp;

namespace doppel::devices {

class UserNetwork final : public Network {
 public:
  // Throws NetworkError.
  UserNetwork(NetPort& port, const UserNetworkConfig& config);
  ~UserNetwork() override;

 private:
  struct SlirpTimer {
    void (*function)(void*);
    void* argument;
    i64 deadline_ms;
  };
  struct Callbacks;

  void run();
  // Frames from the guest, as long as their answers find room.
  void feed();
  void run_timers();
  [[nodiscard]] int timeout_ms(u32 wanted) const;

  NetPort& port_;
  WakeEvent wake_;
  std::list<SlirpTimer> timers_;
  std::vector<pollfd> polled_;
  Slirp* slirp_ = nullptr;
  NatLimits limits_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace doppel::devices
