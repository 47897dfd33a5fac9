#include "jit/x64/code_cache.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

namespace doppel::jit::x64 {

CodeCache::CodeCache(u64 size) : size_(size) {
  fd_ = ::memfd_create("doppel-code-cache", MFD_CLOEXEC);
  if (fd_ >= 0 && ::ftruncate(fd_, static_cast<off_t>(size)) == 0) {
    void* writable = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
    void* executable = ::mmap(nullptr, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, fd_, 0);
    if (writable != MAP_FAILED && executable != MAP_FAILED) {
      writable_ = static_cast<u8*>(writable);
      executable_ = static_cast<u8*>(executable);
      return;
    }
  }
  const int error = errno;
  if (fd_ >= 0) ::close(fd_);
  throw std::system_error(error, std::generic_category(), "memory for translated code");
}

CodeCache::~CodeCache() {
  ::munmap(writable_, size_);
  ::munmap(executable_, size_);
  ::close(fd_);
}

void CodeCache::append(std::span<const u8> code) {
  std::memcpy(writable_ + used_, code.data(), code.size());
  used_ = (used_ + code.size() + 15) & ~u64{15};
}

// Executed by the thread that patches (one translator per vCPU), so plain stores suffice.
void CodeCache::patch_displacement(u64 field, u64 target) {
  const i32 displacement = static_cast<i32>(target - (field + sizeof(i32)));
  std::memcpy(writable(field), &displacement, sizeof displacement);
}

void CodeCache::patch_jump(u64 at, u64 target) {
  *writable(at) = 0xe9;
  patch_displacement(at + 1, target);
}

}  // namespace doppel::jit::x64
