// Memory that will be used soon is touched before, on a thread of its own: the first touch of a page costs
// the host a fault and a cleared page, and on a host that is a virtual machine without nested paging some
// microseconds more, even where the page is mapped already.
#pragma once

#include <atomic>
#include <boost/circular_buffer.hpp>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>

namespace doppel::core {

// The pages of a mapping will be used. Returns at once; any thread. Nothing happens while there is no
// TouchAhead, or where much is waiting already.
void touch_ahead(const void* begin, std::size_t size);
// Memory that touch_ahead() may have been told of is about to go. It is not touched any more.
void leave_alone(const void* begin, std::size_t size);

// The thread. One at a time.
class TouchAhead {
 public:
  TouchAhead();
  TouchAhead(const TouchAhead&) = delete;
  TouchAhead& operator=(const TouchAhead&) = delete;
  ~TouchAhead();

 private:
  friend void touch_ahead(const void* begin, std::size_t size);
  friend void leave_alone(const void* begin, std::size_t size);
  struct Range {
    const char* begin = nullptr;
    std::size_t size = 0;
    [[nodiscard]] bool overlaps(const Range& other) const {
      return begin < other.begin + other.size && other.begin < begin + size;
    }
  };
  void want(const Range& range);
  void drop(const Range& range);
  void run();

  static std::atomic<TouchAhead*> current_;
  std::mutex mutex_;
  std::condition_variable wanted_changed_, touched_;
  boost::circular_buffer<Range> wanted_{64};
  Range touching_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace doppel::core
