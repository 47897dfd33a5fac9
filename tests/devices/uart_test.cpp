#include <string>

#include "devices/uart_16550a.hpp"
#include "tests/devices/guest_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;

namespace {

struct Terminal final : CharBackend {
  std::string text;
  void write(u8 byte) override { text += static_cast<char>(byte); }
};

struct Uart {
  core::ManualClock clock;
  core::Counters counters;
  Terminal terminal;
  bool irq = false;
  int rises = 0;
  int rooms = 0;
  Uart16550a uart{core::IrqLine([this](bool level) {
                    irq = level;
                    rises += level;
                  }),
                  terminal, clock, counters, [this] { ++rooms; }};

  void out(u64 offset, u8 value) { uart.write(offset, 1, value); }
  u8 in(u64 offset) { return static_cast<u8>(uart.read(offset, 1)); }
  std::size_t type(const std::string& text) {
    return uart.receive({reinterpret_cast<const u8*>(text.data()), text.size()});
  }
};

constexpr u8 kFifoOn = 0x01;
constexpr u64 kFourCharacters = 4 * 10 * 12 * core::kNanosecondsPerSecond / 115'200;  // 8N1 at 9600

}  // namespace

TEST_CASE("UART: registers after reset, divisor latch, scratch, masked bits") {
  Uart u;
  const u8 expected[] = {0, 0, 0x01, 0, 0, 0x60, 0xb0, 0};
  for (u64 offset = 0; offset < 8; ++offset) CHECK(u.in(offset) == expected[offset]);
  u.out(3, 0x83);
  u.out(0, 0x34);
  u.out(1, 0x12);
  CHECK(u.in(0) == 0x34);
  CHECK(u.in(1) == 0x12);
  CHECK(u.in(3) == 0x83);
  u.out(3, 0x03);
  u.out(1, 0xff);
  CHECK(u.in(1) == 0x0f);
  u.out(7, 0xa5);
  CHECK(u.in(7) == 0xa5);
  u.out(4, 0xff);
  CHECK(u.in(4) == 0x1f);
  CHECK(u.in(12) == 0xff);
  CHECK(u.counters["uart_16550a.unknown.read"] == 1);
}

TEST_CASE("UART: what Linux's 8250 driver probes for a 16550A") {
  Uart u;
  u.out(1, 0x00);
  CHECK((u.in(1) & 0x0f) == 0);
  u.out(1, 0x0f);
  CHECK((u.in(1) & 0x0f) == 0x0f);
  u.out(1, 0x00);
  u.out(4, 0x10 | 0x0a);  // loopback with RTS and OUT2
  CHECK((u.in(6) & 0xf0) == 0x90);
  u.out(4, 0);
  u.out(2, kFifoOn);
  CHECK((u.in(2) & 0xc0) == 0xc0);

  u.out(2, kFifoOn | 0x06);  // FIFO size: send in loopback, count what comes back
  u.out(4, 0x10);
  for (int i = 0; i < 256; ++i) u.out(0, static_cast<u8>(i));
  int count = 0;
  while (u.in(5) & 1) CHECK(u.in(0) == count++);
  CHECK(count == 16);
  CHECK(u.terminal.text.empty());
}

TEST_CASE("UART: bytes out, and the THRE interrupt") {
  Uart u;
  u.out(0, 'h');
  u.out(0, 'i');
  CHECK(u.terminal.text == "hi");
  CHECK(!u.irq);
  u.out(1, 0x02);  // enabling it while empty raises it
  CHECK(u.irq);
  CHECK(u.in(2) == 0x02);
  CHECK(!u.irq);
  CHECK(u.in(2) == 0x01);
  u.out(1, 0x00);
  u.out(1, 0x02);  // and again: Linux's test for the THRE bug
  CHECK(u.in(2) == 0x02);
  u.out(0, '!');
  CHECK(u.irq);
  u.out(0, '!');
  CHECK(u.rises == 4);
  u.out(1, 0x00);
  CHECK(!u.irq);
}

TEST_CASE("UART: without FIFOs one byte fits; the host is told when it was read") {
  Uart u;
  u.out(1, 0x01);
  CHECK(u.type("abc") == 1);
  CHECK(u.irq);
  CHECK(u.in(2) == 0x04);
  CHECK(u.type("bc") == 0);
  CHECK(u.in(5) == 0x61);
  CHECK(u.rooms == 0);
  CHECK(u.in(0) == 'a');
  CHECK(u.rooms == 1);
  CHECK(!u.irq);
  CHECK(u.in(0) == 0);
  CHECK(u.rooms == 1);
}

