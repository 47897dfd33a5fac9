// A hostile guest at the VGA: random registers, window accesses, VBE registers and damaged snapshots, with
// pictures and text screens drawn in between. Finds crashes, hangs and accesses out of bounds, best under
// sanitizers.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>

#include "core/clock.hpp"
#include "devices/vga/scanout.hpp"
#include "devices/vga/vga.hpp"
#include "tests/devices/hostile.hpp"

namespace {

using namespace doppel;
using namespace doppel::devices::vga;

class Mischief {
 public:
  explicit Mischief(u32 seed) : random_(seed), vga_(clock_, counters_, 256u << random_.below(5) << 10) {}

  // One life of a device, up to a few thousand accesses.
  void round() {
    vga_.reset();
    if (random_.below(2)) vga_.set_text_mode({});
    if (random_.below(16) == 0) damaged_snapshot();
    for (u64 step = 0, steps = 100 + random_.below(4000); step < steps; ++step) {
      access();
      if (random_.below(500) == 0) look();
      if (random_.below(16) == 0) clock_.advance(random_.below(1u << 24));
    }
    look();
  }

 private:
  // Registers by their index, so that few writes are lost.
  void indexed(u16 port, u64 count) {
    const u64 value = random_.value() & 0xff;
    vga_.write(Vga::kPorts + port - 0x3b0, 2, value << 8 | random_.below(count));
  }
  void access() {
    switch (random_.below(10)) {
      case 0:
        return indexed(0x3c4, 8);
      case 1:
        return indexed(0x3ce, 16);
      case 2:
        return indexed(vga_.registers().colour() ? 0x3d4 : 0x3b4, 32);
      case 3:
        vga_.write(Vga::kPorts + 0x3c0 - 0x3b0, 1, random_.value() & 0xff);
        return;
      case 4:
        vga_.write(Vga::kDispiPorts, 2, random_.below(12));
        vga_.write(Vga::kDispiPorts + 1, 2, random_.value() & 0xffff);
        return;
      case 5:
        return at(Vga::kRegisterBlock, Vga::kRegisterBlockSize);
      case 6:
        return at(Vga::kPorts, Vga::kPortsSize);
      case 7:
        return at(random_.value(), 1u << random_.below(20));
      default:
        return at(Vga::kWindow, Vga::kWindowSize);
    }
  }
  void at(u64 base, u64 size) {
    const u32 width = 1u << random_.below(4);
    const u64 offset = base + random_.below(size + 8);
    if (random_.below(2))
      vga_.write(offset, width, random_.value());
    else
      (void)vga_.read(offset, width);
  }
  void look() {
    const Blink blink{.cursor = random_.below(2) != 0, .text = random_.below(2) != 0};
    draw(vga_.registers(), vga_.memory(), blink, surface_);
    (void)surface_.take_damage();
    if (const auto screen = read_text(vga_.registers(), vga_.memory()))
      for (u32 row = 0; row < screen->rows; ++row) (void)screen->line(row);
  }
  void damaged_snapshot() {
    core::SnapshotIo saved;
    vga_.snapshot(saved);
    auto stream = saved.stream();
    for (u64 i = random_.below(400); i > 0; --i)
      stream[random_.below(1400)] = static_cast<u8>(random_.value());
    core::SnapshotIo loading(stream);
    try {
      vga_.snapshot(loading);
    } catch (const core::SnapshotError&) {
    }
  }

  doppel::devices::testing::Hostile random_;
  core::ManualClock clock_;
  core::Counters counters_;
  Vga vga_;
  Surface surface_;
};

}  // namespace

int main(int argc, char** argv) {
  double seconds = 5;
  u32 seed = 1;
  CLI::App app("Random accesses to the VGA.");
  app.add_option("--seconds", seconds, "how long");
  app.add_option("--seed", seed, "which accesses; later rounds count up from it");
  CLI11_PARSE(app, argc, argv);
  using Time = std::chrono::steady_clock;
  const auto end = Time::now() + std::chrono::duration<double>(seconds);
  u32 rounds = 0;
  for (; Time::now() < end; ++rounds) Mischief(seed + rounds).round();
  fmt::print("vga: {} rounds from seed {}\n", rounds, seed);
  return rounds == 0;
}
