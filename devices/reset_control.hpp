// The reset control register at port 0xcf9 (one port), as the PIIX3 has it and the FADT names it. The PCI
// host bridge passes byte accesses on to it, because the configuration address register covers the same
// ports. It asks for a reset through its callback and does not know what a reset is.
#pragma once

#include <functional>

#include "core/counters.hpp"
#include "core/device.hpp"

namespace doppel::devices {

class ResetControl final : public core::Device {
 public:
  // `request(hard)`: hard resets the whole machine, otherwise only the processors.
  ResetControl(core::Counters& counters, std::function<void(bool hard)> request);

  [[nodiscard]] std::string_view name() const override { return "reset_control"; }
  void reset() override { value_ = 0; }
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override { io.field("value", value_); }

 private:
  core::Counters::Counter& unknown_;
  std::function<void(bool hard)> request_;
  u8 value_ = 0;
};

}  // namespace doppel::devices
