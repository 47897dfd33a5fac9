#include "devices/virtio/virtqueue.hpp"

#include <algorithm>
#include <bit>

#include "devices/virtio/packed_virtqueue.hpp"
#include "devices/virtio/split_virtqueue.hpp"

namespace doppel::devices {

namespace {

constexpr u64 kMostBytes = u64{1} << 32;  // of a request (2.7.5, driver requirements)

u64 size_of(std::span<const VirtioChain::Piece> pieces) {
  u64 size = 0;
  for (const auto& piece : pieces) size += piece.memory.size();
  return size;
}

}  // namespace

std::size_t VirtioChain::read_front(std::span<u8> out) const {
  std::size_t done = 0;
  for (const Piece& piece : readable) {
    const std::size_t part = std::min(piece.memory.size(), out.size() - done);
    std::copy_n(piece.memory.begin(), part, out.begin() + static_cast<std::ptrdiff_t>(done));
    done += part;
  }
  return done;
}

std::size_t VirtioChain::write_front(std::span<const u8> bytes) const {
  std::size_t done = 0;
  for (const Piece& piece : writable) {
    const std::size_t part = std::min(piece.memory.size(), bytes.size() - done);
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(done), part, piece.memory.begin());
    done += part;
  }
  return done;
}

u64 VirtioChain::readable_size() const {
  return size_of({readable.data(), readable.size()});
}
u64 VirtioChain::writable_size() const {
  return size_of({writable.data(), writable.size()});
}

std::unique_ptr<Virtqueue> Virtqueue::make(core::GuestRam& ram, const Areas& areas, u16 size,
                                           Features features) {
  if (size == 0 || size > kLargestSize) return nullptr;
  if (features.packed) return PackedVirtqueue::make(ram, areas, size, features);
  return std::has_single_bit(size) ? SplitVirtqueue::make(ram, areas, size, features) : nullptr;
}

Virtqueue::Taken Virtqueue::take(VirtioChain& chain) {
  if (broken_) return Taken::kBroken;
  chain.readable.clear();
  chain.writable.clear();
  chain_size_ = 0;
  return take_next(chain);
}

void Virtqueue::give_back(const VirtioChain& chain, u32 written) {
  if (broken_) return;
  for (const auto& piece : chain.writable) ram_.written_in_place(piece.address, piece.memory.size());
  put_used(chain, written);
}

bool Virtqueue::fail() {
  broken_ = true;
  return false;
}

bool Virtqueue::add(VirtioChain& chain, const Descriptor& descriptor) {
  const bool writes = descriptor.flags & kDeviceWrites;
  const std::span<u8> memory = ram_.span(descriptor.address, descriptor.length);
  auto& pieces = writes ? chain.writable : chain.readable;
  if (memory.empty() || chain.readable.size() + chain.writable.size() >= kLargestChain) return fail();
  if (!writes && !chain.writable.empty()) return fail();  // 2.6.4.2: writable ones come last
  chain_size_ += descriptor.length;
  if (chain_size_ > kMostBytes) return fail();
  pieces.push_back({descriptor.address, memory});
  return true;
}

std::span<const u8> Virtqueue::indirect_table(const Descriptor& descriptor) {
  const bool good = features_.indirect && !(descriptor.flags & kNext) && descriptor.length != 0 &&
                    descriptor.length % sizeof(Descriptor) == 0;
  const std::span<const u8> table = good ? ram_.span(descriptor.address, descriptor.length) : std::span<u8>();
  if (table.empty()) (void)fail();
  return table;
}

void Virtqueue::snapshot(core::SnapshotIo& io) {
  io.field("broken", broken_);
}

}  // namespace doppel::devices
