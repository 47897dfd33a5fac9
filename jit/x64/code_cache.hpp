// Memory for translated code: shared memory mapped twice, so that no address is both writable and executable.
// Filled from the start; when full, everything is dropped at once (Translations::clear).
#pragma once

#include "core/types.hpp"

namespace doppel::jit::x64 {

class CodeCache {
 public:
  // Throws std::system_error when the host cannot give the memory.
  explicit CodeCache(u64 size);
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;
  ~CodeCache();

  // Executable address at which the next code will lie.
  [[nodiscard]] u64 cursor() const { return reinterpret_cast<u64>(executable_) + used_; }
  [[nodiscard]] u64 left() const { return size_ - used_; }
  [[nodiscard]] u64 used() const { return used_; }
  [[nodiscard]] u64 size() const { return size_; }
  // Where the code runs and where it is written: two addresses of the same memory.
  [[nodiscard]] u64 base() const { return reinterpret_cast<u64>(executable_); }
  [[nodiscard]] u8* writable_base() { return writable_; }
  // Code of up to `size` bytes is about to be written at the cursor: the host gives the memory for it, and
  // for more to come. Else there is a page fault for each page, and another one where it runs.
  void prepare(u64 size);
  // `size` bytes of code have been written at the cursor: moves it on, 16-byte aligned. At most left().
  void take(u64 size);
  // Where the jump whose 4-byte displacement lies at executable address `field` goes.
  [[nodiscard]] u64 jump_target(u64 field) const;
  // Makes the jump whose 4-byte displacement lies at executable address `field` go to `target`.
  void patch_displacement(u64 field, u64 target);
  // Puts a 5-byte jump to `target` at the executable address `entry` where take() had left the cursor.
  void patch_entry(u64 entry, u64 target);
  // Drops everything after the first `keep` bytes.
  void truncate(u64 keep) { used_ = keep; }

 private:
  [[nodiscard]] u8* writable(u64 at) const { return writable_ + (at - reinterpret_cast<u64>(executable_)); }
  void unmap();

  u64 size_, used_ = 0;
  u64 prepared_ = 0;  // bytes from the start
  u8* writable_ = nullptr;
  u8* executable_ = nullptr;
};

}  // namespace doppel::jit::x64
