#include "devices/pci_function.hpp"

#include <bit>
#include <stdexcept>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

constexpr u8 kPciRevision = 0x08, kPciHeaderType = 0x0e, kPciSubsystem = 0x2c;
constexpr u8 kStatusInterrupt = 1u << 3, kStatusCapabilities = 1u << 4;  // low byte of the status register
constexpr u32 kMemory64Type = 2u << 1, kPrefetchable = 1u << 3, kPortSpace = 1, kRomEnable = 1;
constexpr u64 kPortSpaceEnd = 0x1'0000;

u64 smallest(BarKind kind) {
  return kind == BarKind::kPort ? 4 : kind == BarKind::kRom ? 2048 : 16;
}

// The read-only low bits of a base address register: what kind it is.
u32 type_bits(BarKind kind) {
  switch (kind) {
    case BarKind::kPort:
      return kPortSpace;
    case BarKind::kPrefetchable32:
      return kPrefetchable;
    case BarKind::kMemory64:
      return kMemory64Type;
    default:
      return 0;
  }
}

u32 little_endian(const std::array<u8, 256>& bytes, u32 offset, u32 width) {
  u32 value = 0;
  for (u32 i = 0; i < width; ++i) value |= u32{bytes[offset + i]} << i * 8;
  return value;
}

}  // namespace

PciFunction::PciFunction(const Identity& identity) {
  define(0, 4, u32{identity.device} << 16 | identity.vendor, 0);
  define(kPciCommand, 2, 0,
         kPciCommandIo | kPciCommandMemory | kPciCommandBusMaster | kPciCommandIntxDisable);
  define(kPciRevision, 4, identity.class_code << 8 | identity.revision, 0);
  define(0x0c, 2, 0, 0xffff);  // cache line size, latency timer
  define(kPciHeaderType, 1, identity.header_type, 0);
  define(kPciSubsystem, 4, u32{identity.subsystem} << 16 | identity.subsystem_vendor, 0);
  define(kPciInterruptLine, 2, u32{identity.interrupt_pin} << 8, 0xff);
}

void PciFunction::define(u8 offset, u32 width, u32 value, u32 writable) {
  DOPPEL_CHECK(width <= 256u - offset, "configuration register {:#x}", offset);
  for (u32 i = 0; i < width; ++i) {
    initial_[offset + i] = config_[offset + i] = static_cast<u8>(value >> i * 8);
    writable_[offset + i] = static_cast<u8>(writable >> i * 8);
  }
}

u8 PciFunction::add_capability(u8 id, u32 size) {
  const u32 offset = free_for_capabilities_;
  free_for_capabilities_ += (size + 3) / 4 * 4;
  DOPPEL_CHECK(free_for_capabilities_ <= config_.size(), "no room for PCI capability {:#x}", id);
  define(kPciStatus, 1, initial_[kPciStatus] | kStatusCapabilities, 0);
  define(last_link_, 1, offset, 0);
  define(static_cast<u8>(offset), 2, id, 0);
  last_link_ = static_cast<u8>(offset + 1);
  return static_cast<u8>(offset);
}

void PciFunction::add_bar(u32 index, BarKind kind, u64 size, Mapper mapper) {
  const bool wide = kind == BarKind::kMemory64;
  const bool rom = kind == BarKind::kRom;
  DOPPEL_CHECK(
      std::has_single_bit(size) && size >= smallest(kind) && (rom ? index == kPciRomBar : index + wide < 6),
      "BAR {} of {:#x} bytes", index, size);
  const u8 offset = static_cast<u8>(kPciBar0 + index * 4);
  const u64 writable = ~(size - 1);
  define(offset, 4, type_bits(kind), static_cast<u32>(writable) | (rom ? kRomEnable : 0));
  if (wide) define(static_cast<u8>(offset + 4), 4, 0, static_cast<u32>(writable >> 32));
  bars_.push_back({kind, offset, size, std::move(mapper), std::nullopt});
}

PciFunction::Mapper PciFunction::attach_to(core::Bus& bus, core::Device& device, u64 size, u64 offset) {
  return [&bus, &device, size, offset, at = std::optional<u64>()](std::optional<u64> base) mutable {
    if (at) bus.detach(*at);
    at.reset();
    if (!base) return true;
    try {
      bus.attach(*base, size, device, offset);
    } catch (const std::invalid_argument& error) {
      core::log(core::LogCategory::kPci, "{}", error.what());
      return false;
    }
    at = base;
    return true;
  };
}

void PciFunction::reset() {
  config_ = initial_;
  intx_ = false;
  update_intx();
  update_bars();
}

u32 PciFunction::config_read(u8 offset, u32 width) {
  return little_endian(config_, offset, width);
}

void PciFunction::config_write(u8 offset, u32 width, u32 value) {
  for (u32 i = 0; i < width; ++i) {
    const u8 mask = writable_[offset + i];
    u8& byte = config_[offset + i];
    byte = static_cast<u8>((byte & ~mask) | (value >> i * 8 & mask));
  }
  update_intx();
}

u16 PciFunction::command() const {
  return static_cast<u16>(little_endian(config_, kPciCommand, 2));
}

// Where the registers want the BAR: nowhere while decoding is off, at address 0, or past the end of its
// space (what sizing a BAR leaves there for a moment).
std::optional<u64> PciFunction::wanted(const Bar& bar) const {
  const bool port = bar.kind == BarKind::kPort;
  if (!(command() & (port ? kPciCommandIo : kPciCommandMemory))) return std::nullopt;
  const u32 value = little_endian(config_, bar.offset, 4);
  if (bar.kind == BarKind::kRom && !(value & kRomEnable)) return std::nullopt;
  u64 base = value & ~(smallest(bar.kind) - 1);
  if (bar.kind == BarKind::kMemory64) base |= u64{little_endian(config_, bar.offset + 4u, 4)} << 32;
  const u64 last = base + (bar.size - 1);
  if (base == 0 || last < base || (port && last >= kPortSpaceEnd)) return std::nullopt;
  return base;
}

void PciFunction::update_bars() {
  for (Bar& bar : bars_) {
    const std::optional<u64> base = wanted(bar);
    if (base == bar.mapped) continue;
    bar.mapped = bar.mapper(base) ? base : std::nullopt;
    if (bar.mapped == base)
      core::log(core::LogCategory::kPci, "BAR at {:#x} of {:04x}:{:04x} is now at {:#x}", bar.offset,
                little_endian(config_, 0, 2), little_endian(config_, 2, 2), base.value_or(0));
  }
}

void PciFunction::set_intx(bool asserted) {
  intx_ = asserted;
  update_intx();
}

// The status bit shows the device's wish even while the wire is disabled (PCI 3.0, "Device Status").
void PciFunction::update_intx() {
  config_[kPciStatus] =
      static_cast<u8>((config_[kPciStatus] & ~kStatusInterrupt) | (intx_ ? kStatusInterrupt : 0));
  const bool driven = intx_ && !(command() & kPciCommandIntxDisable);
  if (driven == intx_driven_) return;
  intx_driven_ = driven;
  if (wire_) wire_(driven);
}

void PciFunction::snapshot(core::SnapshotIo& io) {
  io.field("config", config_);
  io.field("intx", intx_);
  if (!io.loading()) return;
  // Read-only bits come from this machine, whatever the stream says.
  for (u32 i = 0; i < config_.size(); ++i)
    config_[i] = static_cast<u8>((config_[i] & writable_[i]) | (initial_[i] & ~writable_[i]));
  update_intx();
  update_bars();
}

}  // namespace doppel::devices
