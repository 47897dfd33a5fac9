// One block of guest user code for another address: most instructions as they are, those that depend on where
// they stand (RIP-relative operands, branches) in another form that does the same. Emits bytes, and what
// tells the guest's state from the host's at each of them. Knows nothing of page tables and processes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "jit/insn.hpp"

namespace doppel::jit::direct {

// Addresses in the stub process, all within 2 GiB of each other.
struct RelocationAddresses {
  // A word for each general register, for values that make room for ours, and then:
  u64 slots;
  static constexpr u64 kGuestTarget = 16, kHostTarget = 17, kHit = 18, kSlots = 19;
  [[nodiscard]] u64 slot(u64 index) const { return slots + index * 8; }
  // Where branches that do not know their target find it: for each guest address, from number (address mod
  // 2^16) on and before the first empty one, an entry whose key is its negative; targets lie kTargets bytes
  // behind their keys.
  u64 table;
  static constexpr u64 kFirstEntries = 1u << 16, kMoreEntries = 1024;
  static constexpr u64 kEntries = kFirstEntries + kMoreEntries, kTargets = kEntries * 8;
  u64 lookup;  // goes on from the entry after the one at RDX, to the address in slot kHit
};

// From an offset in the code on, up to the next mark: how the guest's state differs from the host's.
struct Mark {
  u32 offset;         // of code
  u16 saved = 0;      // general registers whose value is in their slot, by bit
  bool gone = false;  // the guest is where slot kGuestTarget says
  u64 rip = 0;        // else here
};

// A place that jumps to an exit until its target is known.
struct Link {
  u32 offset;  // of the rel32, which is the jump's end
  u64 target;  // in the guest
};

// Whether SGDT or SIDT could be read from any byte of it on.
[[nodiscard]] bool could_store_table(std::span<const u8> code);

class RelocatedBlock {
 public:
  // What the block needs of its surroundings while it is made.
  class Surroundings {
   public:
    virtual ~Surroundings() = default;
    // Copies guest code, up to kLongestInsn bytes; returns their number. 0: it is not for this block.
    virtual std::size_t fetch(u64 rip, std::span<u8, kLongestInsn> bytes) = 0;
    // The block for the address, if there is one; else an exit, and the jump there is a link.
    virtual u64 target(u64 rip) = 0;
    [[nodiscard]] virtual bool has(u64 rip) const = 0;
    // An exit at which the translator takes over at this instruction.
    virtual u64 exit(u64 rip) = 0;
    // A word with that value.
    virtual u64 literal(u64 value) = 0;
  };

  // The block at `rip`, for `address`.
  RelocatedBlock(u64 rip, u64 address, const RelocationAddresses& addresses, Surroundings& surroundings);

  [[nodiscard]] std::span<const u8> code() const { return code_; }
  [[nodiscard]] std::span<const Mark> marks() const { return marks_; }
  [[nodiscard]] std::span<const Link> links() const { return links_; }
  // Where calls return to.
  [[nodiscard]] std::optional<u64> continuation() const { return continuation_; }

  // The code at RelocationAddresses::lookup, and the offset in it of the INT3 that says there is no entry,
  // with RDX at the free one.
  struct Lookup {
    std::vector<u8> code;
    u32 miss;
  };
  [[nodiscard]] static Lookup make_lookup(const RelocationAddresses& addresses);

 private:
  std::vector<u8> code_;
  std::vector<Mark> marks_;
  std::vector<Link> links_;
  std::optional<u64> continuation_;
};

}  // namespace doppel::jit::direct
