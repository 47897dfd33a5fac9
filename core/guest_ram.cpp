#include "core/guest_ram.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "core/guest_memory.hpp"
#include "core/populate.hpp"
#include "core/touch_ahead.hpp"

namespace doppel::core {

namespace {

constexpr u64 kSmallestRam = u64{1} << 20, kLargestRam = u64{1} << 40;

[[noreturn]] void fail(int error, const char* what) {
  throw std::system_error(error, std::generic_category(), what);
}

// RAM below and above 4 GiB is not adjacent, so a range that is RAM throughout is one piece of the memfd.
bool is_ram(const GuestRam& ram, u64 pa, u64 size) {
  const u64 offset = ram.offset_of(pa);
  if (offset == ~u64{0}) return false;
  const u64 end = pa < ram.below_4g() ? ram.below_4g() : ram.size();
  return size <= end - offset;
}

}  // namespace

GuestRam::GuestRam(u64 size) : size_(size), below_4g_(std::min(size, kPciHoleStart)) {
  if (size % kPageSize != 0 || size < kSmallestRam || size > kLargestRam) fail(EINVAL, "guest RAM size");
  code_users_ = std::make_unique<std::atomic<u8>[]>(size / kPageSize);
  prepared_ = std::make_unique<std::atomic<bool>[]>((size + kPrepared - 1) / kPrepared);

  fd_ = ::memfd_create("doppel-guest-ram", MFD_CLOEXEC);
  if (fd_ < 0) fail(errno, "memfd_create for guest RAM");
  void* mapping = MAP_FAILED;
  if (::ftruncate(fd_, static_cast<off_t>(size)) == 0)
    mapping = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (mapping == MAP_FAILED) {
    const int error = errno;
    ::close(fd_);
    fail(error, "mapping guest RAM");
  }
  base_ = static_cast<u8*>(mapping);
  declare_guest_memory(base_, size);
}

GuestRam::~GuestRam() {
  leave_alone(base_, size_);
  ::munmap(base_, size_);
  ::close(fd_);
}

void GuestRam::populate(std::atomic<bool>& prepared, u64 pa) const {
  prepared.store(true, std::memory_order_relaxed);
  const u64 index = offset_of(pa) / kPrepared, first = index * kPrepared;
  core::populate(base_ + first, std::min(kPrepared, size_ - first));
  // Guests take memory upwards, mostly. One that takes it here and there gets no more than asked for.
  constexpr u64 kAhead = 8 * kPrepared;
  const bool goes_up = index == 0 || prepared_[index - 1].load(std::memory_order_relaxed);
  touch_ahead(base_ + first, std::min(goes_up ? kAhead : kPrepared, size_ - first));
}

bool GuestRam::read(u64 pa, std::span<u8> out) const {
  if (out.empty()) return true;
  if (!is_ram(*this, pa, out.size())) return false;
  std::memcpy(out.data(), host(pa), out.size());
  return true;
}

std::span<u8> GuestRam::span(u64 pa, u64 size) const {
  if (size == 0 || !is_ram(*this, pa, size)) return {};
  return {host(pa), size};
}

void GuestRam::written_in_place(u64 pa, u64 size) const {
  const u64 end = pa + size;
  std::atomic_thread_fence(std::memory_order_seq_cst);  // as in report_store()
  for (u64 page = pa & kPageMask; page < end; page += kPageSize) {
    const u64 from = std::max(page, pa);
    tell_code_write(from, std::min(page + kPageSize, end) - from);
  }
}

bool GuestRam::give_to_host(u64 pa, u64 size) const {
  if (size == 0 || !is_ram(*this, pa, size)) return false;
  const u64 first = (pa + kPageSize - 1) & kPageMask, end = (pa + size) & kPageMask;
  if (first >= end) return false;
  // The RAM is shared memory: MADV_DONTNEED would only drop this mapping of it.
  const bool given = ::madvise(host(first), end - first, MADV_REMOVE) == 0;
  written_in_place(first, end - first);
  return given;
}

bool GuestRam::write(u64 pa, std::span<const u8> data) {
  if (data.empty()) return true;
  if (!is_ram(*this, pa, data.size())) return false;
  if (data.size() > kPageSize)
    for (u64 at = pa & ~(kPrepared - 1); at < pa + data.size(); at += kPrepared) prepare(at);
  std::memcpy(host(pa), data.data(), data.size());
  written_in_place(pa, data.size());
  return true;
}

}  // namespace doppel::core
