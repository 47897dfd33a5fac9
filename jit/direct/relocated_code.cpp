#include "jit/direct/relocated_code.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "jit/direct/guest_registers.hpp"

namespace doppel::jit::direct {

using core::kPageSize;

namespace {

// The file: code, the table, literals, slots.
constexpr u64 kTable = RelocatedCode::kCodeSize, kTableSize = 2 * RelocationAddresses::kTargets;
constexpr u64 kLiterals = kTable + kTableSize, kLiteralsSize = 1 << 20, kMostLiterals = kLiteralsSize / 8;
constexpr u64 kSlots = kLiterals + kLiteralsSize;
constexpr u64 kSize = kSlots + kPageSize;
static_assert(kTableSize % kPageSize == 0 && RelocatedCode::kCode % kPageSize == 0, "parts are whole pages");

constexpr u64 kExitSize = 8;  // an INT3, or a jump
constexpr u8 kInt3 = 0xcc, kJump = 0xe9, kNop = 0x90;
constexpr u32 kJumpSize = 5;
constexpr u32 kBlocksAhead = 24;  // made at a time
// No block is larger, with its exits: 64 instructions, of which each may be a branch with 256 NOPs before it.
constexpr u64 kMostBlockSize = 32 << 10;
constexpr u64 kRoom = kBlocksAhead * kMostBlockSize;
constexpr std::size_t kMostInTable = 3 * RelocationAddresses::kFirstEntries / 4;

constexpr u64 kRegions = (kSize + mmu::kUserRegionSize - 1) / mmu::kUserRegionSize;
static_assert(RelocatedCode::kCode % mmu::kUserRegionSize == 0, "begins a region");

}  // namespace

RelocatedCode::RelocatedCode(Vcpu& cpu, CodeFrames& frames) : cpu_(cpu), frames_(frames) {
  fd_ = ::memfd_create("doppel-relocated-code", MFD_CLOEXEC);
  if (fd_ < 0 || ::ftruncate(fd_, static_cast<off_t>(kSize)) != 0)
    throw std::system_error(errno, std::generic_category(), "memory for relocated code");
  void* mapping = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_, 0);
  if (mapping == MAP_FAILED) {
    ::close(fd_);
    throw std::system_error(errno, std::generic_category(), "memory for relocated code");
  }
  base_ = static_cast<u8*>(mapping);
  addresses_ = {.slots = kCode + kSlots, .table = kCode + kTable, .lookup = kCode};
  const auto lookup = RelocatedBlock::make_lookup(addresses_);
  std::ranges::copy(lookup.code, base_);
  miss_ = kCode + lookup.miss;
  end_ = first_block_ = static_cast<u32>(lookup.code.size());
}

RelocatedCode::~RelocatedCode() {
  ::munmap(base_, kSize);
  ::close(fd_);
}

std::vector<StubProcess::Change> RelocatedCode::mappings() const {
  using Show = StubProcess::Show;
  return {{kCode, kCodeSize, Show::kRelocated, 0, PROT_READ | PROT_EXEC},
          {kCode + kTable, kSlots - kTable, Show::kRelocated, kTable, PROT_READ},
          {kCode + kSlots, kPageSize, Show::kRelocated, kSlots, PROT_READ | PROT_WRITE}};
}

bool RelocatedCode::place_is_free() const {
  for (u64 i = 0; i < kRegions; ++i) {
    const auto pages = mmu::walk_user_region(cpu_.state, cpu_.mmu.memory(), kCode + i * mmu::kUserRegionSize);
    if (std::ranges::any_of(pages, &mmu::UserPage::present)) return false;
  }
  return true;
}

u64& RelocatedCode::slot(u64 index) const {
  return reinterpret_cast<u64*>(base_ + kSlots)[index];
}

u64 RelocatedCode::exit_address(std::size_t index) const {
  return kCode + kCodeSize - (index + 1) * kExitSize;
}

std::size_t RelocatedCode::exit_index(u64 address) const {
  return (kCode + kCodeSize - 1 - address) / kExitSize;
}

bool RelocatedCode::nearly_full() const {
  return end_ + kRoom > kCodeSize - exits_.size() * kExitSize || table_full_ ||
         literals_ + kBlocksAhead > kMostLiterals;
}

bool RelocatedCode::enter(user_regs_struct& registers) {
  if (nearly_full()) clear();
  const u64 address = block(registers.rip);
  if (address == 0) return false;
  registers.rip = address;
  return true;
}

