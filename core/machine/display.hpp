// The machine's screen: the VGA on the board, and what viewers (VNC, terminal, control socket) see of it.
// Viewers call it from their own threads; pictures are drawn there, without holding up the guest.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "devices/pci_bus.hpp"
#include "devices/vga/function.hpp"
#include "devices/vga/scanout.hpp"
#include "devices/vga/vga.hpp"
#include "mmu/physical_memory.hpp"

namespace doppel::machine {

// The option ROM of Debian's seabios package; empty if it is not installed.
[[nodiscard]] std::vector<u8> installed_video_bios();

class Display {
 public:
  // What the VGA is wired to.
  struct Board {
    core::Bus& ports;
    core::Bus& mmio;
    mmu::PhysicalMemory& memory;
    devices::PciBus& pci;
    core::Clock& clock;
    core::Counters& counters;
    std::recursive_mutex& device_lock;
    std::function<void()> remapped;  // device memory moved: cached translations are stale
  };

  // `video_bios` has a power of two of bytes, or none.
  Display(const Board& board, std::vector<u8> video_bios);

  [[nodiscard]] core::Device& device() { return vga_; }
  // Mode 3 with the video BIOS' font, for machines that start without firmware.
  void set_text_mode();

  // --- For viewers, on any thread.
  [[nodiscard]] devices::vga::Mode mode() const;
  // The picture now. `blinking` shows blinking things as they are at this moment, else all of them.
  void draw(devices::vga::Surface& surface, bool blinking) const;
  [[nodiscard]] std::optional<devices::vga::TextScreen> text() const;

 private:
  [[nodiscard]] devices::vga::Registers registers() const;

  core::Clock& clock_;
  std::recursive_mutex& lock_;
  std::vector<u8> rom_;
  devices::vga::Vga vga_;
  devices::vga::Function function_;
};

}  // namespace doppel::machine
