// QEMU's firmware configuration device: numbered items and named files that firmware reads byte by byte from
// a port, or by DMA. The machine fills in the contents before the guest runs; guests cannot change them. It
// knows no item's meaning. Source: QEMU, docs/specs/fw_cfg.rst.
#pragma once

#include <boost/container/flat_map.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "core/guest_ram.hpp"

namespace doppel::devices {

// Keys of items that are not files.
inline constexpr u16 kFwCfgSignature = 0x00, kFwCfgId = 0x01, kFwCfgUuid = 0x02, kFwCfgRamSize = 0x03,
                     kFwCfgNoGraphic = 0x04, kFwCfgCpus = 0x05, kFwCfgNuma = 0x0d, kFwCfgBootMenu = 0x0e,
                     kFwCfgMaxCpus = 0x0f, kFwCfgDirectory = 0x19, kFwCfgIrq0Override = 0x8002;

// Offsets: 0 selector (a word), 1 data, 4-11 DMA address, big-endian.
class FwCfg final : public core::Device {
 public:
  static constexpr u64 kPorts = 12;

  // `ram` is where DMA goes.
  FwCfg(core::GuestRam& ram, core::Counters& counters);

  // Set-up. A later call replaces what an earlier one gave. Names have at most 55 characters.
  void set_item(u16 key, std::vector<u8> bytes);
  void set_file(std::string_view name, std::vector<u8> bytes);
  // Empty if there is no such item.
  [[nodiscard]] std::span<const u8> item(u16 key) const;
  [[nodiscard]] std::span<const u8> file(std::string_view name) const;

  [[nodiscard]] std::string_view name() const override { return "fw_cfg"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  void select(u16 key);
  [[nodiscard]] u8 next_byte();
  // The selected item's next `size` bytes (zeros past its end) to guest RAM. False: that is not RAM.
  [[nodiscard]] bool copy_to_ram(u64 address, u32 size);
  void run_dma();
  void unknown(const char* what, u64 offset, u32 width);
  void rebuild_directory();

  core::GuestRam& ram_;
  core::Counters::Counter& unknown_;
  core::Counters::Counter& bad_dma_;
  boost::container::flat_map<u16, std::vector<u8>> items_;
  std::vector<std::string> file_names_;  // the n-th file is item kFirstFile + n

  u16 key_ = kFwCfgSignature;
  u32 position_ = 0;
  u64 dma_address_ = 0;
};

}  // namespace doppel::devices
