#include "devices/storage/block_queue.hpp"

#include <doctest.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <thread>

using namespace doppel;
using namespace doppel::devices;

namespace {

// An image whose requests wait until the gate opens.
class GatedImage final : public BlockImage {
 public:
  struct Gate {
    std::mutex mutex;
    std::condition_variable opened;
    bool open = true;
    std::atomic<u32> writes{0}, flushes{0};
    void set(bool value) {
      std::lock_guard guard(mutex);
      open = value;
      opened.notify_all();
    }
    void pass() {
      std::unique_lock guard(mutex);
      opened.wait(guard, [this] { return open; });
    }
  };
  explicit GatedImage(Gate& gate) : gate_(gate) {}
  [[nodiscard]] u64 size() const override { return 1 << 20; }
  [[nodiscard]] bool read_only() const override { return false; }
  int read(u64, IoVectors) override { return gate_.pass(), 0; }
  int write(u64, IoVectors) override { return gate_.pass(), ++gate_.writes, 0; }
  int flush() override { return ++gate_.flushes, 0; }
  int discard(u64, u64) override { return EIO; }
  int write_zeroes(u64, u64, bool) override { return 0; }

 private:
  Gate& gate_;
};

struct Fixture {
  // Runs what the queue posted.
  void run_posted() {
    std::vector<std::function<void()>> work;
    {
      std::lock_guard guard(mutex);
      work.swap(posted);
    }
    for (const auto& one : work) one();
  }
  BlockRequest request(BlockRequest::Kind kind, u64 offset = 0) {
    BlockRequest out;
    out.kind = kind;
    out.offset = offset;
    if (kind == BlockRequest::Kind::kDiscard) out.length = 512;
    if (kind == BlockRequest::Kind::kRead || kind == BlockRequest::Kind::kWrite)
      out.memory.push_back({memory.data(), memory.size()});
    out.done = [this](int error) { errors.push_back(error); };
    return out;
  }

  GatedImage::Gate gate;
  std::mutex mutex;
  std::vector<std::function<void()>> posted;
  std::vector<int> errors;
  std::vector<u8> memory = std::vector<u8>(512);
  boost::asio::thread_pool threads{2};
  std::unique_ptr<BlockQueue> queue = std::make_unique<BlockQueue>(
      std::make_unique<GatedImage>(gate), threads,
      [this](std::function<void()> work) {
        std::lock_guard guard(mutex);
        posted.push_back(std::move(work));
      },
      true);
};

using Kind = BlockRequest::Kind;

}  // namespace

TEST_CASE_FIXTURE(Fixture, "submitting does not wait; completions come through the owner's thread") {
  gate.set(false);
  queue->submit(request(Kind::kRead));
  queue->submit(request(Kind::kWrite));
  CHECK(errors.empty());
  gate.set(true);
  while (errors.size() < 2) {
    run_posted();
    std::this_thread::yield();
  }
  CHECK(errors == std::vector<int>{0, 0});
}

TEST_CASE_FIXTURE(Fixture, "drain waits and completes, what is submitted meanwhile too") {
  BlockRequest first = request(Kind::kWrite);
  first.done = [this](int error) {
    errors.push_back(error);
    queue->submit(request(Kind::kFlush));
  };
  queue->submit(std::move(first));
  queue->drain();
  CHECK(errors.size() == 2);
  run_posted();  // has nothing left to hand back
  CHECK(errors.size() == 2);
}

TEST_CASE_FIXTURE(Fixture, "without the write cache each write is flushed") {
  queue->submit(request(Kind::kWrite));
  queue->drain();
  CHECK(gate.flushes == 0);
  queue->set_write_cache(false);
  queue->submit(request(Kind::kWrite));
  queue->drain();
  CHECK(gate.flushes == 1);
}

TEST_CASE_FIXTURE(Fixture, "errors arrive, and so does leaving the disk") {
  queue->submit(request(Kind::kDiscard));
  queue->drain();
  queue->submit(request(Kind::kWrite, (1 << 20) - 256));
  queue->drain();
  queue->submit(request(Kind::kRead, ~u64{0}));
  queue->drain();
  CHECK(errors == std::vector<int>{EIO, EINVAL, EINVAL});
  CHECK(gate.writes == 0);
}

TEST_CASE_FIXTURE(Fixture, "a queue that goes waits for its writes and calls nobody") {
  gate.set(false);
  queue->submit(request(Kind::kWrite));
  std::thread opener([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    gate.set(true);
  });
  queue.reset();
  opener.join();
  CHECK(gate.writes == 1);
  threads.join();
  run_posted();
  CHECK(errors.empty());
}
