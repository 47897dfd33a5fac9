// Guest memory operands: address computation and the soft-TLB check, one for all accesses through the same
// registers where a block allows it.
#include "core/guest_ram.hpp"
#include "jit/x64/block_emitter.hpp"
#include "jit/x64/mnemonic_facts.hpp"
#include "mmu/tlb.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

namespace {

constexpr u32 kIndexMask = (mmu::kTlbEntries - 1) * sizeof(mmu::TlbEntry);
constexpr i32 kOffsetInPage = core::kPageSize - 1;
// A wider range would cross a page end too often.
constexpr i64 kWidestShare = 256;

// By how much the instruction changes a general register that it writes; empty: by no constant.
std::optional<i64> constant_step(const Insn& insn, u8 guest, u32 word) {
  const Operand& to = insn.op[0];
  const bool is_target = to.kind == OperandKind::kGpr && to.reg == guest * 8 && to.size == word;
  // Downwards they leave the block.
  if ((guest == core::kRsi || guest == core::kRdi) && insn.address_size == word && string_form(insn))
    return insn.op_size;
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
      return guest == core::kRsp && insn.op_size == word ? std::optional<i64>(-i64{word}) : std::nullopt;
    case ZYDIS_MNEMONIC_POP:
      return guest == core::kRsp && insn.op_size == word && !is_target ? std::optional<i64>(word)
                                                                       : std::nullopt;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB: {
      if (!is_target || insn.op[1].kind != OperandKind::kImmediate) return std::nullopt;
      const auto imm = static_cast<i64>(insn.imm);
      return insn.mnemonic == ZYDIS_MNEMONIC_ADD ? imm : -imm;
    }
    case ZYDIS_MNEMONIC_INC:
      return is_target ? std::optional<i64>(1) : std::nullopt;
    case ZYDIS_MNEMONIC_DEC:
      return is_target ? std::optional<i64>(-1) : std::nullopt;
    case ZYDIS_MNEMONIC_LEA:
      if (!is_target || insn.base != guest || insn.index != core::kGprZero || insn.address_size != word)
        return std::nullopt;
      return insn.disp;
    default:
      return std::nullopt;
  }
}

