// An array that grows at its end and stays where it is. Memory for what comes next is touched ahead.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <new>

#include "core/populate.hpp"
#include "core/touch_ahead.hpp"

namespace doppel::core {

template <class T>
class GrowingArray {
 public:
  // Of at most `most` elements; grows by `step`, which divides it. Throws std::bad_alloc.
  GrowingArray(std::size_t most, std::size_t step) : most_(most), step_(step) {
    void* memory = ::mmap(nullptr, most * sizeof(T), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    elements_ = static_cast<T*>(memory);
  }
  GrowingArray(const GrowingArray&) = delete;
  GrowingArray& operator=(const GrowingArray&) = delete;
  ~GrowingArray() {
    leave_alone(elements_, most_ * sizeof(T));
    std::destroy_n(elements_, size_);
    ::munmap(elements_, most_ * sizeof(T));
  }

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] T* data() const { return elements_; }
  [[nodiscard]] T* begin() const { return elements_; }
  [[nodiscard]] T* end() const { return elements_ + size_; }
  // size() is less than `most`.
  void grow() {
    populate(end(), step_ * sizeof(T));
    std::uninitialized_value_construct_n(end(), step_);
    size_ += step_;
    if (size_ < most_) touch_ahead(end(), step_ * sizeof(T));
  }

 private:
  std::size_t most_, step_, size_ = 0;
  T* elements_;
};

}  // namespace doppel::core
