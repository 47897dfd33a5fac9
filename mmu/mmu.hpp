// One processor's view of memory by linear address: soft TLB, permission checks, and the slow paths behind
// it. The interpreter's handlers and (through the TLB layout) translated code call it. All accessors return
// false after filling CpuState::fault; nothing is written in that case. It knows nothing of segments or
// instructions.
#pragma once

#include <array>
#include <atomic>
#include <bitset>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/counters.hpp"
#include "core/cpu_state.hpp"
#include "core/growing_array.hpp"
#include "mmu/page_walk.hpp"
#include "mmu/physical_memory.hpp"
#include "mmu/tlb_array.hpp"

namespace doppel::mmu {

// Told, on the vCPU's thread, when cached translations must go: for whoever keeps translations outside the
// soft TLB. Global translations go with flushed_page() and flushed_all() only.
class FlushObserver {
 public:
  virtual ~FlushObserver() = default;
  virtual void flushed_page(u64 la) = 0;     // in every address space
  virtual void flushed_space(u16 pcid) = 0;  // what is not global of that one; 0 without PCIDs
  virtual void flushed_all() = 0;
  // The physical 4 KiB page holds code from now on: stores there must be seen.
  virtual void code_page_protected(u64 physical) = 0;
};

class Mmu {
 public:
  Mmu(core::CpuState& state, PhysicalMemory& memory, core::Counters& counters);

  // --- Data accesses with the privilege of the running code (CPL, AC, SMAP). Any alignment, pages may be
  // crossed. T is trivially copyable, up to 64 bytes; 1-, 2-, 4- and 8-byte accesses reach MMIO as one
  // access, larger ones in 8-byte pieces.
  template <class T>
  [[nodiscard, gnu::always_inline]] bool read(u64 la, T& out) {
    const TlbEntry& entry = state_.tlb[(la / core::kPageSize) % kTlbEntries];
    if (((la + sizeof(T) - 1) & core::kPageMask) == entry.read) [[likely]] {
      std::memcpy(&out, reinterpret_cast<const void*>(la + entry.addend),
                  sizeof(T));  // host page, filled by fill()
      return true;
    }
    if (!read_slow(la, sizeof(T))) return false;
    std::memcpy(&out, scratch_.data(), sizeof(T));  // through scratch_: `out` stays a register in the caller
    return true;
  }
  template <class T>
  [[nodiscard, gnu::always_inline]] bool write(u64 la, const T& value) {
    const TlbEntry& entry = state_.tlb[(la / core::kPageSize) % kTlbEntries];
    if (((la + sizeof(T) - 1) & core::kPageMask) == entry.write) [[likely]] {
      std::memcpy(reinterpret_cast<void*>(la + entry.addend), &value, sizeof(T));
      return true;
    }
    std::memcpy(scratch_.data(), &value, sizeof(T));
    return write_slow(la, sizeof(T));
  }
  // Host address for a read-modify-write of T in plain writable RAM within one page, else nullptr (no fault
  // raised): then use probe_write(), read() and write().
  template <class T>
  [[nodiscard, gnu::always_inline]] T* host_for_write(u64 la) {
    const TlbEntry& entry = state_.tlb[(la / core::kPageSize) % kTlbEntries];
    if (((la + sizeof(T) - 1) & core::kPageMask) == entry.write) [[likely]]
      return reinterpret_cast<T*>(la + entry.addend);
    return nullptr;
  }
  // Host address of `la` for accesses of that kind up to the end of its page, filling the TLB; nullptr when
  // the page faults (not raised) or is not plain memory. For REP string instructions.
  [[nodiscard]] u8* direct(u64 la, Access access);
  // Where a store to a page with code goes, for this one time: the caller must know that the bytes hold no
  // code. nullptr: nothing but code keeps the store from direct(), or it cannot be direct at all.
  struct CodePageStore {
    u8* host = nullptr;
    u64 physical = 0;
  };
  [[nodiscard]] CodePageStore direct_to_code_page(u64 la);

  // Blocks of any size (FXSAVE images, task-state segments). Faults are raised before anything is written.
  [[nodiscard]] bool read_bytes(u64 la, void* out, u32 size);
  [[nodiscard]] bool write_bytes(u64 la, const void* data, u32 size);
  // Raises the fault that a write (read) of `size` bytes would, without accessing. Sets D and A like the
  // access.
  [[nodiscard]] bool probe(u64 la, u32 size, Access access);

  // --- Implicit supervisor accesses: descriptor tables, TSS, interrupt stacks of inner rings.
  template <class T>
  [[nodiscard]] bool read_system(u64 la, T& out) {
    if (!read_system_slow(la, sizeof(T))) return false;
    std::memcpy(&out, scratch_.data(), sizeof(T));
    return true;
  }
  template <class T>
  [[nodiscard]] bool write_system(u64 la, const T& value) {
    std::memcpy(scratch_.data(), &value, sizeof(T));
    return write_system_slow(la, sizeof(T));
  }
  [[nodiscard]] bool probe_system(u64 la, u32 size, Access access);

