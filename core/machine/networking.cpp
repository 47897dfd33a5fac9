#include "core/machine/networking.hpp"

#include <fmt/format.h>

#include <random>

#include "devices/net/packet_network.hpp"
#include "devices/net/user_network.hpp"

namespace doppel::machine {

using namespace doppel::devices;

namespace {

// 52:54:00 and 24 bits are too few to be unique where many machines meet: locally administered, 40 bits by
// chance.
MacAddress random_mac() {
  MacAddress mac;
  std::random_device random;
  for (u8& byte : mac) byte = static_cast<u8>(random());
  mac[0] = 0x02;
  return mac;
}

std::unique_ptr<Network> make_network(const NetConfig& config, NetPort& port) {
  try {
    switch (config.kind) {
      case NetConfig::Kind::kUser:
        return std::make_unique<UserNetwork>(port, config.user);
      case NetConfig::Kind::kLink:
        return std::make_unique<PacketNetwork>(port, make_link(config.name));
      case NetConfig::Kind::kTap:
        return std::make_unique<PacketNetwork>(port, make_tap(config.name));
    }
  } catch (const NetworkError& error) {
    throw ConfigError(fmt::format("{}.", error.what()));
  }
  return nullptr;
}

}  // namespace

Networking::VirtioCard::VirtioCard(NetPort& port, const MacAddress& mac, PcBoard& board,
                                   core::Counters& counters)
    : model(port, mac, counters), function(model, *board.ram, board.mmio, board.msi(), counters) {}

Networking::Networking(const std::vector<NetConfig>& cards, PcBoard& board, core::Counters& counters,
                       const NetPort::Post& post) {
  if (cards.size() > kMostNetworkCards)
    throw ConfigError(
        fmt::format("--net: {} network cards are the most; leave some out.", kMostNetworkCards));
  for (const NetConfig& config : cards) {
    Card& card = *cards_.emplace_back(std::make_unique<Card>(post));
    // The network first: what it can do is what the card offers.
    card.network = make_network(config, card.port);
    card.virtio = std::make_unique<VirtioCard>(card.port, config.mac.value_or(random_mac()), board, counters);
    board.pci.insert(static_cast<u32>(kSlotNetworkCards + cards_.size() - 1), 0, card.virtio->function);
  }
}

}  // namespace doppel::machine
