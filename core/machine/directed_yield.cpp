#include "core/machine/directed_yield.hpp"

#include <sched.h>

#include <algorithm>
#include <thread>

namespace doppel::machine {

namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

// Nobody may hand over for long: then the vCPU looks for itself whether it can get on.
constexpr microseconds kLeastPatience{50}, kMostPatience{1000};
// Who says so again so soon has done nothing else between.
constexpr microseconds kSpinsOn{5};
constexpr u32 kLongSpin = 128;  // about 250 microseconds

}  // namespace

u32 DirectedYield::usable_host_processors() {
  cpu_set_t usable;
  if (::sched_getaffinity(0, sizeof usable, &usable) == 0) return static_cast<u32>(CPU_COUNT(&usable));
  return std::max(std::thread::hardware_concurrency(), 1u);
}

void DirectedYield::run(Seat& seat) {
  const std::lock_guard guard(mutex_);
  if (seat.state == Seat::State::kRunning) return;
  seat.state = Seat::State::kRunning;
  ++running_;
}

void DirectedYield::rest(Seat& seat) {
  const std::lock_guard guard(mutex_);
  if (seat.state == Seat::State::kRunning) leave(seat, Seat::State::kAsleep);
}

void DirectedYield::wake(Seat& seat) {
  const std::lock_guard guard(mutex_);
  if (seat.state == Seat::State::kAside) call_back(seat);
}

bool DirectedYield::note_spin(Seat& seat) {
  const auto now = steady_clock::now();
  if (now - seat.spun > kSpinsOn) {
    seat.spins = 0;
    seat.patience = {};
  }
  seat.spun = now;
  return ++seat.spins % kLongSpin == 0;
}

void DirectedYield::stand_aside(Seat& seat, std::unique_lock<std::mutex>& lock) {
  seat.patience = std::clamp(2 * seat.patience, kLeastPatience, kMostPatience);
  leave(seat, Seat::State::kAside);
  aside_.push_back(&seat);
  if (!seat.called.wait_for(lock, seat.patience, [&] { return seat.state == Seat::State::kRunning; }))
    call_back(seat);
  seat.spun = steady_clock::now();
}

void DirectedYield::leave(Seat& seat, Seat::State state) {
  seat.state = state;
  --running_;
  if (running_ < host_processors_ && !aside_.empty()) call_back(*aside_.front());
}

void DirectedYield::call_back(Seat& seat) {
  std::erase(aside_, &seat);
  seat.state = Seat::State::kRunning;
  ++running_;
  seat.called.notify_one();
}

}  // namespace doppel::machine
