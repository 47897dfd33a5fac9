// A NOR flash chip with Intel's command set and the Common Flash Interface, eight bits wide, as QEMU's
// pflash_cfi01 shows it to UEFI firmware: where that keeps its variables. While it reads as memory, whoever
// made it may map its bytes into the guest's address space; everything else arrives here. Bytes that changed
// go to a FlashStore. It knows no address and no file. Sources: JEDEC JESD68.01 (CFI) and JEP137 (command
// sets); Intel 28F128J3A datasheet (290667), "Command Definitions".
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "core/counters.hpp"
#include "core/device.hpp"

namespace doppel::devices {

// What keeps a chip's bytes.
class FlashStore {
 public:
  virtual ~FlashStore() = default;
  // The chip's bytes, for as long as this lives.
  [[nodiscard]] virtual std::span<u8> bytes() = 0;
  // Keeps bytes() from `offset` on. 0 or an errno value.
  [[nodiscard]] virtual int write(u64 offset, u64 size) = 0;
  // What was written so far survives a power cut from now on.
  virtual void flush() = 0;
};

class CfiFlash final : public core::Device {
 public:
  static constexpr u64 kBlock = 4096;  // what is erased at once; the chip's size is a multiple of it
  static constexpr u64 kBuffer = 256;  // the most that a buffered write programs

  // `reads_as_memory` is called when the chip begins or ceases to read as memory; it begins so.
  CfiFlash(FlashStore& store, core::Counters& counters, std::function<void(bool)> reads_as_memory = {});

  [[nodiscard]] std::string_view name() const override { return "cfi_flash"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  // Without the bytes: those are the store's.
  void snapshot(core::SnapshotIo& io) override;

 private:
  enum class Reads : u8 { kArray, kStatus, kIdentity, kQuery };
  // What the next write is.
  enum class Expect : u8 { kCommand, kProgram, kErase, kLock, kBufferCount, kBufferData, kBufferConfirm };

  [[nodiscard]] u8 read_byte(u64 offset) const;
  [[nodiscard]] u8 query(u64 offset) const;
  void command(u64 offset, u8 value);
  void buffer_data(u64 offset, std::span<const u8> data);
  void set_reads(Reads reads);
  // A sequence of commands that is none.
  void sequence_error();
  void forget_buffer();
  void program(u64 offset, std::span<const u8> data);
  void erase(u64 offset);
  // Bytes changed: to the store. If that fails they are again what they were, and `error` is set.
  void keep(u64 offset, std::span<const u8> before, u8 error);

  FlashStore& store_;
  std::span<u8> bytes_;
  core::Counters::Counter& unknown_;
  core::Counters::Counter& failed_;
  std::function<void(bool)> reads_as_memory_;

  Reads reads_ = Reads::kArray;
  Expect expect_ = Expect::kCommand;
  u8 status_ = 0;
  bool dirty_ = false;      // there is something to flush
  std::vector<u8> buffer_;  // of a buffered write
  u64 buffer_start_ = 0;    // where it goes, once its first byte has come
  u32 buffer_taken_ = 0;    // bytes that have come
};

}  // namespace doppel::devices
