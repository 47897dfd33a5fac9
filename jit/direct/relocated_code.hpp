// User code of one address space that may not be executed where it is, or as it is: pages with instructions
// that would tell of the host. Here it is executed from a place of Doppel's at the top of the address space,
// copied block by block without those instructions; the guest still sees its own code, and itself at its own
// addresses. A file that a stub process maps; written here while the process stands still.
#pragma once

#include <sys/user.h>

#include <deque>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "jit/direct/code_frames.hpp"
#include "jit/direct/relocated_block.hpp"
#include "jit/direct/stub_process.hpp"

namespace doppel::jit::direct {

class RelocatedCode final : RelocatedBlock::Surroundings {
 public:
  // Where Linux has nothing: between the mappings and the least place of a stack, or above the stack.
  static constexpr u64 kCode = StubProcess::kAddressEnd + core::kPageSize - (64 << 20);
  static constexpr u64 kCodeSize = 8 << 20;

  // Throws std::system_error.
  RelocatedCode(Vcpu& cpu, CodeFrames& frames);
  RelocatedCode(const RelocatedCode&) = delete;
  RelocatedCode& operator=(const RelocatedCode&) = delete;
  ~RelocatedCode() override;

  [[nodiscard]] int fd() const { return fd_; }
  // How a stub process maps it.
  [[nodiscard]] std::vector<StubProcess::Change> mappings() const;
  // Whether the guest has nothing there.
  [[nodiscard]] bool place_is_free() const;

  [[nodiscard]] static bool holds(u64 rip) { return rip - kCode < kCodeSize; }
  // Lets the guest's state in `registers` go on here. False: its code cannot be fetched, or changes too
  // often; the registers stay.
  [[nodiscard]] bool enter(user_regs_struct& registers);
  // RIP is behind an INT3 here: copies what is needed to go on. False: the translator is to go on; the
  // registers are the guest's.
  [[nodiscard]] bool resume(user_regs_struct& registers);
  // RIP is here: makes the registers the guest's, between two of its instructions.
  void leave(user_regs_struct& registers) const;

  // Whether the guest's page tables still have the copied code where it was; page_written() is told of its
  // bytes.
  [[nodiscard]] bool valid() const;
  [[nodiscard]] bool copied(u64 la) const { return pages_.contains(la / core::kPageSize); }
  void page_written(u64 physical);
  void clear();

  [[nodiscard]] u64 blocks() const { return blocks_; }
  [[nodiscard]] u64 times_cleared() const { return times_cleared_; }

 private:
  // An INT3 that code jumps to that leaves.
  struct Exit {
    u64 rip;
    bool final;  // the translator goes on
  };
  struct Page {
    u64 physical;
    const u8* bytes;
  };

  std::size_t fetch(u64 rip, std::span<u8, kLongestInsn> bytes) override;
  u64 target(u64 rip) override;
  [[nodiscard]] bool has(u64 rip) const override { return entries_.contains(rip); }
  u64 exit(u64 rip) override;
  u64 literal(u64 value) override;

  [[nodiscard]] bool nearly_full() const;
  // The block at the address, and those that it leads to. 0: there is none.
  [[nodiscard]] u64 block(u64 rip);
  void add(u64 rip);
  void link(u32 offset, u64 exit, u64 address);
  [[nodiscard]] u64 add_exit(Exit exit);
  // The place of an address in the table, which may be taken by it already.
  [[nodiscard]] u64 find(u64 rip) const;
  // Returns its place; none: there is no room.
  std::optional<u64> enter_in_table(u64 rip);
  [[nodiscard]] bool suits(const mmu::UserPage& page, u64 physical) const;
  [[nodiscard]] const Page* page(u64 rip);
  [[nodiscard]] u64 exit_address(std::size_t index) const;
  [[nodiscard]] std::size_t exit_index(u64 address) const;
  [[nodiscard]] u64& slot(u64 index) const;

  Vcpu& cpu_;
  CodeFrames& frames_;
  int fd_ = -1;
  u8* base_ = nullptr;  // as we see it
  RelocationAddresses addresses_;
  u64 miss_ = 0;                   // address of the INT3 of the lookup
  u32 end_ = 0, first_block_ = 0;  // of the code: from its start on
  std::vector<Mark> marks_;        // by offset in the code
  std::vector<Exit> exits_;        // from the code's end down
  std::size_t literals_ = 0;
  std::vector<u64> in_table_;  // numbers of the entries that are taken
  bool table_full_ = false;
  std::unordered_map<u64, u64> entries_;                       // addresses here by the guest's
  std::unordered_multimap<u64, std::pair<u32, u64>> waiting_;  // links (offset, exit) by the guest's address
  std::unordered_map<u64, Page> pages_;                        // of copied code, by number
  struct Wanted {
    u64 rip;
    bool in_table;
  };
  std::deque<Wanted> wanted_;
  u64 blocks_ = 0, times_cleared_ = 0;
};

}  // namespace doppel::jit::direct
