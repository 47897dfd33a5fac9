// The bytes of one disk on the host: a raw file, an overlay, a storage server. Calls block and may come from
// several threads at once. Used by BlockQueue, which takes them off the vCPU's thread; it knows no guest.
// Requests lie inside the image: whoever talks to the guest checks that.
#pragma once

#include <sys/uio.h>

#include <span>
#include <stdexcept>

#include "core/types.hpp"

namespace doppel::devices {

// An image cannot be opened; what() is a sentence for the user.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

using IoVectors = std::span<const iovec>;

// Bytes that the vectors cover.
[[nodiscard]] u64 total_size(IoVectors vectors);

class BlockImage {
 public:
  BlockImage() = default;
  BlockImage(const BlockImage&) = delete;
  BlockImage& operator=(const BlockImage&) = delete;
  virtual ~BlockImage() = default;

  [[nodiscard]] virtual u64 size() const = 0;  // bytes
  [[nodiscard]] virtual bool read_only() const = 0;

  // Each returns 0 or an errno value; after an error, a part may have been done.
  [[nodiscard]] virtual int read(u64 offset, IoVectors into) = 0;
  // Reads if that needs no waiting: the host has it in memory. False: not done, use read().
  [[nodiscard]] virtual bool read_at_once(u64, IoVectors) { return false; }
  [[nodiscard]] virtual int write(u64 offset, IoVectors from) = 0;
  // What was written before is on stable storage afterwards.
  [[nodiscard]] virtual int flush() = 0;
  // The contents may be forgotten; doing nothing is correct.
  [[nodiscard]] virtual int discard(u64 offset, u64 length) = 0;
  // Reads as zeroes afterwards. `unmap`: host storage may be given back.
  [[nodiscard]] virtual int write_zeroes(u64 offset, u64 length, bool unmap) = 0;
};

}  // namespace doppel::devices
