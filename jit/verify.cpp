#include "jit/verify.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "jit/listing.hpp"
#include "jit/state_difference.hpp"

namespace doppel::jit {

using core::CpuState;

namespace {

constexpr u32 kAttempts = 3;        // while requests of other threads come in between
constexpr std::size_t kWords = 16;  // of differing memory, in a report

const Insn* stop(Vcpu& cpu, const Insn* insn) {
  cpu.last = insn;
  return nullptr;
}

u64 flags_of(const CpuState& s) {
  return core::arithmetic_flags(s.lazy);
}

}  // namespace

Verifier::Verifier(Vcpu& cpu, BlockCache& blocks, std::unique_ptr<Backend> inner, bool exact_flags)
    : cpu_(cpu),
      blocks_(blocks),
      inner_(std::move(inner)),
      exact_flags_(exact_flags),
      journal_(cpu.mmu.memory().ram()) {
  cpu_.mmu.memory().observe_writes(&journal_);
  blocks_.set_alone(stands_alone);
}

Verifier::~Verifier() {
  blocks_.set_alone(nullptr);
  cpu_.mmu.memory().observe_writes(nullptr);
}

bool Verifier::stands_alone(const Insn& insn) {
  switch (insn.mnemonic) {
    case ZYDIS_MNEMONIC_IN:
    case ZYDIS_MNEMONIC_OUT:
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD:
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_WRMSR:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_INVPCID:
    case ZYDIS_MNEMONIC_LMSW:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_MWAIT:
      return true;
    default:
      // Control and debug registers: translations and watched addresses change.
      return insn.op[0].kind == OperandKind::kControl || insn.op[0].kind == OperandKind::kDebug;
  }
}

bool Verifier::ready(Block& block) {
  return !stands_alone(block.insns[0]) && inner_->ready(block);
}

void Verifier::forget_page(u64 linear_page) {
  inner_->forget_page(linear_page);
}

void Verifier::forget(Block& block) {
  open_flags_.erase(&block);
  inner_->forget(block);
}

void Verifier::clear() {
  open_flags_.clear();
  inner_->clear();
}

void Verifier::run(Block& block) {
  CpuState& s = cpu_.state;
  copy_state(before_, s);
  attention_ = false;
  Verdict verdict = run_both(block);
  // A request of another thread stops repeated string instructions early: then the two may differ without
  // fault.
  for (u32 attempt = 1; attempt < kAttempts && verdict == Verdict::kDifferent && attention_; ++attempt) {
    ++again_;
    rewind();
    verdict = run_both(block);
  }
  journal_.stop();
  if (attention_) s.attention = 1;
  if (verdict == Verdict::kDifferent) {
    describe(block);
    s.notify(core::kPendingStop);
  }
}

u64 Verifier::device_accesses() const {
  return cpu_.ports.accesses() + cpu_.mmu.memory().device_accesses();
}

Verifier::Verdict Verifier::run_both(Block& block) {
  CpuState& s = cpu_.state;
  const u64 devices = device_accesses();
  cpu_.mmu.revoke_write_tags();
  journal_.start();
  if (!exact_flags_ && s.rip == last_rip_ && flags_of(s) == interpreted_flags_)
    core::set_arithmetic_flags(s, translated_flags_);
  inner_->run(block);
  last_rip_ = ~u64{0};
  if (device_accesses() != devices || !block.valid) {
    ++(block.valid ? device_ : code_changed_);
    return Verdict::kNotComparable;
  }

  copy_state(translated_, s);
  rewind();
  const bool agree = interpret(block);
  if (cpu_.state.attention.load() != 0) attention_ = true;
  if (agree) {
    ++compared_;
    last_rip_ = s.rip;
    interpreted_flags_ = flags_of(s);
    translated_flags_ = flags_of(translated_);
    // Flags without a defined value go on as the interpreter has them, so that nobody trips over them later.
    if (translated_flags_ != interpreted_flags_) {
      const u64 undefined = open_flags_after(block).undefined;
      translated_flags_ = (translated_flags_ & ~undefined) | (interpreted_flags_ & undefined);
    }
    return Verdict::kSame;
  }
  if (!open_flags_after(block).read) return Verdict::kDifferent;
  ++undefined_;
  return Verdict::kNotComparable;
}

// Everything as it was before the block.
void Verifier::rewind() {
  // Kept for the dispatcher: STI asks for attention, and must not disturb the other engine's run.
  if (cpu_.state.attention.exchange(0) != 0) attention_ = true;
  journal_.rewind();
  if (journal_.entries_marked()) cpu_.mmu.flush_all();
  copy_state(cpu_.state, before_);
  cpu_.mmu.mode_changed();
  cpu_.mmu.revoke_write_tags();
}

// Runs the block until what the translation did is done: it may have left in the middle. False: at no point
// were the two the same.
bool Verifier::interpret(const Block& block) {
  CpuState& s = cpu_.state;
  const u64 start = s.gpr[core::kGprRip] = s.rip;
  for (u32 i = 0; i < block.count; ++i) {
    // A copy, followed by something that stops the handler chain.
    Insn pair[2] = {block.insns[i], {}};
    pair[1].run = stop;
    cpu_.last = nullptr;
    interpreted_count_ = i + 1;
    const Insn* insn = pair;
    do insn = insn->run(cpu_, insn);
    while (insn != nullptr);
    if (cpu_.last != &pair[1]) return same(block);
    s.rip = start + block.insns[i + 1].offset;  // the sentinel's, behind the last one
    if (s.rip == translated_.rip && same(block)) return true;
    if (i + 1u < block.count) s.rip = start;
  }
  return same(block);
}

bool Verifier::same(const Block& block) {
  const u64 flags = exact_flags_ ? core::kArithmeticFlags : 0;
  const CpuState& s = cpu_.state;
  if (same_state(translated_, s, flags) && journal_.differences(1).empty()) return true;
  if (translated_.rip != s.rip) return false;
  // But for what the manuals leave open.
  const OpenFlags open = open_flags_after(block);
  return same_state(translated_, s, flags & ~open.undefined, ~open.saved) &&
         std::ranges::all_of(journal_.differences(kWords),
                             [&](const auto& d) { return ((d.first ^ d.now) & ~open.saved) == 0; });
}

OpenFlags Verifier::open_flags_after(const Block& block) {
  auto& all = open_flags_[&block];
  if (all.empty()) all = open_flags(guest_code(block));
  return interpreted_count_ <= all.size() ? all[interpreted_count_ - 1] : OpenFlags{};
}

std::vector<u8> Verifier::guest_code(const Block& block) {
  std::vector<u8> code;
  for (u64 at = block.physical; code.size() < block.bytes; at = block.second_page) {
    const u64 left = std::min<u64>(block.bytes - code.size(), core::kPageSize - at % core::kPageSize);
    const u8* host = cpu_.mmu.memory().ram().host(at);
    if (host == nullptr) break;
    code.insert(code.end(), host, host + left);
  }
  return code;
}

void Verifier::describe(const Block& block) {
  report_ = fmt::format(
      "translated code and the interpreter disagree about the block at {:#x} (physical {:#x}), after {} "
      "blocks that were the same.\n{}",
      before_.rip, block.physical, compared_, state_table(before_, translated_, cpu_.state));
  for (const auto& d : journal_.differences(kWords))
    report_ += fmt::format("* {:<22} {:<24} {:<24} {:016x}\n", fmt::format("memory {:#x}", d.physical),
                           fmt::format("{:016x}", d.before), fmt::format("{:016x}", d.first), d.now);
  report_ += "guest code:\n" + jit::listing(guest_code(block), before_.rip, block.code_bits) +
             "translated to:\n" + inner_->listing(block);
}

void Verifier::publish_counters() {
  inner_->publish_counters();
  cpu_.counters["verify.blocks compared"] = compared_;
  cpu_.counters["verify.not compared: device access"] = device_;
  cpu_.counters["verify.not compared: code changed"] = code_changed_;
  cpu_.counters["verify.not compared: undefined flags"] = undefined_;
  cpu_.counters["verify.run again for an event"] = again_;
}

}  // namespace doppel::jit