  // --- Instruction fetch.
  struct Code {
    const u8* host = nullptr;  // of the byte at `la`, valid to the end of its page; nullptr: not plain memory
    u64 physical = 0;          // A20 applied
    bool global = false;       // the translation is the same in every address space
  };
  // Translates `la` for execution. False: #PF or #GP raised.
  [[nodiscard]] bool fetch(u64 la, Code& out);

  // --- Maintenance. Whoever changes the state calls these afterwards.
  // CPL, EFLAGS.AC, CR0, CR4, EFER, DR0-DR3, DR7: picks the active TLB array; cheap when nothing changes.
  // Flushes everything if control bits changed that translations depend on.
  void mode_changed();
  void flush_all();         // CR0.PG/WP, CR4 paging bits, EFER.NXE, A20, MTRR: everything, global pages too
  void flush_non_global();  // MOV CR3 without PCID
  // MOV CR3 (CpuState::cr3 and CR4.PCIDE are current): the address space of CR3's PCID becomes the active
  // one. `keep` is bit 63 of the operand: that PCID's cached translations stay; else all but global ones are
  // dropped. Without PCIDs this is flush_non_global().
  void set_address_space(u64 cr3, bool keep);
  void flush_page(u64 la);  // INVLPG: that page in every array, global too (and the whole large page)
  // INVPCID types 0, 1 and 3; type 2 is flush_all(). Global pages of type 0 may go too.
  void flush_page_pcid(u64 la, u16 pcid);
  void flush_pcid(u16 pcid);
  void flush_all_pcids_non_global();
  // Drops write permission of every TLB entry that maps the physical 4 KiB page, so that stores to code are
  // seen.
  void protect_code_page(u64 physical);
  // With a WriteObserver, write tags are given to pages that are written only, one report each; this takes
  // all of them back.
  void revoke_write_tags();
  // Whether stores of this processor to the physical page of RAM may go unseen: it may have write tags for
  // it. From any thread. Cleared by protect_code_page().
  [[nodiscard]] bool may_store(u64 physical) const;
  // Before the first of such stores. False: the page holds code, so they must be seen.
  [[nodiscard]] bool claim_stores(u64 physical);
  [[nodiscard]] Privilege privilege() const;  // of explicit data accesses now
  [[nodiscard]] u16 pcid() const { return pcid_of(state_.cr3); }
  // Does not own it; nullptr: none.
  void observe_flushes(FlushObserver* observer) { flush_observer_ = observer; }

  [[nodiscard]] PhysicalMemory& memory() { return memory_; }

  // Changes whenever a translation that fetch() gave in the current address space may have: caches keyed by
  // linear address compare it. Unique over all address spaces; going back to one whose translations were kept
  // brings its number back. The global one covers translations that fetch() called global.
  [[nodiscard]] u64 generation() const { return space_->generation; }
  [[nodiscard]] u64 global_generation() const { return global_generation_; }
  // INVLPG of a 4 KiB page that code was fetched from leaves the generations alone if somebody wants to be
  // told of it: then `callback` gets the linear page.
  void on_code_page_flush(std::function<void(u64 page)> callback) { code_page_flush_ = std::move(callback); }

 private:
  // Who makes an access: the running code, or the processor on its own account.
  struct Origin {
    Privilege privilege;
    u64 wrap;      // linear addresses wrap by this mask; all ones: they must be canonical
    bool aligned;  // misaligned operands raise #AC
  };
  [[nodiscard]] Origin program() const;
  [[nodiscard]] Origin block() const;  // program(), operands of no particular alignment
  [[nodiscard]] Origin system() const;

  // The part of an access that lies on one page.
  struct Piece {
    u64 la, physical;
    u32 size;
  };
  struct Pieces {
    std::array<Piece, 2> piece;
    u32 count = 0;
  };

  // Operands in scratch_.
  [[nodiscard]] bool read_slow(u64 la, u32 size);
  [[nodiscard]] bool write_slow(u64 la, u32 size);
  [[nodiscard]] bool read_system_slow(u64 la, u32 size);
  [[nodiscard]] bool write_system_slow(u64 la, u32 size);

  // At most one page long, on up to two pages.
  [[nodiscard]] bool read_span(u64 la, std::span<u8> out, const Origin& origin);
  [[nodiscard]] bool write_span(u64 la, std::span<const u8> data, const Origin& origin);
  [[nodiscard]] bool probe_span(u64 la, u32 size, Access access, const Origin& origin);
  [[nodiscard]] bool resolve(u64 la, u32 size, Access access, const Origin& origin, Pieces& out);

  // Applies wrapping and the canonical check; false: #GP(0) raised.
  [[nodiscard]] bool linear(u64& la, const Origin& origin);
  // The page of `la` with the right to that access, walked if it is not cached; nullptr after raising the
  // fault.
  [[nodiscard]] const PageInfo* lookup(u64 la, Access access, Privilege privilege);
  // The same, without raising anything.
  [[nodiscard]] const PageInfo* find(u64 la, Access access, Privilege privilege, u32& error);
  // The same for a program's access that needs none of resolve()'s checks; else nullptr. Wraps `la`.
  [[nodiscard]] const PageInfo* find_direct(u64& la, Access access);
  [[nodiscard]] TlbEntry tags_for(const PageInfo& page, Access access);
  // Gives the cached page of `la` the write tag it lacks, if it may have one now.
  void retag_for_write(TlbArray& tlb, u64 la);

