#include "devices/ide/cdrom.hpp"

#include <algorithm>
#include <boost/endian/conversion.hpp>
#include <string_view>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

using boost::endian::load_big_u16;
using boost::endian::load_big_u32;

enum Operation : u8 {
  kTestUnitReady = 0x00,
  kRequestSense = 0x03,
  kInquiry = 0x12,
  kStartStop = 0x1b,
  kPreventRemoval = 0x1e,
  kReadCapacity = 0x25,
  kRead10 = 0x28,
  kSeek10 = 0x2b,
  kReadToc = 0x43,
  kGetConfiguration = 0x46,
  kEventStatus = 0x4a,
  kDiscInformation = 0x51,
  kTrackInformation = 0x52,
  kModeSense10 = 0x5a,
  kRead12 = 0xa8,
  kSetSpeed = 0xbb,
  kMechanismStatus = 0xbd,
  kReadCd = 0xbe,
};

// Sense keys and codes.
constexpr u8 kNotReady = 2, kMediumError = 3, kIllegalRequest = 5, kUnitAttention = 6;

constexpr u16 kProfileNone = 0, kProfileCd = 0x0008, kProfileDvd = 0x0010;
constexpr u32 kLargestCd = 80 * 60 * 75;  // blocks of an 80-minute disc
constexpr u32 kLeadIn = 150;              // frames before block 0
constexpr u8 kDataTrack = 0x14, kLeadOut = 0xaa;

class Bytes {
 public:
  Bytes& u8s(std::initializer_list<int> values) {
    for (const int value : values) bytes_.push_back(static_cast<u8>(value));
    return *this;
  }
  Bytes& u16be(u32 value) { return u8s({static_cast<int>(value >> 8), static_cast<int>(value)}); }
  Bytes& u32be(u32 value) { return u16be(value >> 16).u16be(value); }
  Bytes& zeroes(std::size_t count) {
    bytes_.resize(bytes_.size() + count);
    return *this;
  }
  // Padded with spaces.
  Bytes& text(std::string_view value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i)
      bytes_.push_back(i < value.size() ? static_cast<u8>(value[i]) : ' ');
    return *this;
  }
  // Minutes, seconds and frames, or a block number.
  Bytes& address(u32 block, bool msf) {
    if (!msf) return u32be(block);
    const u32 frames = block + kLeadIn;
    return u8s({0, static_cast<int>(frames / (60 * 75)), static_cast<int>(frames / 75 % 60),
                static_cast<int>(frames % 75)});
  }
  // The length of what follows, where the format wants it.
  Bytes& length16(std::size_t at) {
    const std::size_t rest = bytes_.size() - at - 2;
    bytes_[at] = static_cast<u8>(rest >> 8);
    bytes_[at + 1] = static_cast<u8>(rest);
    return *this;
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::vector<u8> take() { return std::move(bytes_); }

 private:
  std::vector<u8> bytes_;
};

