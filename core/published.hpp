// A value that some threads write while others read it. A reader that sees it also sees what the writer did
// before; nothing else is ordered. Copyable, unlike std::atomic, for structs that are copied while they are
// private. Knows nothing of the program.
#pragma once

#include <atomic>

namespace doppel::core {

template <class T>
class Published {
 public:
  constexpr Published(T value = {}) : value_(value) {}
  constexpr Published(const Published& other) : value_(other.get()) {}
  Published& operator=(const Published& other) { return *this = other.get(); }
  Published& operator=(T value) {
    value_.store(value, std::memory_order_release);
    return *this;
  }
  [[nodiscard]] T get() const { return value_.load(std::memory_order_acquire); }
  operator T() const { return get(); }

 private:
  std::atomic<T> value_;
};

}  // namespace doppel::core
