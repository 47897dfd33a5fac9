// One function of a PCI device: 256 bytes of configuration space with write masks, base address registers
// that attach a device's registers to the port or MMIO bus wherever the guest puts them, and one INTx pin. A
// device model derives from this or holds one; PciBus finds it by slot and function. It knows no other
// function. Source: PCI Local Bus Specification 3.0, chapter 6.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "core/bus.hpp"
#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

// Offsets in the configuration header.
inline constexpr u8 kPciCommand = 0x04, kPciStatus = 0x06, kPciBar0 = 0x10, kPciCapabilities = 0x34,
                    kPciInterruptLine = 0x3c, kPciInterruptPin = 0x3d;
inline constexpr u16 kPciCommandIo = 1u << 0, kPciCommandMemory = 1u << 1, kPciCommandBusMaster = 1u << 2,
                     kPciCommandIntxDisable = 1u << 10;

enum class BarKind : u8 {
  kPort,
  kMemory32,
  kPrefetchable32,  // kMemory32 whose reads have no side effects
  kMemory64,        // takes two registers
  kRom,             // the expansion ROM: index kPciRomBar
};
inline constexpr u32 kPciRomBar = 8;  // 0x30 as an index like those of the other base address registers

class PciFunction {
 public:
  struct Identity {
    u16 vendor = 0, device = 0;
    u32 class_code = 0;  // base class, subclass, interface: 0xbbssii
    u8 revision = 0;
    u8 header_type = 0;  // bit 7: the device has more functions
    u16 subsystem_vendor = 0, subsystem = 0;
    u8 interrupt_pin = 0;  // 1: INTA ... 4: INTD; 0: none
  };
  // Puts a BAR's registers at an address, or nowhere. False: that place is taken; asked again later.
  using Mapper = std::function<bool(std::optional<u64> base)>;

  explicit PciFunction(const Identity& identity);
  PciFunction(const PciFunction&) = delete;
  PciFunction& operator=(const PciFunction&) = delete;
  virtual ~PciFunction() = default;

  // --- Set-up, before the guest runs. `size` is a power of two, at least 4 (ports), 16 (memory) or 2048
  // (ROM).
  void add_bar(u32 index, BarKind kind, u64 size, Mapper mapper);
  // Initial value (kept over reset) and the bits the guest may change. `width` bytes at `offset`.
  void define(u8 offset, u32 width, u32 value, u32 writable);
  // Links a capability of `size` bytes, ID and pointer included, into the list; returns its offset. The
  // caller defines what follows the first two bytes.
  [[nodiscard]] u8 add_capability(u8 id, u32 size);
  // The mapper that attaches `device` to `bus` for `size` bytes, as offsets from `offset`. Both outlive it.
  [[nodiscard]] static Mapper attach_to(core::Bus& bus, core::Device& device, u64 size, u64 offset = 0);

  // --- For PciBus.
  // All BARs unmapped, the power-on contents.
  virtual void reset();
  // width 1, 2 or 4, inside the 256 bytes.
  [[nodiscard]] virtual u32 config_read(u8 offset, u32 width);
  virtual void config_write(u8 offset, u32 width, u32 value);
  // Maps what the registers ask for and is not mapped yet.
  void update_bars();
  void on_intx(std::function<void(bool)> wire) { wire_ = std::move(wire); }
  virtual void snapshot(core::SnapshotIo& io);

  // --- For the device model.
  void set_intx(bool asserted);
  [[nodiscard]] bool bus_master() const { return command() & kPciCommandBusMaster; }
  [[nodiscard]] u8 interrupt_pin() const { return config_[kPciInterruptPin]; }

 private:
  struct Bar {
    BarKind kind;
    u8 offset;
    u64 size;
    Mapper mapper;
    std::optional<u64> mapped;
  };

  static constexpr u8 kFirstCapability = 0x40;

  [[nodiscard]] u16 command() const;
  [[nodiscard]] std::optional<u64> wanted(const Bar& bar) const;
  void update_intx();

  std::array<u8, 256> config_{}, initial_{}, writable_{};
  std::vector<Bar> bars_;
  u8 last_link_ = kPciCapabilities;  // the byte that points to the next capability
  u32 free_for_capabilities_ = kFirstCapability;
  std::function<void(bool)> wire_;
  bool intx_ = false;         // what the device model asks for
  bool intx_driven_ = false;  // what the wire carries, after the disable bit
};

}  // namespace doppel::devices
