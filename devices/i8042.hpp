// The i8042 keyboard controller with its keyboard and mouse (IBM PS/2 Hardware Interface Technical Reference,
// "Keyboard and Auxiliary Device Controller"). The host side injects keys and motion here; the machine gets
// the reset and A20 lines of the output port as callbacks.
//
// Quirk: a byte travels from keyboard or mouse at once, and the next one a quarter of a millisecond after the
// guest has read it; the real lines take a millisecond for each.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <span>

#include "core/clock.hpp"
#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"
#include "devices/ps2_keyboard.hpp"
#include "devices/ps2_mouse.hpp"
#include "devices/ps2_scancodes.hpp"

namespace doppel::devices {

// Offsets as from port 0x60: 0 data, 4 command and status.
class I8042 final : public ByteDevice {
 public:
  struct Outputs {
    std::function<void()> reset;         // the CPU reset line was pulsed
    std::function<void(bool)> a20 = {};  // called at every write of the output port
  };

  I8042(core::IrqLine keyboard_irq, core::IrqLine mouse_irq, core::Clock& clock, core::Counters& counters,
        Outputs outputs);

  // A key event in scan code set 2; see Ps2Keyboard::key.
  [[nodiscard]] bool key(std::span<const u8> set2);
  // See Ps2Mouse::move.
  void move_mouse(int dx, int dy, int wheel, u8 buttons);
  [[nodiscard]] const Ps2Keyboard& keyboard() const { return keyboard_; }

  [[nodiscard]] std::string_view name() const override { return "i8042"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  [[nodiscard]] u8& control() { return ram_[0]; }
  [[nodiscard]] u8 status() const;
  [[nodiscard]] u8 read_data();
  void write_data(u8 value);
  void write_parameter(u8 command, u8 value);
  void write_command(u8 value);
  void write_output_port(u8 value);
  void deliver(u8 value, bool from_mouse);
  void transfer();
  void publish();

  core::IrqLine keyboard_irq_;
  core::IrqLine mouse_irq_;
  core::Clock& clock_;
  Outputs outputs_;
  std::unique_ptr<core::Timer> transfer_timer_;

  Ps2Keyboard keyboard_;
  Ps2Mouse mouse_;
  ScancodeTranslator translator_;
  std::array<u8, 32> ram_{};  // byte 0 is the command byte
  u8 output_ = 0;             // what port 0x60 reads
  u8 output_port_ = 0;
  u8 awaits_parameter_ = 0;  // the command that does; 0: data goes to the keyboard
  bool full_ = false;        // the output buffer holds an unread byte
  bool from_mouse_ = false;
  bool last_was_command_ = false;
  u64 next_transfer_ = 0;  // no byte leaves keyboard or mouse before this
};

}  // namespace doppel::devices
