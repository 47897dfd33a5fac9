// The virtio 9P transport: carries the messages of a SharedFolder. Behind VirtioPci. Source: VIRTIO 1.2, 5.
#pragma once

#include <string>

#include "devices/share/shared_folder.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class Virtio9p final : public VirtioDevice {
 public:
  // `tag` is what the guest mounts; at most 255 bytes.
  Virtio9p(SharedFolder folder, std::string tag) : folder_(std::move(folder)), tag_(std::move(tag)) {}

  [[nodiscard]] std::string_view name() const override { return "virtio_9p"; }
  [[nodiscard]] u16 type() const override { return 9; }
  [[nodiscard]] u32 pci_class() const override { return 0x00'0200; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override { return 1; }
  [[nodiscard]] u16 queue_size() const override { return 128; }
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64) override {}
  void notified(u16 index) override;
  void reset() override { folder_.reset(); }
  void quiesce() override {}
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32, u8) override {}
  // Open files stay behind: the guest finds its fids unknown.
  void snapshot(core::SnapshotIo& io) override;

 private:
  VirtioTransport* transport_ = nullptr;
  SharedFolder folder_;
  std::string tag_;
};

}  // namespace doppel::devices
