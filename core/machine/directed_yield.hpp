// Shares the host's processors among the vCPUs of a machine. One that spins cannot get on before another one
// has done something. If more of them run than the host has processors, it stands aside, and hands over to
// the one that has stood aside for longest: as many run as can, in turns. If it spins for long all the same,
// the others are held up by something else on the host, and it sleeps: sched_yield() would give that a whole
// time slice.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>

#include "core/types.hpp"

namespace doppel::machine {

class DirectedYield {
 public:
  // One vCPU's place here. It belongs to this class, but for its life.
  class Seat {
    friend class DirectedYield;
    enum class State : u8 { kAsleep, kRunning, kAside };

    State state = State::kAsleep;
    std::condition_variable called;
    std::chrono::steady_clock::time_point spun{};  // when it last did
    u32 spins = 0;                                 // since when it has done nothing else
    std::chrono::microseconds patience{0};         // for how long it last stood aside at most
  };

  // `host_processors`: how many vCPUs can run at once.
  explicit DirectedYield(u32 host_processors = usable_host_processors())
      : host_processors_(host_processors) {}

  // The vCPU runs guest code from now on; or does not, as it sleeps. Called by its thread.
  void run(Seat& seat);
  void rest(Seat& seat);
  // The vCPU spins; called by its thread every few microseconds. It stands aside where that is of use, until
  // another one hands over, wake() is called, or some time has passed, more each time that it spins on.
  // `awake` says whether wake() has been called.
  template <class F>
  void spin(Seat& seat, F&& awake) {
    const bool long_spin = note_spin(seat);
    std::unique_lock lock(mutex_);
    if ((long_spin || running_ > host_processors_ || !aside_.empty()) && !awake()) stand_aside(seat, lock);
  }
  // Any thread, after it has given the vCPU something to do.
  void wake(Seat& seat);

 private:
  [[nodiscard]] static u32 usable_host_processors();
  // Whether it has been spinning for long.
  [[nodiscard]] static bool note_spin(Seat& seat);
  // With `mutex_` held:
  void stand_aside(Seat& seat, std::unique_lock<std::mutex>& lock);
  void leave(Seat& seat, Seat::State state);
  void call_back(Seat& seat);

  const u32 host_processors_;
  std::mutex mutex_;
  u32 running_ = 0;          // seats in that state
  std::deque<Seat*> aside_;  // the first for longest
};

}  // namespace doppel::machine
