#include "jit/direct/code_scan.hpp"

#include <algorithm>
#include <cstring>

#include "jit/xsave_family.hpp"
#include "jit/zydis.hpp"

namespace doppel::jit::direct {

bool is_sensitive(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDPRU:
    case ZYDIS_MNEMONIC_RDPKRU:
    case ZYDIS_MNEMONIC_WRPKRU:
    case ZYDIS_MNEMONIC_LSL:  // Linux keeps the processor's number in a segment limit
    // With UMIP they fault, and Linux answers them itself.
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SMSW:
    // They store which bits MXCSR has.
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    // Not every kernel keeps what they set.
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
      return true;
    default:
      // What they store tells of components that only the host's XCR0 has.
      return in_xsave_family(mnemonic);
  }
}

bool tells_time(u16 mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_RDTSC || mnemonic == ZYDIS_MNEMONIC_RDTSCP;
}

namespace {

// How far before a suspect decoding begins: not so near that it cannot get into step.
constexpr u32 kFarthest = 256, kNearest = 32;
constexpr u32 kFewest = 16;  // places to begin at that say anything
constexpr u32 kSure = 80;    // percent

// Whether those may have these bytes after 0F: opcode and ModRM, of which the latter may be on the next page.
bool may_be_sensitive(u8 opcode, std::optional<u8> modrm, HostHides host) {
  if (opcode == 0x31) return !host.time;  // RDTSC
  if (!modrm) return opcode == 0x01 || opcode == 0x03 || opcode == 0xa2 || opcode == 0xae || opcode == 0xc7;
  const u32 reg = *modrm >> 3 & 7;
  const bool memory = *modrm < 0xc0;
  switch (opcode) {
    case 0x01:
      if (modrm == 0xf9) return !host.time;  // RDTSCP
      return reg == 4 || stores_table(opcode, *modrm) || modrm == 0xd0 || modrm == 0xee || modrm == 0xef ||
             modrm == 0xfd;
    case 0x03:
    case 0xa2:
      return true;
    case 0xae:
      return memory ? reg == 0 || (reg >= 4 && reg <= 6) : reg < 4;
    case 0xc7:
      return memory ? reg == 4 : reg == 7;
    default:
      return false;
  }
}

// Whether SGDT or SIDT may begin at 0F: at the page's end, that is for the next page to say.
bool may_store_table(std::span<const u8> bytes) {
  if (bytes.size() < 2) return true;
  return bytes.size() < 3 ? bytes[1] == 0x01 : stores_table(bytes[1], bytes[2]);
}

// Instructions by the offset of their first byte, decoded when they are first asked for.
class Instructions {
 public:
  Instructions(std::span<const u8> page, const Decoder& decoder, HostHides host)
      : page_(page), decoder_(decoder), host_(host), seen_(page.size()) {}

  // The first byte of the sensitive instruction around `suspect` if decoding begins at `offset`; empty: it is
  // none.
  std::optional<u16> around(u32 suspect, u32 offset) {
    while (true) {
      const Seen& here = at(offset);
      if (suspect < offset + here.length)
        return here.sensitive ? std::optional(static_cast<u16>(offset)) : std::nullopt;
      offset += here.length;
    }
  }

 private:
  struct Seen {
    u8 length = 0;
    bool sensitive = false;
  };
  const Seen& at(u32 offset) {
    Seen& seen = seen_[offset];
    if (seen.length != 0) return seen;
    const auto glance = decoder_.glance(page_.subspan(offset));
    // What continues on the next page is not known, and taken for sensitive: that costs time, no more.
    const bool cut = offset + kLongestInsn > page_.size();
    if (!glance)
      seen = {kLongestInsn, cut};
    else
      seen = {glance->length,
              is_sensitive(glance->mnemonic) || (!host_.time && tells_time(glance->mnemonic))};
    return seen;
  }

  std::span<const u8> page_;
  const Decoder& decoder_;
  const HostHides host_;
  std::vector<Seen> seen_;
};

}  // namespace

std::optional<std::vector<u16>> sensitive_instructions(std::span<const u8> page, const Decoder& decoder,
                                                       HostHides host) {
  std::vector<u32> suspects;
  const u8* const begin = page.data();
  const u8* const end = begin + page.size();
  for (const u8* at = begin; at != end; ++at) {
    at = static_cast<const u8*>(std::memchr(at, 0x0f, static_cast<std::size_t>(end - at)));
    if (at == nullptr) break;
    if (!host.tables && may_store_table({at, end})) return {};
    if (end - at < 2) break;
    if (may_be_sensitive(at[1], end - at > 2 ? std::optional(at[2]) : std::nullopt, host))
      suspects.push_back(static_cast<u32>(at - begin));
  }
  if (suspects.empty()) return std::vector<u16>{};

  std::vector<u16> found;
  Instructions instructions(page, decoder, host);
  for (const u32 suspect : suspects) {
    u32 tried = 0, agree = 0;
    std::optional<u16> place;
    const u32 last = suspect > kNearest ? suspect - kNearest : 0;
    for (u32 offset = suspect > kFarthest ? suspect - kFarthest : 0; offset <= last; ++offset, ++tried)
      if (const auto here = instructions.around(suspect, offset)) {
        ++agree;
        place = here;
      }
    if (tried < kFewest) return {};
    if (agree * 100 <= tried * (100 - kSure)) continue;
    if (agree * 100 < tried * kSure) return {};
    found.push_back(*place);
  }
  return found;
}

}  // namespace doppel::jit::direct
