#include "devices/virtio/virtio_pci.hpp"

#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

// --- Identity (4.1.2): the device id says the type, the revision that there is no legacy interface.
constexpr u16 kVendor = 0x1af4, kFirstDeviceId = 0x1040;
constexpr u8 kModernRevision = 1;

// --- The registers in the BAR: four structures of a page each.
constexpr u32 kMsixBar = 1, kBar = 4;
constexpr u64 kCommon = 0x0000, kIsr = 0x1000, kDevice = 0x2000, kNotify = 0x3000, kBarSize = 0x4000;
constexpr u64 kCommonSize = 0x38;
constexpr u32 kNotifyMultiplier = 4;

// --- Capabilities (4.1.4) in configuration space.
constexpr u8 kVendorCapability = 0x09, kPlainLength = 16, kLongLength = 20;
enum CapabilityType : u8 { kTypeCommon = 1, kTypeNotify, kTypeIsr, kTypeDevice, kTypePciAccess };
constexpr u8 kCapabilityLength = 2, kCapabilityBar = 4, kCapabilityOffset = 8, kCapabilitySize = 12,
             kCapabilityTail = 16;  // the notify multiplier, or the window's data

// --- Common configuration (4.1.4.3).
enum Common : u64 {
  kDeviceFeatureSelect = 0x00,
  kDeviceFeature = 0x04,
  kDriverFeatureSelect = 0x08,
  kDriverFeature = 0x0c,
  kConfigVector = 0x10,
  kNumberOfQueues = 0x12,
  kStatus = 0x14,
  kGeneration = 0x15,
  kQueueSelect = 0x16,
  kQueueSize = 0x18,
  kQueueVector = 0x1a,
  kQueueEnable = 0x1c,
  kQueueNotifyOffset = 0x1e,
  kQueueDescriptors = 0x20,
  kQueueDriver = 0x28,
  kQueueDevice = 0x30,
};
constexpr u16 kNoVector = 0xffff;

// --- Device status (2.1).
constexpr u8 kDriverOk = 4, kFeaturesOk = 8, kNeedsReset = 0x40;

// --- Reserved feature bits (6).
constexpr u64 kIndirectFeature = u64{1} << 28, kEventIndexFeature = u64{1} << 29,
              kVersion1Feature = u64{1} << 32, kPackedFeature = u64{1} << 34;

constexpr u8 kIsrQueue = 1, kIsrConfiguration = 2;

