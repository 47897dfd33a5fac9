#include "devices/uart_16550a.hpp"

#include <algorithm>
#include <utility>

#include "devices/snapshot_flag.hpp"

namespace doppel::devices {

namespace {

enum Register : u8 {
  kData = 0,             // RBR, THR; divisor low
  kInterruptEnable = 1,  // IER; divisor high
  kInterruptId = 2,      // IIR; FCR when written
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

constexpr u8 kIerReceived = 0x01;
constexpr u8 kIerTransmitterEmpty = 0x02;
constexpr u8 kIerLineStatus = 0x04;
constexpr u8 kIerModemStatus = 0x08;

constexpr u8 kIirModemStatus = 0x00;
constexpr u8 kIirNone = 0x01;
constexpr u8 kIirTransmitterEmpty = 0x02;
constexpr u8 kIirReceived = 0x04;
constexpr u8 kIirLineStatus = 0x06;
constexpr u8 kIirTimeout = 0x0c;
constexpr u8 kIirFifos = 0xc0;

constexpr u8 kFcrEnable = 0x01;
constexpr u8 kFcrClearReceiver = 0x02;
constexpr u8 kFcrKept = 0xc9;  // trigger, DMA mode, enable

constexpr u8 kLcrBreak = 0x40;
constexpr u8 kLcrDivisorAccess = 0x80;

constexpr u8 kMcrDtr = 0x01;
constexpr u8 kMcrRts = 0x02;
constexpr u8 kMcrOut1 = 0x04;
constexpr u8 kMcrOut2 = 0x08;
constexpr u8 kMcrLoopback = 0x10;

constexpr u8 kLsrDataReady = 0x01;
constexpr u8 kLsrOverrun = 0x02;
constexpr u8 kLsrBreak = 0x10;
constexpr u8 kLsrErrors = 0x1e;
constexpr u8 kLsrTransmitterEmpty = 0x60;  // THRE and TEMT: bytes leave at once
constexpr u8 kLsrFifoError = 0x80;

constexpr u8 kMsrDeltas = 0x0f;
constexpr u8 kMsrCts = 0x10;
constexpr u8 kMsrDsr = 0x20;
constexpr u8 kMsrRi = 0x40;
constexpr u8 kMsrDcd = 0x80;

constexpr std::size_t kFifoDepth = 16;
constexpr u8 kTriggers[] = {1, 4, 8, 14};
constexpr u16 kDivisor9600 = 12;
constexpr u64 kBaudBase = 115'200;

}  // namespace

Uart16550a::Uart16550a(core::IrqLine irq, CharBackend& backend, core::Clock& clock, core::Counters& counters,
                       std::function<void()> on_room)
    : ByteDevice(counters, "uart_16550a"),
      irq_(std::move(irq)),
      backend_(backend),
      clock_(clock),
      on_room_(std::move(on_room)),
      timeout_timer_(clock.make_timer([this] {
        timeout_deadline_ = core::kNever;
        timed_out_ = true;
        publish();
      })),
      modem_inputs_(kMsrDcd | kMsrDsr | kMsrCts) {
  reset();
}

void Uart16550a::reset() {
  fifo_.clear();
  divisor_ = kDivisor9600;
  interrupt_enable_ = fifo_control_ = line_control_ = modem_control_ = scratch_ = 0;
  modem_status_ = modem_inputs_;
  overrun_ = transmitter_empty_pending_ = false;
  restart_timeout();
  publish();
  offer_room();
}

// --- What the registers mean.

bool Uart16550a::divisor_access() const {
  return line_control_ & kLcrDivisorAccess;
}

bool Uart16550a::loopback() const {
  return modem_control_ & kMcrLoopback;
}

std::size_t Uart16550a::capacity() const {
  return fifo_control_ & kFcrEnable ? kFifoDepth : 1;
}

std::size_t Uart16550a::trigger() const {
  return fifo_control_ & kFcrEnable ? kTriggers[fifo_control_ >> 6] : 1;
}

u64 Uart16550a::character_time() const {
  const u32 data_bits = 5 + (line_control_ & 3);
  const u32 parity_bits = line_control_ >> 3 & 1;
  const u32 stop_bits = 1 + (line_control_ >> 2 & 1);
  const u64 bits = 1 + data_bits + parity_bits + stop_bits;
  return bits * std::max<u64>(divisor_, 1) * core::kNanosecondsPerSecond / kBaudBase;
}

u8 Uart16550a::line_status() const {
  u8 status = kLsrTransmitterEmpty;
  if (overrun_) status |= kLsrOverrun;
  if (fifo_.empty()) return status;
  status |= kLsrDataReady | fifo_.front().errors;
  if ((fifo_control_ & kFcrEnable) && std::ranges::any_of(fifo_, &Received::errors)) status |= kLsrFifoError;
  return status;
}

// PC16550D, table III: the highest-priority enabled source.
u8 Uart16550a::interrupt_id() const {
  if ((interrupt_enable_ & kIerLineStatus) && (line_status() & kLsrErrors)) return kIirLineStatus;
  if (interrupt_enable_ & kIerReceived) {
    if (fifo_.size() >= trigger()) return kIirReceived;
    if (timed_out_) return kIirTimeout;
  }
  if ((interrupt_enable_ & kIerTransmitterEmpty) && transmitter_empty_pending_) return kIirTransmitterEmpty;
  if ((interrupt_enable_ & kIerModemStatus) && (modem_status_ & kMsrDeltas)) return kIirModemStatus;
  return kIirNone;
}

void Uart16550a::publish() {
  irq_.set(interrupt_id() != kIirNone);
}

// --- The receiver.

std::size_t Uart16550a::receive(std::span<const u8> bytes) {
  const std::size_t room = loopback() || fifo_.size() >= capacity() ? 0 : capacity() - fifo_.size();
  const std::size_t taken = std::min(room, bytes.size());
  for (const u8 byte : bytes.first(taken)) push({byte, 0});
  refused_ = taken < bytes.size();
  publish();
  return taken;
}

void Uart16550a::receive_break() {
  if (loopback()) return;  // the receiver is cut off from the line
  push({0, kLsrBreak});
  publish();
}

void Uart16550a::push(Received character) {
  if (fifo_.size() < capacity()) {
    fifo_.push_back(character);
  } else {
    overrun_ = true;
    if (capacity() == 1) fifo_.back() = character;  // with FIFOs on, the new one is lost
  }
  restart_timeout();
}

// Four character times without a byte arriving or being read, while some wait: the timeout interrupt.
void Uart16550a::restart_timeout() {
  timed_out_ = false;
  const bool waits = (fifo_control_ & kFcrEnable) && !fifo_.empty();
  timeout_deadline_ = waits ? clock_.now() + 4 * character_time() : core::kNever;
  arm_timeout();
}

void Uart16550a::arm_timeout() {
  if (timeout_deadline_ == core::kNever)
    timeout_timer_->cancel();
  else
    timeout_timer_->arm(timeout_deadline_);
}

void Uart16550a::offer_room() {
  if (refused_ && !loopback() && fifo_.size() < capacity()) {
    refused_ = false;
    if (on_room_) on_room_();
  }
}

// --- The modem lines.

void Uart16550a::set_modem_inputs(u8 lines) {
  modem_inputs_ = lines & ~kMsrDeltas;
  update_modem_status();
  publish();
}

void Uart16550a::update_modem_status() {
  u8 lines = modem_inputs_;
  if (loopback()) {
    lines = 0;
    if (modem_control_ & kMcrRts) lines |= kMsrCts;
    if (modem_control_ & kMcrDtr) lines |= kMsrDsr;
    if (modem_control_ & kMcrOut1) lines |= kMsrRi;
    if (modem_control_ & kMcrOut2) lines |= kMsrDcd;
  }
  const u8 changed = (modem_status_ ^ lines) & (kMsrCts | kMsrDsr | kMsrDcd);
  const u8 ring_ended = modem_status_ & ~lines & kMsrRi;
  modem_status_ = static_cast<u8>(lines | (modem_status_ & kMsrDeltas) | (changed | ring_ended) >> 4);
}

// --- Reads.

u8 Uart16550a::read_byte(u64 offset) {
  switch (offset) {
    case kData:
      return divisor_access() ? static_cast<u8>(divisor_) : read_data();
    case kInterruptEnable:
      return divisor_access() ? static_cast<u8>(divisor_ >> 8) : interrupt_enable_;
    case kInterruptId:
      return read_interrupt_id();
    case kLineControl:
      return line_control_;
    case kModemControl:
      return modem_control_;
    case kLineStatus:
      return read_line_status();
    case kModemStatus: {
      const u8 value = modem_status_;
      modem_status_ &= ~kMsrDeltas;
      publish();
      return value;
    }
    case kScratch:
      return scratch_;
    default:
      return unknown_read(offset);
  }
}

u8 Uart16550a::read_data() {
  if (fifo_.empty()) return 0;
  const u8 byte = fifo_.front().byte;
  fifo_.pop_front();
  restart_timeout();
  publish();
  offer_room();
  return byte;
}

u8 Uart16550a::read_interrupt_id() {
  const u8 id = interrupt_id();
  if (id == kIirTransmitterEmpty) transmitter_empty_pending_ = false;  // reading it takes it back
  publish();
  return static_cast<u8>(id | (fifo_control_ & kFcrEnable ? kIirFifos : 0));
}

u8 Uart16550a::read_line_status() {
  const u8 value = line_status();
  overrun_ = false;
  if (!fifo_.empty()) fifo_.front().errors = 0;
  publish();
  return value;
}

// --- Writes.

void Uart16550a::write_byte(u64 offset, u8 value) {
  switch (offset) {
    case kData:
      if (divisor_access())
        divisor_ = static_cast<u16>((divisor_ & 0xff00) | value);
      else
        write_data(value);
      break;
    case kInterruptEnable:
      if (divisor_access())
        divisor_ = static_cast<u16>((divisor_ & 0x00ff) | value << 8);
      else
        write_interrupt_enable(value);
      break;
    case kInterruptId:
      write_fifo_control(value);
      break;
    case kLineControl:
      write_line_control(value);
      break;
    case kModemControl:
      modem_control_ = value & 0x1f;
      update_modem_status();
      offer_room();
      break;
    case kLineStatus:
    case kModemStatus:
      break;  // meant for factory testing
    case kScratch:
      scratch_ = value;
      break;
    default:
      return unknown_write(offset, value);
  }
  publish();
}

void Uart16550a::write_data(u8 value) {
  transmitter_empty_pending_ = false;
  publish();  // between two bytes the line falls: the next interrupt is an edge
  if (loopback())
    push({value, 0});
  else
    backend_.write(value);
  transmitter_empty_pending_ = true;
}

void Uart16550a::write_interrupt_enable(u8 value) {
  const u8 newly_enabled = value & ~interrupt_enable_;
  interrupt_enable_ = value & 0x0f;
  if (newly_enabled & kIerTransmitterEmpty) transmitter_empty_pending_ = true;
}

void Uart16550a::write_fifo_control(u8 value) {
  const bool enable_changes = (value ^ fifo_control_) & kFcrEnable;
  fifo_control_ = value & kFcrEnable ? value & kFcrKept : 0;
  if (!enable_changes && !((value & kFcrEnable) && (value & kFcrClearReceiver))) return;
  fifo_.clear();
  restart_timeout();
  publish();
  offer_room();
}

void Uart16550a::write_line_control(u8 value) {
  const bool break_starts = value & ~line_control_ & kLcrBreak;
  line_control_ = value;
  if (break_starts && loopback()) push({0, kLsrBreak});
}

void Uart16550a::snapshot(core::SnapshotIo& io) {
  io.field("divisor", divisor_);
  io.field("interrupt_enable", interrupt_enable_);
  io.field("fifo_control", fifo_control_);
  io.field("line_control", line_control_);
  io.field("modem_control", modem_control_);
  io.field("modem_status", modem_status_);
  io.field("modem_inputs", modem_inputs_);
  io.field("scratch", scratch_);
  io.sequence("fifo", fifo_, kFifoDepth);
  snapshot_flag(io, "overrun", overrun_);
  snapshot_flag(io, "transmitter_empty_pending", transmitter_empty_pending_);
  snapshot_flag(io, "timed_out", timed_out_);
  io.field("timeout_deadline", timeout_deadline_);
  if (!io.loading()) return;
  refused_ = true;  // the host side of before is gone; whoever feeds this one is told
  arm_timeout();
  publish();
  offer_room();
}

}  // namespace doppel::devices
