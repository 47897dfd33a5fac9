// Writes go to a temporary file, the image below stays as it is: `--snapshot`. The file has no name, so it is
// gone when the process is, whatever ends it. A bitmap, made as it is needed, says sector by sector where the
// current contents are.
#pragma once

#include <bitset>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "devices/storage/block_image.hpp"
#include "devices/storage/file_io.hpp"

namespace doppel::devices {

class SnapshotOverlay final : public BlockImage {
 public:
  // The overlay's file is made in $TMPDIR, or else in /var/tmp. Throws ImageError.
  explicit SnapshotOverlay(std::unique_ptr<BlockImage> base);

  [[nodiscard]] u64 size() const override { return base_->size(); }
  [[nodiscard]] bool read_only() const override { return false; }
  [[nodiscard]] int read(u64 offset, IoVectors into) override;
  [[nodiscard]] int write(u64 offset, IoVectors from) override;
  [[nodiscard]] int flush() override { return 0; }
  [[nodiscard]] int discard(u64, u64) override { return 0; }
  [[nodiscard]] int write_zeroes(u64 offset, u64 length, bool unmap) override;

 private:
  static constexpr u64 kSector = 512, kSectorsPerPage = 4096;
  using Page = std::bitset<kSectorsPerPage>;
  struct Run {
    u64 sectors;
    bool in_overlay;
  };

  // The sectors from `sector` on, at most `limit`, whose contents are in the same place.
  [[nodiscard]] Run run_at(u64 sector, u64 limit);
  void mark(u64 offset, u64 length);

  std::unique_ptr<BlockImage> base_;
  FileDescriptor file_;
  std::mutex mutex_;
  std::unordered_map<u64, Page> pages_;  // by sector / kSectorsPerPage; absent: none are in the overlay
};

}  // namespace doppel::devices