u32 half(u64 value, u32 select) {
  return select < 2 ? static_cast<u32>(value >> select * 32) : 0;
}
void set_half(u64& value, u32 select, u32 half_value) {
  if (select >= 2) return;
  value = (value & ~(u64{0xffff'ffff} << select * 32)) | u64{half_value} << select * 32;
}

}  // namespace

VirtioPci::VirtioPci(VirtioDevice& device, core::GuestRam& ram, core::Bus& mmio, MsiSink msi,
                     core::Counters& counters)
    : PciFunction({.vendor = kVendor,
                   .device = static_cast<u16>(kFirstDeviceId + device.type()),
                   .class_code = device.pci_class(),
                   .revision = kModernRevision,
                   .subsystem_vendor = kVendor,
                   .subsystem = 0x1100,
                   .interrupt_pin = 1}),
      device_(device),
      ram_(ram),
      unknown_(counters[std::string(device.name()) + ".unknown"]),
      queues_(device.queues()),
      msix_(*this, device.queues() + 1u, kMsixBar, std::move(msi), counters) {
  add_bar(kMsixBar, BarKind::kMemory32, msix_.size(), attach_to(mmio, msix_, msix_.size()));
  add_bar(kBar, BarKind::kMemory32, kBarSize, attach_to(mmio, *this, kBarSize));
  add_capabilities();
  device_.attach(*this);
  reset_device();
}

VirtioPci::~VirtioPci() = default;

void VirtioPci::add_capabilities() {
  struct Row {
    u8 type;
    u8 length;
    u64 offset, size;
  };
  constexpr Row kRows[] = {
      {kTypeCommon, kPlainLength, kCommon, kCommonSize},
      {kTypeIsr, kPlainLength, kIsr, 1},
      {kTypeDevice, kPlainLength, kDevice, 0x1000},
      {kTypeNotify, kLongLength, kNotify, 0x1000},
      {kTypePciAccess, kLongLength, 0, 0},
  };
  for (const Row& row : kRows) {
    const bool access = row.type == kTypePciAccess;
    const u8 at = add_capability(kVendorCapability, row.length);
    const auto field = [at](u8 offset) { return static_cast<u8>(at + offset); };
    define(field(kCapabilityLength), 2, u32{row.type} << 8 | row.length, 0);
    define(field(kCapabilityBar), 1, access ? 0 : kBar, access ? 0xff : 0);
    define(field(kCapabilityOffset), 4, static_cast<u32>(row.offset), access ? ~0u : 0);
    define(field(kCapabilitySize), 4, static_cast<u32>(row.size), access ? ~0u : 0);
    if (row.type == kTypeNotify) define(field(kCapabilityTail), 4, kNotifyMultiplier, 0);
    if (access) window_ = at;
  }
}

void VirtioPci::reset() {
  reset_device();
  msix_.reset();
  PciFunction::reset();
}

// What the driver asks for by writing zero to the status (2.4).
void VirtioPci::reset_device() {
  status_ = 0;  // from here on, queue() gives none
  device_.reset();
  for (Queue& queue : queues_) {
    queue = {};
    queue.size = device_.queue_size();
  }
  accepted_ = 0;
  device_feature_select_ = driver_feature_select_ = 0;
  queue_select_ = 0;
  config_vector_ = kNoVector;
  isr_ = 0;
  set_intx(false);
}

// --- The window in configuration space (4.1.4.9).

std::optional<VirtioPci::Window> VirtioPci::window(u8 config_offset) {
  if (config_offset != window_ + kCapabilityTail) return std::nullopt;
  const auto field = [this](u8 offset, u32 width) {
    return PciFunction::config_read(static_cast<u8>(window_ + offset), width);
  };
  const u32 at = field(kCapabilityOffset, 4), width = field(kCapabilitySize, 4);
  const bool good = field(kCapabilityBar, 1) == kBar && (width == 1 || width == 2 || width == 4) &&
                    at % width == 0 && at < kBarSize;
  return good ? std::optional(Window{at, width}) : std::nullopt;
}

u32 VirtioPci::config_read(u8 offset, u32 width) {
  if (const auto shown = window(offset)) return static_cast<u32>(read(shown->offset, shown->width));
  return PciFunction::config_read(offset, width);
}

void VirtioPci::config_write(u8 offset, u32 width, u32 value) {
  PciFunction::config_write(offset, width, value);
  msix_.config_written();
  if (const auto shown = window(offset))
    write(shown->offset, shown->width, value & (~0u >> (4 - shown->width) * 8));
}

// --- The registers in the BAR.

u64 VirtioPci::unknown(std::string_view what, u64 offset, u32 width) {
  ++unknown_;
  core::log(core::LogCategory::kPci, "{}: {} of {} bytes at {:#x}", name(), what, width, offset);
  return ~u64{0};
}

u64 VirtioPci::read(u64 offset, u32 width) {
  if (offset < kCommon + kCommonSize) return read_common(offset, width);
  if (offset == kIsr) return read_isr();
  if (offset < kDevice || offset >= kNotify) return unknown("read", offset, width);
  u64 value = 0;
  for (u32 i = 0; i < width; ++i)
    value |= u64{device_.read_config(static_cast<u32>(offset - kDevice + i))} << i * 8;
  return value;
}

void VirtioPci::write(u64 offset, u32 width, u64 value) {
  if (offset < kCommon + kCommonSize) {
    write_common(offset, width, value);
  } else if (offset >= kDevice && offset < kNotify) {
    for (u32 i = 0; i < width; ++i)
      device_.write_config(static_cast<u32>(offset - kDevice + i), static_cast<u8>(value >> i * 8));
  } else if (offset >= kNotify && offset < kNotify + queues_.size() * kNotifyMultiplier) {
    const u16 index = static_cast<u16>((offset - kNotify) / kNotifyMultiplier);
    if (queue(index)) device_.notified(index);
  } else {
    (void)unknown("write", offset, width);
  }
}

u64 VirtioPci::read_isr() {
  const u8 value = std::exchange(isr_, u8{0});
  set_intx(false);
  return value;
}

u64 VirtioPci::read_common(u64 offset, u32 width) {
  const Queue* queue = selected();
  const auto part = [&](u64 area, u64 base) { return area >> (offset - base) * 8; };
  switch (offset) {
    case kDeviceFeatureSelect:
      return device_feature_select_;
    case kDeviceFeature:
      return half(offered(), device_feature_select_);
    case kDriverFeatureSelect:
      return driver_feature_select_;
    case kDriverFeature:
      return half(accepted_, driver_feature_select_);
    case kConfigVector:
      return config_vector_;
    case kNumberOfQueues:
      return queues_.size();
    case kStatus:
      return status_;
    case kGeneration:
      return generation_;
    case kQueueSelect:
      return queue_select_;
    case kQueueSize:
      return queue ? queue->size : 0;
    case kQueueVector:
      return queue ? queue->vector : kNoVector;
    case kQueueEnable:
      return queue && queue->enabled;
    case kQueueNotifyOffset:
      return queue ? queue_select_ : 0;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      return queue ? part(queue->areas.descriptors, kQueueDescriptors) : 0;
    case kQueueDriver:
    case kQueueDriver + 4:
      return queue ? part(queue->areas.driver, kQueueDriver) : 0;
    case kQueueDevice:
    case kQueueDevice + 4:
      return queue ? part(queue->areas.device, kQueueDevice) : 0;
    default:
      return unknown("read", offset, width);
  }
}

void VirtioPci::write_common(u64 offset, u32 width, u64 value) {
  Queue* queue = selected();
  if (queue && queue->enabled) queue = nullptr;  // what an enabled queue is does not change
  const auto set_area = [&](u64 Virtqueue::Areas::*area, u64 base) {
    if (!queue) return;
    if (width == 8)
      queue->areas.*area = value;
    else
      set_half(queue->areas.*area, static_cast<u32>(offset - base) / 4, static_cast<u32>(value));
  };
  switch (offset) {
    case kDeviceFeatureSelect:
      device_feature_select_ = static_cast<u32>(value);
      break;
    case kDriverFeatureSelect:
      driver_feature_select_ = static_cast<u32>(value);
      break;
    case kDriverFeature:
      if (!(status_ & kFeaturesOk)) set_half(accepted_, driver_feature_select_, static_cast<u32>(value));
      break;
    case kStatus:
      write_status(static_cast<u8>(value));
      break;
    case kQueueSelect:
      queue_select_ = static_cast<u16>(value);
      break;
    case kQueueSize:
      if (queue && value <= device_.queue_size()) queue->size = static_cast<u16>(value);
      break;
    case kQueueEnable:
      if (queue && value == 1) enable(*queue);
      break;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      set_area(&Virtqueue::Areas::descriptors, kQueueDescriptors);
      break;
    case kQueueDriver:
    case kQueueDriver + 4:
      set_area(&Virtqueue::Areas::driver, kQueueDriver);
      break;
    case kQueueDevice:
    case kQueueDevice + 4:
      set_area(&Virtqueue::Areas::device, kQueueDevice);
      break;
    case kConfigVector:
      config_vector_ = valid_vector(value);
      break;
    case kQueueVector:
      if (Queue* any = selected()) any->vector = valid_vector(value);
      break;
    default:
      (void)unknown("write", offset, width);
  }
}

u64 VirtioPci::offered() const {
  return device_.features() | kIndirectFeature | kEventIndexFeature | kVersion1Feature | kPackedFeature;
}

// Bits are only ever added, but for a write of zero (2.1.1). FEATURES_OK stays clear if the driver's choice
// is not acceptable (2.2).
void VirtioPci::write_status(u8 value) {
  if (value == 0) {
    reset_device();
    return;
  }
  if (value & ~status_ & kFeaturesOk) {
    if ((accepted_ & ~offered()) || !(accepted_ & kVersion1Feature))
      value &= static_cast<u8>(~kFeaturesOk);
    else
      device_.features_accepted(accepted_);
  }
  status_ |= value & ~kNeedsReset;
}

VirtioPci::Queue* VirtioPci::selected() {
  return queue_select_ < queues_.size() ? &queues_[queue_select_] : nullptr;
}

std::unique_ptr<Virtqueue> VirtioPci::make_ring(const Queue& queue) {
  return Virtqueue::make(ram_, queue.areas, queue.size,
                         {.packed = (accepted_ & kPackedFeature) != 0,
                          .indirect = (accepted_ & kIndirectFeature) != 0,
                          .event_index = (accepted_ & kEventIndexFeature) != 0});
}

void VirtioPci::enable(Queue& queue) {
  if (!(status_ & kFeaturesOk)) return;
  queue.ring = make_ring(queue);
  queue.enabled = queue.ring != nullptr;
  if (!queue.enabled) {
    core::log(core::LogCategory::kPci, "{}: the driver's queue {} is not in RAM or misaligned", name(),
              queue_select_);
    needs_reset();
  }
}

// --- For the device.

Virtqueue* VirtioPci::queue(u16 index) {
  const bool works = (status_ & kDriverOk) && !(status_ & kNeedsReset) && bus_master();
  return works && index < queues_.size() ? queues_[index].ring.get() : nullptr;
}

void VirtioPci::announce(u16 index) {
  Virtqueue* ring = queue(index);
  if (ring && ring->interrupt_wanted()) interrupt(kIsrQueue, queues_[index].vector);
}

void VirtioPci::configuration_changed() {
  ++generation_;
  if (status_ & kDriverOk) interrupt(kIsrConfiguration, config_vector_);
}

void VirtioPci::needs_reset() {
  if (status_ & kNeedsReset) return;
  core::log(core::LogCategory::kPci, "{}: the driver broke the rules; it must reset the device", name());
  status_ |= kNeedsReset;
  if (status_ & kDriverOk) interrupt(kIsrConfiguration, config_vector_);
}

void VirtioPci::unfinished(u16 index) {
  if (!later_ || std::exchange(queues_[index].unfinished, true)) return;
  later_([this, index] {
    queues_[index].unfinished = false;
    if (queue(index)) device_.notified(index);
  });
}

// With MSI-X, a vector that was not given stays silent (4.1.5.1.2).
void VirtioPci::interrupt(u8 cause, u16 vector) {
  if (msix_.enabled()) {
    msix_.signal(vector);
    return;
  }
  isr_ |= cause;
  set_intx(true);
}

u16 VirtioPci::valid_vector(u64 value) const {
  return value < msix_.vectors() ? static_cast<u16>(value) : kNoVector;
}

void VirtioPci::snapshot(core::SnapshotIo& io) {
  if (!io.loading()) device_.quiesce();
  PciFunction::snapshot(io);
  msix_.snapshot(io);
  io.field("accepted", accepted_);
  io.field("device_feature_select", device_feature_select_);
  io.field("driver_feature_select", driver_feature_select_);
  io.field("queue_select", queue_select_);
  io.field("config_vector", config_vector_);
  io.field("status", status_);
  io.field("isr", isr_);
  io.field("generation", generation_);
  if ((accepted_ & ~offered()) && (status_ & kFeaturesOk))
    throw core::SnapshotError("snapshot: virtio features that are not offered");
  for (Queue& queue : queues_) {
    io.field("size", queue.size);
    io.field("vector", queue.vector);
    io.field("enabled", queue.enabled);
    io.field("areas", queue.areas);
    if (io.loading()) queue.ring = queue.enabled ? make_ring(queue) : nullptr;
    if (!queue.enabled) continue;
    if (!queue.ring) throw core::SnapshotError("snapshot: a virtqueue is not in RAM");
    queue.ring->snapshot(io);
  }
  device_.snapshot(io);
}

}  // namespace doppel::devices
