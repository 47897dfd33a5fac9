// The virtio entropy source: fills what the driver offers with the host's random numbers. Behind VirtioPci.
// Source: VIRTIO 1.2, 5.4.
#pragma once

#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class VirtioRng final : public VirtioDevice {
 public:
  [[nodiscard]] std::string_view name() const override { return "virtio_rng"; }
  [[nodiscard]] u16 type() const override { return 4; }
  [[nodiscard]] u32 pci_class() const override { return 0x00'ff00; }
  [[nodiscard]] u64 features() const override { return 0; }
  [[nodiscard]] u16 queues() const override { return 1; }
  [[nodiscard]] u16 queue_size() const override { return 8; }
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64) override {}
  void notified(u16 index) override;
  void reset() override {}
  void quiesce() override {}
  [[nodiscard]] u8 read_config(u32) override { return 0; }
  void write_config(u32, u8) override {}
  void snapshot(core::SnapshotIo&) override {}

 private:
  VirtioTransport* transport_ = nullptr;
};

}  // namespace doppel::devices
