#include "core/machine/storage.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "devices/ide/ata_disk.hpp"
#include "devices/ide/atapi_cdrom.hpp"
#include "devices/storage/open_image.hpp"

namespace doppel::machine {

using namespace doppel::devices;

namespace {

constexpr std::size_t kThreads = 4;

// Where IDE drives go (channel * 2 + place), in the order in which they are named. The first CD-ROM drive is
// where firmware and people look for it: master of the second channel.
constexpr std::array<u32, 4> kDiskPlaces = {0, 1, 3, 2}, kCdromPlaces = {2, 3, 1, 0};

u32 free_place(std::vector<bool>& taken, const std::array<u32, 4>& order, const std::string& path) {
  const auto place = std::find_if(order.begin(), order.end(), [&](u32 at) { return !taken[at]; });
  if (place == order.end())
    throw ConfigError(
        fmt::format("{}: there are four IDE drives already; use if=virtio for the other disks.", path));
  taken[*place] = true;
  return *place;
}

}  // namespace

const std::vector<std::string>& disk_formats() {
  return image_format_names();
}

Storage::Storage(const std::vector<DiskConfig>& disks, PcBoard& board, core::Counters& counters,
                 BlockQueue::Post post)
    : board_(board),
      counters_(counters),
      post_(std::move(post)),
      threads_(kThreads),
      ide_(board.wiring.isa_line(kIrqIdePrimary), board.wiring.isa_line(kIrqIdeSecondary), *board.ram,
           board.ports, counters) {
  // CD-ROM drives first: a third IDE disk must not take their place.
  for (const auto& disk : disks)
    if (disk.interface == DiskConfig::Interface::kCdrom) add_cdrom(disk);
  for (const auto& disk : disks) {
    if (disk.interface == DiskConfig::Interface::kIde) add_ide(disk);
    if (disk.interface == DiskConfig::Interface::kVirtio) add_virtio(disk);
    if (disk.interface == DiskConfig::Interface::kFloppy) add_floppy(disk);
  }
  board.ports.attach(kPortIdePrimary, 8, ide_.channel(0));
  board.ports.attach(kPortIdePrimaryControl, 1, ide_.channel(0), IdeChannel::kControlBlock);
  board.ports.attach(kPortIdeSecondary, 8, ide_.channel(1));
  board.ports.attach(kPortIdeSecondaryControl, 1, ide_.channel(1), IdeChannel::kControlBlock);
  board.pci.insert(kSlotIde, 1, ide_);
}

Storage::~Storage() {
  threads_.join();
}

void Storage::reset() {
  if (floppy_) floppy_->reset();
}

BlockBackend& Storage::open(const DiskConfig& disk) {
  const bool cdrom = disk.interface == DiskConfig::Interface::kCdrom;
  const bool floppy = disk.interface == DiskConfig::Interface::kFloppy;
  try {
    auto image = open_image({.path = disk.path,
                             .format = image_format(disk.format).value_or(ImageFormat::kAuto),
                             .read_only = disk.read_only || cdrom,
                             .snapshot = disk.snapshot,
                             .unsafe = disk.cache == DiskConfig::Cache::kUnsafe,
                             .sector = cdrom ? Cdrom::kBlock : 512,
                             .disk_size = floppy ? floppy_size : nullptr});
    queues_.push_back(std::make_unique<BlockQueue>(std::move(image), threads_, post_,
                                                   disk.cache != DiskConfig::Cache::kWritethrough));
  } catch (const ImageError& error) {
    throw ConfigError(fmt::format("{}.", error.what()));
  }
  return *queues_.back();
}

void Storage::add_virtio(const DiskConfig& disk) {
  if (virtio_.size() == kMostVirtioDisks)
    throw ConfigError(
        fmt::format("{}: there are {} virtio disks already; leave some out.", disk.path, kMostVirtioDisks));
  const std::size_t index = virtio_.size();
  virtio_.push_back(
      std::make_unique<VirtioDisk>(open(disk), fmt::format("doppel-{}", index), board_, counters_));
  board_.pci.insert(static_cast<u32>(kSlotVirtioDisks + index), 0, virtio_.back()->function);
}

void Storage::add_ide(const DiskConfig& disk) {
  const u32 place = free_place(ide_taken_, kDiskPlaces, disk.path);
  ide_.channel(place / 2).connect(place % 2,
                                  std::make_unique<AtaDisk>(open(disk), fmt::format("DP{:05}", place + 1)));
}

void Storage::add_cdrom(const DiskConfig& disk) {
  const u32 place = free_place(ide_taken_, kCdromPlaces, disk.path);
  ide_.channel(place / 2).connect(
      place % 2, std::make_unique<AtapiCdrom>(open(disk), fmt::format("DP{:05}", place + 1)));
}

void Storage::add_floppy(const DiskConfig& disk) {
  if (floppy_)
    throw ConfigError(fmt::format("{}: there is one floppy drive; leave one image out.", disk.path));
  BlockBackend& backend = open(disk);
  const auto format = floppy_format(backend.size());
  if (!format)
    throw ConfigError(
        fmt::format("{}: no floppy disk has {} KiB, at most 2880; use --disk for the image of a larger disk.",
                    disk.path, backend.size() / 1024));
  floppy_ = std::make_unique<Floppy82077>(
      backend, board_.wiring.isa_line(kIrqFloppy),
      [this](std::span<u8> bytes, DmaDirection direction) {
        return board_.dma.transfer(kDmaFloppy, bytes, direction);
      },
      counters_);
  board_.ports.attach(kPortFloppy, 6, *floppy_);
  board_.ports.attach(kPortFloppyInput, 1, *floppy_, 7);
  constexpr u8 kFloppyTypes = 0x10, kEquipment = 0x14, kOneFloppy = 0x01;  // CMOS
  board_.rtc.set_cmos(kFloppyTypes, static_cast<u8>(format->drive << 4));
  board_.rtc.set_cmos(kEquipment, board_.rtc.cmos(kEquipment) | kOneFloppy);
}

}  // namespace doppel::machine
