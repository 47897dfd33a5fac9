#include "devices/ps2_mouse.hpp"

#include <algorithm>
#include <utility>

#include "devices/snapshot_flag.hpp"

namespace doppel::devices {

namespace {

// IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device": commands.
enum Command : u8 {
  kScaling1 = 0xe6,
  kScaling2 = 0xe7,
  kSetResolution = 0xe8,
  kStatus = 0xe9,
  kStreamMode = 0xea,
  kReadData = 0xeb,
  kResetWrap = 0xec,
  kWrapMode = 0xee,
  kRemoteMode = 0xf0,
  kIdentify = 0xf2,
  kSetRate = 0xf3,
  kEnable = 0xf4,
  kDisable = 0xf5,
  kSetDefaults = 0xf6,
  kResend = 0xfe,
  kReset = 0xff,
};

constexpr u8 kAck = 0xfa;
constexpr u8 kNak = 0xfe;
constexpr u8 kSelfTestPassed = 0xaa;
constexpr u8 kIdWheel = 3;
constexpr u8 kIdFiveButtons = 4;

constexpr std::size_t kReplyBuffer = 16;
constexpr i32 kMotionLimit = 1 << 16;  // what may add up before the guest reads it

i32 take_up_to(i32& total, i32 low, i32 high) {
  const i32 part = std::clamp(total, low, high);
  total -= part;
  return part;
}

}  // namespace

void Ps2Mouse::reset() {
  *this = Ps2Mouse();
}

void Ps2Mouse::set_defaults() {
  rate_ = 100;
  resolution_ = 2;
  scaling_ = reporting_ = false;
  mode_ = Mode::kStream;
  dx_ = dy_ = wheel_ = 0;
}

bool Ps2Mouse::reports() const {
  return reporting_ && mode_ == Mode::kStream && awaits_argument_ == 0 &&
         (dx_ != 0 || dy_ != 0 || wheel_ != 0 || buttons_ != reported_buttons_);
}

void Ps2Mouse::move(int dx, int dy, int wheel, u8 buttons) {
  const auto add = [](i32& total, int delta) {
    total = static_cast<i32>(std::clamp(i64{total} + delta, i64{-kMotionLimit}, i64{kMotionLimit}));
  };
  add(dx_, dx);
  add(dy_, dy);
  if (id_ != 0) add(wheel_, wheel);
  buttons_ = buttons & (id_ == kIdFiveButtons ? 0x1f : 7);
}

void Ps2Mouse::push_packet() {
  const i32 dx = take_up_to(dx_, -256, 255);
  const i32 dy = take_up_to(dy_, -256, 255);
  replies_.push_back(static_cast<u8>(0x08 | (buttons_ & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0)));
  replies_.push_back(static_cast<u8>(dx));
  replies_.push_back(static_cast<u8>(dy));
  if (id_ == kIdWheel) replies_.push_back(static_cast<u8>(take_up_to(wheel_, -128, 127)));
  if (id_ == kIdFiveButtons)
    replies_.push_back(static_cast<u8>((take_up_to(wheel_, -8, 7) & 15) | (buttons_ & 0x18) << 1));
  reported_buttons_ = buttons_;
}

u8 Ps2Mouse::take() {
  if (replies_.empty()) push_packet();
  last_sent_ = replies_.front();
  replies_.pop_front();
  return last_sent_;
}

void Ps2Mouse::command(u8 byte) {
  replies_.clear();  // a command aborts what is being sent
  if (mode_ == Mode::kWrap && byte != kReset && byte != kResetWrap) return replies_.push_back(byte);
  if (awaits_argument_ != 0) return argument(byte);
  if (byte == kResend) return replies_.push_back(last_sent_);

  replies_.push_back(kAck);
  switch (byte) {
    case kScaling1:
    case kScaling2:
      scaling_ = byte == kScaling2;
      break;
    case kSetResolution:
    case kSetRate:
      awaits_argument_ = byte;
      break;
    case kStatus:
      replies_.push_back(static_cast<u8>((mode_ == Mode::kRemote) << 6 | reporting_ << 5 | scaling_ << 4 |
                                         (buttons_ & 1) << 2 | (buttons_ & 4) >> 1 | (buttons_ & 2) >> 1));
      replies_.push_back(resolution_);
      replies_.push_back(rate_);
      break;
    case kStreamMode:
      mode_ = Mode::kStream;
      break;
    case kReadData:
      push_packet();
      break;
    case kResetWrap:
      if (mode_ == Mode::kWrap) mode_ = mode_before_wrap_;
      break;
    case kWrapMode:
      mode_before_wrap_ = std::exchange(mode_, Mode::kWrap);
      break;
    case kRemoteMode:
      mode_ = Mode::kRemote;
      break;
    case kIdentify:
      replies_.push_back(id_);
      break;
    case kEnable:
    case kDisable:
      reporting_ = byte == kEnable;
      break;
    case kSetDefaults:
      set_defaults();
      break;
    case kReset:
      reset();
      replies_ = {kAck, kSelfTestPassed, 0x00};
      break;
    default:
      replies_.back() = kNak;
  }
}

void Ps2Mouse::argument(u8 byte) {
  replies_.push_back(kAck);
  if (std::exchange(awaits_argument_, u8{0}) == kSetRate)
    set_rate(byte);
  else
    resolution_ = byte & 3;
}

// 200, 100, 80 turns the wheel on; 200, 200, 80 then the side buttons (Microsoft IntelliMouse).
void Ps2Mouse::set_rate(u8 rate) {
  rate_ = rate;
  if (rate == 80 && earlier_rates_[0] == 200) {
    if (earlier_rates_[1] == 100) id_ = kIdWheel;
    if (earlier_rates_[1] == 200) id_ = kIdFiveButtons;
  }
  earlier_rates_[0] = std::exchange(earlier_rates_[1], rate);
}

void Ps2Mouse::snapshot(core::SnapshotIo& io) {
  io.sequence("replies", replies_, kReplyBuffer);
  io.field("dx", dx_);
  io.field("dy", dy_);
  io.field("wheel", wheel_);
  io.field("buttons", buttons_);
  io.field("reported_buttons", reported_buttons_);
  io.field("awaits_argument", awaits_argument_);
  io.field("last_sent", last_sent_);
  io.field("id", id_);
  io.field("rate", rate_);
  io.field("earlier_rates", earlier_rates_);
  io.field("resolution", resolution_);
  io.field("mode", mode_);
  io.field("mode_before_wrap", mode_before_wrap_);
  snapshot_flag(io, "reporting", reporting_);
  snapshot_flag(io, "scaling", scaling_);
  mode_ = static_cast<Mode>(std::min(static_cast<u8>(mode_), static_cast<u8>(Mode::kWrap)));
}

}  // namespace doppel::devices