bool fits(i64 value) {
  return value == static_cast<i32>(value);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------
// Addresses.

BlockEmitter::Address BlockEmitter::operand_address(const Insn& insn) const {
  Address address{insn.base, insn.index, insn.scale, insn.disp, AddressKind::kRegisters};
  const bool segment = has_segment_base(insn);
  const bool no_index = insn.index == core::kGprZero;
  if (insn.base == core::kGprRip && no_index && !segment) {
    address.kind = AddressKind::kCodePage;
    address.disp += page_offset_;
  } else if (segment && word_ == 8 && insn.base == core::kGprZero && no_index) {
    address.kind = AddressKind::kSegment;
    address.base = insn.segment;
  } else if (segment || insn.base == core::kGprRip || (in_memory(insn.base) && in_memory(insn.index)) ||
             (word_ == 8 && insn.base == core::kGprZero && no_index)) {
    address.kind = AddressKind::kComputed;
  }
  if (insn.address_size != word_ || !fits(address.disp) || !fits(address.disp + kWidestShare) ||
      !fits(address.disp - kWidestShare) || insn.index > core::kGprZero)
    address.kind = AddressKind::kComputed;
  return address;
}

BlockEmitter::Address BlockEmitter::register_address(u8 guest, i64 disp) const {
  return {guest, core::kGprZero, 0, disp, AddressKind::kRegisters};
}

// Where the part of the address lies that is not in a host register; only for addresses that have one.
static Mem home_of_base(u8 base, bool segment, bool code_page) {
  if (segment) return segment_base(base);
  if (code_page) return DOPPEL_STATE(translator.code_page, 8);
  return gpr_home(base);
}

// FS and GS; the other segments are flat.
bool BlockEmitter::has_segment_base(const Insn& insn) const {
  return (insn.flags & kSegmentBase) ||
         ((insn.flags & kSegmented) && (insn.segment == core::kFs || insn.segment == core::kGs));
}

void BlockEmitter::wrap(const Gp& address) {
  if (word_ == 4) a.mov(address.r32(), address.r32());
}

void BlockEmitter::move_rsp(i64 by) {
  const Gp guest_rsp = gpq(kHostOf[core::kRsp]);
  if (by != 0) a.lea(word(guest_rsp), ptr(guest_rsp, static_cast<i32>(by)));
}

void BlockEmitter::load_code_address(const Gp& to, i64 page_offset) {
  a.mov(to, DOPPEL_STATE(translator.code_page, 8));
  if (page_offset != 0) a.lea(word(to), ptr(to, static_cast<i32>(page_offset)));
}

// to = the linear address with another displacement. Keeps EFLAGS. Not for kComputed.
void BlockEmitter::load_address(const Gp& target, const Address& address, i64 disp) {
  // 32-bit code has all its registers in the host's; the upper half of what they add up to is dropped.
  const Gp to = word_ == 4 ? Gp(target.r32()) : target;
  const i32 d = static_cast<i32>(disp);
  const bool code_page = address.kind == AddressKind::kCodePage;
  const bool segment = address.kind == AddressKind::kSegment;
  const bool has_index = address.index != core::kGprZero && !segment && !code_page;
  if (segment || code_page || in_memory(address.base)) {
    a.mov(to, home_of_base(address.base, segment, code_page));
    if (has_index)
      a.lea(to, ptr(to, gpq(kHostOf[address.index]), address.scale, d));
    else if (d != 0)
      a.lea(to, ptr(to, d));
    return;
  }
  const bool has_base = address.base != core::kGprZero;
  if (!has_base && !has_index) {
    a.mov(to, static_cast<u32>(d));
  } else if (has_index && in_memory(address.index)) {
    a.mov(to, gpr_home(address.index));
    if (has_base)
      a.lea(to, ptr(gpq(kHostOf[address.base]), to, address.scale, d));
    else
      a.lea(to, ptr(static_cast<u64>(disp), to, address.scale));
  } else if (has_base && has_index) {
    a.lea(to, ptr(gpq(kHostOf[address.base]), gpq(kHostOf[address.index]), address.scale, d));
  } else if (has_base) {
    a.lea(to, ptr(gpq(kHostOf[address.base]), d));
  } else {
    a.lea(to, ptr(static_cast<u64>(disp), gpq(kHostOf[address.index]), address.scale));
  }
}

// The host operand of an access whose page's addend (kCodePage: the host address of the page) is in
// kScratch0. Clobbers kScratch0 and kScratch1, keeps EFLAGS.
Mem BlockEmitter::host_operand(const Address& address, u32 size) {
  const i32 disp = static_cast<i32>(address.disp);
  if (word_ == 4) {  // the sum of the address' parts may have to wrap
    load_address(kScratch1, address, address.disp);
    a.lea(kScratch0, ptr(kScratch0, kScratch1));
    return ptr(kScratch0, 0, size);
  }
  if (address.kind == AddressKind::kCodePage) return ptr(kScratch0, disp & kOffsetInPage, size);
  const bool segment = address.kind == AddressKind::kSegment;
  const bool has_index = address.index != core::kGprZero && !segment;
  if (segment || in_memory(address.base)) {
    a.mov(kScratch1, home_of_base(address.base, segment, false));
    a.lea(kScratch0, ptr(kScratch0, kScratch1));
  } else if (address.base != core::kGprZero) {
    if (!has_index) return ptr(gpq(kHostOf[address.base]), kScratch0, 0, disp, size);
    a.lea(kScratch0, ptr(kScratch0, gpq(kHostOf[address.base])));
  }
  if (!has_index) return ptr(kScratch0, disp, size);
  if (!in_memory(address.index))
    return ptr(kScratch0, gpq(kHostOf[address.index]), address.scale, disp, size);
  a.mov(kScratch1, gpr_home(address.index));
  a.lea(kScratch0, ptr(kScratch0, kScratch1, address.scale));
  return ptr(kScratch0, disp, size);
}

// The effective (with_segment: linear) address in kScratch0. Clobbers kScratch1.
void BlockEmitter::compute_address(const Insn& insn, bool with_segment) {
  i64 disp = insn.disp;
  if (insn.base == core::kGprRip) {
    a.mov(kScratch0, DOPPEL_STATE(translator.code_page, 8));
    disp += page_offset_;
  } else if (insn.base != core::kGprZero) {
    load_guest(kScratch0, insn.base);
  }
  bool have_base = insn.base != core::kGprZero;
  if (insn.index != core::kGprZero) {
    load_guest(kScratch1, insn.index);
    if (have_base)
      a.lea(kScratch0, ptr(kScratch0, kScratch1, insn.scale));
    else
      a.lea(kScratch0, ptr(u64{0}, kScratch1, insn.scale));
    have_base = true;
  }
  if (!have_base) {
    a.mov(kScratch0, disp);
  } else if (fits(disp)) {
    if (disp != 0) a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(disp)));
  } else {
    a.mov(kScratch1, disp);
    a.lea(kScratch0, ptr(kScratch0, kScratch1));
  }
  if (insn.address_size == 4) a.mov(kScratch0.r32(), kScratch0.r32());
  if (insn.address_size == 2) a.movzx(kScratch0.r32(), kScratch0.r16());
  if (with_segment && has_segment_base(insn)) {
    a.mov(kScratch1, segment_base(insn.segment));
    a.lea(kScratch0, ptr(kScratch0, kScratch1));
    wrap(kScratch0);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Checks.

// kScratch1 = the soft-TLB entry of the address in it.
void BlockEmitter::tlb_entry() {
  a.shr(kScratch1, 12 - 5);
  a.and_(kScratch1.r32(), kIndexMask);
  a.add(kScratch1, DOPPEL_STATE(tlb, 8));
}

static Mem tag(bool write) {
  return ptr(kScratch1, write ? offsetof(mmu::TlbEntry, write) : offsetof(mmu::TlbEntry, read));
}

//   entry = tlb[(la >> 12) % entries];  if ((la + size - 1) & ~0xfff) != entry.tag: otherwise
//   addend = entry.addend
// for the bytes [low, high) from the address' registers.
void BlockEmitter::check_range(const Address& address, const Range& range,
                               HostAssembler::Forward& otherwise) {
  if (address.kind == AddressKind::kCodePage) {  // no byte lies on another page
    load_address(kScratch0, address, range.low & ~i64{kOffsetInPage});
    a.mov(kScratch1, kScratch0);
    tlb_entry();
    a.cmp(kScratch0, tag(range.write));
    a.jump_if(CondCode::kNE, otherwise);
    a.add(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, addend)));
    return;
  }
  load_address(kScratch1, address, range.low);
  tlb_entry();
  load_address(kScratch0, address, range.high - 1);
  a.and_(kScratch0, -4096);
  a.cmp(kScratch0, tag(range.write));
  a.jump_if(CondCode::kNE, otherwise);
  a.mov(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, addend)));
}

