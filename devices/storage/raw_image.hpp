// A disk that is a host file or block device, byte for byte. Opened and locked by open_image().
#pragma once

#include <atomic>

#include "devices/storage/block_image.hpp"
#include "devices/storage/file_io.hpp"

namespace doppel::devices {

class RawImage final : public BlockImage {
 public:
  struct Options {
    bool read_only = false;
    bool unsafe = false;  // flush() does nothing
    // The format was guessed: a write that would make the file look like another format's is refused, so that
    // a guest cannot have the next start follow, say, a qcow2 header of its own making to files of the host.
    bool guard_format = false;
    // The file's size where it is less than the disk's: what lies behind reads as zeroes until it is written.
    u64 zeroes_from = ~u64{0};
  };
  RawImage(FileDescriptor file, u64 size, const Options& options)
      : file_(std::move(file)), size_(size), options_(options) {}
  ~RawImage() override;

  [[nodiscard]] u64 size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return options_.read_only; }
  [[nodiscard]] int read(u64 offset, IoVectors into) override;
  [[nodiscard]] bool read_at_once(u64 offset, IoVectors into) override;
  [[nodiscard]] int write(u64 offset, IoVectors from) override;
  [[nodiscard]] int flush() override;
  [[nodiscard]] int discard(u64 offset, u64 length) override;
  [[nodiscard]] int write_zeroes(u64 offset, u64 length, bool unmap) override;

 private:
  FileDescriptor file_;
  u64 size_;
  Options options_;
  std::atomic<bool> dirty_{false};  // written since the last flush
};

}  // namespace doppel::devices
