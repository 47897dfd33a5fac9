// A serial line's host side on standard input and output, or on a file. Input is read in the event loop, with
// the Ctrl-A keys taken out; output is gathered and written by the event loop's thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <mutex>
#include <span>
#include <string>

#include "core/types.hpp"
#include "devices/char_backend.hpp"

namespace doppel::machine {

// Output to a descriptor that it does not own. write() may be called by any thread.
class OutputBackend final : public devices::CharBackend {
 public:
  OutputBackend(boost::asio::io_context& events, int fd) : events_(events), fd_(fd) {}
  ~OutputBackend() override { flush(); }

  void write(u8 byte) override;
  void flush();

 private:
  boost::asio::io_context& events_;
  int fd_;
  std::mutex mutex_;
  std::string buffer_;
  bool flush_posted_ = false;
};

// Swallows everything.
class NullBackend final : public devices::CharBackend {
 public:
  void write(u8) override {}
};

// Input from a terminal, pipe or file. Keys after Ctrl-A: x quits, r resets, h helps, a sends Ctrl-A.
class ConsoleInput {
 public:
  struct Actions {
    // Offers bytes to the guest; returns how many it took. The rest is kept and offered again by resume().
    std::function<std::size_t(std::span<const u8>)> deliver;
    std::function<void()> quit;
    std::function<void()> reset;
  };

  // Reads `fd` (not owned). With `keys` false nothing is special: for pipes and files.
  ConsoleInput(boost::asio::io_context& events, int fd, bool keys, Actions actions);
  ~ConsoleInput();

  void start();
  void resume();  // event thread: the guest has room again
  void stop();

 private:
  void wait();
  void read_some();
  void take(std::span<const u8> bytes);

  boost::asio::io_context& events_;
  boost::asio::posix::stream_descriptor descriptor_;
  int fd_;
  bool keys_;
  bool pollable_ = true;  // false for regular files and /dev/null, which are always ready
  bool escape_ = false;   // the last byte was Ctrl-A
  bool stopped_ = false;
  Actions actions_;
  std::string waiting_;  // read but not taken by the guest
};

}  // namespace doppel::machine
