#include "devices/storage/open_image.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "devices/storage/image_lock.hpp"
#include "devices/storage/nbd_image.hpp"
#include "devices/storage/raw_image.hpp"
#include "devices/storage/snapshot_overlay.hpp"

namespace doppel::devices {

namespace {

constexpr u32 kDiscSector = 2048;

[[noreturn]] void fail(const std::string& path, const std::string& sentence) {
  throw ImageError(fmt::format("{}: {}", path, sentence));
}

[[noreturn]] void fail_to_open(const ImageOptions& options, bool writing, int error) {
  if (error == EISDIR) fail(options.path, "this is a directory; name an image file or a block device");
  if (writing && (error == EACCES || error == EPERM || error == EROFS))
    fail(options.path, fmt::format("cannot be written: {}; change that, or add ,readonly or ,snapshot",
                                   std::strerror(error)));
  if (error == ETXTBSY) fail(options.path, "the image is in use as a program or swap file; stop that first");
  if (error == ENOENT) fail(options.path, "there is no such file; make an image with qemu-img or truncate");
  fail(options.path, std::strerror(error));
}

// O_NONBLOCK: a named pipe must not make us wait.
FileDescriptor open_file(const ImageOptions& options, bool writing) {
  FileDescriptor file(
      ::open(options.path.c_str(), (writing ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file.valid()) fail_to_open(options, writing, errno);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) fail(options.path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail_to_open(options, writing, EISDIR);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    fail(options.path, "this is neither a file nor a block device; name one that is");
  return file;
}

u64 size_of(const FileDescriptor& file, const std::string& path) {
  struct stat status {};
  u64 size = 0;
  if (::fstat(file.get(), &status) != 0) fail(path, std::strerror(errno));
  if (!S_ISBLK(status.st_mode)) return static_cast<u64>(status.st_size);
  if (::ioctl(file.get(), BLKGETSIZE64, &size) != 0) fail(path, std::strerror(errno));
  return size;
}

ImageFormat format_of(const FileDescriptor& file, const std::string& path) {
  std::array<u8, kFormatBytes> head{};
  const ssize_t got = ::pread(file.get(), head.data(), head.size(), 0);
  if (got < 0) fail(path, std::strerror(errno));
  return detect_format({head.data(), static_cast<std::size_t>(got)});
}

[[noreturn]] void fail_empty(const FileDescriptor& file, const ImageOptions& options) {
  struct stat status {};
  if (::fstat(file.get(), &status) == 0 && S_ISBLK(status.st_mode))
    fail(options.path, "there is no medium in this device; put one in, or name an image file");
  fail(options.path, options.read_only ? "the image is empty; get it again"
                                       : "the image is empty; give it a size, as with truncate -s 8G FILE");
}

// How an image of a disc's sectors with their headers and error correction begins (ECMA-130, sync field).
bool has_raw_disc_sectors(const FileDescriptor& file, const std::string& path) {
  static constexpr std::array<u8, 12> kSync = {0,    0xff, 0xff, 0xff, 0xff, 0xff,
                                               0xff, 0xff, 0xff, 0xff, 0xff, 0};
  std::array<u8, kSync.size()> head{};
  if (::pread(file.get(), head.data(), head.size(), 0) < 0) fail(path, std::strerror(errno));
  return head == kSync;
}

constexpr u64 round_up(u64 size, u64 unit) {
  return (size + unit - 1) / unit * unit;
}

std::unique_ptr<BlockImage> open_base(const ImageOptions& options) {
  const bool writing = !options.read_only && !options.snapshot;
  FileDescriptor file = open_file(options, writing);
  const u64 size = size_of(file, options.path);
  if (size == 0) fail_empty(file, options);
  const ImageFormat found = format_of(file, options.path);
  const ImageFormat format = options.format == ImageFormat::kAuto ? found : options.format;
  // The storage server locks the image itself, by the same rules.
  if (format != ImageFormat::kRaw)
    return open_with_server({.path = options.path,
                             .format = image_format_name(format),
                             .read_only = !writing,
                             .unsafe = options.unsafe});
  if (options.sector == kDiscSector && has_raw_disc_sectors(file, options.path))
    fail(options.path,
         "this image has a disc's raw sectors of 2352 bytes; make an ISO image of it, as with bchunk or iat");
  const u64 disk_size = options.disk_size ? options.disk_size(size) : round_up(size, options.sector);
  if (!lock_image(file.get(), writing))
    fail(options.path,
         writing ? "the image is in use by another program; stop that first, or add ,snapshot if it "
                   "is only read"
                 : "another program is writing to the image; stop that first");
  return std::make_unique<RawImage>(std::move(file), disk_size,
                                    RawImage::Options{.read_only = !writing,
                                                      .unsafe = options.unsafe,
                                                      .guard_format = options.format == ImageFormat::kAuto,
                                                      .zeroes_from = size});
}

}  // namespace

std::unique_ptr<BlockImage> open_image(const ImageOptions& options) {
  auto image = open_base(options);
  if (image->size() % options.sector != 0)
    fail(options.path,
         fmt::format("the disk in it has {} bytes, not a multiple of {}", image->size(), options.sector));
  if (options.snapshot && !options.read_only) return std::make_unique<SnapshotOverlay>(std::move(image));
  return image;
}

}  // namespace doppel::devices
