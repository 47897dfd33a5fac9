// The 16550A UART (National Semiconductor PC16550D datasheet), as the COM ports of a PC. Bytes the guest
// sends go to a CharBackend at once; the host side feeds receive() and is told when refused bytes have room.
//
// Quirks: transmission takes no time; the interrupt is not gated by OUT2 (many guests leave it low).
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <span>

#include "core/clock.hpp"
#include "core/irq_line.hpp"
#include "devices/byte_device.hpp"
#include "devices/char_backend.hpp"

namespace doppel::devices {

// Offsets: 0-7, the chip's registers.
class Uart16550a final : public ByteDevice {
 public:
  // `on_room` is called once when the receiver can take bytes again after receive() refused some. It may call
  // receive().
  Uart16550a(core::IrqLine irq, CharBackend& backend, core::Clock& clock, core::Counters& counters,
             std::function<void()> on_room = {});

  // Bytes arriving on the line. Returns how many were taken: as many as the FIFO has room for.
  [[nodiscard]] std::size_t receive(std::span<const u8> bytes);
  // A break on the line (Linux: the magic SysRq key). Overruns if there is no room.
  void receive_break();
  // DCD, RI, DSR, CTS as in MSR bits 7:4. After construction DCD, DSR and CTS are on: somebody is connected.
  void set_modem_inputs(u8 lines);

  [[nodiscard]] std::string_view name() const override { return "uart_16550a"; }
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Received {
    u8 byte;
    u8 errors;  // LSR bits that belong to this byte
  };

  [[nodiscard]] u8 read_byte(u64 offset) override;
  void write_byte(u64 offset, u8 value) override;

  [[nodiscard]] bool divisor_access() const;
  [[nodiscard]] bool loopback() const;
  [[nodiscard]] std::size_t capacity() const;
  [[nodiscard]] std::size_t trigger() const;
  [[nodiscard]] u64 character_time() const;  // ns
  [[nodiscard]] u8 line_status() const;
  [[nodiscard]] u8 interrupt_id() const;

  [[nodiscard]] u8 read_data();
  [[nodiscard]] u8 read_interrupt_id();
  [[nodiscard]] u8 read_line_status();
  void write_data(u8 value);
  void write_interrupt_enable(u8 value);
  void write_fifo_control(u8 value);
  void write_line_control(u8 value);
  void update_modem_status();
  void push(Received character);
  void restart_timeout();
  void arm_timeout();
  void publish();
  void offer_room();

  core::IrqLine irq_;
  CharBackend& backend_;
  core::Clock& clock_;
  std::function<void()> on_room_;
  std::unique_ptr<core::Timer> timeout_timer_;

  std::deque<Received> fifo_;
  u16 divisor_ = 0;
  u8 interrupt_enable_ = 0;
  u8 fifo_control_ = 0;
  u8 line_control_ = 0;
  u8 modem_control_ = 0;
  u8 modem_status_ = 0;
  u8 modem_inputs_ = 0;
  u8 scratch_ = 0;
  bool overrun_ = false;
  bool transmitter_empty_pending_ = false;  // the THRE interrupt has not been taken back
  bool timed_out_ = false;
  bool refused_ = false;  // the host side waits for room
  u64 timeout_deadline_ = core::kNever;
};

}  // namespace doppel::devices
