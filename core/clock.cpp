#include "core/clock.hpp"

#include <algorithm>

namespace doppel::core {

class TimerQueue::Entry final : public Timer {
 public:
  Entry(TimerQueue& queue, std::function<void()> on_expiry)
      : queue_(queue), on_expiry_(std::move(on_expiry)) {}
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() override { Entry::cancel(); }

  void arm(u64 deadline_ns) override {
    cancel();
    position_ = queue_.armed_.emplace(deadline_ns, this);
    armed_ = true;
    if (position_ == queue_.armed_.begin() && queue_.on_change_) queue_.on_change_();
  }
  void cancel() override {
    if (!armed_) return;
    queue_.armed_.erase(position_);
    armed_ = false;
  }
  void fire() {
    cancel();
    on_expiry_();
  }

 private:
  TimerQueue& queue_;
  std::function<void()> on_expiry_;
  std::multimap<u64, Entry*>::iterator position_;
  bool armed_ = false;
};

std::unique_ptr<Timer> TimerQueue::make_timer(std::function<void()> on_expiry) {
  return std::make_unique<Entry>(*this, std::move(on_expiry));
}

void TimerQueue::run_expired(u64 now) {
  while (next_deadline() <= now) armed_.begin()->second->fire();
}

void ManualClock::advance(u64 ns) {
  const u64 target = now_ + ns;
  while (queue_.next_deadline() <= target) {
    now_ = std::max(now_, queue_.next_deadline());
    queue_.run_expired(now_);
  }
  now_ = target;
}

}  // namespace doppel::core
