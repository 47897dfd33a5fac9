// A device on an 8-bit data bus: wider accesses reach it as single bytes at consecutive offsets, lowest
// first, as an ISA bridge splits them. Chips derive from it and see only bytes.
#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "core/log.hpp"

namespace doppel::devices {

class ByteDevice : public core::Device {
 public:
  [[nodiscard]] u64 read(u64 offset, u32 width) final {
    u64 value = 0;
    for (u32 i = 0; i < width; ++i) value |= u64{read_byte(offset + i)} << 8 * i;
    return value;
  }
  void write(u64 offset, u32 width, u64 value) final {
    for (u32 i = 0; i < width; ++i) write_byte(offset + i, static_cast<u8>(value >> 8 * i));
  }

 protected:
  ByteDevice(core::Counters& counters, std::string_view name)
      : unknown_reads_(counters[std::string(name) + ".unknown.read"]),
        unknown_writes_(counters[std::string(name) + ".unknown.write"]) {}

  [[nodiscard]] virtual u8 read_byte(u64 offset) = 0;
  virtual void write_byte(u64 offset, u8 value) = 0;

  // For registers that do not exist: counted and logged; a read is open bus.
  [[nodiscard]] u8 unknown_read(u64 offset) {
    ++unknown_reads_;
    core::log(core::LogCategory::kPort, "{}: read of unknown register {:#x}", name(), offset);
    return 0xff;
  }
  void unknown_write(u64 offset, u8 value) {
    ++unknown_writes_;
    core::log(core::LogCategory::kPort, "{}: write of {:#x} to unknown register {:#x}", name(), value,
              offset);
  }

 private:
  core::Counters::Counter& unknown_reads_;
  core::Counters::Counter& unknown_writes_;
};

}  // namespace doppel::devices
