// Guest RAM: one memfd, mapped once here (the translator may map it again), touched lazily. Below 4 GiB it
// ends at kPciHoleStart; the rest continues at 4 GiB. For each 4 KiB page it is known whether decoded or
// translated code was made from it; whoever writes RAM behind the MMU's back (DMA, loaders) goes through
// write(), which reports such writes so that the code is dropped.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>

#include "core/types.hpp"

namespace doppel::core {

inline constexpr u64 kPageSize = 4096;
inline constexpr u64 kPageMask = ~(kPageSize - 1);
inline constexpr u64 kFourGiB = u64{1} << 32;
inline constexpr u64 kPciHoleStart =
    0xc000'0000;  // RAM below 4 GiB ends here at the latest; MMIO up to 4 GiB

class GuestRam {
 public:
  // `size` in bytes, a multiple of 4 KiB, at least 1 MiB. Throws std::system_error when the host cannot give
  // it.
  explicit GuestRam(u64 size);
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;
  ~GuestRam();

  [[nodiscard]] u64 size() const { return size_; }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] u64 below_4g() const { return below_4g_; }          // bytes of RAM that start at 0
  [[nodiscard]] u64 above_4g() const { return size_ - below_4g_; }  // bytes of RAM that start at 4 GiB

  // Offset into the memfd of a guest physical address, or ~0 if there is no RAM at that address.
  [[nodiscard]] u64 offset_of(u64 pa) const {
    if (pa < below_4g_) return pa;
    if (pa >= kFourGiB && pa - kFourGiB < above_4g()) return pa - kFourGiB + below_4g_;
    return ~u64{0};
  }
  // The reverse; `offset` is less than size().
  [[nodiscard]] u64 physical_of(u64 offset) const {
    return offset < below_4g_ ? offset : offset - below_4g_ + kFourGiB;
  }
  // Host address of a guest physical address, or nullptr. Valid to the end of its 4 KiB page (at least).
  [[nodiscard]] u8* host(u64 pa) const {
    const u64 offset = offset_of(pa);
    return offset == ~u64{0} ? nullptr : base_ + offset;
  }

  // The page at `pa`, which is RAM, is about to be used: the first time, the host gives the memory for what
  // lies around it, too. A page fault for each page would take longer.
  void prepare(u64 pa) const {
    auto& prepared = prepared_[offset_of(pa) / kPrepared];
    if (!prepared.load(std::memory_order_relaxed)) populate(prepared, pa);
  }

  // Copy out of / into RAM as a bus master does. False (nothing done) unless the whole range is RAM.
  [[nodiscard]] bool read(u64 pa, std::span<u8> out) const;
  [[nodiscard]] bool write(u64 pa, std::span<const u8> data);

  // The host memory of a range that is RAM throughout, for bus masters that transfer in place. Empty if it is
  // not, or if `size` is 0.
  [[nodiscard]] std::span<u8> span(u64 pa, u64 size) const;
  // Reports the code pages in a range that was written in place. Called before the guest can know of it. As
  // report_store(), for any number of pages.
  void written_in_place(u64 pa, u64 size) const;

  // The whole pages of a range go back to the host and read as zeroes from now on. False (nothing done): not
  // RAM, or the host cannot.
  bool give_to_host(u64 pa, u64 size) const;

  // Code pages, by physical address. Pages outside RAM are never code pages. Each processor that holds code
  // made from a page claims it once.
  [[nodiscard]] bool is_code_page(u64 pa) const {
    const u64 offset = offset_of(pa);
    return offset != ~u64{0} && code_users_[offset / kPageSize].load(std::memory_order_relaxed) != 0;
  }
  void claim_code_page(u64 pa) {
    const u64 offset = offset_of(pa);
    if (offset != ~u64{0}) code_users_[offset / kPageSize].fetch_add(1);
  }
  void release_code_page(u64 pa) {
    const u64 offset = offset_of(pa);
    if (offset != ~u64{0}) code_users_[offset / kPageSize].fetch_sub(1);
  }
  // Called with (pa, size) after bytes of a code page changed through write() or the MMU's slow path.
  void on_code_write(std::function<void(u64, u64)> observer) { code_write_ = std::move(observer); }
  // Whoever stored there says so. The fence: a processor that claims the page meanwhile and misses the store
  // is seen here.
  void report_store(u64 pa, u64 size) const {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    tell_code_write(pa, size);
  }

 private:
  static constexpr u64 kPrepared = u64{64} << 10;  // bytes

  void populate(std::atomic<bool>& prepared, u64 pa) const;
  void tell_code_write(u64 pa, u64 size) const {
    if (is_code_page(pa) && code_write_) code_write_(pa, size);
  }

  u64 size_;
  u64 below_4g_;
  int fd_ = -1;
  u8* base_ = nullptr;
  std::unique_ptr<std::atomic<u8>[]> code_users_;
  std::unique_ptr<std::atomic<bool>[]> prepared_;  // by kPrepared bytes of RAM
  std::function<void(u64, u64)> code_write_;
};

}  // namespace doppel::core
