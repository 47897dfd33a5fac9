// The virtio block device: reads, writes, flushes, discards, write zeroes and the disk's name, from as many
// queues as the driver sets up. A request's memory is used in place. Behind VirtioPci, in front of a
// BlockBackend. Source: VIRTIO 1.2, 5.2.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "devices/storage/block_backend.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class VirtioBlk final : public VirtioDevice {
 public:
  // `identity`: up to 20 characters that the guest can ask for (in Linux, the file "serial").
  VirtioBlk(BlockBackend& disk, std::string identity);

  [[nodiscard]] std::string_view name() const override { return "virtio_blk"; }
  [[nodiscard]] u16 type() const override { return 2; }
  [[nodiscard]] u32 pci_class() const override { return 0x01'0000; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override;
  [[nodiscard]] u16 queue_size() const override;
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64 features) override;
  void notified(u16 index) override;
  void reset() override;
  void quiesce() override { disk_.drain(); }
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32 offset, u8 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Request;

  void process(std::unique_ptr<Request> request);
  void read_or_write(std::unique_ptr<Request> request, bool is_read, u64 sector);
  void change_ranges(std::unique_ptr<Request> request, bool zeroes);
  void next_range(std::unique_ptr<Request> request);
  void submit(std::unique_ptr<Request> request, BlockRequest block);
  void finish(std::unique_ptr<Request> request, u8 status);

  VirtioTransport* transport_ = nullptr;
  BlockBackend& disk_;
  std::string identity_;
  u64 accepted_ = 0;
  u32 in_flight_ = 0;
  u64 epoch_ = 0;  // what was submitted before a reset is not given back after it
};

}  // namespace doppel::devices
