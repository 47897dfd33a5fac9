#include "devices/ps2_keyboard.hpp"

#include <utility>

#include "devices/ps2_scancodes.hpp"
#include "devices/snapshot_flag.hpp"

namespace doppel::devices {

namespace {

// IBM PS/2 Hardware Interface Technical Reference, "Keyboard": commands and replies.
enum Command : u8 {
  kSetLeds = 0xed,
  kEcho = 0xee,
  kScancodeSet = 0xf0,
  kIdentify = 0xf2,
  kSetTypematic = 0xf3,
  kEnable = 0xf4,
  kDisable = 0xf5,
  kSetDefaults = 0xf6,
  kOneKeyFirst = 0xfb,  // 0xfb-0xfd: the same for one key, which follows
  kOneKeyLast = 0xfd,
  kResend = 0xfe,
  kReset = 0xff,
};

constexpr u8 kAck = 0xfa;
constexpr u8 kNak = 0xfe;
constexpr u8 kSelfTestPassed = 0xaa;
constexpr u8 kId[] = {0xab, 0x83};
constexpr u8 kDefaultTypematic = 0x2b;  // 500 ms, 10.9 a second

constexpr std::size_t kKeyBuffer = 16;
constexpr std::size_t kReplyBuffer = 16;

}  // namespace

void Ps2Keyboard::reset() {
  *this = Ps2Keyboard();
  set_defaults();
}

void Ps2Keyboard::set_defaults() {
  keys_.clear();
  scancode_set_ = 2;
  typematic_ = kDefaultTypematic;
}

void Ps2Keyboard::command(u8 byte) {
  // A controller that never reads its replies loses the old ones; the line holds one command at a time.
  if (replies_.size() + 3 > kReplyBuffer) replies_.clear();
  if (awaits_argument_ != 0 && byte < kSetLeds) return argument(byte);
  awaits_argument_ = 0;

  if (byte == kEcho) return replies_.push_back(kEcho);
  if (byte == kResend) return replies_.push_back(last_sent_);
  if (byte < kSetLeds || byte == 0xef || byte == 0xf1) return replies_.push_back(kNak);

  replies_.push_back(kAck);
  switch (byte) {
    case kSetLeds:
    case kScancodeSet:
    case kSetTypematic:
      awaits_argument_ = byte;
      break;
    case kIdentify:
      replies_.insert(replies_.end(), std::begin(kId), std::end(kId));
      break;
    case kEnable:
      keys_.clear();
      scanning_ = true;
      break;
    case kDisable:
      set_defaults();
      scanning_ = false;
      break;
    case kSetDefaults:
      set_defaults();
      break;
    case kReset:
      reset();
      replies_ = {kAck, kSelfTestPassed};
      break;
    default:
      if (byte >= kOneKeyFirst && byte <= kOneKeyLast) awaits_argument_ = byte;
      break;  // key types mean something in set 3 only
  }
}

void Ps2Keyboard::argument(u8 byte) {
  const u8 command = std::exchange(awaits_argument_, u8{0});
  replies_.push_back(kAck);
  if (command == kSetLeds) {
    leds_ = byte & 7;
  } else if (command == kSetTypematic) {
    typematic_ = byte & 0x7f;
  } else if (command == kScancodeSet) {
    if (byte == 0) replies_.push_back(scancode_set_);
    if (byte == 1 || byte == 2) scancode_set_ = byte;  // set 3 is not spoken: asking back shows the old one
    keys_.clear();
  }
}

u8 Ps2Keyboard::take() {
  auto& queue = replies_.empty() ? keys_ : replies_;
  const u8 byte = queue.front();
  queue.pop_front();
  last_sent_ = byte;
  return byte;
}

bool Ps2Keyboard::key(std::span<const u8> set2) {
  if (!scanning_) return true;
  if (keys_.size() + set2.size() > kKeyBuffer) return false;
  ScancodeTranslator translator;
  for (const u8 byte : set2) {
    if (scancode_set_ == 2)
      keys_.push_back(byte);
    else if (const auto code = translator.feed(byte))
      keys_.push_back(*code);
  }
  return true;
}

void Ps2Keyboard::snapshot(core::SnapshotIo& io) {
  io.sequence("replies", replies_, kReplyBuffer);
  io.sequence("keys", keys_, kKeyBuffer);
  io.field("awaits_argument", awaits_argument_);
  io.field("last_sent", last_sent_);
  io.field("scancode_set", scancode_set_);
  io.field("typematic", typematic_);
  io.field("leds", leds_);
  snapshot_flag(io, "scanning", scanning_);
}

}  // namespace doppel::devices
