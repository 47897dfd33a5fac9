// The virtio memory balloon: gives pages that the guest does not use back to the host, those it puts into the
// balloon (as many as set_target() asks for) and those it reports as free. They read as zeroes afterwards.
// Behind VirtioPci. Source: VIRTIO 1.2, 5.5.
#pragma once

#include "core/counters.hpp"
#include "core/guest_ram.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class VirtioBalloon final : public VirtioDevice {
 public:
  VirtioBalloon(core::GuestRam& ram, core::Counters& counters);

  // How much of its memory the guest is to give away, and how much it has.
  void set_target(u64 bytes);
  [[nodiscard]] u64 inflated() const { return u64{actual_pages_} * kPage; }

  [[nodiscard]] std::string_view name() const override { return "virtio_balloon"; }
  [[nodiscard]] u16 type() const override { return 5; }
  [[nodiscard]] u32 pci_class() const override { return 0x00'ff00; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override { return 3; }
  [[nodiscard]] u16 queue_size() const override { return 128; }
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64 features) override { accepted_ = features; }
  void notified(u16 index) override;
  void reset() override;
  void quiesce() override {}
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32 offset, u8 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  static constexpr u64 kPage = 4096;  // of the balloon, whatever the guest's is

  // Pages by number, as the driver lists them.
  void take_pages(const VirtioChain& chain);
  void give_to_host(u64 pa, u64 size);

  VirtioTransport* transport_ = nullptr;
  core::GuestRam& ram_;
  core::Counters::Counter& returned_;  // bytes
  u64 accepted_ = 0;
  u32 target_pages_ = 0, actual_pages_ = 0;
};

}  // namespace doppel::devices
