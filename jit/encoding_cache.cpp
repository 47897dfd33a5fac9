#include "jit/encoding_cache.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace doppel::jit {
namespace {

constexpr u32 kLongestHead = 7;

bool legacy_prefix(u8 byte) {
  switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
      return true;
    default:
      return false;
  }
}

u64 read(const u8* bytes, u32 size, bool is_signed) {
  u64 value = 0;
  std::memcpy(&value, bytes, size);
  const u32 shift = 64 - 8 * size;
  if (size == 0 || shift == 0) return value;
  return is_signed ? static_cast<u64>(static_cast<i64>(value << shift) >> shift) : value;
}

// Some opcodes are instructions only with some ModRM, or after a mandatory prefix.
void learn(const ZydisDecoder& decoder, u32 number, EncodingCache::Opcodes& opcodes) {
  for (const u8 prefix : {0x00, 0x66, 0xf3, 0xf2})
    for (u32 modrm = 0; modrm < 256; modrm += modrm == 0x38 ? 0xc0 - 0x38 : 8) {
      std::array<u8, kLongestInsn> bytes{};
      u32 at = 0;
      if (prefix != 0) bytes[at++] = prefix;
      if (number >= 256) bytes[at++] = 0x0f;
      bytes[at++] = static_cast<u8>(number);
      bytes[at] = static_cast<u8>(modrm);
      ZydisDecodedInstruction decoded;
      if (!ZYAN_SUCCESS(
              ZydisDecoderDecodeInstruction(&decoder, nullptr, bytes.data(), bytes.size(), &decoded)))
        continue;
      opcodes.exists.set(number);
      opcodes.has_modrm.set(number, decoded.attributes & ZYDIS_ATTRIB_HAS_MODRM);
      return;
    }
}

// Asks Zydis, once per mode.
const EncodingCache::Opcodes& opcodes_of(u32 code_bits) {
  static const auto all = [] {
    std::array<EncodingCache::Opcodes, 3> opcodes;
    constexpr std::pair<ZydisMachineMode, ZydisStackWidth> kModes[] = {
        {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
        {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64}};
    for (u32 mode = 0; mode < 3; ++mode) {
      ZydisDecoder decoder;
      ZydisDecoderInit(&decoder, kModes[mode].first, kModes[mode].second);
      for (u32 number = 0; number < 512; ++number) learn(decoder, number, opcodes[mode]);
    }
    return opcodes;
  }();
  return all[code_bits / 32];
}

}  // namespace

EncodingCache::EncodingCache(u32 code_bits) : code_bits_(code_bits), opcodes_(opcodes_of(code_bits)) {}

// SDM Vol. 2, "Instruction Format": prefixes, REX, opcode or VEX, ModRM, SIB.
EncodingCache::Head EncodingCache::head(const u8* bytes) const {
  u32 at = 0;
  bool short_address = false;  // the other of the mode's two address sizes
  for (; legacy_prefix(bytes[at]); ++at) {
    if (at == kLongestHead) return {};
    short_address |= bytes[at] == 0x67;
  }
  if (code_bits_ == 64 && (bytes[at] & 0xf0) == 0x40) ++at;

  const u8 opcode = bytes[at++];
  bool modrm = true;
  switch (opcode) {
    case 0x0f: {
      const u8 second = bytes[at++];
      if (second == 0x38 || second == 0x3a)
        ++at;
      else if (second == 0x0f || !opcodes_.exists[256u + second])
        return {};  // 3DNow!
      else
        modrm = opcodes_.has_modrm[256u + second];
      break;
    }
    case 0xc4:
    case 0xc5:
      if (code_bits_ == 64 || bytes[at] >= 0xc0) {  // VEX; else LES, LDS
        const bool first_map = opcode == 0xc5 || (bytes[at] & 0x1f) == 1;
        at += opcode == 0xc5 ? 2 : 3;
        modrm = !(first_map && bytes[at - 1] == 0x77);  // VZEROUPPER, VZEROALL
      }
      break;
    case 0x62:  // EVEX, and BOUND
    case 0x8f:  // XOP, and POP
      return {};
    default:
      if (!opcodes_.exists[opcode]) return {};
      modrm = opcodes_.has_modrm[opcode];
  }
  if (at >= kLongestHead) return {};
  if (modrm) {
    const u8 byte = bytes[at++];
    const bool address16 = code_bits_ != 64 && (code_bits_ == 16) != short_address;
    if (byte < 0xc0 && (byte & 7) == 4 && !address16) ++at;
  }
  if (at > kLongestHead) return {};
  Head head{.length = static_cast<u8>(at)};
  std::memcpy(&head.key, bytes, sizeof head.key);
  head.key &= ~u64{0} >> (64 - 8 * at);
  head.key |= u64{at} << 56;
  return head;
}

void EncodingCache::Entry::fill(const u8* bytes, u16 offset, Insn& to) const {
  to = insn;
  to.offset = offset;
  const u8* rest = bytes + (key >> 56);
  if (displacement_size != 0) {
    to.disp = static_cast<i64>(read(rest, displacement_size, true));
    if (to.base == core::kGprRip) to.disp += offset + to.length;
  }
  if (immediate_size != 0) to.imm = read(rest + displacement_size, immediate_size, immediate_signed);
}

void EncodingCache::keep(const u8* bytes, const ZydisDecodedInstruction& from,
                         const ZydisDecodedOperand* operands, const Insn& insn) {
  const Head at = head(bytes);
  if (at.length == 0) return;
  // Two immediates, and registers in an immediate's bits.
  if (from.raw.imm[1].size != 0) return;
  for (u8 i = 0; i < from.operand_count; ++i)
    if (operands[i].encoding == ZYDIS_OPERAND_ENCODING_IS4 || operands[i].type == ZYDIS_OPERAND_TYPE_POINTER)
      return;

  Entry entry{.key = at.key,
              .insn = insn,
              .displacement_size = static_cast<u8>(from.raw.disp.size / 8),
              .immediate_size = static_cast<u8>(from.raw.imm[0].size / 8),
              .immediate_signed = from.raw.imm[0].is_signed != 0};
  if (at.length + entry.displacement_size + entry.immediate_size != from.length) return;
  // The proof that this instruction comes out as it went in.
  Insn again;
  entry.fill(bytes, insn.offset, again);
  if (again.disp != insn.disp || again.imm != insn.imm) return;
  if (++kept_ > entries_.size() / 2 && bits_ < kMostBits) {
    bits_ = kMostBits;
    entries_.assign(std::size_t{1} << bits_, {});
  }
  entries_[slot_of(at)] = entry;
}

}  // namespace doppel::jit
