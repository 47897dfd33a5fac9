#include "jit/direct/shadow_space.hpp"

#include <sys/mman.h>

#include <random>
#include <utility>

namespace doppel::jit::direct {

using core::kPageSize;
using mmu::kUserRegionSize;

namespace {

constexpr u64 kRegionMask = ~(kUserRegionSize - 1);
constexpr u64 kProtection = PROT_READ | PROT_WRITE | PROT_EXEC;
constexpr u64 kPatched = 8;  // the offset is one of the patched pages
static_assert(kProtection < kPatched && kPatched < kPageSize, "bits of a page offset");

constexpr u64 kLowest = 64 << 10;  // Linux' usual least address for mappings: below, code runs translated
// That a fault maps, at most, and those of them that it may make executable: looking at code takes longer.
constexpr u64 kPagesAround = 64, kCodeAround = 8;
constexpr std::size_t kManyChanges = 64;  // more than what is there is worth
constexpr u32 kBeginsRelocated = 64;      // runs, until it is tried again how far code gets where it is

}  // namespace

bool WritableFrames::take(u64 physical) {
  const u64 offset = ram_.offset_of(physical);
  if (offset == ~u64{0} || !writable_[offset / kPageSize]) return false;
  writable_[offset / kPageSize] = false;
  return true;
}

ShadowSpace::ShadowSpace(Vcpu& cpu, CodeFrames& code, WritableFrames& writable)
    : cpu_(cpu),
      code_(code),
      writable_(writable),
      root_(cpu.state.cr3 & core::kPageMask),
      relocated_(cpu, code),
      stub_({cpu.mmu.memory().ram().fd(), code.patched_fd(), relocated_.fd()}, choose_gate(cpu)) {
  code.set_host_hides_time(stub_.hides_time());
}

// A place at random where the guest has nothing within 2 MiB; a wild access of the guest does not meet it.
u64 ShadowSpace::choose_gate(Vcpu& cpu) {
  std::random_device random;
  while (true) {
    const u64 value =
        (u64{random()} << 32 | random()) % (StubProcess::kAddressEnd - core::kFourGiB) + core::kFourGiB;
    const u64 gate = (value & kRegionMask) + kUserRegionSize / 2;
    if (gate + StubProcess::kGateSize > StubProcess::kAddressEnd) continue;
    bool taken = false;
    for (const mmu::UserPage& page : mmu::walk_user_region(cpu.state, cpu.mmu.memory(), gate))
      taken |= page.present;
    if (!taken) return gate;
  }
}

bool ShadowSpace::gate_is_free() const {
  const auto pages = mmu::walk_user_region(cpu_.state, cpu_.mmu.memory(), stub_.gate());
  const u64 first = stub_.gate() % kUserRegionSize / kPageSize;
  for (u64 i = first; i < first + StubProcess::kGateSize / kPageSize; ++i)
    if (pages[i].present) return false;
  return true;
}

void ShadowSpace::page_flushed(u64 la) {
  if (relocated_.copied(la)) some_stale_ = true;
  const auto it = regions_.find(la & kRegionMask);
  if (it == regions_.end()) return;
  it->second->stale = some_stale_ = true;
}

ShadowSpace::Page ShadowSpace::page_for(const mmu::UserPage& page, bool fetched) const {
  if (!page.present) return 0;
  auto& memory = cpu_.mmu.memory();
  const auto backing = memory.backing(page.physical);
  const u64 offset = memory.ram().offset_of(page.physical);
  if (backing.host == nullptr || offset == ~u64{0} || backing.host != memory.ram().host(page.physical))
    return 0;
  // A page that may be both written and executed is one or the other: code once it was executed, until it is
  // written.
  using Kind = CodeFrames::Kind;
  Kind kind = Kind::kNever;
  if (page.executable)
    kind = page.writable || !fetched ? code_.kind(page.physical) : code_.examine(page.physical);
  if (kind == Kind::kPatched) return code_.patched_offset(page.physical) | PROT_EXEC | kPatched;
  const bool writable =
      page.writable && page.dirty && backing.writable && cpu_.mmu.claim_stores(page.physical);
  return offset | PROT_READ | (writable ? u64{PROT_WRITE} : 0) | (kind == Kind::kPlain ? u64{PROT_EXEC} : 0);
}

void ShadowSpace::update(u64 base, Region& region, const Span& mapped, const Span& fetched) {
  region.stale = false;
  const auto now = mmu::walk_user_region(cpu_.state, cpu_.mmu.memory(), base);
  const u64 count = region.pages.size();
  std::array<Page, kUserRegionSize / kPageSize> wanted{};
  for (u64 i = 0; i < count; ++i) {
    if (region.pages[i] == 0 && (!mapped.holds(i) || base + i * kPageSize < kLowest)) continue;
    wanted[i] = page_for(now[i], fetched.holds(i) || (region.pages[i] & PROT_EXEC));
    if (wanted[i] & PROT_WRITE) writable_.add(wanted[i] & core::kPageMask);
  }
  for (u64 i = 0; i < count;) {
    if (wanted[i] == region.pages[i]) {
      kept_ |= wanted[i] != 0;
      ++i;
      continue;
    }
    // A run that one call changes: pages that follow each other in RAM, too; or nothing there any more, which
    // may have been so before.
    const u64 begin = i;
    if (wanted[begin] == 0) {
      u64 end = begin;
      for (; i < count && wanted[i] == 0; ++i)
        if (region.pages[i] != 0) end = i + 1;
      changes_.push_back(
          {base + begin * kPageSize, (end - begin) * kPageSize, StubProcess::Show::kNothing, 0, 0});
      continue;
    }
    while (i < count && wanted[i] == wanted[begin] + (i - begin) * kPageSize && wanted[i] != region.pages[i])
      ++i;
    pages_mapped_ += i - begin;
    changes_.push_back({base + begin * kPageSize, (i - begin) * kPageSize,
                        wanted[begin] & kPatched ? StubProcess::Show::kPatched : StubProcess::Show::kRam,
                        wanted[begin] & core::kPageMask, static_cast<int>(wanted[begin] & kProtection)});
  }
  region.pages = wanted;
}

void ShadowSpace::update_around(u64 la, bool fetch) {
  auto& region = regions_[la & kRegionMask];
  if (!region) region = std::make_unique<Region>();
  const u64 page = la % kUserRegionSize / kPageSize;
  const auto around = [&](u64 count) { return Span{page / count * count, page / count * count + count}; };
  update(la & kRegionMask, *region, around(kPagesAround), fetch ? around(kCodeAround) : Span{});
}

bool ShadowSpace::apply() {
  const bool applied = changes_.empty() || stub_.apply(changes_);
  changes_.clear();
  return applied;
}

bool ShadowSpace::refresh() {
  if (!gate_is_free() || (relocated_mapped_ && !relocated_.place_is_free())) return false;
  if (!all_stale_ && !some_stale_) return true;
  if (!relocated_.valid()) relocated_.clear();
  // What was missing is there now, most likely.
  if (const u64 la = std::exchange(missed_, 0)) update_around(la, false);
  return settle();
}

bool ShadowSpace::settle() {
  if (!all_stale_ && !some_stale_) return true;
  // Looking at pages may make some of them code, which must not be writable anywhere: once more.
  while (all_stale_ || some_stale_) {
    const bool all = std::exchange(all_stale_, false);
    some_stale_ = kept_ = false;
    for (auto& [base, region] : regions_)
      if (all || region->stale) update(base, *region, {}, {});
    replaced_ |= all && !kept_;
  }
  // The page tables are another process' now: away with all at once.
  if (changes_.size() > kManyChanges) {
    regions_.clear();
    changes_ = {{0, stub_.gate(), StubProcess::Show::kNothing, 0, 0},
                {stub_.gate() + StubProcess::kGateSize,
                 StubProcess::kAddressEnd - stub_.gate() - StubProcess::kGateSize,
                 StubProcess::Show::kNothing, 0, 0}};
    if (relocated_mapped_)
      for (const auto& change : relocated_.mappings()) changes_.push_back(change);
  }
  return apply();
}

ShadowSpace::Page ShadowSpace::mapped(u64 la) const {
  const auto it = regions_.find(la & kRegionMask);
  return it == regions_.end() ? 0 : it->second->pages[la % kUserRegionSize / kPageSize];
}

ShadowSpace::Outcome ShadowSpace::fault(u64 la, u64 rip) {
  if (la < kLowest || la >= StubProcess::kAddressEnd) return Outcome::kEnds;
  const Page before = mapped(la);
  // Nothing tells what kind of access it was. A page that can be read was written or executed.
  const bool fetch = la - rip < kLongestInsn && !(before & PROT_EXEC);
  const auto access = fetch ? mmu::Access::kExecute : before ? mmu::Access::kWrite : mmu::Access::kRead;
  const u8* host = cpu_.mmu.direct(la, access);
  if (host == nullptr) {
    missed_ = la;
    return Outcome::kEnds;
  }
  if (fetch) {
    const auto physical = code_.physical_of(host);
    if (!physical) return Outcome::kEnds;
    if (code_.examine(*physical) == CodeFrames::Kind::kNever) {
      begins_relocated_ = kBeginsRelocated;
      return relocate();
    }
  }
  update_around(la, fetch);
  if (!apply()) return Outcome::kFailed;
  // What became code just now must not be writable anywhere.
  if (!settle()) return Outcome::kFailed;
  const Page after = mapped(la);
  const u64 needed = fetch ? PROT_EXEC : before ? PROT_WRITE : PROT_READ;
  return after != before && (after & needed) ? Outcome::kGoesOn : Outcome::kEnds;
}

ShadowSpace::Outcome ShadowSpace::relocate() {
  if (!relocated_mapped_) {
    if (!relocated_.place_is_free()) return Outcome::kEnds;
    changes_ = relocated_.mappings();
    if (!apply()) return Outcome::kFailed;
    relocated_mapped_ = true;
  }
  if (!relocated_.enter(stub_.registers)) return Outcome::kEnds;
  return settle() ? Outcome::kGoesOn : Outcome::kFailed;
}

bool ShadowSpace::begin() {
  if (begins_relocated_ == 0 || !relocated_mapped_) return true;
  --begins_relocated_;
  return !relocated_.enter(stub_.registers) || settle();
}

ShadowSpace::Outcome ShadowSpace::stopped(StubProcess::Stop& stop) {
  using Reason = StubProcess::Stop::Reason;
  if (stop.reason == Reason::kInterrupted) return Outcome::kGoesOn;
  if (stop.reason == Reason::kFault) return fault(stop.address, stub_.registers.rip);
  if (stop.reason != Reason::kTrap || !RelocatedCode::holds(stub_.registers.rip - 1)) return Outcome::kEnds;
  if (!relocated_.resume(stub_.registers)) {
    stop.reason = Reason::kException;
    return Outcome::kEnds;
  }
  return settle() ? Outcome::kGoesOn : Outcome::kFailed;
}

void ShadowSpace::end() {
  if (RelocatedCode::holds(stub_.registers.rip)) relocated_.leave(stub_.registers);
}

}  // namespace doppel::jit::direct
