#include "devices/net/e1000_eeprom.hpp"

#include <numeric>

namespace doppel::devices::e1000 {

namespace {

// EECD
constexpr u32 kSk = 1u << 0, kCs = 1u << 1, kDi = 1u << 2, kDo = 1u << 3, kFweDisabled = 1u << 4,
              kReq = 1u << 6, kGnt = 1u << 7, kPres = 1u << 8;
// EERD
constexpr u32 kStart = 1u << 0, kDone = 1u << 4;
constexpr u32 kAddressShift = 8, kDataShift = 16;

constexpr u16 kChecksum = 0xbaba;     // the sum of all words
constexpr u16 kCommandBits = 1 << 8;  // where the start bit is when a command is complete
constexpr u16 kRead = 0b110;

}  // namespace

Eeprom::Eeprom(const MacAddress& mac) {
  for (u32 i = 0; i < 3; ++i) words_[i] = static_cast<u16>(mac[2 * i] | mac[2 * i + 1] << 8);
  words_[0x08] = words_[0x09] = 0xffff;  // no board number
  words_[0x0a] = 0x4408;                 // loads the identity; power management
  words_[0x0b] = 0x001e;                 // subsystem: the desktop adapter
  words_[0x0c] = 0x8086;
  words_[0x0d] = 0x100e;
  words_[0x0e] = 0x8086;
  words_[0x0f] = 0x3040;
  words_[0x3f] = static_cast<u16>(kChecksum - std::accumulate(words_.begin(), words_.end() - 1, 0u));
}

void Eeprom::reset() {
  eerd_ = kDone;
  pins_ = 0;
  command_ = output_ = 0;
  bits_left_ = 0;
  data_out_ = true;
}

u32 Eeprom::read_eecd() const {
  return pins_ | (pins_ & kReq ? kGnt : 0) | (data_out_ ? kDo : 0) | kFweDisabled | kPres;
}

void Eeprom::write_eecd(u32 value) {
  const u8 before = pins_;
  pins_ = value & (kSk | kCs | kDi | kReq);
  if (!(pins_ & kCs)) {
    command_ = 0;
    bits_left_ = 0;
    data_out_ = true;  // ready
  } else if (pins_ & ~before & kSk) {
    clock(pins_ & kDi);
  }
}

// Rising edges count. The bit before a word's first is zero.
void Eeprom::clock(bool data_in) {
  if (bits_left_ != 0) {
    data_out_ = output_ >> --bits_left_ & 1;
    if (bits_left_ == 0) {  // the next word follows if the clock goes on
      output_ = word((command_ & (kWords - 1)) + 1u);
      command_ = static_cast<u16>((command_ & ~(kWords - 1)) | ((command_ + 1u) & (kWords - 1)));
      bits_left_ = 16;
    }
    return;
  }
  if (command_ & kCommandBits) return;
  command_ = static_cast<u16>(command_ << 1 | (data_in ? 1 : 0));
  if (command_ >> 6 != kRead) return;
  output_ = word(command_);
  bits_left_ = 16;
  data_out_ = false;
}

void Eeprom::write_eerd(u32 value) {
  const u32 address = value >> kAddressShift & 0xff;
  eerd_ = (address << kAddressShift) | kDone;
  if (value & kStart) eerd_ |= u32{address < kWords ? words_[address] : u16{0}} << kDataShift;
}

void Eeprom::snapshot(core::SnapshotIo& io) {
  io.field("eerd", eerd_);
  io.field("pins", pins_);
  io.field("command", command_);
  io.field("output", output_);
  io.field("bits_left", bits_left_);
  io.field("data_out", data_out_);
  if (bits_left_ > 16) throw core::SnapshotError("snapshot: more bits than a word of the EEPROM has");
}

}  // namespace doppel::devices::e1000