TEST_CASE("UART: FIFO trigger levels and the timeout interrupt") {
  const u8 levels[] = {1, 4, 8, 14};
  for (u8 i = 0; i < 4; ++i) {
    Uart u;
    u.out(3, 0x03);
    u.out(2, static_cast<u8>(kFifoOn | i << 6));
    u.out(1, 0x01);
    CAPTURE(int{i});
    const std::string text(levels[i] - 1u, 'x');
    CHECK(u.type(text) == text.size());
    CHECK(!u.irq);
    u.clock.advance(kFourCharacters - 1000);
    CHECK(!u.irq);
    u.clock.advance(1000);
    CHECK(u.irq == !text.empty());
    if (!text.empty()) {
      CHECK(u.in(2) == 0xcc);
      CHECK(u.in(0) == 'x');  // a read takes it back and starts the time again
      CHECK(!u.irq);
      CHECK(u.type("x") == 1);
    }
    CHECK(u.type("x") == 1);
    CHECK(u.in(2) == 0xc4);
  }
}

TEST_CASE("UART: the FIFO takes 16; clearing or switching it makes room; loopback holds the host back") {
  Uart u;
  u.out(2, kFifoOn);
  CHECK(u.type(std::string(20, 'x')) == 16);
  u.out(2, kFifoOn | 0x02);
  CHECK(u.rooms == 1);
  CHECK(u.in(5) == 0x60);
  CHECK(u.type(std::string(20, 'x')) == 16);
  u.out(2, 0);
  CHECK(u.rooms == 2);
  CHECK(u.in(5) == 0x60);
  u.out(4, 0x10);
  CHECK(u.type("x") == 0);
  CHECK(u.rooms == 2);
  u.out(4, 0x00);
  CHECK(u.rooms == 3);
}

TEST_CASE("UART: overrun and break are line status interrupts, and belong to their bytes") {
  Uart u;
  u.out(2, kFifoOn);
  u.out(1, 0x05);
  CHECK(u.type("a") == 1);
  u.uart.receive_break();
  CHECK(u.in(5) == 0xe1);  // an error further back
  CHECK(u.in(2) == 0xc4);
  CHECK(u.in(0) == 'a');
  CHECK(u.in(2) == 0xc6);
  CHECK(u.in(5) == 0xf1);
  CHECK(u.in(5) == 0x61);
  CHECK(u.in(0) == 0);

  u.out(4, 0x10);
  for (int i = 0; i < 17; ++i) u.out(0, static_cast<u8>(i));
  CHECK(u.in(2) == 0xc6);
  CHECK(u.in(5) == 0x63);
  CHECK(u.in(5) == 0x61);
  CHECK(u.in(0) == 0);  // the FIFO is intact, the 17th byte lost
}

TEST_CASE("UART: interrupt priorities") {
  Uart u;
  u.out(1, 0x0f);
  u.uart.set_modem_inputs(0x00);
  CHECK(u.type("a") == 1);
  u.uart.receive_break();
  CHECK(u.in(2) == 0x06);
  (void)u.in(5);
  CHECK(u.in(2) == 0x04);
  (void)u.in(0);
  CHECK(u.in(2) == 0x02);
  CHECK(u.in(2) == 0x00);
  CHECK(u.irq);
  (void)u.in(6);
  CHECK(u.in(2) == 0x01);
  CHECK(!u.irq);
}

TEST_CASE("UART: modem status and its deltas; RI only when it ends") {
  Uart u;
  u.uart.set_modem_inputs(0xf0);
  CHECK(u.in(6) == 0xf0);
  u.uart.set_modem_inputs(0x00);
  CHECK(u.in(6) == 0x0f);
  CHECK(u.in(6) == 0x00);
  u.out(4, 0x1f);
  CHECK(u.in(6) == 0xfb);
  u.out(4, 0x10);
  CHECK(u.in(6) == 0x0f);
}

TEST_CASE("UART: snapshot, hostile guest, hostile snapshots") {
  Uart u;
  u.out(2, kFifoOn | 0x80);
  u.out(1, 0x01);
  u.out(3, 0x03);
  CHECK(u.type("abc") == 3);
  Uart copy;
  testing::copy_by_snapshot(u.uart, copy.uart);
  CHECK(copy.rooms == 1);
  CHECK(!copy.irq);
  copy.clock.advance(kFourCharacters);
  CHECK(copy.irq);
  CHECK(copy.in(0) == 'a');

  testing::hostile_guest(u.uart, 8, u.clock, [&](u32 random) {
    if (random & 1) (void)u.type(std::string(random >> 4 & 31, 'z'));
    if (random & 2) u.uart.receive_break();
    if (random & 4) u.uart.set_modem_inputs(static_cast<u8>(random >> 8));
  });
  testing::flipped_snapshots(copy.uart, 8, copy.clock);
  testing::hostile_snapshots(copy.uart, 8, copy.clock);
}
