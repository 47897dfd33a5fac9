// A virtio device as a PCI function: the modern transport (no legacy interface) with its registers in one
// memory BAR, found through vendor-specific capabilities. Owns the handshake, the queues and the interrupts;
// the device behind it does the work. Made by the machine for each virtio device. Source: VIRTIO 1.2, 4.1.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "core/bus.hpp"
#include "core/counters.hpp"
#include "core/device.hpp"
#include "devices/pci_msi.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class VirtioPci final : public PciFunction, public core::Device, private VirtioTransport {
 public:
  // `mmio` is where its BARs appear. `device` outlives it.
  VirtioPci(VirtioDevice& device, core::GuestRam& ram, core::Bus& mmio, MsiSink msi,
            core::Counters& counters);
  ~VirtioPci() override;
  // How to run a function soon, with the lock held that is held now: for queues that a driver fills while
  // they are emptied. Without it they wait for the next notification.
  void on_unfinished(std::function<void(std::function<void()>)> later) { later_ = std::move(later); }

  // PciFunction; also core::Device's.
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;
  [[nodiscard]] u32 config_read(u8 offset, u32 width) override;
  void config_write(u8 offset, u32 width, u32 value) override;

  // core::Device: the registers in the BAR.
  [[nodiscard]] std::string_view name() const override { return device_.name(); }
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;

 private:
  struct Queue {
    u16 size = 0;
    u16 vector = 0xffff;
    bool enabled = false;
    bool unfinished = false;  // `later_` has been asked
    Virtqueue::Areas areas;
    std::unique_ptr<Virtqueue> ring;
  };

  [[nodiscard]] Virtqueue* queue(u16 index) override;
  void announce(u16 index) override;
  void configuration_changed() override;
  void needs_reset() override;
  void unfinished(u16 index) override;

  void add_capabilities();
  [[nodiscard]] u64 offered() const;
  [[nodiscard]] Queue* selected();
  [[nodiscard]] u64 read_common(u64 offset, u32 width);
  void write_common(u64 offset, u32 width, u64 value);
  [[nodiscard]] u64 read_isr();
  void write_status(u8 value);
  void enable(Queue& queue);
  void reset_device();
  void interrupt(u8 cause, u16 vector);
  // The register that the window in configuration space shows, if it shows one.
  struct Window {
    u64 offset;
    u32 width;
  };
  [[nodiscard]] std::optional<Window> window(u8 config_offset);
  [[nodiscard]] u16 valid_vector(u64 value) const;
  [[nodiscard]] u64 unknown(std::string_view what, u64 offset, u32 width);
  [[nodiscard]] std::unique_ptr<Virtqueue> make_ring(const Queue& queue);

  VirtioDevice& device_;
  core::GuestRam& ram_;
  core::Counters::Counter& unknown_;
  std::vector<Queue> queues_;
  MsixCapability msix_;
  std::function<void(std::function<void()>)> later_;
  u8 window_ = 0;  // offset of the capability
  u64 accepted_ = 0;
  u32 device_feature_select_ = 0, driver_feature_select_ = 0;
  u16 queue_select_ = 0;
  u16 config_vector_ = 0xffff;
  u8 status_ = 0;
  u8 isr_ = 0;
  u8 generation_ = 0;  // of the configuration
};

}  // namespace doppel::devices
