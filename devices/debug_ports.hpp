// The small ports of a PC's board and of virtual machines: debug consoles, the exit port of test suites, POST
// codes, and the two system control ports. Each is a device of a register or two; what they reach (a
// terminal, the reset line, A20, the 8254's counter 2) arrives as a callback.
#pragma once

#include <array>
#include <functional>

#include "core/clock.hpp"
#include "devices/byte_device.hpp"
#include "devices/char_backend.hpp"

namespace doppel::devices {

// A debug console (ports 0xe9 and 0x402): a written byte goes to the host; reading 0xe9 says it is there.
class DebugConsole final : public ByteDevice {
 public:
  DebugConsole(CharBackend& backend, core::Counters& counters);

  [[nodiscard]] std::string_view name() const override { return "debug_console"; }
  void reset() override {}
  void snapshot(core::SnapshotIo&) override {}

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  CharBackend& backend_;
};

// isa-debug-exit: a write of any width ends the machine with status (value << 1) | 1.
class DebugExit final : public core::Device {
 public:
  explicit DebugExit(std::function<void(u32 status)> on_exit) : on_exit_(std::move(on_exit)) {}

  [[nodiscard]] std::string_view name() const override { return "debug_exit"; }
  void reset() override {}
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo&) override {}

 private:
  std::function<void(u32 status)> on_exit_;
};

// Ports 0x80-0x8f (or the first alone): scratch bytes in the place of the DMA page registers. The first holds
// the POST code and is where guests write to waste a microsecond.
class PostCodePort final : public ByteDevice {
 public:
  explicit PostCodePort(core::Counters& counters);

  [[nodiscard]] u8 post_code() const { return bytes_[0]; }

  [[nodiscard]] std::string_view name() const override { return "post_code"; }
  void reset() override { bytes_.fill(0); }
  void snapshot(core::SnapshotIo& io) override { io.field("bytes", bytes_); }

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  std::array<u8, 16> bytes_{};
};

// Port 0x92: bit 0 resets the CPU when it rises, bit 1 is the A20 gate.
class SystemControlA final : public ByteDevice {
 public:
  struct Outputs {
    std::function<void()> reset;
    std::function<void(bool)> a20 = {};  // called at every write
  };

  SystemControlA(core::Counters& counters, Outputs outputs);

  [[nodiscard]] std::string_view name() const override { return "system_control_a"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override { io.field("value", value_); }

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  Outputs outputs_;
  u8 value_ = 0;
};

// Port 0x61: gate and output of the 8254's counter 2, the (silent) speaker, the refresh toggle.
class SystemControlB final : public ByteDevice {
 public:
  struct Counter2 {
    std::function<void(bool)> set_gate;
    std::function<bool()> output;
  };

  SystemControlB(Counter2 counter2, core::Clock& clock, core::Counters& counters);

  [[nodiscard]] std::string_view name() const override { return "system_control_b"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override { io.field("value", value_); }

 private:
  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;
  Counter2 counter2_;
  core::Clock& clock_;
  u8 value_ = 0;
};

}  // namespace doppel::devices
