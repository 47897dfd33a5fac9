// A BlockBackend in memory for tests of disk models: requests wait until work() is called, so that a test
// sees a device in the middle of a command. Can be told to fail.
#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <vector>

#include "devices/storage/block_backend.hpp"

namespace doppel::devices::testing {

class MemoryDisk final : public BlockBackend {
 public:
  // Byte i of sector s is a value that names both.
  explicit MemoryDisk(u64 size, bool is_read_only = false) : bytes(size), read_only_(is_read_only) {
    for (u64 i = 0; i < size; ++i) bytes[i] = expected(i);
  }
  [[nodiscard]] static u8 expected(u64 offset) {
    return static_cast<u8>(offset / 512 * 7 + offset % 512 * 3);
  }

  [[nodiscard]] u64 size() const override { return bytes.size(); }
  [[nodiscard]] bool read_only() const override { return read_only_; }
  void submit(BlockRequest request) override { waiting_.push_back(std::move(request)); }
  void drain() override { work(); }
  [[nodiscard]] bool write_cache() const override { return cache_; }
  void set_write_cache(bool on) override { cache_ = on; }
  [[nodiscard]] bool initial_write_cache() const override { return true; }

  [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
  // Does what waits and calls what is done; what that submits is done too.
  void work() {
    while (!waiting_.empty()) {
      BlockRequest request = std::move(waiting_.front());
      waiting_.pop_front();
      request.done(perform(request));
    }
  }

  std::vector<u8> bytes;
  int fail_with = 0;  // every request, until set to 0 again
  u32 flushes = 0, discards = 0;

 private:
  int perform(const BlockRequest& request) {
    using Kind = BlockRequest::Kind;
    if (fail_with) return fail_with;
    u64 length = request.length;
    for (const iovec& vector : request.memory) length += vector.iov_len;
    if (request.offset > bytes.size() || length > bytes.size() - request.offset) return EINVAL;
    u8* at = bytes.data() + request.offset;
    switch (request.kind) {
      case Kind::kFlush:
        ++flushes;
        break;
      case Kind::kDiscard:
        ++discards;
        break;
      case Kind::kWriteZeroes:
        std::memset(at, 0, request.length);
        break;
      case Kind::kRead:
      case Kind::kWrite:
        for (const iovec& vector : request.memory) {
          if (request.kind == Kind::kRead)
            std::memcpy(vector.iov_base, at, vector.iov_len);
          else
            std::memcpy(at, vector.iov_base, vector.iov_len);
          at += vector.iov_len;
        }
        break;
    }
    return 0;
  }

  std::deque<BlockRequest> waiting_;
  bool read_only_;
  bool cache_ = true;
};

}  // namespace doppel::devices::testing
