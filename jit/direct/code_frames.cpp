#include "jit/direct/code_frames.hpp"

#include <algorithm>
#include <cstring>

#include "jit/zydis.hpp"

namespace doppel::jit::direct {

using core::kPageSize;

namespace {

// What CPL 3 may do without a fault, and what would tell of the host, or change how it runs user code.
bool sensitive(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPRU:
    case ZYDIS_MNEMONIC_RDPKRU:
    case ZYDIS_MNEMONIC_WRPKRU:
    case ZYDIS_MNEMONIC_LAR:  // the host's descriptors; Linux keeps the processor's number in a limit
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
      return true;
    default:
      return false;
  }
}

// The second opcode bytes of those, after 0F.
bool may_be_sensitive(u8 second) {
  return second <= 0x03 || second == 0xa2 || second == 0xc7;
}

}  // namespace

// Most pages have no such pair of bytes. Where one has, decoding from the page's first byte tells whether it
// is an instruction: x86 code gets into step within a few instructions wherever decoding begins.
bool has_sensitive_instruction(std::span<const u8> page, const Decoder& decoder) {
  std::vector<u32> suspects;
  const auto* begin = page.data();
  const auto* end = begin + page.size();
  for (const u8* at = begin;
       (at = static_cast<const u8*>(std::memchr(at, 0x0f, static_cast<std::size_t>(end - at))));) {
    if (++at == end) break;
    if (may_be_sensitive(*at)) suspects.push_back(static_cast<u32>(at - 1 - begin));
  }
  auto suspect = suspects.begin();
  for (u32 offset = 0; suspect != suspects.end() && offset < page.size();) {
    const auto glance = decoder.glance(page.subspan(offset));
    if (!glance) return true;  // the last instruction: decided by what follows
    const u32 next = offset + std::max<u32>(glance->length, 1);
    while (suspect != suspects.end() && *suspect < next) {
      if (sensitive(glance->mnemonic)) return true;
      ++suspect;
    }
    offset = next;
  }
  return false;
}

CodeFrames::CodeFrames(Vcpu& cpu, BlockCache& blocks)
    : cpu_(cpu),
      blocks_(blocks),
      decoder_(cpu.model, 64, cpu.counters),
      states_(cpu.mmu.memory().ram().size() / kPageSize, State::kUnknown) {}

CodeFrames::State& CodeFrames::at(u64 physical) {
  return states_[cpu_.mmu.memory().ram().offset_of(physical) / kPageSize];
}

CodeFrames::State CodeFrames::state(u64 physical) const {
  const u64 offset = cpu_.mmu.memory().ram().offset_of(physical);
  return offset == ~u64{0} ? State::kSensitive : states_[offset / kPageSize];
}

bool CodeFrames::executable(u64 physical) {
  const u64 page = physical & core::kPageMask;
  if (state(page) == State::kUnknown) {
    blocks_.watch(page);  // before the bytes are read
    const u8* bytes = cpu_.mmu.memory().ram().host(page);
    at(page) = has_sensitive_instruction({bytes, kPageSize}, decoder_) ? State::kSensitive : State::kPlain;
  }
  return state(page) == State::kPlain;
}

void CodeFrames::forget_all() {
  std::fill(states_.begin(), states_.end(), State::kUnknown);
}

}  // namespace doppel::jit::direct
