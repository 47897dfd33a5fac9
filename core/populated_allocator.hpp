// Memory for large arrays that are used from the start on: the host gives it at once. A page fault for each
// page would take several times as long, most of all on a host that is a virtual machine itself.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <new>

namespace doppel::core {

// The same for memory that is there already; what it holds stays. A host that cannot do this, or has no
// memory left, is asked again at the page faults.
inline void populate(void* begin, std::size_t size) {
  constexpr std::size_t kPage = 4096;
  auto* first = static_cast<char*>(begin) + (kPage - reinterpret_cast<std::uintptr_t>(begin) % kPage) % kPage;
  auto* end = static_cast<char*>(begin) + size;
  if (first < end) (void)::madvise(first, static_cast<std::size_t>(end - first), MADV_POPULATE_WRITE);
}

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
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, std::size_t count) {
    if (large(count))
      ::munmap(memory, count * sizeof(T));
    else
      ::operator delete(memory, std::align_val_t(alignof(T)));
  }
  friend bool operator==(PopulatedAllocator, PopulatedAllocator) { return true; }

 private:
  static constexpr std::size_t kLarge = std::size_t{32} << 10;  // bytes
  static bool large(std::size_t count) { return count > kLarge / sizeof(T); }
};

}  // namespace doppel::core
