#include "tests/interp/fuzz_encoding.hpp"

#include <algorithm>
#include <array>

#include "jit/instructions.hpp"
#include "tests/interp/instruction_facts.hpp"

namespace doppel::tests {
namespace {

// What cannot be compared: results that depend on time, on the kernel or on the processor's maker.
constexpr ZydisMnemonic kExcluded[] = {
    // The host's own descriptor tables, segments and interrupts.
    ZYDIS_MNEMONIC_LAR,
    ZYDIS_MNEMONIC_LSL,
    ZYDIS_MNEMONIC_VERR,
    ZYDIS_MNEMONIC_VERW,
    ZYDIS_MNEMONIC_SGDT,
    ZYDIS_MNEMONIC_SIDT,
    ZYDIS_MNEMONIC_SLDT,
    ZYDIS_MNEMONIC_STR,
    ZYDIS_MNEMONIC_SMSW,
    ZYDIS_MNEMONIC_LDS,
    ZYDIS_MNEMONIC_LES,
    ZYDIS_MNEMONIC_LFS,
    ZYDIS_MNEMONIC_LGS,
    ZYDIS_MNEMONIC_LSS,
    ZYDIS_MNEMONIC_INT,
    ZYDIS_MNEMONIC_INT1,
    ZYDIS_MNEMONIC_IRET,
    ZYDIS_MNEMONIC_IRETD,
    ZYDIS_MNEMONIC_IRETQ,
    ZYDIS_MNEMONIC_SYSCALL,
    ZYDIS_MNEMONIC_SYSENTER,
    ZYDIS_MNEMONIC_SYSEXIT,
    ZYDIS_MNEMONIC_SYSRET,
    // Time, identity, randomness.
    ZYDIS_MNEMONIC_RDTSC,
    ZYDIS_MNEMONIC_RDTSCP,
    ZYDIS_MNEMONIC_CPUID,
    ZYDIS_MNEMONIC_RDPID,
    ZYDIS_MNEMONIC_RDPMC,
    ZYDIS_MNEMONIC_RDRAND,
    ZYDIS_MNEMONIC_RDSEED,
    // TF and NT would end the program in the kernel's hands; segment bases are the host's.
    ZYDIS_MNEMONIC_POPF,
    ZYDIS_MNEMONIC_POPFD,
    ZYDIS_MNEMONIC_POPFQ,
    // Approximations.
    ZYDIS_MNEMONIC_RCPPS,
    ZYDIS_MNEMONIC_RCPSS,
    ZYDIS_MNEMONIC_RSQRTPS,
    ZYDIS_MNEMONIC_RSQRTSS,
    ZYDIS_MNEMONIC_VRCPPS,
    ZYDIS_MNEMONIC_VRCPSS,
    ZYDIS_MNEMONIC_VRSQRTPS,
    ZYDIS_MNEMONIC_VRSQRTSS,
    // Whether a mask of zeros may fault.
    ZYDIS_MNEMONIC_MASKMOVQ,
    ZYDIS_MNEMONIC_MASKMOVDQU,
    ZYDIS_MNEMONIC_VMASKMOVDQU,
    // Images with the x87 instruction and data pointers, which makers handle differently.
    ZYDIS_MNEMONIC_FNSTENV,
    ZYDIS_MNEMONIC_FLDENV,
    ZYDIS_MNEMONIC_FNSAVE,
    ZYDIS_MNEMONIC_FRSTOR,
    ZYDIS_MNEMONIC_FXSAVE,
    ZYDIS_MNEMONIC_FXSAVE64,
    ZYDIS_MNEMONIC_FXRSTOR,
    ZYDIS_MNEMONIC_FXRSTOR64,
};

constexpr u64 kIntegers[] = {
    0,      1,      2,           ~u64{0},     0x7f,        0x80,       0xff,         0x7fff,
    0x8000, 0xffff, 0x7fff'ffff, 0x8000'0000, 0xffff'ffff, 1ull << 63, ~u64{0} >> 1, 0x0123'4567'89ab'cdef};

constexpr ZydisISASet kExcludedSets[] = {
    ZYDIS_ISA_SET_XSAVE,    ZYDIS_ISA_SET_XSAVEC,  ZYDIS_ISA_SET_XSAVEOPT,   ZYDIS_ISA_SET_XSAVES,
    ZYDIS_ISA_SET_RDWRFSGS, ZYDIS_ISA_SET_MONITOR, ZYDIS_ISA_SET_AVX2GATHER,
};

template <class Range, class T>
bool contains(const Range& range, const T& value) {
  return std::find(std::begin(range), std::end(range), value) != std::end(range);
}

bool touches_segment_register(const ZydisDecodedOperand* operands, u8 count) {
  return std::any_of(operands, operands + count, [](const ZydisDecodedOperand& op) {
    return op.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_SEGMENT;
  });
}

// A branch whose target is not in the encoding, or in another segment.
bool leaves_the_program(const ZydisDecodedInstruction& i) {
  if (i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || i.meta.category == ZYDIS_CATEGORY_RET) return true;
  return i.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE && !i.raw.imm[0].is_relative;
}

}  // namespace

// Encodings that Intel's and AMD's processors take differently, or whose result the manuals call undefined.
bool is_portable(const ZydisDecodedInstruction& i) {
  const bool code64 = i.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
  const bool has_66 = i.attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE;
  switch (i.mnemonic) {
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
      return i.operand_width != 16;  // a count above 16
    case ZYDIS_MNEMONIC_BSWAP:
      return i.operand_width != 16;
    case ZYDIS_MNEMONIC_PAUSE:
      return !i.raw.rex.B;
    case ZYDIS_MNEMONIC_DPPD:  // which of several NaNs the sum is
    case ZYDIS_MNEMONIC_DPPS:
    case ZYDIS_MNEMONIC_VDPPD:
    case ZYDIS_MNEMONIC_VDPPS:
    case ZYDIS_MNEMONIC_VCVTPS2PH:   // MXCSR.PE beside an unmasked underflow
    case ZYDIS_MNEMONIC_MOVNTQ:      // the x87's TOP when it faults
    case ZYDIS_MNEMONIC_VMASKMOVPD:  // CR2: the operand's first byte in the page, or the first that is wanted
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return false;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:  // some take the condition from REPE and REPNE prefixes
      return i.raw.prefix_count == (i.raw.rex.offset != 0) && !(code64 && has_66);
    default:
      break;
  }
  const bool is_branch = i.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE;
  const bool prefetch_group = i.opcode_map == ZYDIS_OPCODE_MAP_0F && i.opcode == 0x0d;
  if (i.meta.isa_set == ZYDIS_ISA_SET_SHA && i.raw.modrm.mod != 3) return false;  // alignment of the operand
  const bool vex_w = i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && i.raw.vex.W;
  return !(code64 && has_66 && is_branch) && !(prefetch_group && i.raw.modrm.mod == 3) && !(!code64 && vex_w);
}

namespace {

bool usable(const core::CpuModel& model, const ZydisDecodedInstruction& i,
            const ZydisDecodedOperand* operands) {
  const ZydisISASet set = i.meta.isa_set;
  if (contains(kExcludedSets, set) || contains(kExcluded, i.mnemonic) || leaves_the_program(i)) return false;
  // Segment operands show in 64-bit mode too; string instructions name them as well, hidden and only read.
  if (touches_segment_register(operands, i.operand_count_visible)) return false;
  return jit::available(set, model);
}

}  // namespace

std::vector<u8> encode(const Encoding& e, const Fields& fields) {
  std::vector<u8> out;
  if (fields.lock) out.push_back(0xf0);
  if (fields.address32) out.push_back(0x67);
  if (e.vex) {
    const u8 pp = e.prefix == 0x66 ? 1 : e.prefix == 0xf3 ? 2 : e.prefix == 0xf2 ? 3 : 0;
    out.push_back(0xc4);
    out.push_back(static_cast<u8>((~fields.rex << 5 & 0xe0) | e.map));
    out.push_back(static_cast<u8>(e.vex_w << 7 | (~fields.vex_vvvv & 15) << 3 | e.vex_l << 2 | pp));
  } else {
    if (e.prefix) out.push_back(e.prefix);
    if (fields.rex) out.push_back(fields.rex);
    if (e.map) out.push_back(0x0f);
    if (e.map == 2) out.push_back(0x38);
    if (e.map == 3) out.push_back(0x3a);
  }
  out.push_back(e.opcode);
  if (e.memory) {
    out.insert(out.end(), fields.address.begin(), fields.address.end());
    out[out.size() - fields.address.size()] |= static_cast<u8>(e.reg << 3);
  } else if (e.modrm) {
    out.push_back(static_cast<u8>(0xc0 | e.reg << 3 | e.rm));
  }
  out.insert(out.end(), fields.tail.begin(), fields.tail.end());
  return out;
}

u64 corner_integer(std::mt19937_64& engine) {
  switch (engine() % 6) {
    case 0:
    case 1:
      return kIntegers[engine() % std::size(kIntegers)];
    case 2:
      return u64{1} << engine() % 64;
    case 3:
      return (u64{1} << engine() % 64) - 1 - engine() % 2;
    case 4:
      return engine() % 256;
    default:
      return engine();
  }
}

Encodings find_encodings(const core::CpuModel& model, u32 code_bits) {
  Encodings found;
  Fields fields;
  fields.address = {0x00};  // [RAX] or [EAX]
  fields.tail.assign(12, 0);

  const auto try_one = [&](Encoding e) {
    const std::vector<u8> bytes = encode(e, fields);
    ZydisDecodedInstruction i;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(code_bits), bytes.data(), bytes.size(), &i, operands)))
      return false;
    if (i.encoding != (e.vex ? ZYDIS_INSTRUCTION_ENCODING_VEX : ZYDIS_INSTRUCTION_ENCODING_LEGACY))
      return false;
    // A byte that is itself a prefix was decoded with the bytes behind it.
    if (!e.vex && (i.raw.prefix_count != (e.prefix != 0) || i.opcode != e.opcode)) return false;
    const bool has_modrm = i.attributes & ZYDIS_ATTRIB_HAS_MODRM;
    if (has_modrm != e.modrm) return false;
    if (usable(model, i, operands)) found[i.mnemonic].push_back(e);
    return true;
  };
  const auto try_opcode = [&](Encoding e) {
    if (!e.vex && try_one(e)) return;  // no ModRM
    e.modrm = true;
    for (u8 reg = 0; reg < 8; ++reg) {
      e.reg = reg;
      e.memory = true;
      e.rm = 0;
      try_one(e);
      e.memory = false;
      for (u8 rm = 0; rm < 8; ++rm) {
        e.rm = rm;
        try_one(e);
      }
    }
  };

  for (const u8 prefix : {0x00, 0x66, 0xf2, 0xf3})
    for (u8 map = 0; map < 4; ++map)
      for (u32 opcode = 0; opcode < 256; ++opcode) {
        Encoding e;
        e.prefix = prefix;
        e.map = map;
        e.opcode = static_cast<u8>(opcode);
        try_opcode(e);
        if (map == 0) continue;
        e.vex = true;
        for (u8 wl = 0; wl < 4; ++wl) {
          e.vex_w = wl & 1;
          e.vex_l = wl & 2;
          try_opcode(e);
        }
      }
  return found;
}

}  // namespace doppel::tests
