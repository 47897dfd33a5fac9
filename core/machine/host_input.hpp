// What people type and point at on the host, on its way to the guest's PS/2 devices. A keyboard takes 16
// bytes and software behind it some 15 keys, so input waits here, in order, and typed text is paced. Displays
// and the control socket call it, from any thread; it knows none of them.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <mutex>
#include <span>
#include <string_view>

#include "devices/i8042.hpp"
#include "devices/ps2_keys.hpp"

namespace doppel::machine {

class HostInput {
 public:
  // `device_lock` guards `controller`. Waits on `events`.
  HostInput(boost::asio::io_context& events, std::recursive_mutex& device_lock, devices::I8042& controller);

  // False: the guest is too far behind, nothing was taken.
  bool key(const devices::Key& key, bool down);
  // Keys held together, as in Ctrl-Alt-Delete.
  bool chord(std::span<const devices::Key* const> keys);
  // Text as a US keyboard types it; every character must have a key.
  bool type(std::string_view text);
  // See Ps2Mouse::move.
  void move_mouse(int dx, int dy, int wheel, u8 buttons);
  // Keys that wait.
  [[nodiscard]] std::size_t waiting() const;

 private:
  struct Step {
    devices::Scancodes codes;
    bool pause;  // afterwards, so that the guest can react
  };
  bool append(std::span<const Step> steps);
  void pump();  // event thread

  boost::asio::io_context& events_;
  std::recursive_mutex& device_lock_;
  devices::I8042& controller_;
  boost::asio::steady_timer timer_;
  mutable std::mutex mutex_;
  std::deque<Step> steps_;
  bool pumping_ = false;
};

}  // namespace doppel::machine
