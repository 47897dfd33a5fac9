// The two cascaded 8259A interrupt controllers of a PC, with the ELCR of its chipset (Intel 8259A datasheet;
// ICH9 datasheet, "8259 Interrupt Controllers"). Devices' lines arrive at set_irq(); the INTR output goes to
// the CPU (through LINT0 of its local APIC), which answers with acknowledge(). Knows neither.
//
// Quirks: an edge is remembered even if its line falls before the acknowledge (the chip would then deliver
// IRQ 7); ICW3 is accepted and not used, the wiring is that of a PC; the 8080 mode of ICW4 acts as 8086 mode.
#pragma once

#include <optional>

#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"

namespace doppel::devices {

// One chip: eight request lines, no ports, no other chip.
class Pic8259 {
 public:
  // `level_capable`: which lines the ELCR may make level-triggered.
  explicit Pic8259(u8 level_capable) : level_capable_(level_capable) {}

  void reset();
  void set_line(u8 line, bool level);
  // The line that drives INT: the highest-priority unmasked request above everything in service.
  [[nodiscard]] std::optional<u8> pending() const;
  // The INTA cycle's effect on the chip. Empty: the request is gone, the chip answers with line 7.
  std::optional<u8> acknowledge();
  [[nodiscard]] u8 vector(u8 line) const { return static_cast<u8>(vector_base_ | line); }

  // `a0` is the address line: false for the command port, true for the data port.
  [[nodiscard]] u8 read(bool a0);
  void write(bool a0, u8 value);
  [[nodiscard]] u8 elcr() const { return level_; }
  void set_elcr(u8 value) { level_ = value & level_capable_; }

  void snapshot(core::SnapshotIo& io);

 private:
  static constexpr u8 kCascadeBit = 1 << 2;
  enum class Expect : u8 { kOcw1, kIcw2, kIcw3, kIcw4 };  // what the next data port write is

  [[nodiscard]] u8 irr() const { return static_cast<u8>(edges_ | (lines_ & level_)); }
  [[nodiscard]] u8 by_priority(u8 rank) const { return (lowest_ + 1 + rank) & 7; }
  [[nodiscard]] u8 read_poll();
  void write_icw1(u8 value);
  void write_ocw2(u8 value);
  void write_ocw3(u8 value);
  void write_data(u8 value);

  u8 level_capable_;
  u8 lines_ = 0;    // input levels
  u8 edges_ = 0;    // remembered rising edges
  u8 level_ = 0;    // ELCR: 1 is level-triggered
  u8 masked_ = 0;   // IMR
  u8 service_ = 0;  // ISR
  u8 vector_base_ = 0;
  u8 lowest_ = 7;  // line of lowest priority
  Expect expect_ = Expect::kOcw1;
  bool single_ = false;
  bool wants_icw4_ = false;
  bool read_isr_ = false;
  bool poll_ = false;
  bool special_mask_ = false;
  bool auto_eoi_ = false;
  bool rotate_on_auto_eoi_ = false;
  bool special_fully_nested_ = false;
};

// Offsets: 0-1 master, 2-3 slave, 4-5 ELCR.
class Pic8259Pair final : public ByteDevice {
 public:
  Pic8259Pair(core::IrqLine intr, core::Counters& counters);

  void set_irq(u8 line, bool level);  // 0-15; 2 is the cascade and has no outside
  // Answers the CPU's INTA cycle with a vector; IRQ 7 or 15 if no request is left.
  [[nodiscard]] u8 acknowledge();
  [[nodiscard]] bool interrupt_pending() const { return intr_.level(); }

  [[nodiscard]] std::string_view name() const override { return "pic_8259"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  void propagate();

  core::IrqLine intr_;
  Pic8259 master_;
  Pic8259 slave_;
};

}  // namespace doppel::devices
