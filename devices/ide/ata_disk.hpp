// An ATA hard disk: PIO and DMA transfers, 28- and 48-bit addresses and the CHS geometry that old programs
// use. On an IDE channel, in front of a BlockBackend. Source: ATA/ATAPI-7 Vol. 1.
#pragma once

#include <string>

#include "devices/ide/ide_drive.hpp"

namespace doppel::devices {

class AtaDisk final : public IdeDrive {
 public:
  // `serial`: up to 20 printable characters.
  AtaDisk(BlockBackend& disk, std::string serial);

  [[nodiscard]] bool packet_device() const override { return false; }
  void reset(bool hard) override;
  void quiesce() override { disk_.drain(); }
  void snapshot(core::SnapshotIo& io) override;

 private:
  // A read, write or verify in progress.
  struct Transfer {
    u64 sector = 0;        // next on the disk
    u32 left = 0;          // sectors not yet moved between disk and buffer (or memory)
    u32 buffered = 0;      // sectors of the buffer that belong to it
    u32 passed = 0;        // of these, moved by the program
    u32 block = 1;         // sectors for one DRQ
    bool durable = false;  // FUA: on stable storage before it completes
  };
  enum class Address : u8 { k28, k48 };
  enum class Move : u8 { kPioIn, kPioOut, kDmaIn, kDmaOut, kVerify };

  void read_or_write(Move move, Address address, u32 block, bool durable = false);
  [[nodiscard]] bool parse_address(Address address, u64& sector, u32& count) const;
  void set_address(Address address, u64 sector);
  void fill_buffer();
  void next_pio_in();
  void next_pio_out();
  void write_buffer();
  void finish_write();
  void flush();
  void identify();
  void set_features();
  void set_multiple();
  void set_geometry();
  void smart();
  void native_size(Address address);

  void command(u8 code) override;
  void pio_in_done() override;
  void pio_out_done() override;
  void transfer(const IdeDmaMemory& memory) override;
  void set_signature() override;

  BlockBackend& disk_;
  std::string serial_;
  u64 sectors_;
  Transfer transfer_;
  bool identifying_ = false;                // the buffer holds what IDENTIFY or SMART says, not sectors
  bool writing_ = false;                    // DMA from memory
  u8 multiple_ = 0;                         // sectors for a DRQ of READ MULTIPLE; 0: not allowed
  u8 heads_ = 16, sectors_per_track_ = 63;  // as INITIALIZE DEVICE PARAMETERS set them
  u8 dma_mode_ = 0;                         // SET FEATURES' transfer mode: 0x20 + n or 0x40 + n
  bool smart_enabled_ = true;
};

}  // namespace doppel::devices
