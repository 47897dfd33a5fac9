#include "devices/ide/ide_channel.hpp"

#include <algorithm>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

enum Register : u64 {
  kData = 0,
  kFeature = 1,  // reads: error
  kCount = 2,
  kLbaLow = 3,
  kLbaMid = 4,
  kLbaHigh = 5,
  kDeviceSelect = 6,
  kCommand = 7,  // reads: status
};

// Device control.
constexpr u8 kNoInterrupts = 0x02, kSoftReset = 0x04, kHighOrder = 0x80;
constexpr u8 kDeviceReset = 0x08;  // the one command that a busy packet device takes

// Bus master.
constexpr u8 kStart = 0x01, kToMemory = 0x08;
constexpr u8 kActive = 0x01, kMasterError = 0x02, kMasterInterrupt = 0x04, kDrivesCapable = 0x60;
constexpr u32 kTableEntries = 8192;  // 64 KiB
constexpr u32 kEntrySize = 8;
constexpr u32 kEndOfTable = 1u << 31;

}  // namespace

IdeChannel::IdeChannel(core::IrqLine irq, core::GuestRam& ram, core::Counters& counters,
                       std::function<bool()> may_master)
    : irq_(std::move(irq)),
      ram_(ram),
      unknown_(counters["ide.unknown"]),
      may_master_(std::move(may_master)) {}

void IdeChannel::connect(u32 place, std::unique_ptr<IdeDrive> drive) {
  drive->connect({.interrupt =
                      [this, place](bool level) {
                        wants_interrupt_[place] = level;
                        update_interrupt();
                      },
                  .dma_wanted = [this] { try_dma(); },
                  .dma_done = [this](u64 size) { dma_done(size); }});
  drives_[place] = std::move(drive);
}

void IdeChannel::reset() {
  for (const auto& drive : drives_)
    if (drive) drive->reset(true);
  wants_interrupt_ = {};
  selected_ = control_ = 0;
  high_order_ = false;
  master_command_ = master_status_ = 0;
  table_ = 0;
  running_ = false;
  update_interrupt();
}

// --- The command and control blocks.

u64 IdeChannel::read(u64 offset, u32 width) {
  if (offset == kData) {
    IdeDrive* drive = selected();
    u64 value = 0;
    for (u32 i = 0; i < width; i += 2) value |= u64{drive ? drive->read_data() : u16{0}} << i * 8;
    return value;
  }
  u64 value = 0;
  for (u32 i = 0; i < width; ++i) value |= u64{read_register(offset + i)} << i * 8;
  return value;
}

void IdeChannel::write(u64 offset, u32 width, u64 value) {
  if (offset == kData) {
    if (IdeDrive* drive = selected())
      for (u32 i = 0; i < width; i += 2) drive->write_data(static_cast<u16>(value >> i * 8));
    return;
  }
  for (u32 i = 0; i < width; ++i) write_register(offset + i, static_cast<u8>(value >> i * 8));
}

// A missing drive reads as zeroes: the cable's pull-down, or its partner answering for it.
u8 IdeChannel::read_register(u64 offset) {
  IdeDrive* drive = selected();
  if (!drive) return 0;
  const IdeTaskFile& t = drive->registers();
  const u8 status = control_ & kSoftReset ? kIdeBusy : t.status;
  switch (offset) {
    case kFeature:
      return t.error;
    case kCount:
      return t.count[high_order_];
    case kLbaLow:
      return t.lba_low[high_order_];
    case kLbaMid:
      return t.lba_mid[high_order_];
    case kLbaHigh:
      return t.lba_high[high_order_];
    case kDeviceSelect:
      return static_cast<u8>(t.device | 0xa0);
    case kCommand:
      wants_interrupt_[selected_] = false;
      update_interrupt();
      return status;
    case kControlBlock:
      return status;
    default:
      ++unknown_;
      return 0xff;
  }
}

// Both drives hear every write to the command block; the one selected obeys commands.
void IdeChannel::write_register(u64 offset, u8 value) {
  if (offset == kControlBlock) return write_control(value);
  high_order_ = false;
  if (offset == kCommand) return write_command(value);
  if (offset == kDeviceSelect) {
    selected_ = value & kIdeSecondDrive ? 1 : 0;
    update_interrupt();
  }
  for (const auto& drive : drives_) {
    if (!drive || drive->registers().status & kIdeBusy) continue;
    IdeTaskFile& t = drive->registers();
    const auto push = [value](std::array<u8, 2>& pair) { pair = {value, pair[0]}; };
    switch (offset) {
      case kFeature:
        push(t.feature);
        break;
      case kCount:
        push(t.count);
        break;
      case kLbaLow:
        push(t.lba_low);
        break;
      case kLbaMid:
        push(t.lba_mid);
        break;
      case kLbaHigh:
        push(t.lba_high);
        break;
      case kDeviceSelect:
        t.device = value;
        break;
      default:
        ++unknown_;
        break;
    }
  }
}

void IdeChannel::write_control(u8 value) {
  const u8 before = std::exchange(control_, value);
  high_order_ = value & kHighOrder;
  if ((before ^ value) & kSoftReset) {
    running_ = false;
    selected_ = 0;
    for (const auto& drive : drives_)
      if (drive) drive->reset(false);
  }
  update_interrupt();
}

