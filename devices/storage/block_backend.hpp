// What a disk model sees of its disk: requests that run elsewhere and come back. All calls are made, and
// every `done` is called, with the device lock held and on the thread that may write guest RAM; never from
// inside submit(). The model knows no file, the backend no guest.
#pragma once

#include <sys/uio.h>

#include <boost/container/small_vector.hpp>
#include <functional>

#include "core/types.hpp"

namespace doppel::devices {

struct BlockRequest {
  enum class Kind : u8 { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

  Kind kind = Kind::kRead;
  bool unmap = false;  // kWriteZeroes: host storage may be given back
  u64 offset = 0;      // bytes; what passes the disk's end fails
  u64 length = 0;      // kDiscard, kWriteZeroes; the memory says it for reads and writes
  // Valid, and for reads and writes in use, until `done` is called.
  boost::container::small_vector<iovec, 8> memory;
  std::function<void(int error)> done;  // 0 or an errno value
};

class BlockBackend {
 public:
  virtual ~BlockBackend() = default;

  [[nodiscard]] virtual u64 size() const = 0;  // bytes, a multiple of 512
  [[nodiscard]] virtual bool read_only() const = 0;

  virtual void submit(BlockRequest request) = 0;
  // Waits for everything submitted and calls what is done: before a reset, before state is saved.
  virtual void drain() = 0;

  // Without the write cache, a write is on stable storage when it is done. `initial` is the user's choice,
  // which a reset brings back.
  [[nodiscard]] virtual bool write_cache() const = 0;
  virtual void set_write_cache(bool on) = 0;
  [[nodiscard]] virtual bool initial_write_cache() const = 0;
};

}  // namespace doppel::devices
