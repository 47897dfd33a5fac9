#include "devices/share/folder_thread.hpp"

#include <pthread.h>
#include <signal.h>

#include <utility>

namespace doppel::devices {

FolderThread::FolderThread(SharedFolder folder, Post post)
    : folder_(std::move(folder)), post_(std::move(post)), thread_([this] { run(); }) {}

FolderThread::~FolderThread() {
  {
    std::lock_guard guard(queues_->mutex);
    queues_->stop = true;
  }
  queues_->changed.notify_all();
  thread_.join();
  queues_->answered.clear();  // posted calls may still come
}

void FolderThread::submit(std::vector<u8> message, std::size_t room, Done done) {
  {
    std::lock_guard guard(queues_->mutex);
    queues_->waiting.push_back({std::move(message), room, std::move(done)});
  }
  queues_->changed.notify_all();
}

void FolderThread::run() {
  // Signals are the event thread's.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  Queues& queues = *queues_;
  std::unique_lock lock(queues.mutex);
  while (true) {
    queues.changed.wait(lock, [&] { return queues.stop || !queues.waiting.empty(); });
    if (queues.stop) return;
    Request request = std::move(queues.waiting.front());
    queues.waiting.pop_front();
    queues.busy = true;
    lock.unlock();
    std::vector<u8> bytes = folder_.answer(request.message, request.room);
    lock.lock();
    queues.busy = false;
    const bool first = queues.answered.empty();
    queues.answered.push_back({std::move(bytes), std::move(request.done)});
    queues.changed.notify_all();
    if (!first) continue;
    lock.unlock();
    post_([queues = queues_] { (void)hand_back(*queues); });
    lock.lock();
  }
}

bool FolderThread::hand_back(Queues& queues) {
  std::vector<Answer> answered;
  {
    std::lock_guard guard(queues.mutex);
    answered.swap(queues.answered);
  }
  for (const Answer& one : answered) one.done(one.bytes);
  return !answered.empty();
}

// What is done may submit more.
void FolderThread::drain() {
  do {
    std::unique_lock lock(queues_->mutex);
    queues_->changed.wait(lock, [this] { return !queues_->busy && queues_->waiting.empty(); });
  } while (hand_back(*queues_));
}

void FolderThread::reset() {
  std::unique_lock lock(queues_->mutex);
  queues_->waiting.clear();
  queues_->changed.wait(lock, [this] { return !queues_->busy; });
  queues_->answered.clear();
  folder_.reset();
}

}  // namespace doppel::devices
