#include "devices/net/e1000.hpp"

#include <atomic>

namespace doppel::devices {

using namespace e1000;

namespace {

constexpr u64 kItrUnitNs = 256;

void snapshot_checksum(core::SnapshotIo& io, ChecksumFields& fields) {
  io.field("start", fields.start);
  io.field("offset", fields.offset);
  io.field("end", fields.end);
}

void snapshot_context(core::SnapshotIo& io, TransmitContext& context) {
  snapshot_checksum(io, context.ip);
  snapshot_checksum(io, context.tcp);
  io.field("segment", context.segment);
  io.field("header", context.header);
  io.field("is_tcp", context.is_tcp);
  io.field("is_ipv4", context.is_ipv4);
}

}  // namespace

E1000::E1000(NetPort& port, const MacAddress& mac, const Slot& slot, core::Counters& counters)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x100e,
                   .class_code = 0x02'0000,
                   .revision = 3,
                   .subsystem_vendor = 0x8086,
                   .subsystem = 0x001e,
                   .interrupt_pin = 1}),
      port_(port),
      ram_(slot.ram),
      clock_(slot.clock),
      unknown_(counters["e1000.unknown"]),
      sent_(counters["e1000.sent"]),
      received_(counters["e1000.received"]),
      dropped_(counters["e1000.dropped"]),
      bad_dma_(counters["e1000.bad_dma"]),
      throttle_(slot.clock.make_timer([this] { update_interrupt(); })),
      eeprom_(mac) {
  add_bar(0, BarKind::kMemory32, kMemorySize, attach_to(slot.mmio, *this, kMemorySize));
  add_bar(1, BarKind::kPort, kPortsSize, attach_to(slot.ports, *this, kPortsSize, kMemorySize));
  port_.attach({.received = [this] { receive(); }, .room = [this] { transmit(); }});
  reset();
}

void E1000::reset() {
  PciFunction::reset();
  eeprom_.reset();
  phy_.reset();
  io_address_ = 0;
  reset_mac();
}

// What waited for the right to master the bus goes on.
void E1000::config_write(u8 offset, u32 width, u32 value) {
  const bool before = bus_master();
  PciFunction::config_write(offset, width, value);
  if (before || !bus_master()) return;
  transmit();
  receive();
}

void E1000::raise(u32 causes) {
  reg(kIcr) |= causes & kIntAll;
  update_interrupt();
}

// INTA follows ICR and IMS; it falls at once, and rises again only after what ITR asks for (13.4.18).
void E1000::update_interrupt() {
  if (!(reg(kIcr) & reg(kIms))) {
    throttle_->cancel();
    asserted_ = false;
    set_intx(false);
    return;
  }
  if (asserted_) return;
  const u64 now = clock_.now();
  if (now < quiet_until_) return throttle_->arm(quiet_until_);
  asserted_ = true;
  quiet_until_ = now + reg(kItr) * kItrUnitNs;
  set_intx(true);
}

std::optional<E1000::Ring> E1000::ring(u32 first) {
  if (!bus_master()) return std::nullopt;
  const auto field = [&](u32 of_receive) { return reg(first + (of_receive - kRdbal)); };
  const u64 base = field(kRdbal) | u64{field(kRdbah)} << 32;
  const Ring ring{base, ram_.span(base, field(kRdlen)), field(kRdlen) / kDescriptorSize, field(kRdh),
                  field(kRdt)};
  // Were the head to run after a tail outside the ring, it would never meet it.
  if (ring.memory.empty() || ring.head >= ring.size || ring.tail >= ring.size) return std::nullopt;
  return ring;
}

void E1000::finish(const Ring& ring, u8 status) {
  // Another processor may be waiting for it: everything else is there before.
  std::atomic_ref(ring.descriptor()[kDescriptorStatus]).store(status, std::memory_order_release);
  ram_.written_in_place(ring.base + ring.head * kDescriptorSize, kDescriptorSize);
}

void E1000::snapshot(core::SnapshotIo& io) {
  PciFunction::snapshot(io);
  eeprom_.snapshot(io);
  phy_.snapshot(io);
  io.field("registers", registers_);
  io.field("io_address", io_address_);
  io.field("quiet_until", quiet_until_);
  snapshot_context(io, checksum_context_);
  snapshot_context(io, cut_context_);
  u64 size = packet_.frame.bytes.size();
  io.field("packet_size", size);
  if (size > kLargestPacket) throw core::SnapshotError("snapshot: a packet larger than the e1000 sends");
  packet_.frame.bytes.resize(size);
  if (size != 0) io.bytes("packet", {packet_.frame.bytes.data(), size});
  io.field("begun", packet_.begun);
  io.field("bad", packet_.bad);
  io.field("cut", packet_.cut);
  io.field("options", packet_.options);
  bool has_vlan = packet_.vlan.has_value();
  u16 vlan = packet_.vlan.value_or(0);
  io.field("has_vlan", has_vlan);
  io.field("vlan", vlan);
  if (!io.loading()) return;
  packet_.vlan = has_vlan ? std::optional(vlan) : std::nullopt;
  asserted_ = false;
  update_interrupt();
}

}  // namespace doppel::devices
