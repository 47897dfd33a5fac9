// The part of mmu::Mmu that decides which TLB array is active and when cached translations go: modes, address
// spaces and their PCIDs, INVLPG and INVPCID. Source: Intel SDM Vol. 3A, "Caching Translation Information".
#include <algorithm>

#include "mmu/mmu.hpp"

namespace doppel::mmu {

using namespace core;

namespace {

// Control bits that decide what page tables mean. They lie at different places in their registers, so that
// one word holds them all.
constexpr u64 kCr0Bits = kCr0Pg | kCr0Wp;
constexpr u64 kCr4Bits = kCr4Pse | kCr4Pae | kCr4Pge | kCr4La57 | kCr4Pcide | kCr4Smep | kCr4Smap;
constexpr u64 kEferBits = kEferLma | kEferNxe;
static_assert((kCr0Bits & kCr4Bits) == 0 && (kCr0Bits & kEferBits) == 0 && (kCr4Bits & kEferBits) == 0);

u64 translation_mode(const CpuState& state) {
  return (state.cr0 & kCr0Bits) | (state.cr4 & kCr4Bits) | (state.efer & kEferBits);
}

}  // namespace

void Mmu::mode_changed() {
  if (translation_mode(state_) != translation_mode_) flush_all();
  if (debug_registers_changed()) load_watches();
  active_ = privilege();
  alignment_checks_ = state_.cpl == 3 && (state_.cr0 & kCr0Am) && (state_.rflags & kAc);
  choose_array();
}

void Mmu::choose_array() {
  state_.tlb = alignment_checks_ ? never_->data() : array(active_).entries();
}

void Mmu::flush_all() {
  flushes_.fetch_add(1, std::memory_order_relaxed);
  translation_mode_ = translation_mode(state_);
  for_each_array([](TlbArray& tlb) { tlb.flush_all(); });
  if (flush_observer_) flush_observer_->flushed_all();
  new_generation_everywhere();
  activate(pcid_of(state_.cr3));
}

void Mmu::new_generation(Space& space) {
  space.generation = ++last_generation_;
  space.fetched.clear();
}

void Mmu::new_generation_everywhere() {
  for (Space& space : spaces_) new_generation(space);
  global_generation_ = ++last_generation_;
  fetched_global_.clear();
}

void Mmu::flush_non_global() {
  set_address_space(state_.cr3, false);
}

void Mmu::set_address_space(u64 cr3, bool keep) {
  activate(pcid_of(cr3));
  if (keep && (state_.cr4 & kCr4Pcide)) return;
  flushes_.fetch_add(1, std::memory_order_relaxed);
  flush_space(*space_);
}

void Mmu::flush_space(Space& space) {
  new_generation(space);
  for (TlbArray& tlb : space.by_privilege) tlb.flush_non_global();
  if (flush_observer_) flush_observer_->flushed_space(space.pcid);
}

void Mmu::flush_page(u64 la) {
  if (flush_observer_) flush_observer_->flushed_page(la);
  for_each_array([la](TlbArray& tlb) { tlb.flush_page(la); });
  bool small = false;
  for (Space& space : spaces_) small |= forget_fetched(space, la);
  small |= fetched_global_.may_hold(la, kSmallPage);
  if (fetched_global_.may_hold_large(la) || (small && !code_page_flush_)) {
    global_generation_ = ++last_generation_;
    fetched_global_.clear();
  }
  if (small && code_page_flush_) code_page_flush_(la & kPageMask);
}

void Mmu::flush_page_pcid(u64 la, u16 pcid) {
  if (flush_observer_) flush_observer_->flushed_page(la);
  Space* space = space_of(pcid);
  if (!space) return;
  for (TlbArray& tlb : space->by_privilege) tlb.flush_page(la);
  if (forget_fetched(*space, la) && code_page_flush_) code_page_flush_(la & kPageMask);
}

// Whether `la` is on a 4 KiB page that may have been fetched from. Larger ones, and those when nobody is to
// be told of them, get a new generation.
bool Mmu::forget_fetched(Space& space, u64 la) {
  const bool small = space.fetched.may_hold(la, kSmallPage);
  if (space.fetched.may_hold_large(la) || (small && !code_page_flush_)) new_generation(space);
  return small;
}

void Mmu::flush_pcid(u16 pcid) {
  if (Space* space = space_of(pcid))
    flush_space(*space);
  else if (flush_observer_)
    flush_observer_->flushed_space(pcid);
}

void Mmu::flush_all_pcids_non_global() {
  for (Space& space : spaces_) flush_space(space);
  if (flush_observer_) flush_observer_->flushed_all();  // also spaces that have no TLB now
}

void Mmu::protect_code_page(u64 physical) {
  if (flush_observer_) flush_observer_->code_page_protected(physical);
  for_each_array([physical](TlbArray& tlb) { tlb.drop_write_tags(physical); });
  const auto [word, mask] = store_bit(physical);
  if (mask) may_store_[word].fetch_and(~mask);
}

Mmu::Space* Mmu::space_of(u16 pcid) {
  Space* const space = std::ranges::find(spaces_, pcid, &Space::pcid);
  return space == spaces_.end() ? nullptr : space;
}

// Every operation that drops global translations does so in all spaces, so a space that is given to another
// PCID keeps its global entries.
Mmu::Space& Mmu::space_for(u16 pcid) {
  if (Space* space = space_of(pcid)) return *space;
  if (spaces_.size() < kMaxSpaces) {
    spaces_.grow();
    Space& space = *std::prev(spaces_.end());
    space.pcid = pcid;
    new_generation(space);
    return space;
  }
  Space& oldest = *std::ranges::min_element(spaces_, {}, &Space::last_use);
  for (TlbArray& tlb : oldest.by_privilege) tlb.flush_non_global();
  oldest.pcid = pcid;
  new_generation(oldest);
  return oldest;
}

void Mmu::activate(u16 pcid) {
  space_ = &space_for(pcid);
  space_->last_use = ++uses_;
  choose_array();
}

}  // namespace doppel::mmu
