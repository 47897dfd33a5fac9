#include "mmu/physical_memory.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <ranges>
#include <utility>

#include "core/log.hpp"

namespace doppel::mmu {

using core::kPageMask;
using core::kPageSize;

namespace {

// Copies with one host access where the guest makes one, so that other processors never see half of it.
void copy(u8* to, const u8* from, std::size_t size) {
  switch (size) {
    case 1:
      *to = *from;
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, size);
  }
}

// Bytes of the next bus access when `left` remain: all of them if a processor can move them at once, else
// the largest power of two.
u32 next_width(std::size_t left) {
  return static_cast<u32>(std::min<std::size_t>(std::bit_floor(left), 8));
}

template <class T>
bool swap_entry(u8* host, u64 expected, u64 desired) {
  auto wanted = static_cast<T>(expected);
  return __atomic_compare_exchange_n(reinterpret_cast<T*>(host), &wanted, static_cast<T>(desired), false,
                                     __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

}  // namespace

void PhysicalMemory::add_rom(u64 base, std::vector<u8> bytes) {
  const u64 size = bytes.size();
  add_overlay({base, size, std::move(bytes)});
}

void PhysicalMemory::add_hole(u64 base, u64 size) {
  add_overlay({base, size, {}});
}

void PhysicalMemory::add_overlay(Overlay overlay) {
  DOPPEL_CHECK(((overlay.base | overlay.size) & ~kPageMask) == 0, "overlay at {:#x} of {:#x} bytes",
               overlay.base, overlay.size);
  for (u64 page = overlay.base; page - overlay.base < overlay.size; page += kPageSize)
    if (ram_.host(page)) overlaid_end_ = std::max(overlaid_end_.load(), page + kPageSize);
  overlays_.push_back(std::move(overlay));
}

bool PhysicalMemory::map_device(u64 base, std::span<u8> bytes, bool writable) {
  DOPPEL_CHECK(((base | bytes.size()) & ~kPageMask) == 0 && !bytes.empty(), "device memory at {:#x}", base);
  const auto overlaps = [&](const DeviceMemory& other) {
    return base < other.base + other.bytes.size() && other.base < base + bytes.size();
  };
  const std::unique_lock lock(map_lock_);
  if (std::ranges::any_of(device_memory_, overlaps)) return false;
  device_memory_.push_back({base, bytes, writable});
  return true;
}

void PhysicalMemory::unmap_device(u64 base) {
  const std::unique_lock lock(map_lock_);
  std::erase_if(device_memory_, [&](const DeviceMemory& memory) { return memory.base == base; });
}

void PhysicalMemory::route_ram(u64 base, u64 size, bool reads, bool writes) {
  DOPPEL_CHECK(((base | size) & ~kPageMask) == 0 && base + size <= ram_.below_4g(), "RAM route at {:#x}",
               base);
  const std::unique_lock lock(map_lock_);
  overlaid_end_ = std::max(overlaid_end_.load(), base + size);
  std::erase_if(ram_routes_, [&](const RamRoute& route) { return route.base == base; });
  ram_routes_.push_back({base, size, reads, writes});
}

const PhysicalMemory::RamRoute* PhysicalMemory::ram_route(u64 page) const {
  const auto it = std::ranges::find_if(ram_routes_,
                                       [&](const RamRoute& route) { return page - route.base < route.size; });
  return it == ram_routes_.end() ? nullptr : &*it;
}

// Where stores to a page go that is not plain writable memory: RAM behind a ROM, or nowhere (nullptr).
u8* PhysicalMemory::write_target(u64 page) const {
  if (page >= overlaid_end_) return nullptr;
  const std::shared_lock lock(map_lock_);
  const RamRoute* route = ram_route(page);
  return route && route->writes ? ram_.host(page) : nullptr;
}

PhysicalMemory::Backing PhysicalMemory::backing(u64 page) const {
  u8* host = ram_.host(page);
  if (host && page >= overlaid_end_) {
    ram_.prepare(page);
    return {host, true};
  }
  const std::shared_lock lock(map_lock_);
  if (const RamRoute* route = host ? ram_route(page) : nullptr) {
    if (route->reads) return {host, route->writes};
    host = nullptr;
  }
  for (const Overlay& overlay : std::views::reverse(overlays_)) {
    const u64 offset = page - overlay.base;
    if (offset >= overlay.size) continue;
    if (overlay.bytes.empty()) return {};
    return {const_cast<u8*>(overlay.bytes.data()) + offset, false};  // `writable` keeps callers off it
  }
  if (host) return {host, true};
  for (const DeviceMemory& memory : device_memory_)
    if (const u64 offset = page - memory.base; offset < memory.bytes.size())
      return {memory.bytes.data() + offset, memory.writable, true};
  return {};
}

u64 PhysicalMemory::read(u64 pa, u32 width) {
  u64 value = 0;
  auto* bytes = reinterpret_cast<u8*>(&value);
  for (u32 done = 0; done < width;) {
    const u64 at = a20(pa + done);
    const u32 size = std::min(width - done, static_cast<u32>(kPageSize - at % kPageSize));
    read_page(at, {bytes + done, size});
    done += size;
  }
  return value;
}

void PhysicalMemory::write(u64 pa, u32 width, u64 value) {
  const auto* bytes = reinterpret_cast<const u8*>(&value);
  for (u32 done = 0; done < width;) {
    const u64 at = a20(pa + done);
    const u32 size = std::min(width - done, static_cast<u32>(kPageSize - at % kPageSize));
    write_page(at, {bytes + done, size});
    done += size;
  }
}

void PhysicalMemory::read_page(u64 pa, std::span<u8> out) {
  if (const Backing page = backing(pa & kPageMask); page.host) {
    copy(out.data(), page.host + pa % kPageSize, out.size());
    return;
  }
  for (std::size_t done = 0; done < out.size();) {
    const u32 width = next_width(out.size() - done);
    const u64 value = mmio_.read(pa + done, width);
    std::memcpy(out.data() + done, &value, width);
    done += width;
  }
}

void PhysicalMemory::write_page(u64 pa, std::span<const u8> data) {
  const Backing page = backing(pa & kPageMask);
  if (u8* host = page.writable ? page.host : write_target(pa & kPageMask)) {
    if (observer_) observer_->page_writable(pa & kPageMask, host);
    copy(host + pa % kPageSize, data.data(), data.size());
    ram_.report_store(pa, data.size());
    return;
  }
  for (std::size_t done = 0; done < data.size();) {
    const u32 width = next_width(data.size() - done);
    u64 value = 0;
    std::memcpy(&value, data.data() + done, width);
    mmio_.write(pa + done, width, value);
    done += width;
  }
}

bool PhysicalMemory::compare_exchange(u64 pa, u32 width, u64 expected, u64 desired) {
  const u64 at = a20(pa);
  const Backing page = backing(at & kPageMask);
  if (!page.writable) return true;
  if (observer_) observer_->entry_marked(at & kPageMask);
  u8* host = page.host + at % kPageSize;
  const bool swapped =
      width == 4 ? swap_entry<u32>(host, expected, desired) : swap_entry<u64>(host, expected, desired);
  ram_.report_store(at, width);
  return swapped;
}

}  // namespace doppel::mmu
