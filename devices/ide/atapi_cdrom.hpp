// A CD/DVD-ROM drive on an IDE channel: takes packets, sends what Cdrom answers, by program or by DMA. In
// front of a read-only BlockBackend. Source: ATA/ATAPI-7 Vol. 1 and 2, the PACKET command.
#pragma once

#include <string>

#include "devices/ide/cdrom.hpp"
#include "devices/ide/ide_drive.hpp"

namespace doppel::devices {

class AtapiCdrom final : public IdeDrive {
 public:
  AtapiCdrom(BlockBackend& disc, std::string serial);

  [[nodiscard]] bool packet_device() const override { return true; }
  void reset(bool hard) override;
  void quiesce() override { disc_.drain(); }
  void snapshot(core::SnapshotIo& io) override;

 private:
  // What the buffer is being used for.
  enum class Stage : u8 { kIdle, kIdentify, kPacket, kSend };

  void execute();
  void answer(const Cdrom::Answer& answer);
  void send();
  void send_chunk();
  void read_ahead();
  void end_well();
  void end_with_sense();

  void command(u8 code) override;
  void pio_in_done() override;
  void pio_out_done() override;
  void transfer(const IdeDmaMemory& memory) override;
  void set_signature() override;

  BlockBackend& disc_;
  std::string serial_;
  u32 blocks_;
  Cdrom cdrom_;
  Stage stage_ = Stage::kIdle;
  bool dma_ = false;                 // this packet's data goes by DMA
  u16 chunk_limit_ = 0;              // bytes for one DRQ
  u32 filled_ = 0, sent_ = 0;        // of the buffer
  u32 block_ = 0, blocks_left_ = 0;  // still to be read into the buffer
  u8 dma_mode_ = 0;
};

}  // namespace doppel::devices
