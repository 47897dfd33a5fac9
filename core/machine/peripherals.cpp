#include "core/machine/peripherals.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace doppel::machine {

using namespace doppel::devices;

Peripherals::Peripherals(const PeripheralConfig& config, PcBoard& board, core::Counters& counters,
                         boost::asio::io_context& events, Post post)
    : board_(board), counters_(counters), post_(std::move(post)) {
  if (config.rng) insert(rng_.emplace());
  if (config.balloon) insert(balloon_.emplace(*board.ram, counters));
  if (!config.console.empty() || !config.ports.empty()) add_console(config, events);
  for (const auto& share : config.shares) {
    try {
      insert(*shares_.emplace_back(
          std::make_unique<Virtio9p>(SharedFolder(share.path, share.read_only), share.tag, post_)));
    } catch (const ShareError& error) {
      throw ConfigError(fmt::format("--share {}={}.", share.tag, error.what()));
    }
  }
  if (config.vsock) {
    vsock_listening_.emplace(ListeningSocket::unix_file("--vsock", config.vsock->path));
    vsock_sockets_.emplace(vsock_listening_->fd(), config.vsock->path, post_);
    insert(vsock_.emplace(config.vsock->cid, *vsock_sockets_, counters));
  }
}

void Peripherals::insert(VirtioDevice& device) {
  if (functions_.size() == kMostVirtioOthers)
    throw ConfigError(
        fmt::format("--share: there is room for {} devices; leave some out.", kMostVirtioOthers));
  functions_.push_back(
      std::make_unique<VirtioPci>(device, *board_.ram, board_.mmio, board_.msi(), counters_));
  functions_.back()->on_unfinished(post_);
  board_.pci.insert(static_cast<u32>(kSlotVirtioOthers + functions_.size() - 1), 0, *functions_.back());
}

void Peripherals::add_console(const PeripheralConfig& config, boost::asio::io_context& events) {
  if (config.ports.size() + 1 > VirtioConsole::kMostPorts)
    throw ConfigError(fmt::format("--port: {} are the most; leave some out.", VirtioConsole::kMostPorts - 1));
  CharBackend* output = &nowhere_;
  if (!config.console.empty()) {
    console_file_ =
        FileDescriptor(::open(config.console.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!console_file_.valid())
      throw ConfigError(fmt::format("--console file:{}: {}.", config.console, std::strerror(errno)));
    console_output_ = std::make_unique<OutputBackend>(events, console_file_.get());
    output = console_output_.get();
  }
  std::vector<VirtioConsole::Port> ports;
  ports.push_back({.name = "", .output = output, .room = {}, .opened = {}});
  for (const auto& port : config.ports) {
    PortSocket& socket = *sockets_.emplace_back(std::make_unique<PortSocket>(events, port.path));
    ports.push_back(
        {.name = port.name, .output = &socket, .room = [&socket] { socket.room(); }, .opened = {}});
  }
  insert(console_.emplace(std::move(ports)));
  for (std::size_t port = 1; port <= sockets_.size(); ++port) connect(port);
}

void Peripherals::connect(std::size_t port) {
  console_->set_host_connected(port, false);
  sockets_[port - 1]->start(
      {.offer =
           [this, port](std::string bytes, std::function<void(std::size_t)> taken) {
             post_([this, port, bytes = std::move(bytes), taken = std::move(taken)] {
               taken(console_->receive(port, {reinterpret_cast<const u8*>(bytes.data()), bytes.size()}));
             });
           },
       .connected =
           [this, port](bool connected) {
             post_([this, port, connected] { console_->set_host_connected(port, connected); });
           }});
}

}  // namespace doppel::machine