// The stack stays on its page most of the time: that page's addend, without a look into the soft TLB.
//   if low - stack_page > 4096 - (high - low): otherwise;  addend = stack_addend
void BlockEmitter::check_stack(const Address& address, const Range& range,
                               HostAssembler::Forward& otherwise) {
  load_address(kScratch0, address, range.low);
  a.sub(kScratch0, DOPPEL_STATE(translator.stack_page, 8));
  a.cmp(kScratch0, static_cast<i32>(i64{core::kPageSize} - (range.high - range.low)));
  a.jump_if(CondCode::kA, otherwise);
  a.mov(kScratch0, DOPPEL_STATE(translator.stack_addend, 8));
}

static bool on_stack(const BlockEmitter::Address& address) {
  return address.kind == BlockEmitter::AddressKind::kRegisters && address.base == core::kRsp &&
         address.index == core::kGprZero;
}

Mem BlockEmitter::guest_memory(const Insn& insn, u32 size, bool write, u32 alignment) {
  const Address address = operand_address(insn);
  const bool crosses = address.kind == AddressKind::kCodePage &&
                       (address.disp & kOffsetInPage) + size > static_cast<i64>(core::kPageSize);
  if (address.kind != AddressKind::kComputed && !crosses)
    return guest_memory(insn, address, size, write, alignment);
  before_clobber(needed_by(insn));
  if (word_ == 4 && has_segment_base(insn)) check_segment(insn);
  compute_address(insn, true);
  return computed_memory(insn, size, write, alignment);
}