bool RelocatedCode::resume(user_regs_struct& registers) {
  const u64 stopped = registers.rip - 1;
  const bool missed = stopped == miss_, full = nearly_full();
  if (missed && !full) {
    const u64 rip = slot(RelocationAddresses::kGuestTarget);
    const u64 hit = slot(RelocationAddresses::kHit);
    if (block(rip) != 0 && holds(hit)) {
      if (const auto index = enter_in_table(rip)) {
        registers.rdx = kCode + kTable + *index * 8;
        registers.rip = hit;
        return true;
      }
    }
  }
  registers.rip = stopped;
  const std::size_t index = exit_index(stopped);
  const bool again = missed ? full : index < exits_.size() && !exits_[index].final;
  leave(registers);
  return again && enter(registers);
}

void RelocatedCode::leave(user_regs_struct& registers) const {
  u64 at = registers.rip;
  const std::size_t index = exit_index(at);
  if (index < exits_.size()) {
    registers.rip = exits_[index].rip;
    return;
  }
  // The lookup is a part of the branch that went there.
  if (at < kCode + first_block_) at = slot(RelocationAddresses::kHit);
  const auto offset = static_cast<u32>(at - kCode);
  const auto mark = std::ranges::upper_bound(marks_, offset, {}, &Mark::offset);
  // Guest code that jumped here by itself may be anywhere, and stays there.
  if (!holds(at) || mark == marks_.begin()) return;
  const Mark& here = *std::prev(mark);
  for (u32 reg = 0; reg < 16; ++reg)
    if (here.saved >> reg & 1) general_register(registers, reg) = slot(reg);
  registers.rip = here.gone ? slot(RelocationAddresses::kGuestTarget) : here.rip;
}

// Code that is written while it runs is better executed where it is.
bool RelocatedCode::suits(const mmu::UserPage& page, u64 physical) const {
  return page.present && page.executable && (!page.writable || frames_.refuses_all()) &&
         (page.physical & core::kPageMask) == physical;
}

const RelocatedCode::Page* RelocatedCode::page(u64 rip) {
  const u64 number = rip / kPageSize;
  if (const auto it = pages_.find(number); it != pages_.end()) return &it->second;
  const u8* host = rip < StubProcess::kAddressEnd ? cpu_.mmu.direct(rip, mmu::Access::kExecute) : nullptr;
  if (host == nullptr) return nullptr;
  const auto fetched = frames_.physical_of(host);
  if (!fetched) return nullptr;
  const u64 physical = *fetched & core::kPageMask;
  const auto region = mmu::walk_user_region(cpu_.state, cpu_.mmu.memory(), rip);
  if (!suits(region[rip % mmu::kUserRegionSize / kPageSize], physical)) return nullptr;
  (void)frames_.examine(physical);  // its changes are told from now on
  return &pages_.emplace(number, Page{physical, cpu_.mmu.memory().ram().host(physical)}).first->second;
}

std::size_t RelocatedCode::fetch(u64 rip, std::span<u8, kLongestInsn> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const Page* from = page(rip + done);
    if (from == nullptr) break;
    const u64 offset = (rip + done) % kPageSize;
    const std::size_t size = std::min<std::size_t>(bytes.size() - done, kPageSize - offset);
    std::memcpy(bytes.data() + done, from->bytes + offset, size);
    done += size;
  }
  return done;
}

u64 RelocatedCode::target(u64 rip) {
  if (const auto it = entries_.find(rip); it != entries_.end()) return it->second;
  wanted_.push_back({rip, false});
  return add_exit({rip, false});
}

u64 RelocatedCode::exit(u64 rip) {
  return add_exit({rip, true});
}

u64 RelocatedCode::add_exit(Exit exit) {
  exits_.push_back(exit);
  const u64 address = exit_address(exits_.size() - 1);
  base_[address - kCode] = kInt3;
  return address;
}

u64 RelocatedCode::literal(u64 value) {
  std::memcpy(base_ + kLiterals + literals_ * 8, &value, sizeof value);
  return kCode + kLiterals + literals_++ * 8;
}

u64 RelocatedCode::block(u64 rip) {
  if (const auto it = entries_.find(rip); it != entries_.end()) return it->second;
  if (page(rip) == nullptr) return 0;
  wanted_.assign(1, {rip, false});
  for (u32 made = 0; made < kBlocksAhead && !wanted_.empty(); ++made) {
    const Wanted next = wanted_.front();
    wanted_.pop_front();
    if (!entries_.contains(next.rip)) {
      if (page(next.rip) == nullptr) continue;
      add(next.rip);
    }
    if (next.in_table) (void)enter_in_table(next.rip);
  }
  return entries_.at(rip);
}

