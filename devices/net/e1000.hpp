// Intel's 82540EM network card, the "e1000": a PCI function with its registers in a memory BAR and behind two
// ports, an EEPROM, a PHY whose link is always up, and a ring of descriptors each way. Exchanges frames with
// a NetPort, as virtio's card does: all of it runs under the device lock, frames move on the vCPU's thread.
// Source: Intel 317453, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual".
#pragma once

#include <array>
#include <memory>
#include <optional>

#include "core/bus.hpp"
#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/device.hpp"
#include "core/guest_ram.hpp"
#include "devices/net/e1000_eeprom.hpp"
#include "devices/net/e1000_phy.hpp"
#include "devices/net/e1000_registers.hpp"
#include "devices/net/net_port.hpp"
#include "devices/net/segmentation.hpp"
#include "devices/pci_function.hpp"

namespace doppel::devices {

class E1000 final : public PciFunction, public core::Device {
 public:
  // What the card is plugged into; `mmio` and `ports` are where its BARs appear.
  struct Slot {
    core::GuestRam& ram;
    core::Bus& mmio;
    core::Bus& ports;
    core::Clock& clock;
  };

  // `port` outlives it and is its alone.
  E1000(NetPort& port, const MacAddress& mac, const Slot& slot, core::Counters& counters);

  // PciFunction's; also core::Device's.
  void reset() override;
  void snapshot(core::SnapshotIo& io) override;
  void config_write(u8 offset, u32 width, u32 value) override;

  // core::Device: the registers in the BARs; kIoAddr and kIoData after the memory.
  [[nodiscard]] std::string_view name() const override { return "e1000"; }
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;

 private:
  // Descriptors of one direction; `first` is the register of their base (kRdbal or kTdbal).
  struct Ring {
    u64 base;
    std::span<u8> memory;
    u32 size, head, tail;  // in descriptors; head and tail lie within
    [[nodiscard]] u32 filled() const { return (tail + size - head) % size; }
    void step() { head = head + 1 == size ? 0 : head + 1; }
    [[nodiscard]] std::span<u8> descriptor() const {
      return memory.subspan(head * e1000::kDescriptorSize, e1000::kDescriptorSize);
    }
  };
  // A packet that is being put together from descriptors.
  struct Packet {
    NetFrame frame;
    bool begun = false, bad = false, cut = false;
    u8 options = 0;  // POPTS
    std::optional<u16> vlan;
  };
  struct Statistics {
    u32 frames, good_frames, octets, good_octets, broadcast, multicast, sizes;  // registers
  };

  [[nodiscard]] u32& reg(u32 offset) { return registers_[offset / 4]; }
  [[nodiscard]] u32 reg(u32 offset) const { return registers_[offset / 4]; }
  void reset_mac();

  // --- Registers, 32 bits wide.
  [[nodiscard]] u32 read_register(u32 offset);
  void write_register(u32 offset, u32 value);
  void write_ctrl(u32 value);
  [[nodiscard]] u32 read_statistic(u32 offset);
  [[nodiscard]] u64 read_ports(u64 offset, u32 width);
  void write_ports(u64 offset, u32 width, u32 value);
  u32 unknown(std::string_view what, u64 offset, u32 width);

  // --- Interrupts.
  void raise(u32 causes);
  void update_interrupt();

  // --- Rings. Nothing: there is none, or it makes no sense.
  [[nodiscard]] std::optional<Ring> ring(u32 first);
  // The device's last word on the current descriptor.
  void finish(const Ring& ring, u8 status);

  // --- e1000_transmit.cpp
  void transmit();
  void take(std::span<const u8> descriptor);
  void take_context(std::span<const u8> descriptor);
  void append(u64 address, u32 length);
  void send_packet();
  void send(NetFrame frame);

  // --- e1000_receive.cpp
  void receive();
  // What the address filters say; `inexact`: somebody else may be meant.
  [[nodiscard]] bool wanted(const NetFrame& frame, bool& inexact);
  [[nodiscard]] bool address_matches(std::span<const u8> to, bool& inexact) const;
  [[nodiscard]] bool vlan_matches(const NetFrame& frame) const;
  [[nodiscard]] bool is_tagged(const NetFrame& frame) const;
  // False: it waits for descriptors.
  [[nodiscard]] bool place(Ring& ring, const NetFrame& frame, bool inexact);
  [[nodiscard]] u32 buffer_size() const;

  void count(u32 statistic, u32 by = 1);
  void count_octets(u32 low, u64 octets);
  void count_frame(const Statistics& statistics, std::span<const u8> frame);

  NetPort& port_;
  core::GuestRam& ram_;
  core::Clock& clock_;
  core::Counters::Counter &unknown_, &sent_, &received_, &dropped_, &bad_dma_;
  std::unique_ptr<core::Timer> throttle_;
  e1000::Eeprom eeprom_;
  e1000::Phy phy_;
  std::array<u32, e1000::kRegistersEnd / 4> registers_{};
  u32 io_address_ = 0;
  u64 quiet_until_ = 0;  // no interrupt before this time
  bool asserted_ = false;
  TransmitContext checksum_context_, cut_context_;
  Packet packet_;
};

}  // namespace doppel::devices