  // Pages that fetch() translated since a generation began, by hash: INVLPG of any other page leaves it
  // alone.
  class FetchedPages {
   public:
    void add(u64 la, u32 shift) { bits_.set(hash(la, shift)); }
    // Whether a page of that size (of a larger one) that holds `la` may have been fetched from.
    [[nodiscard]] bool may_hold(u64 la, u32 shift) const { return bits_.test(hash(la, shift)); }
    [[nodiscard]] bool may_hold_large(u64 la) const {
      for (const u32 shift : {21u, 22u, 30u})
        if (may_hold(la, shift)) return true;
      return false;
    }
    void clear() { bits_.reset(); }

   private:
    static u64 hash(u64 la, u32 shift) {
      return ((la >> shift) * 0x9e3779b97f4a7c15 + shift * 0x632be59bd9b4e019) >> 52;
    }
    std::bitset<4096> bits_;
  };

  // One address space's TLB. Without PCIDs there is one; with them a few live side by side.
  struct Space {
    std::array<TlbArray, 3> by_privilege;
    u64 last_use = 0;
    u64 generation = 0;
    FetchedPages fetched;
    u16 pcid = 0;
  };
  static constexpr u32 kSmallPage = 12;  // shift of a 4 KiB page
  [[nodiscard]] bool forget_fetched(Space& space, u64 la);
  std::function<void(u64 page)> code_page_flush_;
  static constexpr u32 kMaxSpaces = 6;  // as many PCIDs as Linux keeps in use on one processor
  [[nodiscard]] u16 pcid_of(u64 cr3) const { return state_.cr4 & core::kCr4Pcide ? cr3 & 0xfff : 0; }
  [[nodiscard]] Space* space_of(u16 pcid);
  [[nodiscard]] Space& space_for(u16 pcid);
  void activate(u16 pcid);
  void choose_array();
  void new_generation(Space& space);
  void flush_space(Space& space);  // what is not global
  void new_generation_everywhere();
  template <class F>
  void for_each_array(F&& f) {
    for (auto& space : spaces_)
      for (TlbArray& tlb : space.by_privilege) f(tlb);
  }
  [[nodiscard]] TlbArray& array(Privilege privilege) {
    return space_->by_privilege[static_cast<u32>(privilege)];
  }

  // Data breakpoints.
  struct Watch {
    u64 first = 0, last = 0;
    bool enabled = false, reads = false;  // false: writes only
    [[nodiscard]] bool hit_by(u64 from, u64 to, bool write) const {
      return enabled && (write || reads) && from <= last && to >= first;
    }
  };
  [[nodiscard]] bool debug_registers_changed() const;
  void load_watches();
  void drop_watched_pages();
  [[nodiscard]] bool watched(u64 page, bool write) const;
  void note_hits(const Piece& piece, bool write);

  core::CpuState& state_;
  PhysicalMemory& memory_;
  core::Counters::Counter& misses_;
  core::Counters::Counter& flushes_;
  alignas(64) std::array<u8, 64> scratch_{};  // operand of slow accesses
  core::GrowingArray<Space> spaces_{kMaxSpaces, 1};
  Space* space_ = nullptr;                              // of the current PCID
  Privilege active_ = Privilege::kSupervisorUserPages;  // privilege(), as of the last mode_changed()
  bool alignment_checks_ = false;
  std::unique_ptr<std::array<TlbEntry, kTlbEntries>> never_;  // all invalid: active while #AC checks apply
  std::array<Watch, 4> watches_{};
  bool watching_ = false;
  std::array<u64, 4> watch_addresses_{};  // DR0-DR3 and DR7 that watches_ was made from
  u64 watch_control_ = 0;
  u64 translation_mode_ = 0;  // the control bits that the cached translations depend on
  u64 uses_ = 0;              // of address spaces, to find the one unused for longest
  u64 last_generation_ = 0;
  u64 global_generation_ = 0;
  FetchedPages fetched_global_;
  FlushObserver* flush_observer_ = nullptr;
  // Where the bit of a page of RAM is in may_store_; `mask` 0: the page is not RAM.
  struct StoreBit {
    u64 word = 0, mask = 0;
  };
  [[nodiscard]] StoreBit store_bit(u64 physical) const {
    const u64 offset = memory_.ram().offset_of(physical);
    if (offset == ~u64{0}) return {};
    return {offset / core::kPageSize / 64, u64{1} << offset / core::kPageSize % 64};
  }
  std::vector<std::atomic<u64>> may_store_;
  std::vector<u64> write_tagged_;  // linear pages with write tags; kept only for a WriteObserver
};

}  // namespace doppel::mmu