Mem BlockEmitter::stack_memory(const Insn& insn, i64 disp, bool write) {
  return guest_memory(insn, register_address(core::kRsp, disp), word_, write);
}

// In 32-bit code, accesses through FS and GS are emitted for segments of 4 GiB that may be written. Clobbers
// EFLAGS.
void BlockEmitter::check_segment(const Insn& insn) {
  constexpr i32 kWanted = core::kSegPresent | core::kSegS | core::kSegWritable;
  constexpr i32 kLooked = kWanted | core::kSegCode | core::kSegExpandDown;
  HostAssembler::Forward& slow = slow_insn(insn);
  a.cmp(segment_field(insn.segment, offsetof(core::SegmentRegister, limit), 4), -1);
  a.jump_if(CondCode::kNE, slow);
  a.mov(kScratch0.r32(), segment_field(insn.segment, offsetof(core::SegmentRegister, selector), 4));
  a.shr(kScratch0.r32(), 16);
  a.and_(kScratch0.r32(), kLooked);
  a.cmp(kScratch0.r32(), kWanted);
  a.jump_if(CondCode::kNE, slow);
}

// An address of many parts: spilled, so that a miss need not compute it again.
Mem BlockEmitter::computed_memory(const Insn& insn, u32 size, bool write, u32 alignment) {
  const Mem home = DOPPEL_STATE(translator.effective_address, 8);
  a.mov(home, kScratch0);
  if (alignment > 1) check_alignment(insn, kScratch0, alignment);
  a.mov(kScratch1, kScratch0);
  tlb_entry();
  if (size > 1) a.lea(kScratch0, ptr(kScratch0, static_cast<i32>(size - 1)));
  a.and_(kScratch0, -4096);
  a.cmp(kScratch0, tag(write));
  SlowAccess& slow = slow_accesses_.emplace_back();
  slow.insn = &insn;
  slow.access = size | (write ? kAccessWrites : 0u);
  a.jump_if(CondCode::kNE, slow.entry);
  a.mov(kScratch0, home);
  a.add(kScratch0, ptr(kScratch1, offsetof(mmu::TlbEntry, addend)));
  slow.resume = a.here();
  return ptr(kScratch0, 0, size);
}

void BlockEmitter::check_alignment(const Insn& insn, const Gp& address, u32 alignment) {
  a.test(address.r8(), alignment - 1);
  a.jump_if(CondCode::kNZ, slow_insn(insn));
}