bool needs_disc(u8 operation) {
  switch (operation) {
    case kTestUnitReady:
    case kReadCapacity:
    case kRead10:
    case kRead12:
    case kSeek10:
    case kReadToc:
    case kDiscInformation:
    case kTrackInformation:
    case kReadCd:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Cdrom::reset() {
  sense_ = {};
  locked_ = false;
}

Cdrom::Answer Cdrom::check(Sense sense) {
  sense_ = sense;
  Answer answer;
  answer.kind = Answer::Kind::kCheck;
  return answer;
}

Cdrom::Answer Cdrom::data(std::vector<u8> bytes, u64 allowed) {
  Answer answer;
  bytes.resize(std::min<u64>(bytes.size(), allowed));
  if (bytes.empty()) return answer;
  answer.kind = Answer::Kind::kData;
  answer.data = std::move(bytes);
  return answer;
}

Cdrom::Answer Cdrom::read_failed() {
  return check({kMediumError, 0x11, 0});
}

u16 Cdrom::profile() const {
  if (open_) return kProfileNone;
  return blocks_ > kLargestCd ? kProfileDvd : kProfileCd;
}

Cdrom::Answer Cdrom::execute(const Packet& p) {
  const u8 operation = p[0];
  if (operation != kRequestSense) sense_ = {};
  if (needs_disc(operation)) {
    if (open_) return check({kNotReady, 0x3a, 0x02});
    if (std::exchange(attention_, false)) return check({kUnitAttention, 0x28, 0});
  }
  switch (operation) {
    case kTestUnitReady:
    case kSetSpeed:
      return {};
    case kRequestSense:
      return request_sense(p);
    case kInquiry:
      return inquiry(p);
    case kStartStop:
      return start_stop(p);
    case kPreventRemoval:
      locked_ = p[4] & 1;
      return {};
    case kReadCapacity:
      return data(Bytes().u32be(blocks_ - 1).u32be(kBlock).take(), 8);
    case kRead10:
      return read(load_big_u32(&p[2]), load_big_u16(&p[7]));
    case kRead12:
      return read(load_big_u32(&p[2]), load_big_u32(&p[6]));
    case kReadCd:
      return read_cd(p);
    case kSeek10:
      return load_big_u32(&p[2]) < blocks_ ? Answer{} : check({kIllegalRequest, 0x21, 0});
    case kReadToc:
      return read_toc(p);
    case kModeSense10:
      return mode_sense(p);
    case kGetConfiguration:
      return get_configuration(p);
    case kEventStatus:
      return event_status(p);
    case kDiscInformation:
      return disc_information(p);
    case kTrackInformation:
      return track_information(p);
    case kMechanismStatus:
      return data(Bytes().u8s({0, open_ ? 0x10 : 0, 0, 0, 0, 1, 0, 0}).take(), load_big_u16(&p[8]));
    default:
      core::log(core::LogCategory::kStorage, "cdrom: unknown command {:#x}", operation);
      return check({kIllegalRequest, 0x20, 0});
  }
}

Cdrom::Answer Cdrom::read(u32 first, u32 count) {
  if (first > blocks_ || count > blocks_ - first) return check({kIllegalRequest, 0x21, 0});
  Answer answer;
  if (count == 0) return answer;
  answer.kind = Answer::Kind::kBlocks;
  answer.first = first;
  answer.count = count;
  return answer;
}

// Only what is on the disc: the user data of a data track, without headers, sub-channels or error codes.
Cdrom::Answer Cdrom::read_cd(const Packet& p) {
  constexpr u8 kUserData = 0x10;
  const u8 type = p[1] >> 2 & 7, wanted = p[9] & 0xf8;
  if ((type > 2 && type != 4) || (p[9] & 0x06) || (p[10] & 7)) return check({kIllegalRequest, 0x24, 0});
  if (wanted == 0) return {};
  if (wanted != kUserData) return check({kIllegalRequest, 0x64, 0});  // illegal mode for this track
  return read(load_big_u32(&p[2]), load_big_u32(&p[5]) & 0xff'ffff);
}

Cdrom::Answer Cdrom::request_sense(const Packet& p) {
  const Sense sense = std::exchange(sense_, {});
  return data(Bytes()
                  .u8s({0x70, 0, sense.key, 0, 0, 0, 0, 10, 0, 0, 0, 0, sense.code, sense.qualifier})
                  .zeroes(4)
                  .take(),
              p[4]);
}

Cdrom::Answer Cdrom::inquiry(const Packet& p) {
  if (p[1] & 3) return check({kIllegalRequest, 0x24, 0});  // vital product data
  return data(Bytes()
                  .u8s({0x05, 0x80, 0, 0x21, 31, 0, 0, 0})  // CD-ROM, removable, ATAPI
                  .text("DOPPEL", 8)
                  .text("DVD-ROM", 16)
                  .text("1.0", 4)
                  .take(),
              p[4]);
}

Cdrom::Answer Cdrom::start_stop(const Packet& p) {
  constexpr u8 kStart = 1, kTray = 2;
  if (!(p[4] & kTray)) return {};
  const bool open = !(p[4] & kStart);
  if (open == open_) return {};
  if (open && locked_) return check({kIllegalRequest, 0x53, 0x02});
  open_ = open;
  attention_ = !open;
  event_ = open ? MediaEvent::kRemoved : MediaEvent::kNew;
  return {};
}

// One session with one data track.
Cdrom::Answer Cdrom::read_toc(const Packet& p) {
  const bool msf = p[1] & 2;
  // SFF-8020i drives had the format in the control byte.
  const u8 format = p[2] & 0x0f ? p[2] & 0x0f : p[9] >> 6, start = p[6];
  Bytes toc;
  toc.u8s({0, 0, 1, 1});
  if (format == 0) {
    if (start > 1 && start != kLeadOut) return check({kIllegalRequest, 0x24, 0});
    if (start <= 1) toc.u8s({0, kDataTrack, 1, 0}).address(0, msf);
    toc.u8s({0, kDataTrack, kLeadOut, 0}).address(blocks_, msf);
  } else if (format == 1) {
    toc.u8s({0, kDataTrack, 1, 0}).address(0, msf);
  } else {
    return check({kIllegalRequest, 0x24, 0});
  }
  return data(toc.length16(0).take(), load_big_u16(&p[7]));
}

Cdrom::Answer Cdrom::mode_sense(const Packet& p) {
  const u8 page = p[2] & 0x3f, control = p[2] >> 6;
  constexpr u8 kAll = 0x3f, kErrorRecovery = 0x01, kCapabilities = 0x2a;
  if (control == 3) return check({kIllegalRequest, 0x39, 0});  // saved values
  if (page != kAll && page != kErrorRecovery && page != kCapabilities)
    return check({kIllegalRequest, 0x24, 0});
  const auto value = [control](int v) { return control == 1 ? 0 : v; };  // 1: which can be changed: none
  Bytes mode;
  mode.u8s({0, 0, open_ ? 0x71 : 0x01, 0, 0, 0, 0, 0});
  if (page == kAll || page == kErrorRecovery) mode.u8s({kErrorRecovery, 6, 0, value(5), 0, 0, 0, 0});
  if (page == kAll || page == kCapabilities)
    mode.u8s({kCapabilities,
              18,
              value(0x3b),  // reads CD-R, CD-RW, method 2, DVD-ROM, DVD-R
              0,
              value(0x70),  // mode 2, multi-session
              0,
              value(locked_ ? 0x2b : 0x29),  // tray, eject, lock
              0,
              value(0x15),
              value(0x80),
              0,
              value(2),
              value(2),
              0,  // speed, volume levels, 512 KiB buffer
              value(0x15),
              value(0x80),
              0,
              0,
              0,
              0});
  return data(mode.length16(0).take(), load_big_u16(&p[7]));
}

Cdrom::Answer Cdrom::get_configuration(const Packet& p) {
  struct Feature {
    u16 code;
    u8 flags;  // version, persistent (2), current (1)
    std::vector<u8> data;
    bool current;
  };
  const bool cd = profile() == kProfileCd, dvd = profile() == kProfileDvd;
  const Feature features[] = {
      {0x0000, 0x03, {0x00, 0x10, dvd, 0, 0x00, 0x08, cd, 0}, true},  // profiles
      {0x0001, 0x0b, {0, 0, 0, 2, 1, 0, 0, 0}, true},                 // core: ATAPI
      {0x0002, 0x07, {1, 0, 0, 0}, true},                             // morphing
      {0x0003, 0x03, {0x29, 0, 0, 0}, true},                          // removable: a tray
      {0x0010, 0x00, {0, 0, 8, 0, 0, 1, 0, 0}, cd || dvd},            // random readable
      {0x001e, 0x08, {0, 0, 0, 0}, cd},                               // CD read
      {0x001f, 0x00, {}, dvd},                                        // DVD read
  };
  const u8 requested = p[1] & 3;  // 0: all, 1: current ones, 2: the one named
  const u16 start = load_big_u16(&p[2]);
  if (requested == 3) return check({kIllegalRequest, 0x24, 0});
  Bytes out;
  out.u32be(0).u16be(0).u16be(profile());
  for (const Feature& feature : features) {
    if (requested == 2 ? feature.code != start : feature.code < start) continue;
    if (requested == 1 && !feature.current) continue;
    out.u16be(feature.code)
        .u8s({feature.flags | (feature.current ? 1 : 0), static_cast<int>(feature.data.size())});
    for (const u8 byte : feature.data) out.u8s({byte});
  }
  std::vector<u8> bytes = out.take();
  const u32 length = static_cast<u32>(bytes.size() - 4);
  bytes[2] = static_cast<u8>(length >> 8);
  bytes[3] = static_cast<u8>(length);
  return data(std::move(bytes), load_big_u16(&p[7]));
}

Cdrom::Answer Cdrom::event_status(const Packet& p) {
  constexpr u8 kPolled = 1, kMediaClass = 4, kNoEvent = 0x80;
  if (!(p[1] & kPolled)) return check({kIllegalRequest, 0x24, 0});
  Bytes out;
  if (!(p[4] & 1u << kMediaClass)) {
    out.u16be(2).u8s({kNoEvent, 1u << kMediaClass});
  } else {
    const u8 event = static_cast<u8>(std::exchange(event_, MediaEvent::kNone));
    out.u16be(6).u8s({kMediaClass, 1u << kMediaClass, event, open_ ? 1 : 2, 0, 0});
  }
  return data(out.take(), load_big_u16(&p[7]));
}

// Finalized, one complete session, one track, not erasable.
Cdrom::Answer Cdrom::disc_information(const Packet& p) {
  if (p[1] & 7) return check({kIllegalRequest, 0x24, 0});
  return data(Bytes().u16be(32).u8s({0x0e, 1, 1, 1, 1, 0x20}).zeroes(26).take(), load_big_u16(&p[7]));
}

// Of track 1, by its number, its session's or a block in it.
Cdrom::Answer Cdrom::track_information(const Packet& p) {
  const u8 by = p[1] & 3;
  const u32 which = load_big_u32(&p[2]);
  const bool found = by == 0 ? which < blocks_ : by == 3 ? false : which == 1;
  if (!found) return check({kIllegalRequest, 0x24, 0});
  constexpr u8 kMode1 = 1, kUninterruptedData = 4;
  return data(Bytes()
                  .u16be(34)
                  .u8s({1, 1, 0, kUninterruptedData, kMode1, 0})
                  .u32be(0)  // where it starts
                  .zeroes(12)
                  .u32be(blocks_)
                  .zeroes(8)
                  .take(),
              load_big_u16(&p[7]));
}

void Cdrom::snapshot(core::SnapshotIo& io) {
  io.field("sense", sense_);
  io.field("open", open_);
  io.field("locked", locked_);
  io.field("attention", attention_);
  io.field("event", event_);
}

}  // namespace doppel::devices
