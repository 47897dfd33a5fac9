// The network cards of a machine as the user asked for them. Filled by the command line, read by Networking.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "devices/net/net_port.hpp"
#include "devices/net/user_network_config.hpp"

namespace doppel::machine {

struct NetConfig {
  enum class Kind : u8 { kUser, kLink, kTap };
  enum class Model : u8 { kVirtio, kE1000 };

  Kind kind = Kind::kUser;
  Model model = Model::kVirtio;
  std::optional<devices::MacAddress> mac;  // empty: one that no other machine has
  std::string name;                        // kLink: of the link; kTap: of the interface, may be empty
  devices::UserNetworkConfig user;         // kUser
  std::vector<u8> rom;                     // the card's boot ROM, a power of two of bytes; may be empty
};

}  // namespace doppel::machine
