// Message-signalled interrupts of a PCI function: the MSI capability, and MSI-X with its table and pending
// bits in a BAR. A device model holds one beside its PciFunction and signals vectors; a masked vector stays
// pending until it is unmasked. The message leaves as an address and data: who takes it is not known here.
// Source: PCI Local Bus Specification 3.0, section 6.8.
#pragma once

#include <functional>
#include <vector>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "devices/pci_function.hpp"

namespace doppel::devices {

// Writes `data` to `address`, as ApicBus::send_msi() takes it.
using MsiSink = std::function<void(u64 address, u32 data)>;

// MSI with 64-bit addresses and per-vector masking.
class MsiCapability {
 public:
  // `vectors`: 1, 2, 4, 8, 16 or 32. Adds the capability to `function`, which outlives it.
  MsiCapability(PciFunction& function, u32 vectors, MsiSink sink);

  // While enabled the function must not use INTx.
  [[nodiscard]] bool enabled() const;
  // The n-th vector; those that the guest did not enable share the last one it did.
  void signal(u32 vector);
  // The function's config_write() calls this afterwards: an unmasked vector that is pending is sent.
  void config_written();
  void reset();
  void snapshot(core::SnapshotIo& io);

 private:
  void send_pending();
  void publish_pending();

  PciFunction& function_;
  MsiSink sink_;
  u32 vectors_;
  u8 offset_;
  u32 pending_ = 0;
};

// MSI-X. As a device it is the contents of a BAR: the table at offset 0, the pending bits at half of size().
//   function.add_bar(1, BarKind::kMemory32, msix.size(), PciFunction::attach_to(mmio, msix, msix.size()));
class MsixCapability final : public core::Device {
 public:
  // Adds the capability to `function`, which outlives it. `bar` is the register the owner maps it at.
  MsixCapability(PciFunction& function, u32 vectors, u32 bar, MsiSink sink, core::Counters& counters);

  [[nodiscard]] u64 size() const { return size_; }
  [[nodiscard]] u32 vectors() const { return static_cast<u32>(table_.size()); }
  [[nodiscard]] bool enabled() const;
  // Does nothing for a vector that does not exist: guests name them.
  void signal(u32 vector);
  // As for MsiCapability.
  void config_written();

  [[nodiscard]] std::string_view name() const override { return "msix"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Entry {
    u64 address = 0;
    u32 data = 0;
    u32 control = 1;  // bit 0: masked
  };
  [[nodiscard]] bool can_send(const Entry& entry) const;
  void send_pending();

  PciFunction& function_;
  MsiSink sink_;
  core::Counters::Counter& unknown_;
  std::vector<Entry> table_;
  std::vector<u64> pending_;
  u64 size_;
  u8 offset_;
};

}  // namespace doppel::devices
