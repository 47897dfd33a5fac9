// The pages of memory (RAM, or a device's) that the vCPU wrote since start(): what they held before, so that
// the writes can be undone and done again another way, and what the first way left there. Used by the
// Verifier. It sees pages, not stores: the vCPU writes at full speed.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/guest_ram.hpp"
#include "mmu/physical_memory.hpp"

namespace doppel::jit {

class PageJournal final : public mmu::WriteObserver {
 public:
  explicit PageJournal(core::GuestRam& ram);

  // Forgets everything and records from now on. The TLB must have no write tags.
  void start();
  void stop() { recording_ = false; }
  // Puts all pages back to what they held at start() and goes on recording. The first call keeps what they
  // hold now, for differences().
  void rewind();

  struct Difference {
    u64 physical;
    u64 before, first, now;  // 8 bytes at start(), at the first rewind(), and now
  };
  // The first `limit` places where memory is not now as it was at the first rewind().
  [[nodiscard]] std::vector<Difference> differences(std::size_t limit) const;

  // A page walk marked entries in a page that the guest wrote, too: rewind() took the marks away.
  [[nodiscard]] bool entries_marked() const { return entries_marked_; }

  void page_writable(u64 page, u8* host) override;
  void entry_marked(u64 page) override;

 private:
  using Bytes = std::array<u8, core::kPageSize>;
  struct Page {
    u64 physical = 0;
    u8* host = nullptr;
    Bytes before, first;
  };
  [[nodiscard]] u32& stamp_of(u64 page);

  core::GuestRam& ram_;
  std::vector<std::unique_ptr<Page>> pages_;  // the first `count_` are in use
  std::size_t count_ = 0;
  std::vector<u32> stamps_;                     // by RAM page: equal to `run_` if it is in the journal
  std::unordered_map<u64, u32> device_stamps_;  // the same, of pages outside RAM, by physical address
  u32 run_ = 0;
  bool recording_ = false, rewound_ = false, entries_marked_ = false;
};

}  // namespace doppel::jit
