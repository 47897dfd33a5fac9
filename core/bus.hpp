// An address space of devices: the ports, and the MMIO holes of physical memory. Maps an address to the
// device attached there. Addresses nobody answers read as all ones, swallow writes, and are counted.
#pragma once

#include <boost/container/flat_map.hpp>
#include <mutex>
#include <string>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "core/types.hpp"

namespace doppel::core {

class Bus {
 public:
  // `name` is "port" or "mmio": used in counters ("port.unassigned.read 0x80") and the log.
  // `lock` is the machine's device lock, taken around every access.
  Bus(std::string name, Counters& counters, std::recursive_mutex& lock)
      : name_(std::move(name)), counters_(counters), lock_(lock) {}

  // Attaches `device` at [base, base + size); it sees offsets from `offset`. Throws std::invalid_argument if
  // the range is empty, wraps, or overlaps another one.
  void attach(u64 base, u64 size, Device& device, u64 offset = 0);
  // Detaches what is attached at exactly `base`; nothing happens if there is none.
  void detach(u64 base);

  // width: 1, 2, 4 or 8. An access that leaves its device's range is split into bytes.
  [[nodiscard]] u64 read(u64 address, u32 width);
  void write(u64 address, u32 width, u64 value);
  // How many accesses there have been.
  [[nodiscard]] u64 accesses() const { return accesses_; }
  // Whether a device answers at `address`.
  [[nodiscard]] bool attached(u64 address) const;

 private:
  struct Range {
    u64 size;
    Device* device;
    u64 offset;
  };
  [[nodiscard]] const std::pair<u64, Range>* find(u64 address) const;
  [[nodiscard]] bool starts_within(u64 address, u32 width) const;
  void count_unassigned(bool is_write, u64 address);

  std::string name_;
  Counters& counters_;
  std::recursive_mutex& lock_;
  u64 accesses_ = 0;
  boost::container::flat_map<u64, Range> ranges_;
  boost::container::flat_map<std::pair<u64, bool>, Counters::Counter*> unassigned_;  // (address, is write)
};

}  // namespace doppel::core
