// Memory for large arrays that are used from the start on: populated, and touched ahead.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>

#include "core/touch_ahead.hpp"

namespace doppel::core {

template <class T>
struct PopulatedAllocator {
  using value_type = T;

  PopulatedAllocator() = default;
  template <class Other>
  PopulatedAllocator(const PopulatedAllocator<Other>&) {}

  // Throws std::bad_alloc.
  [[nodiscard]] T* allocate(std::size_t count) {
    if (!large(count))
      return static_cast<T*>(::operator new(count * sizeof(T), std::align_val_t(alignof(T))));
    void* memory = ::mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    touch_ahead(memory, count * sizeof(T));
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    if (!large(count)) return ::operator delete(memory, std::align_val_t(alignof(T)));
    leave_alone(memory, count * sizeof(T));
    ::munmap(memory, count * sizeof(T));
  }
  friend bool operator==(PopulatedAllocator, PopulatedAllocator) { return true; }

 private:
  static constexpr std::size_t kLarge = std::size_t{32} << 10;  // bytes
  static bool large(std::size_t count) { return count > kLarge / sizeof(T); }
};

}  // namespace doppel::core
