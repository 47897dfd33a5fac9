// The machine's virtio devices besides disks and network cards: entropy source, balloon, console and ports,
// shared folders, vsock. Made by Machine after the board; the board's PCI bus resets them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/machine/console.hpp"
#include "core/machine/listening_socket.hpp"
#include "core/machine/pc_board.hpp"
#include "core/machine/peripheral_config.hpp"
#include "core/machine/port_socket.hpp"
#include "devices/storage/file_io.hpp"
#include "devices/virtio/virtio_9p.hpp"
#include "devices/virtio/virtio_balloon.hpp"
#include "devices/virtio/virtio_console.hpp"
#include "devices/virtio/virtio_pci.hpp"
#include "devices/virtio/virtio_rng.hpp"
#include "devices/virtio/virtio_vsock.hpp"

namespace doppel::machine {

class Peripherals {
 public:
  // Runs a function on the vCPU's thread with the device lock held.
  using Post = std::function<void(std::function<void()>)>;

  // Throws ConfigError.
  Peripherals(const PeripheralConfig& config, PcBoard& board, core::Counters& counters,
              boost::asio::io_context& events, Post post);
  Peripherals(const Peripherals&) = delete;
  Peripherals& operator=(const Peripherals&) = delete;

  // nullptr without a balloon.
  [[nodiscard]] devices::VirtioBalloon* balloon() { return balloon_ ? &*balloon_ : nullptr; }

 private:
  void insert(devices::VirtioDevice& device);
  void add_console(const PeripheralConfig& config, boost::asio::io_context& events);
  void connect(std::size_t port);

  PcBoard& board_;
  core::Counters& counters_;
  Post post_;
  NullBackend nowhere_;
  devices::FileDescriptor console_file_;
  std::unique_ptr<OutputBackend> console_output_;
  std::vector<std::unique_ptr<PortSocket>> sockets_;
  std::optional<devices::VirtioRng> rng_;
  std::optional<devices::VirtioBalloon> balloon_;
  std::optional<devices::VirtioConsole> console_;
  std::vector<std::unique_ptr<devices::Virtio9p>> shares_;
  std::optional<ListeningSocket> vsock_listening_;
  std::optional<devices::VsockSockets> vsock_sockets_;
  std::optional<devices::VirtioVsock> vsock_;
  std::vector<std::unique_ptr<devices::VirtioPci>> functions_;
};

}  // namespace doppel::machine