Mem BlockEmitter::guest_memory(const Insn& insn, const Address& address, u32 size, bool write,
                               u32 alignment) {
  Share* share = find_share(address, size, write);
  const bool aligned = alignment <= 1 ||
                       (share && share->alignment >= alignment &&
                        (address.disp + share->moved - share->aligned_at) % static_cast<i64>(alignment) == 0);
  if (!aligned || !share) before_clobber(needed_by(insn));
  if (!aligned) {
    load_address(kScratch0, address, address.disp);
    check_alignment(insn, kScratch0, alignment);
  }
  if (!share) {
    const Range range = plan_share(insn, address, size, write);
    SlowAccess& slow = slow_accesses_.emplace_back();
    slow.insn = &insn;
    slow.address = address;
    slow.access = size | (write ? kAccessWrites : 0u);
    slow.range = range;
    if (on_stack(address))
      check_stack(address, range, slow.entry);
    else
      check_range(address, range, slow.entry);
    slow.resume = a.here();
    if (range.users > 1) {
      share = new_share(address, range);
      a.mov(share_home(*share), kScratch0);
    }
  } else {
    a.mov(kScratch0, share_home(*share));
  }
  if (share && !aligned) {
    share->alignment = alignment;
    share->aligned_at = address.disp + share->moved;
  }
  return host_operand(address, size);
}

// A miss of the access itself is filled; if the range still is not one page's, the block goes on without
// sharing.
void BlockEmitter::emit_slow_access(const SlowAccess& slow) {
  HostAssembler::Forward failed, careful, missing;
  const bool computed = slow.range.users == 0, shared = slow.range.users > 1;
  const Address& address = slow.address;
  a.land(slow.entry);
  if (!computed && on_stack(address)) {
    load_address(kScratch0, address, slow.range.low);
    load_address(kScratch1, address, slow.range.high - 1);
    a.call_to(context_.trampolines.stack_page);
    a.jump_if(CondCode::kZ, slow.resume);
  }
  if (shared) {
    const i64 end = address.disp + (slow.access & (kAccessWrites - 1));
    check_range(address, {address.disp, end, (slow.access & kAccessWrites) != 0, 1}, missing);
    a.jump(careful);
    a.land(missing);
  }
  if (computed)
    a.mov(kScratch0, DOPPEL_STATE(translator.effective_address, 8));
  else
    load_address(kScratch0, address, address.disp);
  a.mov(DOPPEL_STATE(translator.access, 4), slow.access);
  a.call_to(context_.trampolines.fill);
  a.jump_if(CondCode::kZ, failed);
  if (shared) {
    check_range(address, slow.range, careful);
    a.jump(slow.resume);
    a.land(careful);
    emit_careful_site(*slow.insn);
  } else {
    if (address.kind == AddressKind::kCodePage && !computed) {  // the host address of the page
      a.sub(kScratch0, static_cast<i32>(address.disp & kOffsetInPage));
    } else if (!computed) {  // the addend, not the host address
      load_address(kScratch1, address, address.disp);
      a.sub(kScratch0, kScratch1);
    }
    a.jump(slow.resume);
  }
  a.land(failed);
  run_and_leave(*slow.insn);
}

// ---------------------------------------------------------------------------------------------------------------
// Shares: addends that later accesses through the same registers use without a check.

static bool same_registers(const BlockEmitter::Address& x, const BlockEmitter::Address& y) {
  return x.kind == y.kind && x.base == y.base && x.index == y.index && x.scale == y.scale;
}

// Accesses of an instruction that may share a check. What is missing here only shares less.
std::optional<BlockEmitter::Range> BlockEmitter::range_of(const Insn& insn, const Address& like) const {
  const auto of = [&](const Address& address, u32 size, bool write) -> std::optional<Range> {
    if (!same_registers(address, like) || address.kind == AddressKind::kComputed) return std::nullopt;
    return Range{address.disp, address.disp + size, write, 1};
  };
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_CALL:
      if (insn.op_size != word_ || insn.op[0].kind == OperandKind::kMemory) return std::nullopt;
      return of(register_address(core::kRsp, -i64{word_}), word_, true);
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_RET:
      if (insn.op_size != word_ || insn.op[0].kind == OperandKind::kMemory) return std::nullopt;
      return of(register_address(core::kRsp, 0), word_, false);
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_NOP:
      return std::nullopt;
    default:
      break;
  }
  for (const Operand& op : insn.op)
    if (op.kind == OperandKind::kMemory && op.size != 0)
      return of(operand_address(insn), op.size, &op == &insn.op[0] && writes_first_operand(insn.mnemonic));
  return std::nullopt;
}

