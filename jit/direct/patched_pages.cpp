#include "jit/direct/patched_pages.hpp"

#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <numeric>
#include <system_error>

namespace doppel::jit::direct {

using core::kPageSize;

namespace {

constexpr u8 kHlt = 0xf4;

// With protection keys in use, Linux gives PROT_EXEC without PROT_READ a key that allows no access.
bool can_execute_only() {
  constexpr u32 kOspke = 1u << 4;  // CPUID 7, ECX
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & kOspke);
}

}  // namespace

PatchedPages::PatchedPages() {
  constexpr u64 kSize = kMostPages * kPageSize;
  fd_ = ::memfd_create("doppel-patched-code", MFD_CLOEXEC);
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(kSize)) != 0)
    throw std::system_error(errno, std::generic_category(), "memory for patched code");
  void* mapping = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (mapping == MAP_FAILED)
    throw std::system_error(errno, std::generic_category(), "memory for patched code");
  base_ = static_cast<u8*>(mapping);
  clear();
}

PatchedPages::~PatchedPages() {
  ::munmap(base_, kMostPages * kPageSize);
  ::close(fd_);
}

bool PatchedPages::add(u64 page, std::span<const u8, kPageSize> bytes, std::span<const u16> offsets) {
  static const bool possible = can_execute_only();
  if (!possible || free_.empty()) return false;
  const u64 slot = free_.back();
  free_.pop_back();
  u8* copy = base_ + slot * kPageSize;
  std::memcpy(copy, bytes.data(), kPageSize);
  for (const u16 offset : offsets) copy[offset] = kHlt;
  slots_[page] = slot;
  return true;
}

void PatchedPages::remove(u64 page) {
  const auto it = slots_.find(page);
  if (it == slots_.end()) return;
  free_.push_back(it->second);
  slots_.erase(it);
}

void PatchedPages::clear() {
  slots_.clear();
  free_.resize(kMostPages);
  std::iota(free_.rbegin(), free_.rend(), u64{0});
}

}  // namespace doppel::jit::direct
