#include "core/machine/display.hpp"

#include <algorithm>
#include <array>

#include "core/machine/option_rom.hpp"
#include "devices/pc_layout.hpp"

namespace doppel::machine {

using devices::PciFunction;
using devices::vga::Registers;
using devices::vga::Vga;

namespace {

constexpr const char* kVideoBios = "/usr/share/seabios/vgabios-stdvga.bin";
constexpr std::size_t kLargestVideoBios = 128u << 10;
constexpr u64 kBlinkNs = core::kNanosecondsPerSecond / 4;  // the cursor; text at half that rate

// The video BIOS holds its 8x16 font as 256 characters of 16 bytes: the first is blank, the second a smiling
// face.
std::span<const u8> font_in(std::span<const u8> rom) {
  static constexpr std::array<u8, 32> kFirstTwo = {0,    0,    0,    0,    0,    0,    0,    0,   0,    0,
                                                   0,    0,    0,    0,    0,    0,    0,    0,   0x7e, 0x81,
                                                   0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
  constexpr std::size_t kFontSize = 256 * 16;
  const auto found = std::ranges::search(rom, kFirstTwo);
  const auto at = static_cast<std::size_t>(found.begin() - rom.begin());
  return found.empty() || rom.size() - at < kFontSize ? std::span<const u8>() : rom.subspan(at, kFontSize);
}

}  // namespace

std::vector<u8> installed_video_bios() {
  return read_option_rom(kVideoBios, kLargestVideoBios);
}

Display::Display(const Board& board, std::vector<u8> video_bios)
    : clock_(board.clock),
      lock_(board.device_lock),
      rom_(std::move(video_bios)),
      vga_(board.clock, board.counters),
      function_(vga_, map_device_memory(board.memory, board.remapped, vga_.memory(), true),
                PciFunction::attach_to(board.mmio, vga_, Vga::kRegisterBlockSize, Vga::kRegisterBlock),
                rom_.size(), map_device_memory(board.memory, board.remapped, rom_, false)) {
  board.ports.attach(devices::kPortVga, Vga::kPortsSize, vga_, Vga::kPorts);
  board.ports.attach(devices::kPortVbe, Vga::kDispiPortsSize, vga_, Vga::kDispiPorts);
  board.memory.add_hole(devices::kVgaWindow, Vga::kWindowSize);
  board.mmio.attach(devices::kVgaWindow, Vga::kWindowSize, vga_, Vga::kWindow);
  board.pci.insert(devices::kPciSlotVga, 0, function_);
}

void Display::set_text_mode() {
  vga_.set_text_mode(font_in(rom_));
}

Registers Display::registers() const {
  std::lock_guard guard(lock_);
  return vga_.registers();
}

devices::vga::Mode Display::mode() const {
  return devices::vga::mode(registers());
}

void Display::draw(devices::vga::Surface& surface, bool blinking) const {
  const u64 phase = blinking ? clock_.now() / kBlinkNs : 0;
  devices::vga::draw(registers(), vga_.memory(), {.cursor = phase % 2 == 0, .text = phase / 2 % 2 == 0},
                     surface);
}

std::optional<devices::vga::TextScreen> Display::text() const {
  return devices::vga::read_text(registers(), vga_.memory());
}

}  // namespace doppel::machine
