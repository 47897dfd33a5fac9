#include "jit/direct/code_scan.hpp"

#include <algorithm>
#include <cstring>

#include "jit/zydis.hpp"

namespace doppel::jit::direct {

namespace {

// How far before a suspect decoding begins: not so near that it cannot get into step.
constexpr u32 kFarthest = 64, kNearest = 16;
constexpr u32 kSure = 80;  // percent

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

// Where the sensitive instruction around `suspect` begins if decoding begins at `offset`; empty: it is none.
std::optional<u16> decoded_from(std::span<const u8> page, u32 offset, u32 suspect, const Decoder& decoder) {
  while (true) {
    const auto glance = decoder.glance(page.subspan(offset));
    if (!glance) return {};  // continues on the next page: not looked at
    const u32 next = offset + glance->length;
    if (suspect < next)
      return sensitive(glance->mnemonic) ? std::optional(static_cast<u16>(offset)) : std::nullopt;
    offset = next;
  }
}

}  // namespace

std::optional<std::vector<u16>> sensitive_instructions(std::span<const u8> page, const Decoder& decoder) {
  std::vector<u16> found;
  const u8* const begin = page.data();
  const u8* const end = begin + page.size();
  for (const u8* at = begin; at != end; ++at) {
    at = static_cast<const u8*>(std::memchr(at, 0x0f, static_cast<std::size_t>(end - at)));
    if (at == nullptr || at + 1 == end) break;
    if (!may_be_sensitive(at[1])) continue;
    const u32 suspect = static_cast<u32>(at - begin);
    // The same instruction was found with most of its beginnings: one place counts for all.
    const u32 first = suspect > kFarthest ? suspect - kFarthest : 0;
    const u32 last = suspect > kNearest ? suspect - kNearest : 0;
    u32 tried = 0, agree = 0;
    std::optional<u16> place;
    for (u32 offset = first; offset <= last; ++offset, ++tried)
      if (const auto here = decoded_from(page, offset, suspect, decoder)) {
        ++agree;
        place = here;
      }
    if (agree * 100 <= tried * (100 - kSure) && tried > kNearest) continue;
    if (agree == 0) continue;
    if (agree * 100 < tried * kSure || tried <= kNearest) return {};
    if (decoded_from(page, *place, suspect, decoder) == place) found.push_back(*place);
  }
  return found;
}

}  // namespace doppel::jit::direct
