// Copies of code pages in which some instructions are HLT: a file of their own, which stub processes map for
// execution only.
#pragma once

#include <span>
#include <unordered_map>
#include <vector>

#include "core/guest_ram.hpp"

namespace doppel::jit::direct {

class PatchedPages {
 public:
  // Throws std::system_error.
  PatchedPages();
  PatchedPages(const PatchedPages&) = delete;
  PatchedPages& operator=(const PatchedPages&) = delete;
  ~PatchedPages();

  // A copy of the page with HLT at those offsets. False: there is no room, or the host could not keep user
  // code from reading the copy.
  [[nodiscard]] bool add(u64 page, std::span<const u8, core::kPageSize> bytes, std::span<const u16> offsets);
  void remove(u64 page);
  void clear();

  // Of the copy in the file.
  [[nodiscard]] u64 offset_of(u64 page) const { return slots_.at(page) * core::kPageSize; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  static constexpr u64 kMostPages = 4096;
  int fd_ = -1;
  u8* base_ = nullptr;
  std::unordered_map<u64, u64> slots_;  // by page
  std::vector<u64> free_;
};

}  // namespace doppel::jit::direct
