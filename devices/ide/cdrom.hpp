// What a DVD-ROM drive with a data disc makes of packet commands: answers, sense data, the tray. It moves no
// data: AtapiCdrom brings it packets and takes what is to be sent. Source: MMC-5 (T10 1675D), SPC-3.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

class Cdrom {
 public:
  static constexpr u32 kBlock = 2048;
  using Packet = std::array<u8, 12>;
  struct Answer {
    enum class Kind : u8 { kGood, kData, kBlocks, kCheck };
    Kind kind = Kind::kGood;
    std::vector<u8> data;      // kData
    u32 first = 0, count = 0;  // kBlocks: of the disc
  };

  // A disc of that many 2048-byte blocks is in the closed tray.
  explicit Cdrom(u32 blocks) : blocks_(blocks) {}

  [[nodiscard]] Answer execute(const Packet& packet);
  // Blocks that execute() allowed could not be read.
  [[nodiscard]] Answer read_failed();
  [[nodiscard]] u8 sense_key() const { return sense_.key; }
  void reset();
  void snapshot(core::SnapshotIo& io);

 private:
  struct Sense {
    u8 key = 0, code = 0, qualifier = 0;
  };
  enum class MediaEvent : u8 { kNone = 0, kNew = 2, kRemoved = 3 };

  [[nodiscard]] Answer check(Sense sense);
  [[nodiscard]] static Answer data(std::vector<u8> bytes, u64 allowed);
  [[nodiscard]] Answer read(u32 first, u32 count);
  [[nodiscard]] Answer request_sense(const Packet& packet);
  [[nodiscard]] Answer inquiry(const Packet& packet);
  [[nodiscard]] Answer start_stop(const Packet& packet);
  [[nodiscard]] Answer read_toc(const Packet& packet);
  [[nodiscard]] Answer read_cd(const Packet& packet);
  [[nodiscard]] Answer mode_sense(const Packet& packet);
  [[nodiscard]] Answer get_configuration(const Packet& packet);
  [[nodiscard]] Answer event_status(const Packet& packet);
  [[nodiscard]] Answer disc_information(const Packet& packet);
  [[nodiscard]] Answer track_information(const Packet& packet);
  [[nodiscard]] u16 profile() const;

  u32 blocks_;
  Sense sense_;
  bool open_ = false, locked_ = false;
  bool attention_ = false;  // the disc may have been changed: the next command that needs one says so
  MediaEvent event_ = MediaEvent::kNone;
};

}  // namespace doppel::devices
