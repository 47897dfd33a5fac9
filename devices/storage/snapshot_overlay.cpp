#include "devices/storage/snapshot_overlay.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace doppel::devices {

namespace {

// As long as the disk, so that every hole in it reads as zeroes.
FileDescriptor unnamed_file(u64 size) {
  const char* chosen = std::getenv("TMPDIR");
  const char* folder = chosen && *chosen ? chosen : "/var/tmp";
  FileDescriptor file(::open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!file.valid() || ::ftruncate(file.get(), static_cast<off_t>(size)) != 0)
    throw ImageError(
        fmt::format("{}: a snapshot needs a temporary file there: {}; set TMPDIR to a folder "
                    "that can hold one",
                    folder, std::strerror(errno)));
  return file;
}

// Takes vectors apart from the front.
class Cutter {
 public:
  explicit Cutter(IoVectors vectors) : left_(vectors.begin(), vectors.end()) {}

  [[nodiscard]] boost::container::small_vector<iovec, 16> take(u64 size) {
    boost::container::small_vector<iovec, 16> out;
    while (size != 0) {
      iovec& next = left_[first_];
      const std::size_t part = std::min<u64>(size, next.iov_len);
      out.push_back({next.iov_base, part});
      next.iov_base = static_cast<u8*>(next.iov_base) + part;
      next.iov_len -= part;
      size -= part;
      if (next.iov_len == 0) ++first_;
    }
    return out;
  }

 private:
  boost::container::small_vector<iovec, 16> left_;
  std::size_t first_ = 0;
};

}  // namespace

SnapshotOverlay::SnapshotOverlay(std::unique_ptr<BlockImage> base)
    : base_(std::move(base)), file_(unnamed_file(base_->size())) {}

SnapshotOverlay::Run SnapshotOverlay::run_at(u64 sector, u64 limit) {
  std::lock_guard guard(mutex_);
  const auto in_overlay = [this](u64 s) {
    const auto page = pages_.find(s / kSectorsPerPage);
    return page != pages_.end() && page->second[s % kSectorsPerPage];
  };
  Run run{1, in_overlay(sector)};
  while (run.sectors < limit && in_overlay(sector + run.sectors) == run.in_overlay) ++run.sectors;
  return run;
}

void SnapshotOverlay::mark(u64 offset, u64 length) {
  std::lock_guard guard(mutex_);
  const u64 end = (offset + length) / kSector;
  for (u64 sector = offset / kSector; sector < end;) {
    Page& page = pages_[sector / kSectorsPerPage];
    const u64 page_end = std::min((sector / kSectorsPerPage + 1) * kSectorsPerPage, end);
    for (; sector < page_end; ++sector) page.set(sector % kSectorsPerPage);
  }
}

int SnapshotOverlay::read(u64 offset, IoVectors into) {
  Cutter cutter(into);
  for (u64 left = total_size(into); left != 0;) {
    const Run run = run_at(offset / kSector, left / kSector);
    const u64 size = run.sectors * kSector;
    const auto part = cutter.take(size);
    const IoVectors vectors(part.data(), part.size());
    const int error =
        run.in_overlay ? read_file_at(file_.get(), offset, vectors) : base_->read(offset, vectors);
    if (error) return error;
    offset += size;
    left -= size;
  }
  return 0;
}

int SnapshotOverlay::write(u64 offset, IoVectors from) {
  if (const int error = write_file_at(file_.get(), offset, from)) return error;
  mark(offset, total_size(from));
  return 0;
}

int SnapshotOverlay::write_zeroes(u64 offset, u64 length, bool) {
  int error = zero_range(file_.get(), offset, length, true);
  if (error == EOPNOTSUPP) error = write_zeroes_at(file_.get(), offset, length);
  if (error) return error;
  mark(offset, length);
  return 0;
}

}  // namespace doppel::devices
