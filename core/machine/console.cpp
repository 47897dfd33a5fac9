#include "core/machine/console.hpp"

#include <poll.h>
#include <unistd.h>

#include <array>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdio>

namespace doppel::machine {
namespace {

constexpr std::size_t kFlushSize = 16384;  // a writer that gets this far ahead writes itself
constexpr char kEscape = 1;                // Ctrl-A

void write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n > 0) {
      data.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      ::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      return;  // nobody reads any more; the guest goes on
    }
  }
}

}  // namespace

void OutputBackend::write(u8 byte) {
  bool full;
  {
    std::lock_guard guard(mutex_);
    buffer_.push_back(static_cast<char>(byte));
    full = buffer_.size() >= kFlushSize;
    if (!full && flush_posted_) return;
    flush_posted_ = true;
  }
  if (full)
    flush();
  else
    boost::asio::post(events_, [this] { flush(); });
}

void OutputBackend::flush() {
  std::string data;
  {
    std::lock_guard guard(mutex_);
    data.swap(buffer_);
    flush_posted_ = false;
  }
  write_all(fd_, data);
}

ConsoleInput::ConsoleInput(boost::asio::io_context& events, int fd, bool keys, Actions actions)
    : events_(events), descriptor_(events), fd_(fd), keys_(keys), actions_(std::move(actions)) {}

ConsoleInput::~ConsoleInput() {
  stop();
}

void ConsoleInput::start() {
  boost::system::error_code error;
  descriptor_.assign(fd_, error);
  pollable_ = !error;
  wait();
}

void ConsoleInput::stop() {
  stopped_ = true;
  if (descriptor_.is_open()) descriptor_.release();
}

void ConsoleInput::wait() {
  if (stopped_) return;
  if (!pollable_) {
    boost::asio::post(events_, [this] { read_some(); });
    return;
  }
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [this](const boost::system::error_code& error) {
                           if (error == boost::asio::error::operation_not_supported)
                             pollable_ = false;  // found out only now
                           else if (error)
                             return;
                           read_some();
                         });
}

void ConsoleInput::read_some() {
  if (stopped_) return;
  std::array<u8, 4096> bytes;
  const ssize_t n = ::read(fd_, bytes.data(), bytes.size());
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return;  // end of input: the guest goes on
  if (n > 0) take(std::span(bytes).first(static_cast<std::size_t>(n)));
  // While the guest is behind, what the user types waits in the terminal.
  if (waiting_.empty()) wait();
}

void ConsoleInput::take(std::span<const u8> bytes) {
  for (const u8 byte : bytes) {
    if (!keys_ || (!escape_ && byte != kEscape)) {
      waiting_.push_back(static_cast<char>(byte));
      continue;
    }
    if (!escape_) {
      escape_ = true;
      continue;
    }
    escape_ = false;
    switch (byte) {
      case 'x':
        actions_.quit();
        break;
      case 'r':
        actions_.reset();
        break;
      case 'a':
      case kEscape:
        waiting_.push_back(kEscape);
        break;
      default:
        std::fputs(
            "\nCtrl-A x  quit\nCtrl-A r  reset the machine\nCtrl-A a  send Ctrl-A to the guest\n"
            "Ctrl-A h  this list\n",
            stderr);
    }
  }
  const auto* data = reinterpret_cast<const u8*>(waiting_.data());
  waiting_.erase(0, actions_.deliver({data, waiting_.size()}));
}

void ConsoleInput::resume() {
  if (waiting_.empty()) return;
  take({});
  if (waiting_.empty()) wait();
}

}  // namespace doppel::machine
