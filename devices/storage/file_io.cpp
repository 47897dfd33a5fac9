#include "devices/storage/file_io.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <cerrno>
#include <climits>
#include <cstring>
#include <vector>

namespace doppel::devices {

namespace {

constexpr std::size_t kZeroChunk = std::size_t{1} << 20;

template <class Transfer>
int transfer_all(u64 offset, IoVectors vectors, int at_end, Transfer transfer) {
  boost::container::small_vector<iovec, 16> left(vectors.begin(), vectors.end());
  std::size_t first = 0;
  while (first < left.size()) {
    const int count = static_cast<int>(std::min<std::size_t>(left.size() - first, IOV_MAX));
    const ssize_t done = transfer(left.data() + first, count, static_cast<off_t>(offset));
    if (done < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    std::size_t rest = static_cast<std::size_t>(done);
    offset += rest;
    const bool moved = rest != 0;
    while (first < left.size() && rest >= left[first].iov_len) rest -= left[first++].iov_len;
    if (first == left.size()) break;
    if (!moved) return at_end;
    left[first].iov_base = static_cast<u8*>(left[first].iov_base) + rest;
    left[first].iov_len -= rest;
  }
  return 0;
}

}  // namespace

u64 total_size(IoVectors vectors) {
  u64 size = 0;
  for (const iovec& vector : vectors) size += vector.iov_len;
  return size;
}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  if (this == &other) return *this;
  if (valid()) ::close(fd_);
  fd_ = other.release();
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (valid()) ::close(fd_);
}

int read_file_at(int fd, u64 offset, IoVectors into, u64 zeroes_from) {
  return transfer_all(offset, into, EIO, [fd, zeroes_from](const iovec* v, int count, off_t at) -> ssize_t {
    const ssize_t got = ::preadv(fd, v, count, at);
    if (got != 0 || static_cast<u64>(at) < zeroes_from) return got;
    std::memset(v->iov_base, 0, v->iov_len);
    return static_cast<ssize_t>(v->iov_len);
  });
}

int write_file_at(int fd, u64 offset, IoVectors from) {
  return transfer_all(offset, from, ENOSPC,
                      [fd](const iovec* v, int count, off_t at) { return ::pwritev(fd, v, count, at); });
}

int write_zeroes_at(int fd, u64 offset, u64 length) {
  static const std::vector<u8> zeroes(kZeroChunk);
  while (length != 0) {
    const std::size_t chunk = std::min<u64>(length, kZeroChunk);
    const iovec vector{const_cast<u8*>(zeroes.data()), chunk};  // pwritev only reads it
    if (const int error = write_file_at(fd, offset, {&vector, 1})) return error;
    offset += chunk;
    length -= chunk;
  }
  return 0;
}

int zero_range(int fd, u64 offset, u64 length, bool unmap) {
  const int mode = (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
  int result;
  do result = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  while (result != 0 && errno == EINTR);
  if (result == 0) return 0;
  return errno == ENOSYS || errno == ENODEV ? EOPNOTSUPP : errno;
}

}  // namespace doppel::devices
