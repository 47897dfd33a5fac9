#include "core/machine/networking.hpp"

#include <fmt/format.h>

#include <random>

#include "core/machine/option_rom.hpp"
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

constexpr std::size_t kLargestRom = u64{1} << 20;

u32 slot_of(std::size_t card) {
  return static_cast<u32>(kSlotNetworkCards + card);
}

}  // namespace

std::string boot_rom_path(NetConfig::Model model) {
  return fmt::format("/usr/lib/ipxe/qemu/efi-{}.rom", model == NetConfig::Model::kE1000 ? "e1000" : "virtio");
}

std::vector<u8> installed_boot_rom(NetConfig::Model model) {
  return read_option_rom(boot_rom_path(model), kLargestRom);
}

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
    PciFunction& function = make_model(card, config, board, counters);
    card.rom = config.rom;
    if (!card.rom.empty())
      function.add_bar(kPciRomBar, BarKind::kRom, card.rom.size(),
                       map_device_memory(board.memory, board.signals.translations_changed, card.rom, false));
    board.pci.insert(slot_of(cards_.size() - 1), 0, function);
  }
}

PciFunction& Networking::make_model(Card& card, const NetConfig& config, PcBoard& board,
                                    core::Counters& counters) {
  const MacAddress mac = config.mac.value_or(random_mac());
  if (config.model == NetConfig::Model::kE1000) {
    card.e1000 = std::make_unique<E1000>(
        card.port, mac, E1000::Slot{*board.ram, board.mmio, board.ports, board.clock}, counters);
    return *card.e1000;
  }
  card.virtio = std::make_unique<VirtioCard>(card.port, mac, board, counters);
  return card.virtio->function;
}

std::vector<std::string> Networking::device_paths() const {
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < cards_.size(); ++i)
    paths.push_back(fmt::format("/pci@i0cf8/ethernet@{:x}/ethernet-phy@0", slot_of(i)));
  return paths;
}

}  // namespace doppel::machine
