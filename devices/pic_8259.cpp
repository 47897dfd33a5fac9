#include "devices/pic_8259.hpp"

#include "devices/snapshot_flag.hpp"

namespace doppel::devices {

namespace {

constexpr u8 kCascadeLine = 2;
constexpr u8 kSpuriousLine = 7;
// The timer, keyboard, cascade, RTC and FPU lines are always edge-triggered (ICH9, ELCR1 and ELCR2).
constexpr u8 kMasterLevelCapable = 0xf8;
constexpr u8 kSlaveLevelCapable = 0xde;

constexpr u8 bit(u8 line) {
  return static_cast<u8>(1u << line);
}

}  // namespace

void Pic8259::reset() {
  const u8 lines = lines_;
  *this = Pic8259(level_capable_);
  lines_ = lines;
  masked_ = 0xff;  // nothing may interrupt before the chip is initialised
}

void Pic8259::set_line(u8 line, bool level) {
  const u8 mask = bit(line);
  if (level && !(lines_ & mask) && !(level_ & mask)) edges_ |= mask;
  lines_ = static_cast<u8>(level ? lines_ | mask : lines_ & ~mask);
}

std::optional<u8> Pic8259::pending() const {
  const u8 requests = irr() & ~masked_;
  if (requests == 0) return {};
  // In special mask mode a masked line in service holds back nobody (8259A, "Special Mask Mode").
  const u8 blocking = special_mask_ ? service_ & ~masked_ : service_;
  for (u8 rank = 0; rank < 8; ++rank) {
    const u8 line = by_priority(rank);
    const bool requested = requests & bit(line);
    if (blocking & bit(line)) {
      // Special fully nested: the slave may interrupt its own service with something more urgent.
      if (special_fully_nested_ && requested && bit(line) == kCascadeBit) return line;
      return {};
    }
    if (requested) return line;
  }
  return {};
}

std::optional<u8> Pic8259::acknowledge() {
  const auto line = pending();
  if (!line) return {};
  edges_ &= static_cast<u8>(~bit(*line));
  if (!auto_eoi_)
    service_ |= bit(*line);
  else if (rotate_on_auto_eoi_)
    lowest_ = *line;
  return line;
}

u8 Pic8259::read_poll() {
  poll_ = false;
  const auto line = acknowledge();
  return line ? static_cast<u8>(0x80 | *line) : kSpuriousLine;
}

u8 Pic8259::read(bool a0) {
  if (poll_) return read_poll();
  if (a0) return masked_;
  return read_isr_ ? service_ : irr();
}

void Pic8259::write(bool a0, u8 value) {
  if (a0)
    write_data(value);
  else if (value & 0x10)
    write_icw1(value);
  else if (value & 0x08)
    write_ocw3(value);
  else
    write_ocw2(value);
}

void Pic8259::write_icw1(u8 value) {
  // LTIM (bit 3) is replaced by the ELCR in a PC.
  edges_ = masked_ = service_ = 0;
  lowest_ = 7;
  special_mask_ = read_isr_ = poll_ = false;
  auto_eoi_ = rotate_on_auto_eoi_ = special_fully_nested_ = false;
  single_ = value & 0x02;
  wants_icw4_ = value & 0x01;
  expect_ = Expect::kIcw2;
}

void Pic8259::write_data(u8 value) {
  const Expect after_icw3 = wants_icw4_ ? Expect::kIcw4 : Expect::kOcw1;
  switch (expect_) {
    case Expect::kIcw2:
      vector_base_ = value & 0xf8;
      expect_ = single_ ? after_icw3 : Expect::kIcw3;
      break;
    case Expect::kIcw3:
      expect_ = after_icw3;
      break;
    case Expect::kIcw4:
      auto_eoi_ = value & 0x02;
      special_fully_nested_ = value & 0x10;
      expect_ = Expect::kOcw1;
      break;
    case Expect::kOcw1:
      masked_ = value;
      break;
  }
}

void Pic8259::write_ocw2(u8 value) {
  const bool rotate = value & 0x80;
  const bool specific = value & 0x40;
  const bool eoi = value & 0x20;
  const u8 named = value & 7;

  if (!eoi) {
    if (!specific)
      rotate_on_auto_eoi_ = rotate;
    else if (rotate)
      lowest_ = named;  // set priority
    return;
  }
  std::optional<u8> line;
  if (specific) {
    line = named;
  } else {
    // A masked line in service survives this in special mask mode (8259A, "End of Interrupt").
    const u8 candidates = special_mask_ ? service_ & ~masked_ : service_;
    for (u8 rank = 0; rank < 8 && !line; ++rank)
      if (candidates & bit(by_priority(rank))) line = by_priority(rank);
  }
  if (!line) return;
  service_ &= static_cast<u8>(~bit(*line));
  if (rotate) lowest_ = *line;
}

void Pic8259::write_ocw3(u8 value) {
  if (value & 0x40) special_mask_ = value & 0x20;
  if (value & 0x02) read_isr_ = value & 0x01;
  poll_ = value & 0x04;
}

void Pic8259::snapshot(core::SnapshotIo& io) {
  io.field("lines", lines_);
  io.field("edges", edges_);
  io.field("level", level_);
  io.field("masked", masked_);
  io.field("service", service_);
  io.field("vector_base", vector_base_);
  io.field("lowest", lowest_);
  u8 expect = static_cast<u8>(expect_);
  io.field("expect", expect);
  expect_ = static_cast<Expect>(expect & 3);
  level_ &= level_capable_;
  vector_base_ &= 0xf8;
  lowest_ &= 7;
  snapshot_flag(io, "single", single_);
  snapshot_flag(io, "wants_icw4", wants_icw4_);
  snapshot_flag(io, "read_isr", read_isr_);
  snapshot_flag(io, "poll", poll_);
  snapshot_flag(io, "special_mask", special_mask_);
  snapshot_flag(io, "auto_eoi", auto_eoi_);
  snapshot_flag(io, "rotate_on_auto_eoi", rotate_on_auto_eoi_);
  snapshot_flag(io, "special_fully_nested", special_fully_nested_);
}

Pic8259Pair::Pic8259Pair(core::IrqLine intr, core::Counters& counters)
    : ByteDevice(counters, "pic_8259"),
      intr_(std::move(intr)),
      master_(kMasterLevelCapable),
      slave_(kSlaveLevelCapable) {
  reset();
}

void Pic8259Pair::reset() {
  master_.reset();
  slave_.reset();
  propagate();
}

void Pic8259Pair::set_irq(u8 line, bool level) {
  if (line == kCascadeLine || line > 15) return;
  (line < 8 ? master_ : slave_).set_line(line & 7, level);
  propagate();
}

u8 Pic8259Pair::acknowledge() {
  const auto line = master_.acknowledge();
  u8 vector = master_.vector(line.value_or(kSpuriousLine));
  if (line == kCascadeLine) {
    vector = slave_.vector(slave_.acknowledge().value_or(kSpuriousLine));
    master_.set_line(kCascadeLine, false);  // INT falls during INTA; another request is another edge
  }
  intr_.set(false);
  propagate();
  core::log(core::LogCategory::kInterrupt, "pic_8259: vector {:#x}", vector);
  return vector;
}

void Pic8259Pair::propagate() {
  master_.set_line(kCascadeLine, slave_.pending().has_value());
  intr_.set(master_.pending().has_value());
}

u8 Pic8259Pair::read_byte(u64 offset) {
  if (offset > 5) return unknown_read(offset);
  if (offset == 4) return master_.elcr();
  if (offset == 5) return slave_.elcr();
  const u8 value = (offset < 2 ? master_ : slave_).read(offset & 1);
  propagate();  // a polled read acknowledges
  return value;
}

void Pic8259Pair::write_byte(u64 offset, u8 value) {
  if (offset > 5) return unknown_write(offset, value);
  if (offset == 4)
    master_.set_elcr(value);
  else if (offset == 5)
    slave_.set_elcr(value);
  else
    (offset < 2 ? master_ : slave_).write(offset & 1, value);
  propagate();
}

void Pic8259Pair::snapshot(core::SnapshotIo& io) {
  master_.snapshot(io);
  slave_.snapshot(io);
  if (io.loading()) propagate();
}

}  // namespace doppel::devices
