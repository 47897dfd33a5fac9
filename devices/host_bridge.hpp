// The host bridge of an i440FX board, 82441FX (8086:1237), at 00:00.0: its PAM and SMRAM registers decide
// which accesses below 1 MiB reach RAM and which go on to ROM, VGA and the bus. The routing itself is the
// owner's, told through a callback. Source: Intel 82441FX datasheet (290549), "PAM" and "SMRAM".
#pragma once

#include <array>
#include <functional>

#include "devices/pci_function.hpp"

namespace doppel::devices {

class HostBridge final : public PciFunction {
 public:
  // Accesses to [base, base + size) reach RAM when they are reads and `reads` is set, or writes and `writes`.
  using RamRouter = std::function<void(u64 base, u64 size, bool reads, bool writes)>;

  // `route` is called for every segment at reset, later for those that change.
  explicit HostBridge(RamRouter route);

  void reset() override;
  void config_write(u8 offset, u32 width, u32 value) override;
  void snapshot(core::SnapshotIo& io) override;

  // All of 0xc0000-0xfffff becomes plain RAM, as when firmware has finished copying itself there.
  void shadow_everything();

 private:
  static constexpr u32 kSegments = 14;  // 13 of PAM, and the SMRAM window

  struct Routing {
    bool reads, writes;
    bool operator==(const Routing&) const = default;
  };
  [[nodiscard]] Routing wanted(u32 segment);
  void apply(bool all);

  RamRouter route_;
  std::array<Routing, kSegments> routed_{};
};

}  // namespace doppel::devices
