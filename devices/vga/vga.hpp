// A VGA with Bochs' VBE extensions: its ports, its memory window at 0xa0000, and the register block that
// QEMU's "stdvga" shows in a PCI base address register. The machine attaches it several times, at the offsets
// below. The linear frame buffer is memory(), which the guest reaches without the chip. What is on the screen
// is scanout.hpp's work. Video memory holds plane p of plane offset o at byte 4 * o + p.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/device.hpp"
#include "devices/vga/registers.hpp"

namespace doppel::devices::vga {

class Vga final : public core::Device {
 public:
  // Offsets of the device's parts.
  static constexpr u64 kPorts = 0, kPortsSize = 0x30;            // 0x3b0-0x3df
  static constexpr u64 kDispiPorts = 0x40, kDispiPortsSize = 4;  // 0x1ce-0x1d1
  static constexpr u64 kRegisterBlock = 0x1000, kRegisterBlockSize = 0x1000;
  static constexpr u64 kWindow = 0x2'0000, kWindowSize = 0x2'0000;  // 0xa0000-0xbffff
  static constexpr u32 kDefaultMemory = 16u << 20;

  // `memory_size` in bytes: a power of two, at least 256 KiB. Throws std::system_error when the host has
  // none.
  Vga(core::Clock& clock, core::Counters& counters, u32 memory_size = kDefaultMemory);
  ~Vga() override;

  [[nodiscard]] std::string_view name() const override { return "vga"; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

  [[nodiscard]] const Registers& registers() const { return r_; }
  [[nodiscard]] std::span<u8> memory() const { return {memory_, memory_size_}; }

  // What a BIOS leaves behind: mode 3, 80x25 text, blank. `font` is 256 characters of 16 lines, or empty.
  void set_text_mode(std::span<const u8> font);

 private:
  // Ports, one byte each; `port` is the usual number.
  [[nodiscard]] u8 read_port(u16 port);
  void write_port(u16 port, u8 value);
  [[nodiscard]] u8 unknown_read(u64 offset);
  void unknown_write(u64 offset, u64 value);
  [[nodiscard]] bool answers(u16 port) const;
  [[nodiscard]] u8 read_crtc() const;
  void write_crtc(u8 value);
  void write_attribute(u8 value);
  [[nodiscard]] u8 read_dac();
  void write_dac(u8 value);
  [[nodiscard]] u8 input_status();

  // Bochs' extensions and QEMU's register block.
  [[nodiscard]] u16 read_dispi(u16 index) const;
  void write_dispi(u16 index, u16 value);
  void enable_dispi(u16 value);
  void fit_dispi();
  [[nodiscard]] u64 read_block(u64 offset, u32 width);
  void write_block(u64 offset, u32 width, u64 value);

  // The window at 0xa0000 (memory.cpp). `offset` is from there.
  [[nodiscard]] std::optional<u32> decode_window(u32 offset) const;
  [[nodiscard]] u8 read_window(u32 offset);
  void write_window(u32 offset, u8 value);
  [[nodiscard]] u32& quad(u32 plane_offset);

  core::Clock& clock_;
  core::Counters::Counter& unknown_reads_;
  core::Counters::Counter& unknown_writes_;
  u8* memory_ = nullptr;
  u32 memory_size_;
  Registers r_;
  u32 latch_ = 0;  // one byte of each plane, plane 0 lowest
};

}  // namespace doppel::devices::vga
