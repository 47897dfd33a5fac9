// The two 8237A DMA controllers of a PC with their page registers: channels 0 to 3 move bytes, 5 to 7 words.
// A device with a DMA request calls transfer() and learns how much went and whether the count ran out (TC).
// It knows no device. Source: Intel 8237A datasheet (231466); 82371SB datasheet, "DMA Controller".
#pragma once

#include <array>
#include <span>

#include "core/guest_ram.hpp"
#include "devices/byte_device.hpp"

namespace doppel::devices {

enum class DmaDirection : u8 { kToMemory, kFromMemory };

// Offsets: 0x00-0x0f the first controller (ports 0x00-0x0f), 0x20-0x3f the second (ports 0xc0-0xdf, a
// register every second port), 0x40-0x4f the page registers (ports 0x80-0x8f, unused ones are scratch bytes).
class Dma8237 final : public ByteDevice {
 public:
  static constexpr u64 kSecondController = 0x20, kPages = 0x40;

  Dma8237(core::GuestRam& ram, core::Counters& counters);

  struct Moved {
    std::size_t bytes = 0;
    bool terminal_count = false;
  };
  // `channel`: 0 to 7. Moves up to bytes.size() bytes between guest RAM and `bytes`; stops at the terminal
  // count. Nothing moves while the channel is masked, its controller is off, or it is programmed for the
  // other direction. A channel that is programmed to verify counts and leaves both sides alone. Word channels
  // move whole words. RAM that is not there swallows, and reads as ones.
  Moved transfer(u32 channel, std::span<u8> bytes, DmaDirection direction);

  [[nodiscard]] std::string_view name() const override { return "dma_8237"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Channel {
    u16 base_address = 0, base_count = 0, address = 0, count = 0;
    u8 mode = 0;
  };
  struct Controller {
    std::array<Channel, 4> channels;
    u8 command = 0, mask = 0xf, terminal = 0, requests = 0;
    bool high_byte = false;  // the flip-flop: which half of a 16-bit register is next
  };

  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  [[nodiscard]] u8 read_register(Controller& controller, u32 index);
  void write_register(Controller& controller, u32 index, u8 value);
  // The physical address of the channel's next unit.
  [[nodiscard]] u64 address_of(u32 channel) const;
  void step(Controller& controller, u32 index, bool& terminal_count);

  core::GuestRam& ram_;
  std::array<Controller, 2> controllers_;
  std::array<u8, 16> pages_{};
};

}  // namespace doppel::devices
