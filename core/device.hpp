// What a device is to the rest of the machine. It is told offsets into the range it was attached at, never
// where that range lies. Interrupt lines, the clock, guest RAM and its backend arrive as constructor
// arguments; it knows no other device and no machine. All calls are made with the machine's device lock held.
#pragma once

#include <string_view>

#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::core {

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  // Power-on state. Called by constructors' owners once and at every machine reset.
  virtual void reset() = 0;
  // `width` is 1, 2, 4 or 8 bytes; `offset + width` may pass the end of the range by less than the width.
  // Unknown register or width: count and log it, return open bus (all ones).
  [[nodiscard]] virtual u64 read(u64 offset, u32 width) = 0;
  virtual void write(u64 offset, u32 width, u64 value) = 0;
  virtual void snapshot(SnapshotIo& io) = 0;
};

}  // namespace doppel::core
