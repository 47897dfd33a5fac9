// The virtio console: serial ports without a UART, the first of them a console (hvc0 in Linux), the others
// named
// (/dev/virtio-ports/NAME). What the guest writes goes to a port's backend; what comes in for it waits here,
// bounded. Behind VirtioPci. Source: VIRTIO 1.2, 5.3.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "devices/char_backend.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class VirtioConsole final : public VirtioDevice {
 public:
  struct Port {
    std::string name;  // empty: the console
    CharBackend* output;
    // May be empty. Called when receive() refused bytes and can take more, and when the guest opens or closes
    // it.
    std::function<void()> room;
    std::function<void(bool open)> opened;
  };
  // At least one port, at most kMostPorts.
  explicit VirtioConsole(std::vector<Port> ports);
  static constexpr std::size_t kMostPorts = 16;

  // Bytes for the guest; how many were taken.
  [[nodiscard]] std::size_t receive(std::size_t port, std::span<const u8> bytes);
  // Whether somebody is at the host's end of a port.
  void set_host_connected(std::size_t port, bool connected);

  [[nodiscard]] std::string_view name() const override { return "virtio_console"; }
  [[nodiscard]] u16 type() const override { return 3; }
  [[nodiscard]] u32 pci_class() const override { return 0x07'8000; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override { return static_cast<u16>(2 * ports_.size() + 2); }
  [[nodiscard]] u16 queue_size() const override { return 64; }
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64 features) override { accepted_ = features; }
  void notified(u16 index) override;
  void reset() override;
  void quiesce() override {}
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32, u8) override {}
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Control {
    u32 id;
    u16 event, value;
  };
  struct State {
    Port port;
    std::deque<u8> waiting;  // for the guest
    bool refused = false, guest_open = false, host_connected = true;
  };

  void output(std::size_t port, u16 queue);
  void input(std::size_t port);
  void control();
  void obey(const Control& message);
  void say(std::size_t port, u16 event, u16 value, std::string_view text = {});
  void send_controls();

  VirtioTransport* transport_ = nullptr;
  std::vector<State> ports_;
  std::deque<std::vector<u8>> controls_;  // for the guest
  u64 accepted_ = 0;
};

}  // namespace doppel::devices
