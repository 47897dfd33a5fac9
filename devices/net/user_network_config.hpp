// What the user can ask of the user-mode network. Filled by the command line, read by UserNetwork.
#pragma once

#include <netinet/in.h>

#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::devices {

struct UserNetworkConfig {
  // A port of the host that leads to one of the guest.
  struct Forward {
    bool udp = false;
    in_addr host{};  // 0.0.0.0: every address of the host
    u16 host_port = 0;
    in_addr guest{};  // 0.0.0.0: the address that DHCP gives first
    u16 guest_port = 0;
    std::string text;  // as the user wrote it
  };
  std::vector<Forward> forwards;
  bool restricted = false;  // nothing but the forwards: no way out
  bool ipv6 = true;
  std::string hostname;        // for DHCP; may be empty
  std::string tftp, bootfile;  // folder that TFTP shows, what DHCP tells to boot; may be empty
};

}  // namespace doppel::devices
