// The VM's clock on a real host: nanoseconds since construction, timers fired by the event loop's thread with
// the device lock held.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <mutex>

#include "core/clock.hpp"

namespace doppel::machine {

class HostClock final : public core::Clock {
 public:
  HostClock(boost::asio::io_context& events, std::recursive_mutex& device_lock);

  [[nodiscard]] u64 now() const override;
  [[nodiscard]] std::unique_ptr<core::Timer> make_timer(std::function<void()> on_expiry) override {
    return queue_.make_timer(std::move(on_expiry));
  }

 private:
  using HostTime = std::chrono::steady_clock;

  void schedule();  // event thread: waits for the earliest deadline

  boost::asio::io_context& events_;
  std::recursive_mutex& lock_;
  const HostTime::time_point origin_ = HostTime::now();
  boost::asio::steady_timer host_timer_;
  core::TimerQueue queue_;
};

}  // namespace doppel::machine
