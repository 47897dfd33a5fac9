#include "devices/vga/vga.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <system_error>

#include "core/guest_memory.hpp"
#include "core/log.hpp"
#include "devices/vga/text_mode.hpp"

namespace doppel::devices::vga {

namespace {

// Ports.
constexpr u16 kFirstPort = 0x3b0, kAttribute = 0x3c0, kAttributeRead = 0x3c1, kMiscWrite = 0x3c2,
              kEnable = 0x3c3, kSequencerIndex = 0x3c4, kSequencer = 0x3c5, kDacMask = 0x3c6,
              kDacReadIndex = 0x3c7, kDacWriteIndex = 0x3c8, kDac = 0x3c9, kFeatureRead = 0x3ca,
              kMiscRead = 0x3cc, kGraphicsIndex = 0x3ce, kGraphics = 0x3cf;
// At 0x3b0 with a monochrome display, at 0x3d0 with colours.
constexpr u16 kCrtcIndex = 4, kCrtc = 5, kStatusAndFeature = 10;

constexpr u8 kPaletteShown = 0x20;
constexpr u8 kStatusNotDisplaying = 1, kStatusRetrace = 8;
constexpr u8 kDacReads = 3;  // what the state register says

// The bits that exist.
constexpr u8 kSequencerBits[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
constexpr u8 kGraphicsBits[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
constexpr u8 kAttributeBits[32] = {0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                   0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};
constexpr u8 kCrtcRegisters = 0x19;
constexpr u8 kCrtcOverflow = 0x07, kCrtcRetraceEnd = 0x11, kCrtcProtect = 0x80, kLineCompareBit8 = 0x10;

u32 bits_at(u8 value, u32 from, u32 to) {
  return u32{value} >> from << to;
}

}  // namespace

Vga::Vga(core::Clock& clock, core::Counters& counters, u32 memory_size)
    : clock_(clock),
      unknown_reads_(counters["vga.unknown.read"]),
      unknown_writes_(counters["vga.unknown.write"]),
      memory_size_(memory_size) {
  DOPPEL_CHECK(std::has_single_bit(memory_size) && memory_size >= 256u << 10, "video memory of {:#x} bytes",
               memory_size);
  void* mapping = ::mmap(nullptr, memory_size_, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "video memory");
  memory_ = static_cast<u8*>(mapping);
  core::declare_guest_memory(memory_, memory_size_);
  reset();
}

Vga::~Vga() {
  ::munmap(memory_, memory_size_);
}

void Vga::reset() {
  r_ = Registers();
  r_.dispi.value[Dispi::kId] = Dispi::kNewestId;
  latch_ = 0;
  ::madvise(memory_, memory_size_, MADV_DONTNEED);  // zeros again
}

void Vga::set_text_mode(std::span<const u8> font) {
  apply_text_mode(r_);
  for (u32 cell = 0; cell < 80 * 25; ++cell) quad(cell * 2) = 0x0720;  // grey on black, blank
  for (u32 i = 0; i < font.size() && i < 256 * 16; ++i) memory_[(i / 16 * 32 + i % 16) * 4 + 2] = font[i];
}

// --- Dispatch by offset.

u64 Vga::read(u64 offset, u32 width) {
  const auto bytes = [&](auto one) {
    u64 value = 0;
    for (u32 i = 0; i < width; ++i) value |= u64{one(i)} << 8 * i;
    return value;
  };
  if (offset >= kWindow && offset - kWindow + width <= kWindowSize)
    return bytes([&](u32 i) { return read_window(static_cast<u32>(offset - kWindow) + i); });
  if (offset + width <= kPortsSize)
    return bytes([&](u32 i) { return read_port(static_cast<u16>(kFirstPort + offset + i)); });
  if (offset == kDispiPorts && width == 2) return r_.dispi.index;
  if ((offset == kDispiPorts + 1 || offset == kDispiPorts + 2) && width == 2)
    return read_dispi(r_.dispi.index);
  if (offset >= kRegisterBlock && offset - kRegisterBlock + width <= kRegisterBlockSize)
    return read_block(offset - kRegisterBlock, width);
  (void)unknown_read(offset);
  return ~u64{0};
}

void Vga::write(u64 offset, u32 width, u64 value) {
  const auto byte = [&](u32 i) { return static_cast<u8>(value >> 8 * i); };
  if (offset >= kWindow && offset - kWindow + width <= kWindowSize) {
    for (u32 i = 0; i < width; ++i) write_window(static_cast<u32>(offset - kWindow) + i, byte(i));
  } else if (offset + width <= kPortsSize) {
    for (u32 i = 0; i < width; ++i) write_port(static_cast<u16>(kFirstPort + offset + i), byte(i));
  } else if (offset == kDispiPorts && width == 2) {
    r_.dispi.index = static_cast<u16>(value);
  } else if ((offset == kDispiPorts + 1 || offset == kDispiPorts + 2) && width == 2) {
    write_dispi(r_.dispi.index, static_cast<u16>(value));
  } else if (offset >= kRegisterBlock && offset - kRegisterBlock + width <= kRegisterBlockSize) {
    write_block(offset - kRegisterBlock, width, value);
  } else {
    unknown_write(offset, value);
  }
}

u8 Vga::unknown_read(u64 offset) {
  ++unknown_reads_;
  core::log(core::LogCategory::kPort, "vga: read of unknown register {:#x}", offset);
  return 0xff;
}

void Vga::unknown_write(u64 offset, u64 value) {
  ++unknown_writes_;
  core::log(core::LogCategory::kPort, "vga: write of {:#x} to unknown register {:#x}", value, offset);
}

// --- Ports.

// The CRTC answers at one of two places.
bool Vga::answers(u16 port) const {
  return port >= kAttribute && port < 0x3d0 ? true : (port >= 0x3d0) == r_.colour();
}

u8 Vga::read_port(u16 port) {
  if (!answers(port)) return unknown_read(port);
  switch (port) {
    case kAttribute:
      return r_.attribute_index;
    case kAttributeRead:
      return r_.attribute[r_.attribute_index & 31];
    case kMiscWrite:  // input status 0: no interrupt, the switch sense of a colour display
      return 0x10;
    case kEnable:
      return 1;
    case kSequencerIndex:
      return r_.sequencer_index;
    case kSequencer:
      return r_.sequencer[r_.sequencer_index & 7];
    case kDacMask:
      return r_.dac_mask;
    case kDacReadIndex:
      return r_.dac_reading ? kDacReads : 0;
    case kDacWriteIndex:
      return r_.dac_write;
    case kDac:
      return read_dac();
    case kFeatureRead:
      return r_.feature;
    case kMiscRead:
      return r_.misc;
    case kGraphicsIndex:
      return r_.graphics_index;
    case kGraphics:
      return r_.graphics[r_.graphics_index & 15];
    default:
      break;
  }
  switch (port & 15) {
    case kCrtcIndex:
      return r_.crtc_index;
    case kCrtc:
      return read_crtc();
    case kStatusAndFeature:
      r_.attribute_takes_data = 0;
      return input_status();
    default:
      return unknown_read(port);
  }
}

void Vga::write_port(u16 port, u8 value) {
  if (!answers(port)) return unknown_write(port, value);
  switch (port) {
    case kAttribute:
      return write_attribute(value);
    case kMiscWrite:
      r_.misc = value;
      return;
    case kEnable:
      return;
    case kSequencerIndex:
      r_.sequencer_index = value & 7;
      return;
    case kSequencer:
      r_.sequencer[r_.sequencer_index & 7] = value & kSequencerBits[r_.sequencer_index & 7];
      return;
    case kDacMask:
      r_.dac_mask = value;
      return;
    case kDacReadIndex:
      r_.dac_read = value;
      r_.dac_component = 0;
      r_.dac_reading = 1;
      return;
    case kDacWriteIndex:
      r_.dac_write = value;
      r_.dac_component = 0;
      r_.dac_reading = 0;
      return;
    case kDac:
      return write_dac(value);
    case kGraphicsIndex:
      r_.graphics_index = value & 15;
      return;
    case kGraphics:
      r_.graphics[r_.graphics_index & 15] = value & kGraphicsBits[r_.graphics_index & 15];
      return;
    default:
      break;
  }
  if (port < kAttribute || port >= 0x3d0) {
    switch (port & 15) {
      case kCrtcIndex:
        r_.crtc_index = value & 63;
        return;
      case kCrtc:
        return write_crtc(value);
      case kStatusAndFeature:
        r_.feature = value;
        return;
      default:
        break;
    }
  }
  unknown_write(port, value);
}

u8 Vga::read_crtc() const {
  return r_.crtc_index < kCrtcRegisters ? r_.crtc[r_.crtc_index] : 0;
}

// Registers 0 to 7 can be write-protected, all but one bit (IBM, "Vertical Retrace End Register").
void Vga::write_crtc(u8 value) {
  if (r_.crtc_index >= kCrtcRegisters) return;
  u8& target = r_.crtc[r_.crtc_index];
  if (r_.crtc_index <= kCrtcOverflow && (r_.crtc[kCrtcRetraceEnd] & kCrtcProtect)) {
    if (r_.crtc_index == kCrtcOverflow)
      target = static_cast<u8>((target & ~kLineCompareBit8) | (value & kLineCompareBit8));
    return;
  }
  target = value;
}

void Vga::write_attribute(u8 value) {
  if (!r_.attribute_takes_data)
    r_.attribute_index = value & 0x3f;
  else
    r_.attribute[r_.attribute_index & 31] = value & kAttributeBits[r_.attribute_index & 31];
  r_.attribute_takes_data ^= 1;
}

u8 Vga::read_dac() {
  const u8 value = r_.dac[r_.dac_read * 3 + r_.dac_component];
  if (++r_.dac_component == 3) {
    r_.dac_component = 0;
    ++r_.dac_read;
  }
  return value;
}

void Vga::write_dac(u8 value) {
  const u8 bits = r_.dispi.value[Dispi::kEnable] & Dispi::kDac8 ? 0xff : 0x3f;
  r_.dac[r_.dac_write * 3 + r_.dac_component] = value & bits;
  if (++r_.dac_component == 3) {
    r_.dac_component = 0;
    ++r_.dac_write;
  }
}

// Where the beam is, by the CRTC's timing.
u8 Vga::input_status() {
  const auto& c = r_.crtc;
  const u32 dots = (r_.sequencer[1] & 1 ? 8 : 9) * (r_.sequencer[1] & 8 ? 2 : 1);
  const u64 hz = (r_.misc >> 2 & 3) == 1 ? 28'322'000 : 25'175'000;
  const u64 line_ns = u64{c[0] + 5u} * dots * core::kNanosecondsPerSecond / hz;
  const u32 lines = (c[6] | bits_at(c[7] & 0x01, 0, 8) | bits_at(c[7] & 0x20, 5, 9)) + 2;
  const u32 shown = (c[0x12] | bits_at(c[7] & 0x02, 1, 8) | bits_at(c[7] & 0x40, 6, 9)) + 1;
  const u32 retrace = c[0x10] | bits_at(c[7] & 0x04, 2, 8) | bits_at(c[7] & 0x80, 7, 9);
  const u64 now = clock_.now();
  const u64 line = now / line_ns % lines;
  const u64 column = now % line_ns * (c[0] + 5u) / line_ns;

  u8 status = 0;
  if (line >= shown || column > c[1]) status |= kStatusNotDisplaying;
  // The retrace ends when the low four bits of the line match, at most 16 lines later.
  const u64 length = ((c[kCrtcRetraceEnd] - retrace - 1) & 15) + 1;
  if (line >= retrace && line < retrace + length) status |= kStatusRetrace | kStatusNotDisplaying;
  return status;
}

void Vga::snapshot(core::SnapshotIo& io) {
  io.field("registers", r_);
  io.field("latch", latch_);
  io.bytes("memory", memory());
  if (!io.loading()) return;
  r_.dac_component %= 3;
  r_.crtc_index &= 63;
  r_.attribute_takes_data &= 1;
  fit_dispi();
}

}  // namespace doppel::devices::vga
