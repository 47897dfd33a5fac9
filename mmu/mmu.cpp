#include "mmu/mmu.hpp"

#include <algorithm>
#include <bit>

namespace doppel::mmu {

using namespace core;

namespace {

bool permits(const PageInfo& page, Access access) {
  switch (access) {
    case Access::kRead:
      return page.readable;
    case Access::kWrite:
      return page.writable && page.dirty;
    case Access::kExecute:
      return page.executable;
  }
  return false;
}

bool misaligned(u64 la, u32 size) {
  return std::has_single_bit(size) && size <= 8 && (la & (size - 1));
}

}  // namespace

Mmu::Mmu(CpuState& state, PhysicalMemory& memory, Counters& counters)
    : state_(state),
      memory_(memory),
      misses_(counters["mmu.misses"]),
      flushes_(counters["mmu.flushes"]),
      never_(std::make_unique<std::array<TlbEntry, kTlbEntries>>()),
      may_store_((memory.ram().size() / kPageSize + 63) / 64) {
  flush_all();
  mode_changed();
}

// ---------------------------------------------------------------------------------------------------------------
// Translation.

Privilege Mmu::privilege() const {
  if (state_.cpl == 3) return Privilege::kUser;
  const bool smap = (state_.cr4 & kCr4Smap) && !(state_.rflags & kAc);
  return smap ? Privilege::kSupervisor : Privilege::kSupervisorUserPages;
}

Mmu::Origin Mmu::program() const {
  return {active_, code64(state_) ? ~u64{0} : 0xffff'ffff, alignment_checks_};
}

Mmu::Origin Mmu::block() const {
  Origin origin = program();
  origin.aligned = false;
  return origin;
}

// Without SMAP both supervisor privileges mean the same, so implicit accesses share the entries of CPL 0
// code.
Mmu::Origin Mmu::system() const {
  return {state_.cr4 & kCr4Smap ? Privilege::kSupervisor : Privilege::kSupervisorUserPages,
          long_mode(state_) ? ~u64{0} : 0xffff'ffff, false};
}

bool Mmu::linear(u64& la, const Origin& origin) {
  la &= origin.wrap;
  if (origin.wrap == ~u64{0} && !canonical(state_, la)) return state_.raise(Vector::kGP);
  return true;
}

TlbEntry Mmu::tags_for(const PageInfo& page, Access access) {
  TlbEntry tags;
  const PhysicalMemory::Backing backing = memory_.backing(page.physical);
  if (!backing.host) return tags;
  if (page.readable && !watched(page.la, false)) tags.read = page.la;
  if (page.writable && page.dirty && backing.writable && !watched(page.la, true) &&
      claim_stores(page.physical)) {
    WriteObserver* observer = memory_.write_observer();
    if (!observer || access == Access::kWrite) tags.write = page.la;
    if (observer && access == Access::kWrite) {
      observer->page_writable(page.physical, backing.host);
      write_tagged_.push_back(page.la);
    }
  }
  if (page.executable && !backing.device) tags.exec = page.la;
  tags.addend = reinterpret_cast<u64>(backing.host) - page.la;
  return tags;
}

// Against a processor that makes the page a code page meanwhile: it marks the page, then looks at the bit
// here; this sets the bit, then looks at the mark. One of the two sees the other.
bool Mmu::claim_stores(u64 physical) {
  const auto [word, mask] = store_bit(physical);
  if (mask && !(may_store_[word].load(std::memory_order_relaxed) & mask)) may_store_[word].fetch_or(mask);
  return !memory_.ram().is_code_page(physical);
}

bool Mmu::may_store(u64 physical) const {
  const auto [word, mask] = store_bit(physical);
  return mask && (may_store_[word].load() & mask);
}

const PageInfo* Mmu::find(u64 la, Access access, Privilege privilege, u32& error) {
  TlbArray& tlb = array(privilege);
  if (tlb.holds(la) && permits(tlb.slot(la), access)) return &tlb.slot(la);

  misses_.fetch_add(1, std::memory_order_relaxed);
  const WalkResult result = walk(state_, memory_, la, access, privilege);
  if (!result.ok) {
    tlb.drop(la);  // SDM Vol. 3A, "Operations that Invalidate TLBs": so does a page fault
    error = result.error;
    return nullptr;
  }
  const Translation& t = result.translation;
  const PageInfo page{.la = la & kPageMask,
                      .physical = memory_.a20(t.physical),
                      .shift = static_cast<u8>(std::countr_zero(t.page_size)),
                      .global = t.global,
                      .readable = t.readable,
                      .writable = t.writable,
                      .executable = t.executable,
                      .dirty = t.dirty};
  tlb.fill(page, tags_for(page, access));
  return &tlb.slot(la);
}

const PageInfo* Mmu::lookup(u64 la, Access access, Privilege privilege) {
  u32 error = 0;
  const PageInfo* page = find(la, access, privilege, error);
  if (!page) state_.raise(Vector::kPF, error, la);
  return page;
}

// Page faults come before alignment checks (SDM Vol. 3A, "Priority Among Concurrent Events").
// A last byte that is not canonical comes before both.
bool Mmu::resolve(u64 la, u32 size, Access access, const Origin& origin, Pieces& out) {
  u64 last = la + size - 1;
  if (!linear(last, origin)) return false;
  for (u32 done = 0; done < size;) {
    u64 at = la + done;
    if (!linear(at, origin)) return false;
    const PageInfo* page = lookup(at, access, origin.privilege);
    if (!page) return false;
    const u64 offset = at % kPageSize;
    const u32 piece = std::min(size - done, static_cast<u32>(kPageSize - offset));
    out.piece[out.count++] = {at, page->physical + offset, piece};
    done += piece;
  }
  if (origin.aligned && misaligned(la, size)) return state_.raise(Vector::kAC);
  return true;
}

// ---------------------------------------------------------------------------------------------------------------
// Accesses.

bool Mmu::read_span(u64 la, std::span<u8> out, const Origin& origin) {
  Pieces pieces;
  if (!resolve(la, static_cast<u32>(out.size()), Access::kRead, origin, pieces)) return false;
  for (u32 i = 0; i < pieces.count; ++i) {
    const Piece& piece = pieces.piece[i];
    memory_.read_page(piece.physical, out.first(piece.size));
    out = out.subspan(piece.size);
    if (watching_) note_hits(piece, false);
  }
  return true;
}

bool Mmu::write_span(u64 la, std::span<const u8> data, const Origin& origin) {
  Pieces pieces;
  if (!resolve(la, static_cast<u32>(data.size()), Access::kWrite, origin, pieces)) return false;
  for (u32 i = 0; i < pieces.count; ++i) {
    const Piece& piece = pieces.piece[i];
    memory_.write_page(piece.physical, data.first(piece.size));
    data = data.subspan(piece.size);
    if (watching_) note_hits(piece, true);
    // The page may have stopped being a code page: then the next store need not come here.
    retag_for_write(array(origin.privilege), piece.la);
  }
  return true;
}

void Mmu::retag_for_write(TlbArray& tlb, u64 la) {
  if (tlb.holds(la) && tlb.entry(la).write == kTlbInvalid)
    tlb.retag(la, tags_for(tlb.slot(la), Access::kWrite));
}

void Mmu::revoke_write_tags() {
  for (const u64 la : write_tagged_)
    for_each_array([la](TlbArray& tlb) {
      if (!tlb.holds(la)) return;
      TlbEntry tags = tlb.entry(la);
      tags.write = kTlbInvalid;
      tlb.retag(la, tags);
    });
  write_tagged_.clear();
}

bool Mmu::probe_span(u64 la, u32 size, Access access, const Origin& origin) {
  if (size <= kPageSize) {
    Pieces pieces;
    return resolve(la, size, access, origin, pieces);
  }
  for (u32 done = 0; done < size;) {
    u64 at = la + done;
    if (!linear(at, origin) || !lookup(at, access, origin.privilege)) return false;
    done += std::min(size - done, static_cast<u32>(kPageSize - at % kPageSize));
  }
  return true;
}

bool Mmu::read_slow(u64 la, u32 size) {
  return read_span(la, std::span(scratch_).first(size), program());
}
bool Mmu::write_slow(u64 la, u32 size) {
  return write_span(la, std::span(scratch_).first(size), program());
}
bool Mmu::read_system_slow(u64 la, u32 size) {
  return read_span(la, std::span(scratch_).first(size), system());
}
bool Mmu::write_system_slow(u64 la, u32 size) {
  return write_span(la, std::span(scratch_).first(size), system());
}

bool Mmu::read_bytes(u64 la, void* out, u32 size) {
  if (size > kPageSize && !probe(la, size, Access::kRead)) return false;
  for (std::span left(static_cast<u8*>(out), size); !left.empty();) {
    const std::size_t chunk = std::min<std::size_t>(left.size(), kPageSize);
    if (!read_span(la, left.first(chunk), block())) return false;
    left = left.subspan(chunk);
    la += chunk;
  }
  return true;
}

bool Mmu::write_bytes(u64 la, const void* data, u32 size) {
  if (size > kPageSize && !probe(la, size, Access::kWrite)) return false;
  for (std::span left(static_cast<const u8*>(data), size); !left.empty();) {
    const std::size_t chunk = std::min<std::size_t>(left.size(), kPageSize);
    if (!write_span(la, left.first(chunk), block())) return false;
    left = left.subspan(chunk);
    la += chunk;
  }
  return true;
}

bool Mmu::probe(u64 la, u32 size, Access access) {
  return probe_span(la, size, access, program());
}
bool Mmu::probe_system(u64 la, u32 size, Access access) {
  return probe_span(la, size, access, system());
}

const PageInfo* Mmu::find_direct(u64& la, Access access) {
  const Origin origin = program();
  la &= origin.wrap;
  if ((origin.aligned && access != Access::kExecute) || (origin.wrap == ~u64{0} && !canonical(state_, la)))
    return nullptr;
  u32 error = 0;
  return find(la, access, origin.privilege, error);
}

u8* Mmu::direct(u64 la, Access access) {
  if (!find_direct(la, access)) return nullptr;
  TlbArray& tlb = array(active_);
  if (access == Access::kWrite) retag_for_write(tlb, la);
  const TlbEntry& entry = tlb.entry(la);
  const u64 tag = access == Access::kRead ? entry.read : access == Access::kWrite ? entry.write : entry.exec;
  return tag == (la & kPageMask) ? reinterpret_cast<u8*>(la + entry.addend) : nullptr;
}

Mmu::CodePageStore Mmu::direct_to_code_page(u64 la) {
  const PageInfo* page = find_direct(la, Access::kWrite);
  if (!page || !memory_.ram().is_code_page(page->physical) || watched(page->la, true)) return {};
  const PhysicalMemory::Backing backing = memory_.backing(page->physical);
  if (!backing.writable) return {};
  if (WriteObserver* observer = memory_.write_observer())
    observer->page_writable(page->physical, backing.host);
  return {backing.host + la % kPageSize, page->physical + la % kPageSize};
}

bool Mmu::fetch(u64 la, Code& out) {
  const Origin origin = program();
  if (!linear(la, origin)) return false;
  const PageInfo* page = lookup(la, Access::kExecute, origin.privilege);
  if (!page) return false;
  const TlbEntry& entry = array(origin.privilege).entry(la);
  out.physical = page->physical + la % kPageSize;
  out.global = page->global;
  space_->fetched.add(la, page->shift);
  if (page->global) fetched_global_.add(la, page->shift);
  out.host = entry.exec == (la & kPageMask) ? reinterpret_cast<const u8*>(la + entry.addend) : nullptr;
  return true;
}

}  // namespace doppel::mmu