void IdeChannel::write_command(u8 value) {
  IdeDrive* drive = selected();
  if (!drive || control_ & kSoftReset) return;
  if (drive->registers().status & kIdeBusy) {
    if (value != kDeviceReset || !drive->packet_device()) return;
    running_ = false;
  }
  wants_interrupt_[selected_] = false;
  update_interrupt();
  drive->start(value);
}

// The bus master notes the rising edge, so that a program can tell whose interrupt it was.
void IdeChannel::update_interrupt() {
  const bool level = selected() && wants_interrupt_[selected_] && !(control_ & kNoInterrupts);
  if (level && !irq_.level()) master_status_ |= kMasterInterrupt;
  irq_.set(level);
}

// --- The bus master.

u8 IdeChannel::read_master(u32 offset) const {
  switch (offset) {
    case 0:
      return master_command_;
    case 2:
      return master_status_;
    case 4:
    case 5:
    case 6:
    case 7:
      return static_cast<u8>(table_ >> (offset - 4) * 8);
    default:
      return 0xff;
  }
}

void IdeChannel::write_master(u32 offset, u8 value) {
  switch (offset) {
    case 0:
      return write_master_command(value);
    case 2: {
      const u8 cleared = value & (kMasterError | kMasterInterrupt);
      master_status_ =
          static_cast<u8>((master_status_ & ~cleared & ~kDrivesCapable) | (value & kDrivesCapable));
      return;
    }
    case 4:
    case 5:
    case 6:
    case 7: {
      const u32 shift = (offset - 4) * 8;
      table_ = ((table_ & ~(0xffu << shift)) | u32{value} << shift) & ~3u;
      return;
    }
    default:
      return;
  }
}

// Stopping a transfer that runs waits for it: memory is not written behind the program's back.
void IdeChannel::write_master_command(u8 value) {
  const u8 before = std::exchange(master_command_, static_cast<u8>(value & (kStart | kToMemory)));
  if (!(value & kStart)) {
    for (const auto& drive : drives_)
      if (drive && running_) drive->quiesce();
    master_status_ &= static_cast<u8>(~kActive);
  } else if (!(before & kStart)) {
    master_status_ |= kActive;
    try_dma();
  }
}

void IdeChannel::try_dma() {
  IdeDrive* drive = selected();
  const bool ready =
      drive && drive->dma_pending() && (master_status_ & kActive) && !running_ && may_master_();
  if (!ready || drive->dma_to_memory() != bool(master_command_ & kToMemory)) return;
  Gathered gathered = gather(drive->dma_size());
  if (gathered.error) {
    core::log(core::LogCategory::kStorage, "ide: the bus master's table at {:#x} is not RAM throughout",
              table_);
    master_status_ = static_cast<u8>((master_status_ & ~kActive) | kMasterError);
    return;
  }
  running_ = true;
  running_to_memory_ = drive->dma_to_memory();
  running_ends_table_ = gathered.table_ended;
  running_pieces_ = std::move(gathered.pieces);
  drive->run_dma(std::move(gathered.memory));
}

IdeChannel::Gathered IdeChannel::gather(u64 wanted) const {
  Gathered out;
  for (u32 entry = 0; out.memory.size < wanted && !out.table_ended; ++entry) {
    std::array<u32, 2> words;
    if (entry == kTableEntries ||
        !ram_.read(u64{table_} + entry * kEntrySize, {reinterpret_cast<u8*>(words.data()), kEntrySize})) {
      out.error = true;
      return out;
    }
    const u64 count = words[1] & 0xfffe ? words[1] & 0xfffe : 0x1'0000;
    const u64 size = std::min(count, wanted - out.memory.size);
    const std::span<u8> memory = ram_.span(words[0] & ~1u, size);
    if (memory.empty()) {
      out.error = true;
      return out;
    }
    out.memory.vectors.push_back({memory.data(), memory.size()});
    out.memory.size += size;
    out.pieces.push_back({words[0] & ~1u, size});
    out.table_ended = (words[1] & kEndOfTable) && size == count;
  }
  return out;
}

// The engine stays active when the table has memory left ("Bus Master IDE", status register).
void IdeChannel::dma_done(u64 size) {
  running_ = false;
  if (running_to_memory_)
    for (const Piece& piece : running_pieces_) {
      const u64 part = std::min(piece.size, size);
      ram_.written_in_place(piece.address, part);
      size -= part;
    }
  if (running_ends_table_) master_status_ &= static_cast<u8>(~kActive);
}

void IdeChannel::snapshot(core::SnapshotIo& io) {
  for (const auto& drive : drives_)
    if (drive) {
      drive->quiesce();
      drive->snapshot(io);
    }
  io.field("wants_interrupt 0", wants_interrupt_[0]);
  io.field("wants_interrupt 1", wants_interrupt_[1]);
  io.field("selected", selected_);
  io.field("control", control_);
  io.field("high_order", high_order_);
  io.field("master_command", master_command_);
  io.field("master_status", master_status_);
  io.field("table", table_);
  selected_ &= 1;
  table_ &= ~3u;
  if (!io.loading()) return;
  running_ = false;
  const u8 status = master_status_;
  update_interrupt();
  master_status_ = status;
}

}  // namespace doppel::devices
