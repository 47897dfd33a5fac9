// Vectored reads and writes of a host file that go on until all is done: partial transfers, EINTR and the
// limit on the number of vectors are dealt with here. Used by the images that are files.
#pragma once

#include "devices/storage/block_image.hpp"

namespace doppel::devices {

// A descriptor that is closed in the end.
class FileDescriptor {
 public:
  explicit FileDescriptor(int fd = -1) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_;
};

// 0 or an errno value. A read past the end of the file is EIO: the file became shorter than the disk.
// But from `zeroes_from` on the disk is longer than the file, and what the file lacks reads as zeroes.
[[nodiscard]] int read_file_at(int fd, u64 offset, IoVectors into, u64 zeroes_from = ~u64{0});
[[nodiscard]] int write_file_at(int fd, u64 offset, IoVectors from);
// Zeroes by writing them: for file systems that have no better way.
[[nodiscard]] int write_zeroes_at(int fd, u64 offset, u64 length);
// Makes a range read as zeroes without writing it, keeping or (`unmap`) giving back its storage. EOPNOTSUPP
// where the file system cannot.
[[nodiscard]] int zero_range(int fd, u64 offset, u64 length, bool unmap);

}  // namespace doppel::devices
