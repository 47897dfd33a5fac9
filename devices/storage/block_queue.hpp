// The asynchronous side of an image: requests run on the machine's storage threads, and what they completed
// is handed back in one go. Made by the machine for each disk. Knows no model.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "devices/storage/block_backend.hpp"
#include "devices/storage/block_image.hpp"

namespace doppel::devices {

class BlockQueue final : public BlockBackend {
 public:
  // Calls the function given to it later, on the thread and under the lock where completions belong. Called
  // from storage threads.
  using Post = std::function<void(std::function<void()>)>;

  BlockQueue(std::unique_ptr<BlockImage> image, boost::asio::thread_pool& threads, Post post,
             bool write_cache);
  // Waits for requests that are running; what has not been handed back is dropped.
  ~BlockQueue() override;

  [[nodiscard]] u64 size() const override { return image_->size(); }
  [[nodiscard]] bool read_only() const override { return image_->read_only(); }
  void submit(BlockRequest request) override;
  void drain() override;
  [[nodiscard]] bool write_cache() const override { return write_cache_; }
  void set_write_cache(bool on) override { write_cache_ = on; }
  [[nodiscard]] bool initial_write_cache() const override { return initial_write_cache_; }

 private:
  struct Finished {
    std::function<void(int)> done;
    int error;
  };
  // Shared with posted calls, which may come after the queue has gone.
  struct Completions {
    std::mutex mutex;
    std::condition_variable all_finished;
    std::vector<Finished> finished;
    u32 running = 0;
  };

  // Makes a completion ready to be handed back; `post` is called for the first of several.
  static void finish(const std::shared_ptr<Completions>& completions, const Post& post, Finished finished);
  [[nodiscard]] static bool inside(const BlockImage& image, const BlockRequest& request);
  [[nodiscard]] static int perform(BlockImage& image, const BlockRequest& request, bool write_through);
  static void hand_back(Completions& completions);

  std::unique_ptr<BlockImage> image_;
  boost::asio::thread_pool& threads_;
  Post post_;
  bool initial_write_cache_, write_cache_;
  std::shared_ptr<Completions> completions_ = std::make_shared<Completions>();
};

}  // namespace doppel::devices
