// Loads and stores of ring fields in guest RAM, which other processors of the guest may touch at the same
// time: naturally aligned, whole, and ordered. Used by the two virtqueue layouts. A RingArea was checked to
// be RAM when its queue was made.
#pragma once

#include <atomic>
#include <cstring>
#include <span>

#include "core/types.hpp"

namespace doppel::devices {

class RingArea {
 public:
  RingArea() = default;
  RingArea(std::span<u8> memory, u64 address) : memory_(memory), address_(address) {}

  [[nodiscard]] u16 load(u64 offset) const { return word(offset).load(std::memory_order_acquire); }
  void store(u64 offset, u16 value) { word(offset).store(value, std::memory_order_release); }
  template <class T>
  [[nodiscard]] T get(u64 offset) const {
    T value;
    std::memcpy(&value, memory_.data() + offset, sizeof value);
    return value;
  }
  template <class T>
  void put(u64 offset, const T& value) {
    std::memcpy(memory_.data() + offset, &value, sizeof value);
  }
  [[nodiscard]] u64 address() const { return address_; }
  [[nodiscard]] u64 size() const { return memory_.size(); }

 private:
  [[nodiscard]] std::atomic_ref<u16> word(u64 offset) const {
    return std::atomic_ref<u16>(*reinterpret_cast<u16*>(memory_.data() + offset));
  }

  std::span<u8> memory_;
  u64 address_ = 0;
};

}  // namespace doppel::devices
