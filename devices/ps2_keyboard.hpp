// An AT/PS/2 keyboard behind its serial line: takes command bytes from the host controller and queues replies
// and scan codes for it. Knows no controller; devices/i8042 asks it for bytes.
#pragma once

#include <deque>
#include <span>

#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

class Ps2Keyboard {
 public:
  void reset();
  // A byte from the controller: a command or the argument of one.
  void command(u8 byte);
  [[nodiscard]] bool has_data() const { return !replies_.empty() || !keys_.empty(); }
  // The next byte for the controller; replies go before keys. Only if has_data().
  [[nodiscard]] u8 take();

  // A key event as scan code set 2 (press: `[e0] code`, release: `[e0] f0 code`). False: the buffer is full,
  // nothing was taken. Ignored, and true, while the guest has scanning disabled.
  [[nodiscard]] bool key(std::span<const u8> set2);
  // Bit 0 scroll lock, 1 num lock, 2 caps lock.
  [[nodiscard]] u8 leds() const { return leds_; }

  void snapshot(core::SnapshotIo& io);

 private:
  void set_defaults();
  void argument(u8 byte);

  std::deque<u8> replies_;
  std::deque<u8> keys_;
  u8 awaits_argument_ = 0;  // the command that does; 0: none
  u8 last_sent_ = 0;
  u8 scancode_set_ = 2;
  u8 typematic_ = 0;
  u8 leds_ = 0;
  bool scanning_ = true;
};

}  // namespace doppel::devices
