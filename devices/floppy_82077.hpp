// The 82077AA floppy controller with one drive: commands, DMA and programmed transfers, the disk-changed
// line. The disk is an image behind a BlockBackend; the DMA channel and the interrupt arrive as arguments.
// Made by the machine if there is a floppy image. Source: Intel 82077AA datasheet (290166).
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"
#include "devices/dma_8237.hpp"
#include "devices/storage/block_backend.hpp"

namespace doppel::devices {

// What a disk's size says about it.
struct FloppyFormat {
  u32 kib;
  u8 cylinders, heads, sectors;  // of 512 bytes, in a track
  u8 rate;                       // as the data rate select register has it; 2 also reads at 1
  u8 drive;                      // CMOS type of a drive that takes it
};
[[nodiscard]] std::optional<FloppyFormat> floppy_format(u64 bytes);
// The size of the disk that an image of `bytes` is the beginning of: its own if a disk has that, else that of
// a 3.5-inch disk which holds it. `bytes` if there is none.
[[nodiscard]] u64 floppy_size(u64 bytes);

class Floppy82077 final : public ByteDevice {
 public:
  // A transfer over the controller's DMA channel, as Dma8237::transfer does it.
  using Dma = std::function<Dma8237::Moved(std::span<u8> bytes, DmaDirection direction)>;

  // `disk` has a size that floppy_format() knows.
  Floppy82077(BlockBackend& disk, core::IrqLine irq, Dma dma, core::Counters& counters);

  [[nodiscard]] std::string_view name() const override { return "floppy_82077"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  enum class Phase : u8 { kCommand, kExecution, kDataIn, kDataOut, kResult };
  // Cylinder, head, sector and size code, as commands and results name a sector.
  struct Place {
    u8 cylinder = 0, head = 0, sector = 0;
  };
  struct Row {
    u8 code, mask;  // of the first byte
    u8 length;      // of the command
    void (Floppy82077::*run)();
  };
  static const Row kCommands[];

  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  [[nodiscard]] u8 main_status() const;
  void write_output(u8 value);
  [[nodiscard]] u8 read_fifo();
  void write_fifo(u8 value);
  void soft_reset();

  void result(std::initializer_list<u8> bytes, bool interrupt);
  // The seven bytes that end a transfer. ST0 gets head and drive.
  void transfer_result(u8 st0, u8 st1, u8 st2);
  void invalid();
  void specify();
  void sense_drive();
  void recalibrate();
  void seek();
  void sense_interrupt();
  void read_id();
  void read_data();
  void write_data();
  void verify();
  void format_track();
  void dump_registers();
  void version();
  void perpendicular();
  void configure();
  void lock();

  // --- Transfers.
  // What stands in the way of finding the sector: an ST1 value, or nothing.
  [[nodiscard]] std::optional<u8> obstacle() const;
  [[nodiscard]] bool start_transfer(bool writes);
  [[nodiscard]] u32 sectors_to_end() const;
  [[nodiscard]] u64 disk_offset(const Place& place) const;
  void advance(u32 sectors);
  void data_arrived();
  void write_buffer(u32 sectors, bool terminal_count);
  void finish_transfer(u32 sectors, bool terminal_count);
  void head_moved(u8 cylinder);
  [[nodiscard]] std::function<void(int)> guarded(std::function<void(int)> done);

  BlockBackend& disk_;
  FloppyFormat format_;
  core::IrqLine irq_;
  Dma dma_;

  Phase phase_ = Phase::kCommand;
  std::array<u8, 16> fifo_{};
  u8 fifo_position_ = 0, fifo_end_ = 0;
  u8 digital_output_ = 0, tape_ = 0, rate_ = 0;
  u8 cylinder_ = 0;       // where the drive's head is
  u8 sense_pending_ = 0;  // interrupts that SENSE INTERRUPT has to explain; four after a reset
  u8 seek_status_ = 0;    // ST0 of the last seek
  bool after_reset_ = false;
  bool disk_changed_ = true;
  bool no_dma_ = false, locked_ = false;
  std::array<u8, 2> specified_{};
  std::array<u8, 3> configured_{};
  u8 perpendicular_ = 0;
  Place place_;         // of the transfer in progress
  u8 last_sector_ = 0;  // EOT
  bool both_heads_ = false, writing_ = false;
  std::vector<u8> buffer_;
  u32 position_ = 0;  // in the buffer, of a programmed transfer
  u64 epoch_ = 0;
};

}  // namespace doppel::devices
