#include "devices/virtio/virtio_blk.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/log.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kSector = 512;
constexpr u16 kQueues = 4, kQueueSize = 256;
// More is only in flight if a driver does not wait for what it is owed.
constexpr u32 kMostInFlight = u32{kQueues} * kQueueSize;
constexpr u32 kLargestSegments = 254;  // of a request; header and status take two more descriptors

// --- Features (5.2.3).
constexpr u64 bit(u32 n) {
  return u64{1} << n;
}
constexpr u64 kSegMax = bit(2), kGeometry = bit(4), kReadOnly = bit(5), kBlockSize = bit(6), kFlush = bit(9),
              kTopology = bit(10), kConfigWce = bit(11), kMultiQueue = bit(12), kDiscard = bit(13),
              kWriteZeroes = bit(14);

// --- Configuration (5.2.4).
struct [[gnu::packed]] Config {
  u64 capacity;
  u32 size_max, seg_max;
  u16 cylinders;
  u8 heads, sectors;
  u32 block_size;
  u8 physical_block_exp, alignment_offset;
  u16 min_io_size;
  u32 opt_io_size;
  u8 writeback;
  u8 unused0;
  u16 num_queues;
  u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
  u32 max_write_zeroes_sectors, max_write_zeroes_seg;
  u8 write_zeroes_may_unmap;
  u8 unused1[3];
};
constexpr u32 kWritebackOffset = offsetof(Config, writeback);
static_assert(offsetof(Config, num_queues) == 34 && sizeof(Config) == 60);

// --- Requests (5.2.6).
enum Type : u32 { kIn = 0, kOut = 1, kFlushType = 4, kGetId = 8, kDiscardType = 11, kWriteZeroesType = 13 };
enum Status : u8 { kOk = 0, kIoError = 1, kUnsupported = 2 };
struct Header {
  u32 type, reserved;
  u64 sector;
};
struct Range {
  u64 sector;
  u32 sectors, flags;
};
constexpr u32 kUnmap = 1;
constexpr std::size_t kIdentitySize = 20;
constexpr u32 kLargestRanges = 64;
constexpr u32 kLargestRangeSectors = u32{1} << 21;  // 1 GiB

// The memory of pieces but the first `skip` bytes and, of what is left, those after `size`.
boost::container::small_vector<iovec, 8> vectors_of(std::span<const VirtioChain::Piece> pieces, u64 skip,
                                                    u64 size) {
  boost::container::small_vector<iovec, 8> out;
  for (const auto& piece : pieces) {
    const u64 skipped = std::min<u64>(skip, piece.memory.size());
    skip -= skipped;
    const u64 part = std::min<u64>(piece.memory.size() - skipped, size);
    size -= part;
    if (part != 0) out.push_back({piece.memory.data() + skipped, part});
  }
  return out;
}

}  // namespace

struct VirtioBlk::Request {
  u16 queue;
  VirtioChain chain;
  u32 written = 0;  // into the writable pieces, without the status
  std::vector<Range> ranges;
  std::size_t next_range = 0;
  bool zeroes = false;
};

VirtioBlk::VirtioBlk(BlockBackend& disk, std::string identity)
    : disk_(disk), identity_(std::move(identity)) {}

u64 VirtioBlk::features() const {
  const u64 always = kSegMax | kGeometry | kBlockSize | kFlush | kTopology | kConfigWce | kMultiQueue;
  return always | (disk_.read_only() ? kReadOnly : kDiscard | kWriteZeroes);
}

u16 VirtioBlk::queues() const {
  return kQueues;
}
u16 VirtioBlk::queue_size() const {
  return kQueueSize;
}

// A driver that knows neither flush nor the cache mode must find its writes on stable storage (5.2.5).
void VirtioBlk::features_accepted(u64 features) {
  accepted_ = features;
  disk_.set_write_cache((features & (kFlush | kConfigWce)) && disk_.initial_write_cache());
}

