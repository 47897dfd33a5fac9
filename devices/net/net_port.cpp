#include "devices/net/net_port.hpp"

#include <utility>

namespace doppel::devices {

void NetPort::Queue::push(NetFrame frame) {
  bytes += frame.bytes.size() + kOverhead;
  frames.push_back(std::move(frame));
}

NetFrame NetPort::Queue::pop(bool& room) {
  NetFrame frame = std::move(frames.front());
  frames.pop_front();
  bytes -= frame.bytes.size() + kOverhead;
  room = bytes < kEnough / 2 && std::exchange(wanted, false);
  return frame;
}

bool NetPort::can_send() {
  std::lock_guard guard(mutex_);
  if (to_network_.bytes < kEnough) return true;
  to_network_.wanted = true;
  return false;
}

void NetPort::send(NetFrame frame) {
  bool first;
  {
    std::lock_guard guard(mutex_);
    first = to_network_.frames.empty();
    to_network_.push(std::move(frame));
  }
  if (first) wake_();
}

const NetFrame* NetPort::received() const {
  std::lock_guard guard(mutex_);
  return to_guest_.frames.empty() ? nullptr : &to_guest_.frames.front();
}

void NetPort::pop() {
  bool wake;
  {
    std::lock_guard guard(mutex_);
    (void)to_guest_.pop(wake);
  }
  if (wake) wake_();
}

void NetPort::connect(std::function<void()> wake, bool large_frames) {
  wake_ = std::move(wake);
  large_frames_ = large_frames;
}

bool NetPort::take(NetFrame& frame) {
  bool room;
  {
    std::lock_guard guard(mutex_);
    if (to_network_.frames.empty()) return false;
    frame = to_network_.pop(room);
  }
  if (room) post_room();
  return true;
}

void NetPort::post_room() {
  post_([this] {
    if (events_.room) events_.room();
  });
}

bool NetPort::can_deliver() {
  std::lock_guard guard(mutex_);
  if (to_guest_.bytes < kEnough) return true;
  to_guest_.wanted = true;
  return false;
}

void NetPort::deliver(NetFrame frame) {
  {
    std::lock_guard guard(mutex_);
    if (to_guest_.bytes >= kTooMuch) return;
    to_guest_.push(std::move(frame));
    if (std::exchange(reported_, true)) return;
  }
  post_([this] {
    {
      std::lock_guard guard(mutex_);
      reported_ = false;
    }
    if (events_.received) events_.received();
  });
}

}  // namespace doppel::devices
