#include "core/bus.hpp"

#include <algorithm>
#include <stdexcept>

#include "core/log.hpp"

namespace doppel::core {

namespace {

// A hostile guest must not grow the counter map: what comes after this many distinct addresses shares one
// name.
constexpr std::size_t kCountedAddresses = 256;

constexpr u64 all_ones(u32 width) {
  return width >= 8 ? ~u64{0} : (u64{1} << width * 8) - 1;
}

}  // namespace

void Bus::attach(u64 base, u64 size, Device& device, u64 offset) {
  std::lock_guard hold(lock_);
  const u64 last = base + (size - 1);
  if (size == 0 || last < base)
    throw std::invalid_argument(
        fmt::format("{}: range {:#x} of {:#x} bytes is empty or wraps", name_, base, size));
  const auto next = ranges_.lower_bound(base);
  if (find(base) || (next != ranges_.end() && next->first <= last))
    throw std::invalid_argument(
        fmt::format("{}: {} at {:#x} overlaps another device", name_, device.name(), base));
  ranges_.emplace(base, Range{size, &device, offset});
}

void Bus::detach(u64 base) {
  std::lock_guard hold(lock_);
  ranges_.erase(base);
}

// What is needed of the range is copied out before the device runs: it may attach and detach ranges (PCI
// BARs), which moves the map's elements.
u64 Bus::read(u64 address, u32 width) {
  std::lock_guard hold(lock_);
  ++accesses_;
  if (const auto* entry = find(address)) {
    const auto& [base, range] = *entry;
    if (width <= range.size - (address - base))
      return range.device->read(address - base + range.offset, width) & all_ones(width);
  } else if (width == 1 || !starts_within(address, width)) {
    count_unassigned(false, address);
    return all_ones(width);
  }
  u64 value = 0;
  for (u32 i = 0; i < width; ++i) value |= (read(address + i, 1) & 0xff) << i * 8;
  return value;
}

void Bus::write(u64 address, u32 width, u64 value) {
  std::lock_guard hold(lock_);
  ++accesses_;
  if (const auto* entry = find(address)) {
    const auto& [base, range] = *entry;
    if (width <= range.size - (address - base)) {
      range.device->write(address - base + range.offset, width, value & all_ones(width));
      return;
    }
  } else if (width == 1 || !starts_within(address, width)) {
    count_unassigned(true, address);
    return;
  }
  for (u32 i = 0; i < width; ++i) write(address + i, 1, value >> i * 8 & 0xff);
}

bool Bus::attached(u64 address) const {
  std::lock_guard hold(lock_);
  return find(address) != nullptr;
}

const std::pair<u64, Bus::Range>* Bus::find(u64 address) const {
  auto it = ranges_.upper_bound(address);
  if (it == ranges_.begin()) return nullptr;
  --it;
  return address - it->first < it->second.size ? &*it : nullptr;
}

// Whether a range begins inside the access, so that its first byte is unassigned and a later one is not.
bool Bus::starts_within(u64 address, u32 width) const {
  const auto next = ranges_.upper_bound(address);
  return next != ranges_.end() && next->first - address < width;
}

void Bus::count_unassigned(bool is_write, u64 address) {
  log(name_ == "port" ? LogCategory::kPort : LogCategory::kMmio, "{}: unassigned {} at {:#x}", name_,
      is_write ? "write" : "read", address);
  const std::pair key(address, is_write);
  auto it = unassigned_.find(key);
  if (it == unassigned_.end()) {
    const std::string prefix = name_ + ".unassigned." + (is_write ? "write" : "read");
    if (unassigned_.size() >= kCountedAddresses) {
      ++counters_[prefix + " elsewhere"];
      return;
    }
    it = unassigned_.emplace(key, &counters_[fmt::format("{} {:#x}", prefix, address)]).first;
  }
  ++*it->second;
}

}  // namespace doppel::core