// In-flight requests finish first, so that none touches RAM after the reset; epoch_ keeps them out of queues
// that no longer exist.
void VirtioBlk::reset() {
  ++epoch_;
  in_flight_ = 0;
  accepted_ = 0;
  disk_.drain();
  disk_.set_write_cache(disk_.initial_write_cache());
}

u8 VirtioBlk::read_config(u32 offset) {
  Config config{};
  config.capacity = disk_.size() / kSector;
  config.seg_max = kLargestSegments;
  config.heads = 16;
  config.sectors = 63;
  config.cylinders = static_cast<u16>(std::min<u64>(config.capacity / (16 * 63), 16383));
  config.block_size = kSector;
  config.physical_block_exp = 3;  // 4 KiB: what host file systems like
  config.min_io_size = 1;
  config.writeback = disk_.write_cache();
  config.num_queues = kQueues;
  config.max_discard_sectors = config.max_write_zeroes_sectors = kLargestRangeSectors;
  config.max_discard_seg = config.max_write_zeroes_seg = kLargestRanges;
  config.discard_sector_alignment = 8;
  config.write_zeroes_may_unmap = 1;
  if (offset >= sizeof config) return 0;
  return reinterpret_cast<const u8*>(&config)[offset];
}

void VirtioBlk::write_config(u32 offset, u8 value) {
  if (offset == kWritebackOffset && (accepted_ & kConfigWce)) disk_.set_write_cache(value & 1);
}

void VirtioBlk::notified(u16 index) {
  Virtqueue* queue = transport_->queue(index);
  if (!queue) return;
  using Taken = Virtqueue::Taken;
  // A driver that adds faster than we take would keep us here: its queue's size is enough for one visit.
  Taken taken = Taken::kChain;
  for (u32 count = 0; taken == Taken::kChain && count < 2 * kQueueSize && in_flight_ < kMostInFlight;
       ++count) {
    auto request = std::make_unique<Request>();
    request->queue = index;
    taken = queue->take(request->chain);
    if (taken == Taken::kChain) {
      ++in_flight_;
      process(std::move(request));
    }
    queue = transport_->queue(index);
    if (!queue) return;
  }
  if (taken == Taken::kBroken) transport_->needs_reset();
}

void VirtioBlk::process(std::unique_ptr<Request> request) {
  const VirtioChain& chain = request->chain;
  Header header;
  const std::span<u8> bytes(reinterpret_cast<u8*>(&header), sizeof header);
  // The status is the last writable byte; without a place for it, or without a header, there is no request.
  if (chain.read_front(bytes) != sizeof header || chain.writable_size() == 0) {
    transport_->needs_reset();
    return;
  }
  switch (header.type) {
    case kIn:
    case kOut:
      return read_or_write(std::move(request), header.type == kIn, header.sector);
    case kFlushType:
      return submit(std::move(request), {.kind = BlockRequest::Kind::kFlush});
    case kDiscardType:
    case kWriteZeroesType:
      return change_ranges(std::move(request), header.type == kWriteZeroesType);
    case kGetId: {
      std::array<u8, kIdentitySize> identity{};
      std::copy_n(identity_.begin(), std::min(identity_.size(), identity.size()), identity.begin());
      const u64 room = chain.writable_size() - 1;
      u64 done = 0;
      for (const iovec& piece :
           vectors_of({chain.writable.data(), chain.writable.size()}, 0, std::min(room, kIdentitySize))) {
        std::memcpy(piece.iov_base, identity.data() + done, piece.iov_len);
        done += piece.iov_len;
      }
      request->written = static_cast<u32>(done);
      return finish(std::move(request), kOk);
    }
    default:
      return finish(std::move(request), kUnsupported);
  }
}

