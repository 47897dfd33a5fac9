#include "tests/jit/translator_reference.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_map>

#include "tests/interp/instruction_facts.hpp"

namespace doppel::tests::translator {
namespace {

using core::kAf;
using core::kArithmeticFlags;
using core::kCf;
using core::kOf;

constexpr u64 kMaxSteps = 40'000;      // of the program
constexpr u64 kMaxAllSteps = 200'000;  // the kernel's too

struct FlagEffects {
  u64 read = 0, defined = 0, undefined = 0;
};

bool is_rotate(ZydisMnemonic m) {
  return m == ZYDIS_MNEMONIC_ROL || m == ZYDIS_MNEMONIC_ROR || m == ZYDIS_MNEMONIC_RCL ||
         m == ZYDIS_MNEMONIC_RCR;
}

// Shifts and rotates: what is defined depends on the count.
std::optional<FlagEffects> shift_effects(const ZydisDecodedInstruction& i, const core::CpuState& state) {
  const auto category = i.meta.category;
  if (category != ZYDIS_CATEGORY_SHIFT && category != ZYDIS_CATEGORY_ROTATE) return {};
  if (i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) return {};
  const bool by_one = i.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i.opcode == 0xd0 || i.opcode == 0xd1);
  const u64 raw = by_one ? 1 : i.raw.imm[0].size != 0 ? i.raw.imm[0].value.u : state.gpr[core::kRcx];
  const u64 count = raw & (i.operand_width == 64 ? 63 : 31);
  FlagEffects out;
  const bool through_carry = i.mnemonic == ZYDIS_MNEMONIC_RCL || i.mnemonic == ZYDIS_MNEMONIC_RCR;
  if (count == 0) return out;
  if (through_carry) out.read = kCf;
  out.defined = is_rotate(i.mnemonic) ? kCf | kOf : kArithmeticFlags;
  if (through_carry && count % (i.operand_width + 1u) == 0) out.defined &= ~kCf;
  if (count != 1) out.undefined |= kOf;
  if (!is_rotate(i.mnemonic)) {
    out.undefined |= kAf;
    if (count >= i.operand_width && i.mnemonic != ZYDIS_MNEMONIC_SAR) out.undefined |= kCf;
  }
  out.defined &= ~out.undefined;
  return out;
}

// Stores FOP, FIP and FDP, which are not always kept (docs/quirks.md). The generators make none of these:
// only programs that write their own code have them.
bool shows_x87_pointers(const ZydisDecodedInstruction& i) {
  return i.mnemonic == ZYDIS_MNEMONIC_FNSTENV || i.mnemonic == ZYDIS_MNEMONIC_FNSAVE;
}

FlagEffects effects_of(const ZydisDecodedInstruction& i, const core::CpuState& state) {
  if (const auto shift = shift_effects(i, state)) return *shift;
  FlagEffects out;
  switch (i.mnemonic) {
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ:
    case ZYDIS_MNEMONIC_SYSCALL:
      out.read = kArithmeticFlags;
      return out;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
      out.defined = kArithmeticFlags;
      return out;
    default:
      break;
  }
  const ZydisAccessedFlags* flags = i.cpu_flags;
  if (flags == nullptr) return out;
  out.read = flags->tested & kArithmeticFlags;
  out.undefined = flags->undefined & kArithmeticFlags;
  out.defined = (flags->modified | flags->set_0 | flags->set_1) & kArithmeticFlags & ~out.undefined;
  const bool repeated =
      i.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
  const u64 counter = state.gpr[core::kRcx] & (~u64{0} >> (64 - i.address_width));
  if (repeated && counter == 0) return {};
  return out;
}

class Stepper {
 public:
  Stepper(Machine& machine, const Program& program, const Image& image) : machine_(machine) {
    for (const Image::Start& start : image.starts) {
      const Item& item = program.sections[start.section].items[start.item];
      if (item.flags_hidden != 0) hidden_[start.address] |= item.flags_hidden;
    }
  }