// The range to check at `insn`, the first user, for the accesses that follow in the block.
BlockEmitter::Range BlockEmitter::plan_share(const Insn& insn, const Address& address, u32 size,
                                             bool write) const {
  Range range{address.disp, address.disp + size, write, 1};
  if (!sharing_) return range;
  const i64 code_page_offset = address.disp & ~i64{kOffsetInPage};
  bool certain = true;  // no way out of the block so far
  i64 moved = constant_move(insn, address).value_or(0);
  if (!constant_move(insn, address)) return range;
  for (std::size_t i = index_of(insn) + 1; i < block_->count; ++i) {
    const Insn& later = block_->insns[i];
    if (const auto use = range_of(later, address)) {
      const i64 low = std::min(range.low, use->low + moved), high = std::max(range.high, use->high + moved);
      const bool one_page =
          address.kind != AddressKind::kCodePage ||
          (low >= code_page_offset && high <= code_page_offset + static_cast<i64>(core::kPageSize));
      if (high - low <= kWidestShare && one_page && (!use->write || range.write || certain)) {
        range = {low, high, range.write || use->write, range.users + 1};
      }
    }
    if (later.flags & kConditional) certain = false;
    const auto step = constant_move(later, address);
    if (!step) break;
    moved += *step;
  }
  return range;
}

// By how much the instruction moves what the address' registers point at; empty: by no constant.
std::optional<i64> BlockEmitter::constant_move(const Insn& insn, const Address& address) const {
  // The slots of zero and RIP are beyond the 16 bits.
  const u64 used = u64{1} << address.base | u64{1} << address.index;
  if (address.kind != AddressKind::kRegisters || !(insn.gprs_written & used)) return 0;
  i64 moved = 0;
  for (const auto& [slot, scale] :
       {std::pair{address.base, u8{0}}, std::pair{address.index, address.scale}}) {
    if (slot >= 16 || !(insn.gprs_written >> slot & 1)) continue;
    const auto step = constant_step(insn, slot, word_);
    if (!step || !fits(*step)) return std::nullopt;
    moved += *step << scale;
  }
  if (!fits(moved)) return std::nullopt;
  return moved;
}

BlockEmitter::Share* BlockEmitter::find_share(const Address& address, u32 size, bool write) {
  for (Share& share : shares_) {
    if (!same_registers(share.address, address) || (write && !share.range.write)) continue;
    const i64 low = address.disp + share.moved;
    if (low >= share.range.low && low + static_cast<i64>(size) <= share.range.high) return &share;
  }
  return nullptr;
}

BlockEmitter::Share* BlockEmitter::new_share(const Address& address, const Range& range) {
  std::erase_if(shares_, [&](const Share& share) { return same_registers(share.address, address); });
  Share share{address, range, 0, 0, 0, next_share_++ % core::TranslatorState::kShares};
  std::erase_if(shares_, [&](const Share& old) { return old.home == share.home; });
  return &shares_.emplace_back(share);
}

Mem BlockEmitter::share_home(const Share& share) {
  Mem home = DOPPEL_STATE(translator.shared_addends, 8);
  home.addOffset(share.home * 8);
  return home;
}

// The instruction has been emitted: what it does to the registers of shares.
void BlockEmitter::update_shares(const Insn& insn) {
  std::erase_if(shares_, [&](Share& share) {
    const auto step = constant_move(insn, share.address);
    if (step) share.moved += *step;
    return !step || !fits(share.moved);
  });
}

}  // namespace doppel::jit::x64
