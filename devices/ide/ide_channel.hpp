// One IDE channel: the registers of up to two drives on a cable, their interrupt, and the half of the bus
// master that serves them. Part of Piix3Ide. It knows the drives only as IdeDrive. Sources: ATA/ATAPI-7 Vol.
// 2; Intel 82371SB (PIIX3), "Bus Master IDE"; Programming Interface for Bus Master IDE Controller 1.0.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "core/counters.hpp"
#include "core/device.hpp"
#include "core/guest_ram.hpp"
#include "core/irq_line.hpp"
#include "devices/ide/ide_drive.hpp"

namespace doppel::devices {

class IdeChannel final : public core::Device {
 public:
  static constexpr u64 kControlBlock = 8;  // offset of the alternate status and device control

  IdeChannel(core::IrqLine irq, core::GuestRam& ram, core::Counters& counters,
             std::function<bool()> may_master);

  // Puts a drive at place 0 (master) or 1 (slave), before the guest runs.
  void connect(u32 place, std::unique_ptr<IdeDrive> drive);

  // The command block at offsets 0-7, the control block's one port at kControlBlock.
  [[nodiscard]] std::string_view name() const override { return "ide"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

  // The bus master's eight ports for this channel.
  [[nodiscard]] u8 read_master(u32 offset) const;
  void write_master(u32 offset, u8 value);

 private:
  struct Piece {
    u64 address, size;
  };
  struct Gathered {
    IdeDmaMemory memory;
    std::vector<Piece> pieces;  // the same as guest addresses
    bool table_ended = false;   // with the last of these bytes
    bool error = false;
  };

  [[nodiscard]] IdeDrive* selected() const { return drives_[selected_].get(); }
  [[nodiscard]] u8 read_register(u64 offset);
  void write_register(u64 offset, u8 value);
  void write_control(u8 value);
  void write_command(u8 value);
  void update_interrupt();
  void write_master_command(u8 value);
  void try_dma();
  [[nodiscard]] Gathered gather(u64 wanted) const;
  void dma_done(u64 size);

  core::IrqLine irq_;
  core::GuestRam& ram_;
  core::Counters::Counter& unknown_;
  std::function<bool()> may_master_;  // the PCI function's bus-master bit
  std::array<std::unique_ptr<IdeDrive>, 2> drives_;
  std::array<bool, 2> wants_interrupt_{};
  u8 selected_ = 0;
  u8 control_ = 0;
  bool high_order_ = false;  // reads give the bytes written before the last ones

  u8 master_command_ = 0, master_status_ = 0;
  u32 table_ = 0;
  bool running_ = false;
  bool running_to_memory_ = false, running_ends_table_ = false;
  std::vector<Piece> running_pieces_;
};

}  // namespace doppel::devices
