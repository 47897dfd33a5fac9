#include "devices/storage/raw_image.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "core/log.hpp"
#include "devices/storage/image_format.hpp"

namespace doppel::devices {

namespace {

ImageFormat format_of(IoVectors vectors) {
  std::array<u8, kFormatBytes> head;
  std::size_t size = 0;
  for (const iovec& vector : vectors) {
    const std::size_t part = std::min(vector.iov_len, head.size() - size);
    std::memcpy(head.data() + size, vector.iov_base, part);
    size += part;
  }
  return detect_format({head.data(), size});
}

}  // namespace

RawImage::~RawImage() {
  if (dirty_) (void)flush();
}

int RawImage::read(u64 offset, IoVectors into) {
  return read_file_at(file_.get(), offset, into, options_.zeroes_from);
}

bool RawImage::read_at_once(u64 offset, IoVectors into) {
  if (into.size() > IOV_MAX) return false;
  const ssize_t got = ::preadv2(file_.get(), into.data(), static_cast<int>(into.size()),
                                static_cast<off_t>(offset), RWF_NOWAIT);
  return got >= 0 && static_cast<u64>(got) == total_size(into);
}

int RawImage::write(u64 offset, IoVectors from) {
  if (options_.read_only) return EROFS;
  if (options_.guard_format && offset == 0 && format_of(from) != ImageFormat::kRaw) {
    core::log(core::LogCategory::kStorage,
              "refused a write that would turn a raw image into {}: say format=raw to allow it",
              image_format_name(format_of(from)));
    return EPERM;
  }
  dirty_ = true;
  return write_file_at(file_.get(), offset, from);
}

int RawImage::flush() {
  if (options_.unsafe || !dirty_.exchange(false)) return 0;
  if (::fdatasync(file_.get()) == 0) return 0;
  dirty_ = true;
  return errno;
}

int RawImage::discard(u64 offset, u64 length) {
  if (options_.read_only) return EROFS;
  dirty_ = true;
  const int error = zero_range(file_.get(), offset, length, true);
  return error == EOPNOTSUPP ? 0 : error;
}

int RawImage::write_zeroes(u64 offset, u64 length, bool unmap) {
  if (options_.read_only) return EROFS;
  dirty_ = true;
  const int error = zero_range(file_.get(), offset, length, unmap);
  return error == EOPNOTSUPP ? write_zeroes_at(file_.get(), offset, length) : error;
}

}  // namespace doppel::devices
