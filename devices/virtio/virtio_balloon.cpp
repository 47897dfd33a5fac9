#include "devices/virtio/virtio_balloon.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace doppel::devices {

namespace {

// --- Queues (5.5.2). Without the features before it, free-page reporting has the third.
constexpr u16 kInflate = 0, kReporting = 2;

// --- Features (5.5.3).
constexpr u64 kDeflateOnOom = u64{1} << 2, kPageReporting = u64{1} << 5;

// --- Configuration (5.5.4).
struct Config {
  u32 target, actual;
};
constexpr u32 kActualOffset = 4;

constexpr std::size_t kMostPages = 16384;  // that one request lists

}  // namespace

VirtioBalloon::VirtioBalloon(core::GuestRam& ram, core::Counters& counters)
    : ram_(ram), returned_(counters["virtio_balloon.returned"]) {}

u64 VirtioBalloon::features() const {
  return kDeflateOnOom | kPageReporting;
}

void VirtioBalloon::set_target(u64 bytes) {
  target_pages_ = static_cast<u32>(std::min(bytes, ram_.size()) / kPage);
  transport_->configuration_changed();
}

void VirtioBalloon::reset() {
  accepted_ = 0;
  actual_pages_ = 0;
}

u8 VirtioBalloon::read_config(u32 offset) {
  const Config config{target_pages_, actual_pages_};
  return offset < sizeof config ? reinterpret_cast<const u8*>(&config)[offset] : u8{0};
}

void VirtioBalloon::write_config(u32 offset, u8 value) {
  if (offset < kActualOffset || offset >= sizeof(Config)) return;
  reinterpret_cast<u8*>(&actual_pages_)[offset - kActualOffset] = value;
}

void VirtioBalloon::notified(u16 index) {
  transport_->serve(index, [&](const VirtioChain& chain) {
    if (index == kInflate) take_pages(chain);
    if (index == kReporting && (accepted_ & kPageReporting))
      for (const auto& piece : chain.writable) give_to_host(piece.address, piece.memory.size());
    // Pages that come back out of the balloon need nothing: the host gives them when they are touched.
    return 0u;
  });
}

void VirtioBalloon::take_pages(const VirtioChain& chain) {
  std::vector<u32> pages(std::min<u64>(chain.readable_size() / sizeof(u32), kMostPages));
  pages.resize(chain.read_front({reinterpret_cast<u8*>(pages.data()), pages.size() * sizeof(u32)}) /
               sizeof(u32));
  std::erase_if(pages, [this](u32 page) { return !ram_.host(page * kPage); });
  // Mostly runs of neighbours, up or down: one call for each.
  std::sort(pages.begin(), pages.end());
  for (std::size_t i = 0; i < pages.size();) {
    std::size_t end = i + 1;
    while (end < pages.size() && pages[end] <= pages[end - 1] + 1) ++end;
    give_to_host(pages[i] * kPage, (pages[end - 1] - pages[i] + u64{1}) * kPage);
    i = end;
  }
}

void VirtioBalloon::give_to_host(u64 pa, u64 size) {
  if (ram_.give_to_host(pa, size)) returned_ += size;
}

void VirtioBalloon::snapshot(core::SnapshotIo& io) {
  io.field("accepted", accepted_);
  io.field("target_pages", target_pages_);
  io.field("actual_pages", actual_pages_);
}

}  // namespace doppel::devices