  Reference run() {
    Reference out;
    const core::CpuState& s = machine_.cpu().state;
    u64 all = 0;
    while (out.verdict == Reference::Verdict::kGood) {
      if (out.steps >= kMaxSteps || ++all > kMaxAllSteps) {
        out.verdict = Reference::Verdict::kTooLong;
        break;
      }
      const bool in_program = s.rip < kKernel;
      const FlagEffects effects = in_program ? at_rip() : FlagEffects{};
      if (effects.read & (undefined_ | stale_)) {
        out.verdict = Reference::Verdict::kReadsUndefinedFlags;
        out.at = linear_rip();
        break;
      }
      if (in_program && x87_pointers_) {
        out.verdict = Reference::Verdict::kAmbiguous;
        break;
      }
      const u64 rip = s.rip;
      if (machine_.step()) {
        // A HLT that the program made of its own bytes: an interrupt would end it.
        if (in_program) out.verdict = Reference::Verdict::kAmbiguous;
        break;
      }
      if (!in_program) {
        if (s.rip < kKernel && faulted_at_ != 0) {
          if (s.rip != faulted_at_) undefined_ = stale_ = 0;  // the kernel skipped the instruction
          faulted_at_ = 0;
        }
        continue;
      }
      const bool code_written = machine_.code_written();
      // Whether a repeated store into its own bytes goes on as it began is up to the processor.
      if (code_written && s.rip == rip && changed_since_at_rip()) {
        out.verdict = Reference::Verdict::kAmbiguous;
        break;
      }
      ++out.steps;
      // DR6-style traps come after the instruction.
      const bool trapped = s.rip >= kKernel && !system_call_ && !software_interrupt_ && debug_trap();
      if (s.rip < kKernel || system_call_ || software_interrupt_ || trapped)
        undefined_ = (undefined_ & ~effects.defined) | effects.undefined, stale_ &= ~effects.defined;
      // Code is translated with regard to which flags the code behind it needs: flags that were not needed
      // are lost when that changes (docs/quirks.md).
      if (code_written) stale_ |= kArithmeticFlags & ~effects.defined;
      if (s.rip < kKernel || system_call_) continue;
      const bool faulted = !software_interrupt_ && !trapped;
      if (faulted) faulted_at_ = rip;
      // Exceptions of the kernel itself have records too.
      out.undefined.resize(machine_.record_count(), kArithmeticFlags);
      out.stale.resize(out.undefined.size(), kArithmeticFlags);
      out.undefined.push_back(undefined_);
      out.stale.push_back(faulted ? kArithmeticFlags : stale_);
    }
    // Stopped by the kernel in the middle, it may show what it meant to hide (FIP and FDP, docs/quirks.md).
    if (machine_.record_count() >= kMaxRecords) out.verdict = Reference::Verdict::kTooLong;
    out.outcome = machine_.outcome();
    return out;
  }

 private:
  // What the instruction about to run does to flags.
  FlagEffects at_rip() {
    const core::CpuState& s = machine_.cpu().state;
    ZydisDecodedInstruction instruction;
    const u64 linear = linear_rip();
    const std::size_t count = machine_.code_at(linear, bytes_);
    length_ = 0;
    system_call_ = software_interrupt_ = x87_pointers_ = false;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(s.code_bits), nullptr, bytes_.data(), count,
                                                    &instruction)))
      return {};
    length_ = instruction.length;
    system_call_ = instruction.mnemonic == ZYDIS_MNEMONIC_SYSCALL && s.cpl == 3;
    software_interrupt_ =
        instruction.mnemonic == ZYDIS_MNEMONIC_INT3 || instruction.mnemonic == ZYDIS_MNEMONIC_INT;
    x87_pointers_ = shows_x87_pointers(instruction);
    FlagEffects out = effects_of(instruction, s);
    if (const auto it = hidden_.find(linear & ~(kFourGiB | kAlias)); it != hidden_.end())
      out.read &= ~it->second;
    return out;
  }
  // Whether the bytes at RIP are others than at_rip() saw.
  bool changed_since_at_rip() {
    std::array<u8, 15> now{};
    static_cast<void>(machine_.code_at(linear_rip(), now));
    return !std::equal(now.begin(), now.begin() + length_, bytes_.begin());
  }
  u64 linear_rip() {
    const core::CpuState& s = machine_.cpu().state;
    return s.code_bits == 64 ? s.rip : s.rip + s.segment[core::kCs].base;
  }
  // Whether what was just delivered is a #DB: the handler's stub follows stub 0.
  bool debug_trap() {
    const core::CpuState& s = machine_.cpu().state;
    return s.rip == machine_.stub(core::Vector::kDB);
  }

  Machine& machine_;
  std::unordered_map<u64, u64> hidden_;
  std::array<u8, 15> bytes_{};  // of the instruction that runs
  u8 length_ = 0;
  u64 undefined_ = 0, stale_ = 0;
  u64 faulted_at_ = 0;
  bool system_call_ = false, software_interrupt_ = false, x87_pointers_ = false;
};

}  // namespace

Reference run_reference(Machine& machine, const Program& program, const Image& image) {
  if (image.bytes.empty())
    return {.verdict = Reference::Verdict::kDoesNotFit, .outcome = {}, .undefined = {}, .stale = {}};
  machine.load(program, image);
  return Stepper(machine, program, image).run();
}

Reference repair(Machine& machine, Program& program, Image& image) {
  constexpr u32 kAttempts = 40;
  Reference out;
  for (u32 attempt = 0; attempt < kAttempts; ++attempt) {
    image = lay_out(program);
    out = run_reference(machine, program, image);
    if (out.verdict != Reference::Verdict::kReadsUndefinedFlags) return out;
    const u64 at = out.at & ~(kFourGiB | kAlias);
    // The item with the instruction, of the last address space seen.
    const Image::Start* found = nullptr;
    const bool other = machine.cpu().state.cr3 != kSpaceA;
    for (const Image::Start& start : image.starts)
      if (start.address <= at && (at < kOverlay || program.sections[start.section].other_space == other))
        found = &start;
    if (found == nullptr) return out;
    auto& items = program.sections[found->section].items;
    Item compare{.bytes = {0x3c, static_cast<u8>(at)},
                 .fixups = {},
                 .table = {},
                 .labels = {},
                 .stored = {}};  // CMP AL, n
    compare.labels.swap(items[found->item].labels);
    items.insert(items.begin() + found->item, std::move(compare));
  }
  return out;
}

}  // namespace doppel::tests::translator
