// A guest address space as a stub process has it mapped: for each 2 MiB region of linear addresses what was
// mapped last, brought up to date with the guest's page tables before user code runs. What is mapped is what
// a TLB may hold: pages whose accessed bit is set, writable where the dirty bit is set too and no store has
// to be seen, executable where CodeFrames allows it.
#pragma once

#include <array>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jit/direct/code_frames.hpp"
#include "jit/direct/relocated_code.hpp"
#include "jit/direct/stub_process.hpp"
#include "jit/vcpu.hpp"

namespace doppel::jit::direct {

// Pages of RAM that are mapped writable somewhere: where a page becomes code, those mappings have to go.
class WritableFrames {
 public:
  explicit WritableFrames(const core::GuestRam& ram) : ram_(ram), writable_(ram.size() / core::kPageSize) {}
  void add(u64 offset) { writable_[offset / core::kPageSize] = true; }
  // Whether the page was; no longer.
  [[nodiscard]] bool take(u64 physical);

 private:
  const core::GuestRam& ram_;
  std::vector<bool> writable_;
};

class ShadowSpace {
 public:
  // For the address space whose page tables CR3 names now. Throws std::system_error.
  ShadowSpace(Vcpu& cpu, CodeFrames& code, WritableFrames& writable);

  // Brings what may have changed up to date. CR3 is this space's. False: the host cannot map it, or the guest
  // uses the gate's addresses; this space is of no use any more.
  [[nodiscard]] bool refresh();
  // Before the stub process runs from the guest's registers: has it go on in relocated code if it would get
  // there soon. False: this space is of no use any more.
  [[nodiscard]] bool begin();
  // The stub process has stopped. kGoesOn: for a reason that is away, its registers are to go on. A fault
  // goes away by making the access possible that the guest's page tables allow, setting their bits as the
  // access does. kEnds: the translator goes on, and `stop` says what with. kFailed: and this space is of no
  // use any more.
  enum class Outcome { kGoesOn, kEnds, kFailed };
  [[nodiscard]] Outcome stopped(StubProcess::Stop& stop);
  // It does not go on: its registers are the guest's now.
  void end();

  void code_written(u64 physical) { relocated_.page_written(physical); }
  void forget_code() { relocated_.clear(); }
  void page_flushed(u64 la);
  void all_flushed() { all_stale_ = true; }

  // Whether the page tables show nothing any more of what they showed before: another process'. Once.
  [[nodiscard]] bool take_replaced() { return std::exchange(replaced_, false); }

  [[nodiscard]] StubProcess& stub() { return stub_; }
  [[nodiscard]] u64 root() const { return root_; }
  [[nodiscard]] u64 pages_mapped() const { return pages_mapped_; }
  [[nodiscard]] const RelocatedCode& relocated() const { return relocated_; }

  u64 last_use = 0;
  u16 pcid = 0;    // that its translations were used with
  u64 losses = 0;  // times that relocated code was lost, up to its last run

 private:
  // Offset in RAM, with protection bits in the low ones; 0: not mapped.
  using Page = u64;
  struct Region {
    std::array<Page, mmu::kUserRegionSize / core::kPageSize> pages{};
    bool stale = false;
  };

  [[nodiscard]] Outcome fault(u64 la, u64 rip);
  [[nodiscard]] Outcome relocate();
  [[nodiscard]] bool settle();
  [[nodiscard]] static u64 choose_gate(Vcpu& cpu);
  [[nodiscard]] bool gate_is_free() const;
  // `fetched`: what was not looked at yet may become executable.
  [[nodiscard]] Page page_for(const mmu::UserPage& page, bool fetched) const;
  struct Span {  // of page numbers
    u64 first = 0, last = 0;
    [[nodiscard]] bool holds(u64 page) const { return page >= first && page < last; }
  };
  // Appends to changes_ what brings the pages of the region that are mapped up to date, and maps `mapped`.
  void update(u64 base, Region& region, const Span& mapped, const Span& fetched);
  // The page and what lies around it, which will be wanted, too.
  void update_around(u64 la, bool fetch);
  [[nodiscard]] bool apply();
  [[nodiscard]] Page mapped(u64 la) const;

  Vcpu& cpu_;
  CodeFrames& code_;
  WritableFrames& writable_;
  u64 root_;
  RelocatedCode relocated_;
  StubProcess stub_;
  std::unordered_map<u64, std::unique_ptr<Region>> regions_;  // by address
  std::vector<StubProcess::Change> changes_;
  bool all_stale_ = false, some_stale_ = false;
  bool kept_ = false, replaced_ = false;  // what was mapped
  u64 pages_mapped_ = 0;
  u64 missed_ = 0;                 // where the guest had nothing
  bool relocated_mapped_ = false;  // in the stub process
  u32 begins_relocated_ = 0;       // so many more times
};

}  // namespace doppel::jit::direct
