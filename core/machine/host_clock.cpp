#include "core/machine/host_clock.hpp"

#include <boost/asio/post.hpp>

namespace doppel::machine {

HostClock::HostClock(boost::asio::io_context& events, std::recursive_mutex& device_lock)
    : events_(events),
      lock_(device_lock),
      host_timer_(events),
      queue_([this] { boost::asio::post(events_, [this] { schedule(); }); }) {}

u64 HostClock::now() const {
  return static_cast<u64>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(HostTime::now() - origin_).count());
}

void HostClock::schedule() {
  u64 deadline;
  {
    std::lock_guard guard(lock_);
    deadline = queue_.next_deadline();
  }
  if (deadline == core::kNever) return;
  host_timer_.expires_at(origin_ + std::chrono::nanoseconds(deadline));  // cancels an earlier wait
  host_timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    {
      std::lock_guard guard(lock_);
      queue_.run_expired(now());
    }
    schedule();
  });
}

}  // namespace doppel::machine
