// What the drives on an IDE cable have in common: the task file, the status, and the sector buffer through
// which a program moves data word by word. AtaDisk and AtapiCdrom add the commands. The channel owns the bus
// side: which drive is selected, the interrupt wire, bus-master DMA. Source: ATA/ATAPI-7 Vol. 1 and 2
// (T13 1532D).
#pragma once

#include <array>
#include <functional>
#include <span>
#include <vector>

#include "core/snapshot.hpp"
#include "core/types.hpp"
#include "devices/storage/block_backend.hpp"

namespace doppel::devices {

// Status register.
inline constexpr u8 kIdeBusy = 0x80, kIdeReady = 0x40, kIdeSeekComplete = 0x10, kIdeDataRequest = 0x08,
                    kIdeError = 0x01;
// Error register.
inline constexpr u8 kIdeAborted = 0x04, kIdeIdNotFound = 0x10, kIdeUncorrectable = 0x40;
// Device register.
inline constexpr u8 kIdeSecondDrive = 0x10, kIdeLba = 0x40;

// The registers a command is made of. [0] is what was written last, [1] what was written before that: the
// high-order bytes of 48-bit commands.
struct IdeTaskFile {
  std::array<u8, 2> feature{}, count{}, lba_low{}, lba_mid{}, lba_high{};
  u8 device = 0;
  u8 error = 0;
  u8 status = 0;
};

// Guest memory for one DMA transfer, in order: what the drive wants, or less if there is no more.
struct IdeDmaMemory {
  std::vector<iovec> vectors;
  u64 size = 0;
};

class IdeDrive {
 public:
  // What the drive tells its channel.
  struct Cable {
    std::function<void(bool)> interrupt;  // INTRQ
    std::function<void()> dma_wanted;     // DMARQ: the drive has a transfer; answered with run_dma()
    // The transfer has used `size` bytes of the memory. Called before the interrupt.
    std::function<void(u64 size)> dma_done;
  };

  IdeDrive() = default;
  IdeDrive(const IdeDrive&) = delete;
  IdeDrive& operator=(const IdeDrive&) = delete;
  virtual ~IdeDrive() = default;

  void connect(Cable cable) { cable_ = std::move(cable); }

  // --- For the channel.
  [[nodiscard]] IdeTaskFile& registers() { return task_; }
  [[nodiscard]] virtual bool packet_device() const = 0;
  // A command the program wrote; it ends whatever the last one left unfinished.
  void start(u8 code);
  [[nodiscard]] u16 read_data();
  void write_data(u16 value);
  // A soft reset, or (`hard`) power-on: stops everything, leaves the signature in the task file.
  virtual void reset(bool hard);
  // A command waits for the bus master.
  [[nodiscard]] bool dma_pending() const { return dma_size_ != 0; }
  [[nodiscard]] bool dma_to_memory() const { return dma_to_memory_; }
  [[nodiscard]] u64 dma_size() const { return dma_size_; }
  // Goes on with the pending transfer.
  void run_dma(IdeDmaMemory memory);
  // Waits for what runs in the background.
  virtual void quiesce() = 0;
  virtual void snapshot(core::SnapshotIo& io);

 protected:
  virtual void command(u8 code) = 0;

  // How long the buffer may get: what is read ahead or gathered in one piece.
  static constexpr u32 kBufferSize = 128 * 1024;

  // The program reads `size` bytes of buffer_ from `from` on (then pio_in_done() is called), or writes them
  // (pio_out_done()). Sets DRQ; interrupts if `announce`.
  void start_pio_in(u32 from, u32 size, bool announce = true);
  void start_pio_out(u32 from, u32 size, bool announce);
  virtual void pio_in_done() = 0;
  virtual void pio_out_done() = 0;
  // Waits for the bus master to move `size` bytes, then transfer() is called with memory for them.
  void start_dma(u64 size, bool to_memory);
  virtual void transfer(const IdeDmaMemory& memory) = 0;
  // Ends transfer(): `used` bytes of the memory, and the drive may go on.
  void transferred(u64 used);

  void busy() { task_.status = kIdeBusy; }
  // The command has ended well, or with bits in the error register.
  void complete();
  void fail(u8 error);
  void interrupt() { cable_.interrupt(true); }

  // Wraps a completion so that it does nothing once the drive was reset.
  [[nodiscard]] std::function<void(int)> guarded(std::function<void(int)> done);
  virtual void set_signature() = 0;

  IdeTaskFile task_;
  std::vector<u8> buffer_ = std::vector<u8>(kBufferSize);

 private:
  enum class Pio : u8 { kNone, kIn, kOut };

  Cable cable_;
  Pio pio_ = Pio::kNone;
  u32 position_ = 0, end_ = 0;  // in the buffer
  u64 dma_size_ = 0;
  bool dma_to_memory_ = false;
  u64 epoch_ = 0;
};

}  // namespace doppel::devices
