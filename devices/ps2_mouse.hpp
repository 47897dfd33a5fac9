// A PS/2 mouse with the IntelliMouse extensions (wheel, five buttons), behind its serial line. The host side
// reports motion; packets are made when the controller has room for one, so motion adds up and never queues.
#pragma once

#include <deque>

#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

class Ps2Mouse {
 public:
  void reset();
  // A byte from the controller: a command or the argument of one.
  void command(u8 byte);
  [[nodiscard]] bool has_data() const { return !replies_.empty() || reports(); }
  // The next byte for the controller. Only if has_data().
  [[nodiscard]] u8 take();

  // `dx` to the right, `dy` upwards, `wheel` towards the user. Buttons: bit 0 left, 1 right, 2 middle, 3 and
  // 4 the side buttons.
  void move(int dx, int dy, int wheel, u8 buttons);

  void snapshot(core::SnapshotIo& io);

 private:
  enum class Mode : u8 { kStream, kRemote, kWrap };

  [[nodiscard]] bool reports() const;
  void set_defaults();
  void argument(u8 byte);
  void set_rate(u8 rate);
  void push_packet();

  std::deque<u8> replies_;  // and the packet under way
  i32 dx_ = 0;
  i32 dy_ = 0;
  i32 wheel_ = 0;
  u8 buttons_ = 0;
  u8 reported_buttons_ = 0;
  u8 awaits_argument_ = 0;
  u8 last_sent_ = 0;
  u8 id_ = 0;  // 0 plain, 3 with wheel, 4 with five buttons
  u8 rate_ = 100;
  u8 earlier_rates_[2] = {};  // the magic sequence that unlocks the extensions
  u8 resolution_ = 2;
  Mode mode_ = Mode::kStream;
  Mode mode_before_wrap_ = Mode::kStream;
  bool reporting_ = false;
  bool scaling_ = false;
};

}  // namespace doppel::devices
