// The machine's disks: opens the images, makes the controllers and drives, and attaches them to the board.
// Requests run on threads of its own; what they completed comes back through `post`. Made by Machine after
// the board; the board's PCI bus resets the controllers.
#pragma once

#include <boost/asio/thread_pool.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "core/machine/disk_config.hpp"
#include "core/machine/pc_board.hpp"
#include "devices/floppy_82077.hpp"
#include "devices/ide/piix3_ide.hpp"
#include "devices/storage/block_queue.hpp"
#include "devices/virtio/virtio_blk.hpp"
#include "devices/virtio/virtio_pci.hpp"

namespace doppel::machine {

class Storage {
 public:
  // `post` runs a function on the vCPU's thread with the device lock held; called from storage threads.
  // Throws ConfigError.
  Storage(const std::vector<DiskConfig>& disks, PcBoard& board, core::Counters& counters,
          devices::BlockQueue::Post post);
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  // Waits for what is being written.
  ~Storage();

  // What the PCI bus does not reset.
  void reset();

 private:
  struct VirtioDisk {
    VirtioDisk(devices::BlockBackend& disk, std::string identity, PcBoard& board, core::Counters& counters)
        : model(disk, std::move(identity)), function(model, *board.ram, board.mmio, board.msi(), counters) {}
    devices::VirtioBlk model;
    devices::VirtioPci function;
  };

  [[nodiscard]] devices::BlockBackend& open(const DiskConfig& disk);
  void add_virtio(const DiskConfig& disk);
  void add_ide(const DiskConfig& disk);
  void add_cdrom(const DiskConfig& disk);
  void add_floppy(const DiskConfig& disk);

  PcBoard& board_;
  core::Counters& counters_;
  devices::BlockQueue::Post post_;
  boost::asio::thread_pool threads_;
  std::vector<std::unique_ptr<devices::BlockQueue>> queues_;
  devices::Piix3Ide ide_;
  std::vector<bool> ide_taken_ = std::vector<bool>(4);  // channel * 2 + place
  std::vector<std::unique_ptr<VirtioDisk>> virtio_;
  std::unique_ptr<devices::Floppy82077> floppy_;
};

}  // namespace doppel::machine
