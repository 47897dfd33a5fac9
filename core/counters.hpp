// Named event counts: what a guest did that is not implemented, and what the engine spent its time on.
// Shown by `--stats`. A counter is found once by name and then incremented through the reference.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "core/types.hpp"

namespace doppel::core {

class Counters {
 public:
  using Counter = std::atomic<u64>;

  // The counter of that name, made at zero on first use; the reference stays valid. Thread-safe.
  Counter& operator[](std::string_view name) {
    std::lock_guard lock(mutex_);
    auto it = counters_.find(name);
    if (it == counters_.end()) it = counters_.try_emplace(std::string(name), 0).first;
    return it->second;
  }
  // All counters that are not zero, by name.
  [[nodiscard]] std::map<std::string, u64> values() const {
    std::lock_guard lock(mutex_);
    std::map<std::string, u64> out;
    for (const auto& [name, value] : counters_)
      if (value != 0) out.emplace(name, value.load());
    return out;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Counter, std::less<>> counters_;
};

}  // namespace doppel::core