void RelocatedCode::add(u64 rip) {
  const u64 address = kCode + end_;
  entries_[rip] = address;
  const RelocatedBlock made(rip, address, addresses_, *this);
  std::ranges::copy(made.code(), base_ + end_);
  for (Mark mark : made.marks()) {
    mark.offset += end_;
    marks_.push_back(mark);
  }
  for (const auto& [offset, target] : made.links()) {
    i32 distance;
    std::memcpy(&distance, made.code().data() + offset, sizeof distance);
    const u64 place = address + offset + sizeof distance + static_cast<u64>(distance);
    if (exit_index(place) < exits_.size()) waiting_.emplace(target, std::pair(end_ + offset, place));
  }
  end_ += static_cast<u32>(made.code().size());
  if (made.continuation()) wanted_.push_front({*made.continuation(), true});
  ++blocks_;
  const auto [first, last] = waiting_.equal_range(rip);
  for (auto it = first; it != last; ++it) link(it->second.first, it->second.second, address);
  waiting_.erase(first, last);
}

// Lets the jump whose rel32 is at the offset, and goes to that exit, go to the address.
void RelocatedCode::link(u32 offset, u64 exit, u64 address) {
  const auto put = [&](u64 at, u64 to) {
    const auto distance = static_cast<i32>(to - (kCode + at + 4));
    std::memcpy(base_ + at, &distance, sizeof distance);
  };
  const auto harmless = [&](u64 at, u64 size) {
    constexpr u64 kAround = 2;
    return !could_store_table({base_ + at - kAround, size + 2 * kAround});
  };
  put(offset, address);
  if (harmless(offset, 4)) return;
  // By way of the exit, which is a jump then.
  put(offset, exit);
  for (u64 at = exit - kCode, end = at + kExitSize - kJumpSize; at <= end; ++at) {
    base_[at] = kJump;
    put(at + 1, address);
    if (harmless(at, kJumpSize)) return;
    base_[at] = kNop;
  }
  base_[exit - kCode] = kInt3;
}

u64 RelocatedCode::find(u64 rip) const {
  const u64* keys = reinterpret_cast<const u64*>(base_ + kTable);
  u64 index = rip % RelocationAddresses::kFirstEntries;
  while (index < RelocationAddresses::kEntries && keys[index] != 0 && keys[index] != 0 - rip) ++index;
  return index;
}

std::optional<u64> RelocatedCode::enter_in_table(u64 rip) {
  u64* const keys = reinterpret_cast<u64*>(base_ + kTable);
  const u64 index = find(rip);
  // The last entry stays empty: it ends the lookup.
  if (index + 1 >= RelocationAddresses::kEntries) {
    table_full_ = true;
    return {};
  }
  if (keys[index] != 0) return index;
  in_table_.push_back(index);
  table_full_ = in_table_.size() >= kMostInTable;
  keys[index + RelocationAddresses::kEntries] = entries_.at(rip);
  keys[index] = 0 - rip;
  return index;
}

bool RelocatedCode::valid() const {
  std::unordered_map<u64, mmu::UserRegion> regions;
  for (const auto& [number, page] : pages_) {
    const u64 la = number * kPageSize, base = la / mmu::kUserRegionSize * mmu::kUserRegionSize;
    auto it = regions.find(base);
    if (it == regions.end())
      it = regions.emplace(base, mmu::walk_user_region(cpu_.state, cpu_.mmu.memory(), base)).first;
    const mmu::UserPage& now = it->second[la % mmu::kUserRegionSize / kPageSize];
    if (!suits(now, page.physical)) return false;
  }
  return true;
}

void RelocatedCode::page_written(u64 physical) {
  const u64 page = physical & core::kPageMask;
  if (std::ranges::any_of(pages_, [&](const auto& entry) { return entry.second.physical == page; })) clear();
}

void RelocatedCode::clear() {
  if (pages_.empty()) return;
  ++times_cleared_;
  end_ = first_block_;
  marks_.clear();
  exits_.clear();
  literals_ = 0;
  u64* const keys = reinterpret_cast<u64*>(base_ + kTable);
  for (const u64 index : in_table_) keys[index] = 0;
  in_table_.clear();
  table_full_ = false;
  entries_.clear();
  waiting_.clear();
  pages_.clear();
}

}  // namespace doppel::jit::direct
