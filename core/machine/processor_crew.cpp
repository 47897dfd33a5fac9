#include "core/machine/processor_crew.hpp"

namespace doppel::machine {

void ProcessorCrew::start() {
  for (std::size_t i = 1; i < processors_.size(); ++i)
    threads_.emplace_back([this, &processor = processors_[i]] {
      processor.adopt();
      try {
        run(processor);
      } catch (...) {
        const std::lock_guard guard(mutex_);
        failure_ = std::current_exception();
      }
      processor.rest();
      {
        const std::lock_guard guard(mutex_);
        ++standing_;
        changed_.notify_all();
        if (!failure_) return;
      }
      signals_.failure();
    });
}

void ProcessorCrew::run(Processor& processor) {
  while (true) {
    if (!processor.run()) {
      signals_.triple_fault();
      processor.sleep();
    } else if (!stand_still(processor)) {
      return;
    }
  }
}

bool ProcessorCrew::stand_still(Processor& processor) {
  std::unique_lock lock(mutex_);
  if (!paused_) return !ending_;
  processor.rest();
  ++standing_;
  changed_.notify_all();
  changed_.wait(lock, [this] { return !paused_; });
  --standing_;
  lock.unlock();
  processor.resume();
  return !ending_;
}

void ProcessorCrew::stop_all() {
  for (std::size_t i = 1; i < processors_.size(); ++i) processors_[i].wake(core::kPendingStop);
}

void ProcessorCrew::pause() {
  std::unique_lock lock(mutex_);
  paused_ = true;
  stop_all();
  processors_.front().rest();
  changed_.wait(lock, [this] { return standing_ == threads_.size(); });
  processors_.front().resume();
}

void ProcessorCrew::go_on() {
  const std::lock_guard guard(mutex_);
  paused_ = false;
  changed_.notify_all();
}

void ProcessorCrew::end() {
  {
    const std::lock_guard guard(mutex_);
    ending_ = true;
    paused_ = false;
    changed_.notify_all();
    stop_all();
  }
  processors_.front().rest();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void ProcessorCrew::rethrow() {
  const std::lock_guard guard(mutex_);
  std::rethrow_exception(failure_);
}

}  // namespace doppel::machine
