#include "core/touch_ahead.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "core/populate.hpp"

namespace doppel::core {

namespace {

// At a time: whoever wants to leave the memory alone waits for no more.
constexpr std::size_t kMostBytes = 64 * kHostPage;

// What is read is no matter, whoever writes it meanwhile.
[[gnu::no_sanitize("thread")]] void touch(const volatile char* begin, std::size_t size) {
  // A mapping that cannot be written is read. Where there is no memory left, whoever needs it learns so.
  auto* const memory = const_cast<char*>(begin);
  if (!populate(memory, size) && ::madvise(memory, size, MADV_POPULATE_READ) != 0) return;
  for (std::size_t at = 0; at < size; at += kHostPage) (void)begin[at];
}

}  // namespace

std::atomic<TouchAhead*> TouchAhead::current_ = nullptr;

TouchAhead::TouchAhead() : thread_([this] { run(); }) {
  current_ = this;
}

TouchAhead::~TouchAhead() {
  current_ = nullptr;
  {
    const std::lock_guard guard(mutex_);
    ends_ = true;
  }
  wanted_changed_.notify_one();
  thread_.join();
}

void TouchAhead::want(const Range& range) {
  {
    const std::lock_guard guard(mutex_);
    if (wanted_.full()) return;
    wanted_.push_back(range);
  }
  wanted_changed_.notify_one();
}

void TouchAhead::drop(const Range& range) {
  std::unique_lock lock(mutex_);
  const auto overlaps = [&](const Range& other) { return other.overlaps(range); };
  wanted_.erase(std::remove_if(wanted_.begin(), wanted_.end(), overlaps), wanted_.end());
  touched_.wait(lock, [&] { return !overlaps(touching_); });
}

void TouchAhead::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wanted_changed_.wait(lock, [this] { return ends_ || !wanted_.empty(); });
    if (ends_) return;
    Range& next = wanted_.front();
    touching_ = {next.begin, std::min(next.size, kMostBytes)};
    next = {next.begin + touching_.size, next.size - touching_.size};
    if (next.size == 0) wanted_.pop_front();
    lock.unlock();
    touch(touching_.begin, touching_.size);
    lock.lock();
    touching_ = {};
    touched_.notify_all();
  }
}

void touch_ahead(const void* begin, std::size_t size) {
  TouchAhead* const toucher = TouchAhead::current_.load();
  if (toucher && size != 0) toucher->want({static_cast<const char*>(begin), size});
}

void leave_alone(const void* begin, std::size_t size) {
  if (TouchAhead* const toucher = TouchAhead::current_.load())
    toucher->drop({static_cast<const char*>(begin), size});
}

}  // namespace doppel::core
