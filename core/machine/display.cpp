#include "core/machine/display.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <fstream>
#include <iterator>

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

std::vector<u8> padded_to_power_of_two(std::vector<u8> rom) {
  if (!rom.empty()) rom.resize(std::bit_ceil(std::max<std::size_t>(rom.size(), core::kPageSize)));
  return rom;
}

}  // namespace

std::vector<u8> installed_video_bios() {
  std::ifstream file(kVideoBios, std::ios::binary);
  std::vector<u8> bytes{std::istreambuf_iterator<char>(file), {}};
  return bytes.size() <= kLargestVideoBios ? bytes : std::vector<u8>();
}

Display::Display(const Board& board, std::vector<u8> video_bios)
    : clock_(board.clock),
      lock_(board.device_lock),
      rom_(padded_to_power_of_two(std::move(video_bios))),
      vga_(board.clock, board.counters),
      function_(vga_, device_memory(board, vga_.memory(), true),
                PciFunction::attach_to(board.mmio, vga_, Vga::kRegisterBlockSize, Vga::kRegisterBlock),
                rom_.size(), device_memory(board, rom_, false)) {
  board.ports.attach(devices::kPortVga, Vga::kPortsSize, vga_, Vga::kPorts);
  board.ports.attach(devices::kPortVbe, Vga::kDispiPortsSize, vga_, Vga::kDispiPorts);
  board.memory.add_hole(devices::kVgaWindow, Vga::kWindowSize);
  board.mmio.attach(devices::kVgaWindow, Vga::kWindowSize, vga_, Vga::kWindow);
  board.pci.insert(devices::kPciSlotVga, 0, function_);
}

// Bytes of a device that appear in the guest's memory at a base address register.
PciFunction::Mapper Display::device_memory(const Board& board, std::span<u8> bytes, bool writable) {
  return [&memory = board.memory, remapped = board.remapped, bytes, writable,
          at = std::optional<u64>()](std::optional<u64> base) mutable {
    if (at) memory.unmap_device(*at);
    at = base && memory.map_device(*base, bytes, writable) ? base : std::nullopt;
    remapped();
    return at == base;
  };
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
