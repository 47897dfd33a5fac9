#include "devices/dma_8237.hpp"

#include <utility>

namespace doppel::devices {

namespace {

enum Register : u32 {
  kCommandStatus = 8,
  kRequest = 9,
  kSingleMask = 10,
  kMode = 11,
  kClearFlipFlop = 12,
  kMasterClear = 13,
  kClearMask = 14,
  kAllMask = 15,
};

constexpr u8 kControllerOff = 1u << 2;  // command
constexpr u8 kAutoInitialize = 1u << 4, kDecrement = 1u << 5;
constexpr u8 kTransferType = 3u << 2, kVerify = 0u << 2, kWriteMemory = 1u << 2, kReadMemory = 2u << 2;
constexpr u8 kCascade = 3u << 6;  // a mode that moves nothing itself

// The port (0x80 + n) of each channel's page register.
constexpr std::array<u8, 8> kPageOfChannel = {0x7, 0x3, 0x1, 0x2, 0xf, 0xb, 0x9, 0xa};

}  // namespace

Dma8237::Dma8237(core::GuestRam& ram, core::Counters& counters)
    : ByteDevice(counters, "dma_8237"), ram_(ram) {}

void Dma8237::reset() {
  controllers_ = {};
  pages_.fill(0);
}

Dma8237::Moved Dma8237::transfer(u32 channel, std::span<u8> bytes, DmaDirection direction) {
  Moved moved;
  Controller& controller = controllers_[channel / 4 % 2];
  const u32 index = channel % 4;
  const u8 mode = controller.channels[index].mode, type = mode & kTransferType;
  const u8 wanted = direction == DmaDirection::kToMemory ? kWriteMemory : kReadMemory;
  if ((controller.command & kControllerOff) || (controller.mask >> index & 1) ||
      (mode & kCascade) == kCascade || (type != kVerify && type != wanted))
    return moved;

  const std::size_t unit = channel < 4 ? 1 : 2;
  while (!moved.terminal_count && bytes.size() - moved.bytes >= unit) {
    const std::span<u8> part = bytes.subspan(moved.bytes, unit);
    const u64 address = address_of(channel);
    if (type == kWriteMemory)
      static_cast<void>(ram_.write(address, part));
    else if (type == kReadMemory && !ram_.read(address, part))
      std::fill(part.begin(), part.end(), u8{0xff});
    moved.bytes += unit;
    step(controller, index, moved.terminal_count);
  }
  return moved;
}

// The page register gives the bits that the chip does not have; a word channel's chip counts words, and the
// lowest bit of its page is not used.
u64 Dma8237::address_of(u32 channel) const {
  const u64 address = controllers_[channel / 4].channels[channel % 4].address;
  const u64 page = pages_[kPageOfChannel[channel]];
  return channel < 4 ? page << 16 | address : (page & 0xfe) << 16 | address << 1;
}

// After each unit; the count runs out when it passes zero.
void Dma8237::step(Controller& controller, u32 index, bool& terminal_count) {
  Channel& channel = controller.channels[index];
  channel.address = static_cast<u16>(channel.mode & kDecrement ? channel.address - 1 : channel.address + 1);
  terminal_count = channel.count-- == 0;
  if (!terminal_count) return;
  const u8 bit = static_cast<u8>(1u << index);
  controller.terminal |= bit;
  controller.requests &= static_cast<u8>(~bit);
  if (channel.mode & kAutoInitialize) {
    channel.address = channel.base_address;
    channel.count = channel.base_count;
  } else {
    controller.mask |= bit;
  }
}

u8 Dma8237::read_byte(u64 offset) {
  if (offset < 0x10) return read_register(controllers_[0], static_cast<u32>(offset));
  if (offset >= kSecondController && offset < kPages)
    return read_register(controllers_[1], static_cast<u32>(offset - kSecondController) / 2);
  if (offset >= kPages && offset < kPages + pages_.size()) return pages_[offset - kPages];
  return unknown_read(offset);
}

void Dma8237::write_byte(u64 offset, u8 value) {
  if (offset < 0x10)
    write_register(controllers_[0], static_cast<u32>(offset), value);
  else if (offset >= kSecondController && offset < kPages)
    write_register(controllers_[1], static_cast<u32>(offset - kSecondController) / 2, value);
  else if (offset >= kPages && offset < kPages + pages_.size())
    pages_[offset - kPages] = value;
  else
    unknown_write(offset, value);
}

u8 Dma8237::read_register(Controller& controller, u32 index) {
  if (index < 8) {
    const Channel& channel = controller.channels[index / 2];
    const u16 value = index % 2 ? channel.count : channel.address;
    return static_cast<u8>(std::exchange(controller.high_byte, !controller.high_byte) ? value >> 8 : value);
  }
  switch (index) {
    case kCommandStatus:  // reading it clears the terminal counts
      return static_cast<u8>(std::exchange(controller.terminal, u8{0}) | controller.requests << 4);
    case kMasterClear:
      return 0;  // the temporary register: there are no transfers from memory to memory
    case kAllMask:
      return controller.mask | 0xf0;
    default:
      return unknown_read(index);
  }
}

void Dma8237::write_register(Controller& controller, u32 index, u8 value) {
  const u8 bit = static_cast<u8>(1u << (value & 3));
  const auto set_bit = [&](u8& bits) { bits = static_cast<u8>(value & 4 ? bits | bit : bits & ~bit); };
  if (index < 8) {
    Channel& channel = controller.channels[index / 2];
    u16& base = index % 2 ? channel.base_count : channel.base_address;
    const bool high = std::exchange(controller.high_byte, !controller.high_byte);
    base = static_cast<u16>(high ? (base & 0xff) | value << 8 : (base & 0xff00) | value);
    (index % 2 ? channel.count : channel.address) = base;
    return;
  }
  switch (index) {
    case kCommandStatus:
      controller.command = value;
      break;
    case kRequest:
      set_bit(controller.requests);
      break;
    case kSingleMask:
      set_bit(controller.mask);
      break;
    case kMode:
      controller.channels[value & 3].mode = value & 0xfc;
      break;
    case kClearFlipFlop:
      controller.high_byte = false;
      break;
    case kMasterClear:
      controller.command = controller.terminal = controller.requests = 0;
      controller.high_byte = false;
      controller.mask = 0xf;
      break;
    case kClearMask:
      controller.mask = 0;
      break;
    case kAllMask:
      controller.mask = value & 0xf;
      break;
  }
}

void Dma8237::snapshot(core::SnapshotIo& io) {
  for (Controller& controller : controllers_) {
    for (Channel& channel : controller.channels) io.field("channel", channel);
    io.field("command", controller.command);
    io.field("mask", controller.mask);
    io.field("terminal", controller.terminal);
    io.field("requests", controller.requests);
    io.field("high_byte", controller.high_byte);
    controller.mask &= 0xf;
    controller.terminal &= 0xf;
    controller.requests &= 0xf;
  }
  io.field("pages", pages_);
}

}  // namespace doppel::devices
