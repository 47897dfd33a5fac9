// The threads of all processors but the first, whose thread is the caller of everything here. They run guest
// code until end(), and stand still between pause() and go_on().
#pragma once

#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "core/machine/processor.hpp"

namespace doppel::machine {

class ProcessorCrew {
 public:
  // Called by those threads.
  struct Signals {
    std::function<void()> triple_fault;  // of a processor, whose activity says so
    std::function<void()> failure;       // an exception: rethrow()
  };
  // `processors` outlive it.
  ProcessorCrew(std::deque<Processor>& processors, Signals signals)
      : processors_(processors), signals_(std::move(signals)) {}
  ~ProcessorCrew() { end(); }

  void start();
  // Returns when all stand still.
  void pause();
  void go_on();
  void end();
  [[noreturn]] void rethrow();

 private:
  void run(Processor& processor);
  // False: the thread ends.
  [[nodiscard]] bool stand_still(Processor& processor);
  void stop_all();

  std::deque<Processor>& processors_;
  const Signals signals_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool paused_ = false, ending_ = false;
  std::size_t standing_ = 0;  // threads that stand still, or have ended
  std::exception_ptr failure_;
};

}  // namespace doppel::machine
