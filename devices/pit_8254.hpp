// The 8254 programmable interval timer (Intel 82C54 datasheet). `PitCounter` and `Pit8254` are the chip: they
// are clocked by hand, any number of pulses at once, and know no ports and no time. `PitDevice` gives the
// chip its four ports and a clock: pulses are counted from the virtual clock's zero, so nothing drifts.
//
// Quirk: IRQ 0 is exact at rising edges of OUT 0; falls between two of them may go unseen.
#pragma once

#include <array>
#include <functional>
#include <memory>

#include "core/clock.hpp"
#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"

namespace doppel::devices {

class PitCounter {
 public:
  explicit PitCounter(bool gate) : gate_(gate) {}

  void clock(u64 pulses);
  void write_control(u8 control);  // bits 5:0 of a control word for this counter, not a latch command
  void write(u8 value);
  [[nodiscard]] u8 read();
  void latch_count();
  void latch_status();
  void set_gate(bool level);
  [[nodiscard]] bool gate() const { return gate_; }
  [[nodiscard]] bool output() const;
  // Pulses until OUT rises, or fewer if that is not known yet; core::kNever if it will not by itself.
  [[nodiscard]] u64 pulses_to_rise() const;
  // Whether OUT rose since this was last asked.
  [[nodiscard]] bool take_rise();

  void snapshot(core::SnapshotIo& io);

 private:
  [[nodiscard]] bool periodic() const { return mode_ == 2 || mode_ == 3; }
  [[nodiscard]] u32 modulus() const { return bcd_ ? 10'000 : 0x1'0000; }
  [[nodiscard]] bool counting() const;
  [[nodiscard]] u32 count() const;                              // the counting element, as a number
  [[nodiscard]] u16 visible_count() const;                      // as read, binary or BCD
  [[nodiscard]] u64 next_rise(u64 elapsed, u32 initial) const;  // in pulses since the load
  [[nodiscard]] u64 pulses_to_new_count() const;
  void run(u64 pulses);
  void load();
  void set_count(u16 raw);
  template <class Change>
  void watching_output(Change change);

  u8 mode_ = 0;    // 0-5
  u8 access_ = 3;  // 1 low byte, 2 high byte, 3 low then high
  u8 low_byte_ = 0;
  u8 latched_status_ = 0;
  u16 latched_count_ = 0;
  u16 stopped_count_ = 0;   // what is read before a count is loaded
  u32 reload_ = 0x1'0000;   // count register: 1 to modulus()
  u32 initial_ = 0x1'0000;  // what the counting element was loaded with,
  u64 elapsed_ = 0;         // and how many pulses it has counted since
  bool gate_;
  bool bcd_ = false;
  bool write_high_ = false;
  bool read_high_ = false;
  bool count_latched_ = false;
  bool status_latched_ = false;
  bool armed_ = false;      // a count has been written since the control word
  bool null_count_ = true;  // the written count is not loaded yet
  bool load_next_ = false;  // the next pulse loads it
  bool loaded_ = false;
  bool half_written_ = false;  // mode 0, between the two bytes of a count: stopped
  bool rose_ = false;
};

class Pit8254 {
 public:
  static constexpr int kCounters = 3;

  void reset();
  void clock(u64 pulses);
  [[nodiscard]] u8 read(u8 address);  // 0-2 counters, 3 nothing
  void write(u8 address, u8 value);   // 0-2 counters, 3 control word
  [[nodiscard]] PitCounter& counter(int index) { return counters_[static_cast<std::size_t>(index)]; }
  void snapshot(core::SnapshotIo& io);

 private:
  // Gates 0 and 1 are tied high in a PC; gate 2 comes from port 0x61.
  std::array<PitCounter, kCounters> counters_{PitCounter(true), PitCounter(true), PitCounter(false)};
};

class PitDevice final : public ByteDevice {
 public:
  PitDevice(core::IrqLine irq0, core::Clock& clock, core::Counters& counters);

  // Port 0x61's view of counter 2.
  void set_gate2(bool level);
  [[nodiscard]] bool gate2() { return chip_.counter(2).gate(); }
  [[nodiscard]] bool output2();

  [[nodiscard]] std::string_view name() const override { return "pit_8254"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  void catch_up();
  void publish();

  core::IrqLine irq0_;
  core::Clock& clock_;
  Pit8254 chip_;
  u64 pulse_ = 0;  // up to which the chip has been clocked
  u64 deadline_ = core::kNever;
  std::unique_ptr<core::Timer> timer_;
};

}  // namespace doppel::devices
