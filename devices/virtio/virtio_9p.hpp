// The virtio 9P transport: carries the messages of a SharedFolder, which answers them in order on a thread of
// its own. Behind VirtioPci. Source: VIRTIO 1.2, 5.
#pragma once

#include <string>

#include "devices/share/folder_thread.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class Virtio9p final : public VirtioDevice {
 public:
  // `tag` is what the guest mounts; at most 255 bytes. `post` runs a function on the vCPU's thread with the
  // device lock held; called from another thread.
  Virtio9p(SharedFolder folder, std::string tag, FolderThread::Post post)
      : tag_(std::move(tag)), folder_(std::move(folder), std::move(post)) {}

  [[nodiscard]] std::string_view name() const override { return "virtio_9p"; }
  [[nodiscard]] u16 type() const override { return 9; }
  [[nodiscard]] u32 pci_class() const override { return 0x00'0200; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override { return 1; }
  [[nodiscard]] u16 queue_size() const override { return kQueueSize; }
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64) override {}
  void notified(u16 index) override;
  void reset() override;
  void quiesce() override { folder_.drain(); }
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32, u8) override {}
  // Open files stay behind: the guest finds its fids unknown.
  void snapshot(core::SnapshotIo& io) override;

 private:
  static constexpr u16 kQueueSize = 128;

  void finish(const VirtioChain& chain, std::span<const u8> answer);

  VirtioTransport* transport_ = nullptr;
  std::string tag_;
  u32 in_flight_ = 0;
  FolderThread folder_;
};

}  // namespace doppel::devices
