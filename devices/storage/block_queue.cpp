#include "devices/storage/block_queue.hpp"

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

// A read of what the host has in memory costs less than to wake a thread for it, up to about this size.
constexpr u64 kSmallRead = 64 * 1024;

constexpr const char* kNames[] = {"read", "write", "flush", "discard", "write zeroes"};

}  // namespace

BlockQueue::BlockQueue(std::unique_ptr<BlockImage> image, boost::asio::thread_pool& threads, Post post,
                       bool write_cache)
    : image_(std::move(image)),
      threads_(threads),
      post_(std::move(post)),
      initial_write_cache_(write_cache),
      write_cache_(write_cache) {}

BlockQueue::~BlockQueue() {
  std::unique_lock lock(completions_->mutex);
  completions_->all_finished.wait(lock, [this] { return completions_->running == 0; });
  completions_->finished.clear();
}

bool BlockQueue::inside(const BlockImage& image, const BlockRequest& request) {
  const u64 length =
      request.length ? request.length : total_size({request.memory.data(), request.memory.size()});
  return request.offset <= image.size() && length <= image.size() - request.offset;
}

int BlockQueue::perform(BlockImage& image, const BlockRequest& request, bool write_through) {
  if (!inside(image, request)) return EINVAL;
  using Kind = BlockRequest::Kind;
  const IoVectors memory(request.memory.data(), request.memory.size());
  int error = 0;
  switch (request.kind) {
    case Kind::kRead:
      return image.read(request.offset, memory);
    case Kind::kFlush:
      return image.flush();
    case Kind::kDiscard:
      return image.discard(request.offset, request.length);
    case Kind::kWrite:
      error = image.write(request.offset, memory);
      break;
    case Kind::kWriteZeroes:
      error = image.write_zeroes(request.offset, request.length, request.unmap);
      break;
  }
  return error || !write_through ? error : image.flush();
}

void BlockQueue::submit(BlockRequest request) {
  const IoVectors memory(request.memory.data(), request.memory.size());
  const bool small = request.kind == BlockRequest::Kind::kRead && total_size(memory) <= kSmallRead;
  {
    std::lock_guard lock(completions_->mutex);
    ++completions_->running;
  }
  if (small && inside(*image_, request) && image_->read_at_once(request.offset, memory)) {
    finish(completions_, post_, {std::move(request.done), 0});
    return;
  }
  boost::asio::post(threads_, [this, request = std::move(request), write_through = !write_cache_]() mutable {
    const int error = perform(*image_, request, write_through);
    if (error)
      core::log(core::LogCategory::kStorage, "{} of {} bytes at {:#x} failed: {}",
                kNames[static_cast<u32>(request.kind)],
                request.length ? request.length : total_size({request.memory.data(), request.memory.size()}),
                request.offset, std::strerror(error));
    // Copies: from the moment nothing runs the queue may be gone.
    const auto completions = completions_;
    const Post post = post_;
    finish(completions, post, {std::move(request.done), error});
  });
}

void BlockQueue::finish(const std::shared_ptr<Completions>& completions, const Post& post,
                        Finished finished) {
  bool first;
  {
    std::lock_guard lock(completions->mutex);
    first = completions->finished.empty();
    completions->finished.push_back(std::move(finished));
    if (--completions->running == 0) completions->all_finished.notify_all();
  }
  if (first) post([completions] { hand_back(*completions); });
}

void BlockQueue::hand_back(Completions& completions) {
  std::vector<Finished> finished;
  {
    std::lock_guard lock(completions.mutex);
    finished.swap(completions.finished);
  }
  for (Finished& one : finished) one.done(one.error);
}

// A completion may submit the next request of the same command, so one round may not be enough.
void BlockQueue::drain() {
  while (true) {
    {
      std::unique_lock lock(completions_->mutex);
      completions_->all_finished.wait(lock, [this] { return completions_->running == 0; });
      if (completions_->finished.empty()) return;
    }
    hand_back(*completions_);
  }
}

}  // namespace doppel::devices
