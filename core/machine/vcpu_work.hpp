// Functions that wait for the vCPU's thread: completions of devices that may write guest RAM, which only that
// thread may report to the translator. Any thread posts; Machine runs them between blocks of guest code.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

namespace doppel::machine {

class VcpuWork {
 public:
  void post(std::function<void()> work) {
    std::lock_guard guard(mutex_);
    waiting_.push_back(std::move(work));
  }
  // Runs what has been posted, with `device_lock` held.
  void run(std::recursive_mutex& device_lock) {
    std::vector<std::function<void()>> work;
    {
      std::lock_guard guard(mutex_);
      work.swap(waiting_);
    }
    std::lock_guard guard(device_lock);
    for (const auto& one : work) one();
  }

 private:
  std::mutex mutex_;
  std::vector<std::function<void()>> waiting_;
};

}  // namespace doppel::machine
