// The machine's network cards and what they are plugged into. Made by Machine after the board; the board's
// PCI bus resets the cards. Each network has a thread of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/machine/net_config.hpp"
#include "core/machine/pc_board.hpp"
#include "devices/net/e1000.hpp"
#include "devices/net/net_port.hpp"
#include "devices/net/network.hpp"
#include "devices/virtio/virtio_net.hpp"
#include "devices/virtio/virtio_pci.hpp"

namespace doppel::machine {

// The boot ROM for a card: iPXE, for BIOS and UEFI, as Debian's package ipxe-qemu installs it.
[[nodiscard]] std::string boot_rom_path(NetConfig::Model model);
// Its bytes; empty if it is not installed.
[[nodiscard]] std::vector<u8> installed_boot_rom(NetConfig::Model model);

class Networking {
 public:
  // `post` runs a function on the vCPU's thread with the device lock held; called from other threads. Throws
  // ConfigError.
  Networking(const std::vector<NetConfig>& cards, PcBoard& board, core::Counters& counters,
             const devices::NetPort::Post& post);
  Networking(const Networking&) = delete;
  Networking& operator=(const Networking&) = delete;

  // What firmware calls the cards, as Open Firmware names devices.
  [[nodiscard]] std::vector<std::string> device_paths() const;

 private:
  struct VirtioCard {
    VirtioCard(devices::NetPort& port, const devices::MacAddress& mac, PcBoard& board,
               core::Counters& counters);
    devices::VirtioNet model;
    devices::VirtioPci function;
  };
  // In this order: the network's thread ends before its port goes.
  struct Card {
    explicit Card(const devices::NetPort::Post& post) : port(post) {}
    devices::NetPort port;
    std::unique_ptr<devices::Network> network;
    std::vector<u8> rom;
    std::unique_ptr<VirtioCard> virtio;  // one of the two
    std::unique_ptr<devices::E1000> e1000;
  };

  // Makes the card's model; the function to put into its slot.
  [[nodiscard]] static devices::PciFunction& make_model(Card& card, const NetConfig& config, PcBoard& board,
                                                        core::Counters& counters);

  std::vector<std::unique_ptr<Card>> cards_;
};

}  // namespace doppel::machine
