#include "jit/x64/code_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/populate.hpp"
#include "core/touch_ahead.hpp"

namespace doppel::jit::x64 {

// Shared anonymous memory can be mapped a second time by mremap() with an old size of 0. Unlike a memfd, it
// is memory whose names perf looks up in its map file.
CodeCache::CodeCache(u64 size) : size_(size) {
  void* writable =
      ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (writable != MAP_FAILED) {
    writable_ = static_cast<u8*>(writable);
    void* executable = ::mremap(writable, 0, size, MREMAP_MAYMOVE);
    if (executable != MAP_FAILED) executable_ = static_cast<u8*>(executable);
  }
  if (executable_ == nullptr || ::mprotect(executable_, size, PROT_READ | PROT_EXEC) != 0) {
    const int error = errno;
    unmap();
    throw std::system_error(error, std::generic_category(), "memory for translated code");
  }
}

CodeCache::~CodeCache() {
  unmap();
}

void CodeCache::unmap() {
  for (u8* mapping : {writable_, executable_}) {
    if (mapping == nullptr) continue;
    core::leave_alone(mapping, size_);
    ::munmap(mapping, size_);
  }
}

void CodeCache::prepare(u64 size) {
  constexpr u64 kStep = u64{256} << 10;
  if (used_ + size <= prepared_) return;
  const u64 step = std::min((size + kStep - 1) / kStep * kStep, size_ - prepared_);
  core::populate(writable_ + prepared_, step);
  (void)::madvise(executable_ + prepared_, step, MADV_POPULATE_READ);
  prepared_ += step;
  const u64 next = std::min(kStep, size_ - prepared_);
  core::touch_ahead(writable_ + prepared_, next);
  core::touch_ahead(executable_ + prepared_, next);
}

void CodeCache::take(u64 size) {
  used_ = (used_ + size + 15) & ~u64{15};
}

u64 CodeCache::jump_target(u64 field) const {
  i32 displacement;
  std::memcpy(&displacement, writable(field), sizeof displacement);
  return field + sizeof displacement + static_cast<u64>(static_cast<i64>(displacement));
}

// Other processors may be about to execute what is patched: where there are any, a displacement lies within 8
// aligned bytes (HostAssembler::align_patched), so that they see the old one or the new one.
void CodeCache::patch_displacement(u64 field, u64 target) {
  const i32 displacement = static_cast<i32>(target - (field + sizeof(i32)));
  std::memcpy(writable(field), &displacement, sizeof displacement);
}

void CodeCache::patch_entry(u64 entry, u64 target) {
  constexpr u64 kJmp = 0xe9;
  constexpr u64 kJumpBits = 40;
  auto& bytes = *reinterpret_cast<u64*>(writable(entry));  // entries are 16-byte aligned
  const u64 jump = kJmp | (target - (entry + kJumpBits / 8)) << 8;
  std::atomic_ref(bytes).store((jump & ((u64{1} << kJumpBits) - 1)) | (bytes >> kJumpBits << kJumpBits));
}

}  // namespace doppel::jit::x64