void VirtioBlk::read_or_write(std::unique_ptr<Request> request, bool is_read, u64 sector) {
  const VirtioChain& chain = request->chain;
  const u64 size = is_read ? chain.writable_size() - 1 : chain.readable_size() - sizeof(Header);
  const u64 sectors = disk_.size() / kSector;
  if (size % kSector != 0 || sector > sectors || size / kSector > sectors - sector ||
      (!is_read && disk_.read_only()))
    return finish(std::move(request), kIoError);
  if (size == 0) return finish(std::move(request), kOk);
  BlockRequest block;
  block.kind = is_read ? BlockRequest::Kind::kRead : BlockRequest::Kind::kWrite;
  block.offset = sector * kSector;
  block.memory = is_read ? vectors_of({chain.writable.data(), chain.writable.size()}, 0, size)
                         : vectors_of({chain.readable.data(), chain.readable.size()}, sizeof(Header), size);
  if (is_read) request->written = static_cast<u32>(size);
  submit(std::move(request), std::move(block));
}

void VirtioBlk::change_ranges(std::unique_ptr<Request> request, bool zeroes) {
  if (disk_.read_only()) return finish(std::move(request), kIoError);
  const u64 size = request->chain.readable_size() - sizeof(Header);
  if (size == 0 || size % sizeof(Range) != 0 || size / sizeof(Range) > kLargestRanges)
    return finish(std::move(request), kUnsupported);
  std::vector<u8> bytes(sizeof(Header) + size);
  (void)request->chain.read_front(bytes);
  request->ranges.resize(size / sizeof(Range));
  std::memcpy(request->ranges.data(), bytes.data() + sizeof(Header), size);
  request->zeroes = zeroes;
  const u64 sectors = disk_.size() / kSector;
  for (const Range& range : request->ranges) {
    // 5.2.6.2: unknown flags, or "unmap" in a discard, are unsupported.
    if (range.flags & ~(zeroes ? kUnmap : 0)) return finish(std::move(request), kUnsupported);
    if (range.sectors > kLargestRangeSectors || range.sector > sectors ||
        range.sectors > sectors - range.sector)
      return finish(std::move(request), kIoError);
  }
  next_range(std::move(request));
}

void VirtioBlk::next_range(std::unique_ptr<Request> request) {
  while (request->next_range < request->ranges.size()) {
    const Range range = request->ranges[request->next_range++];
    if (range.sectors == 0) continue;
    BlockRequest block;
    block.kind = request->zeroes ? BlockRequest::Kind::kWriteZeroes : BlockRequest::Kind::kDiscard;
    block.unmap = range.flags & kUnmap;
    block.offset = range.sector * kSector;
    block.length = u64{range.sectors} * kSector;
    return submit(std::move(request), std::move(block));
  }
  finish(std::move(request), kOk);
}

void VirtioBlk::submit(std::unique_ptr<Request> request, BlockRequest block) {
  // std::function wants something that can be copied.
  block.done = [this, epoch = epoch_,
                held = std::make_shared<std::unique_ptr<Request>>(std::move(request))](int error) {
    if (epoch != epoch_) return;
    const bool full = in_flight_ == kMostInFlight;
    auto back = std::move(*held);
    if (error) {
      back->written = 0;
      finish(std::move(back), kIoError);
    } else {
      next_range(std::move(back));
    }
    for (u16 queue = 0; full && queue < kQueues; ++queue) notified(queue);
  };
  disk_.submit(std::move(block));
}

void VirtioBlk::finish(std::unique_ptr<Request> request, u8 status) {
  --in_flight_;
  Virtqueue* queue = transport_->queue(request->queue);
  if (!queue) return;
  std::span<u8> last = request->chain.writable.back().memory;
  last.back() = status;
  queue->give_back(request->chain, request->written + 1);
  transport_->announce(request->queue);
}

void VirtioBlk::snapshot(core::SnapshotIo& io) {
  io.field("accepted", accepted_);
  bool write_cache = disk_.write_cache();
  io.field("write_cache", write_cache);
  if (io.loading()) {
    ++epoch_;
    in_flight_ = 0;
    disk_.drain();
    disk_.set_write_cache(write_cache);
  }
}

}  // namespace doppel::devices
