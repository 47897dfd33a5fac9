// A SharedFolder that answers on a thread of its own, one message after another, so that a slow file system
// holds no vCPU. Answers come back through `post`. Owned by Virtio9p.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "devices/share/shared_folder.hpp"

namespace doppel::devices {

class FolderThread {
 public:
  // Runs a function later, on the thread and under the lock where answers belong. Called from the folder's
  // thread.
  using Post = std::function<void(std::function<void()>)>;
  using Done = std::function<void(std::span<const u8> answer)>;

  FolderThread(SharedFolder folder, Post post);
  FolderThread(const FolderThread&) = delete;
  FolderThread& operator=(const FolderThread&) = delete;
  // Waits for the message that is being answered; the others are dropped.
  ~FolderThread();

  // --- All of these, and every `done`, on the thread and under the lock that `post` promises.
  // As SharedFolder::answer().
  void submit(std::vector<u8> message, std::size_t room, Done done);
  // Waits until everything is answered and calls what is done.
  void drain();
  // Drops what was submitted and forgets everything the guest opened.
  void reset();

 private:
  struct Request {
    std::vector<u8> message;
    std::size_t room;
    Done done;
  };
  struct Answer {
    std::vector<u8> bytes;
    Done done;
  };
  // Shared with posted calls, which may come after the thread has gone.
  struct Queues {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<Request> waiting;
    std::vector<Answer> answered;
    bool busy = false, stop = false;
  };

  void run();
  // False: there was nothing.
  static bool hand_back(Queues& queues);

  SharedFolder folder_;
  Post post_;
  std::shared_ptr<Queues> queues_ = std::make_shared<Queues>();
  std::thread thread_;
};

}  // namespace doppel::devices
