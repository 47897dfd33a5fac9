#include "jit/decode.hpp"

#include <algorithm>

#include "core/log.hpp"
#include "jit/instructions.hpp"
#include "jit/interp/semantics.hpp"

namespace doppel::jit {
namespace {

bool undefined_opcode(Vcpu& cpu, const Insn&) {
  return cpu.raise(core::Vector::kUD);
}
bool too_long(Vcpu& cpu, const Insn&) {
  return cpu.raise(core::Vector::kGP);
}

// Byte offset into CpuState::gpr. Zydis numbers byte registers AL..BL, AH..BH, SPL..R15B: ids are not
// encodings.
u8 byte_register_offset(ZydisRegister reg) {
  if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
    return static_cast<u8>((reg - ZYDIS_REGISTER_AL) * 8);
  if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
    return static_cast<u8>((reg - ZYDIS_REGISTER_AH) * 8 + 1);
  return static_cast<u8>((reg - ZYDIS_REGISTER_SPL + 4) * 8);
}

Operand register_operand(ZydisRegister reg, u8 size) {
  const auto number = static_cast<u8>(ZydisRegisterGetId(reg));
  switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_GPR8:
      return {OperandKind::kGpr, byte_register_offset(reg), 1};
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return {OperandKind::kGpr, static_cast<u8>(number * 8), size};
    case ZYDIS_REGCLASS_X87:
      return {OperandKind::kX87, number, 10};
    case ZYDIS_REGCLASS_MMX:
      return {OperandKind::kMmx, number, 8};
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
      return {OperandKind::kVector, number, size};
    case ZYDIS_REGCLASS_SEGMENT:
      return {OperandKind::kSegment, number, 2};
    case ZYDIS_REGCLASS_CONTROL:
      return {OperandKind::kControl, number, size};
    case ZYDIS_REGCLASS_DEBUG:
      return {OperandKind::kDebug, number, size};
    default:
      return {};
  }
}

u8 gpr_slot(ZydisRegister reg) {
  if (reg == ZYDIS_REGISTER_NONE) return core::kGprZero;
  if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_IP) return core::kGprRip;
  return static_cast<u8>(ZydisRegisterGetId(reg));
}

void mark_written(ZydisRegister reg, Insn& insn) {
  const ZydisRegisterClass kind = ZydisRegisterGetClass(reg);
  if (kind == ZYDIS_REGCLASS_GPR8)
    insn.gprs_written |= static_cast<u16>(1u << byte_register_offset(reg) / 8);
  else if (kind >= ZYDIS_REGCLASS_GPR16 && kind <= ZYDIS_REGCLASS_GPR64)
    insn.gprs_written |= static_cast<u16>(1u << ZydisRegisterGetId(reg));
}

u8 segment_number(ZydisRegister reg) {
  return reg == ZYDIS_REGISTER_NONE ? u8{core::kDs} : static_cast<u8>(ZydisRegisterGetId(reg));
}

u8 arithmetic_flags(ZydisAccessedFlagsMask mask) {
  static constexpr std::pair<u32, u8> kFlags[] = {{ZYDIS_CPUFLAG_CF, kFlagC}, {ZYDIS_CPUFLAG_PF, kFlagP},
                                                  {ZYDIS_CPUFLAG_AF, kFlagA}, {ZYDIS_CPUFLAG_ZF, kFlagZ},
                                                  {ZYDIS_CPUFLAG_SF, kFlagS}, {ZYDIS_CPUFLAG_OF, kFlagO}};
  u8 set = 0;
  for (const auto& [zydis, ours] : kFlags)
    if (mask & zydis) set |= ours;
  return set;
}

u8 flags_read(const ZydisAccessedFlags& flags) {
  return arithmetic_flags(flags.tested);
}
u8 flags_written(const ZydisAccessedFlags& flags) {
  return arithmetic_flags(flags.modified | flags.set_0 | flags.set_1 | flags.undefined);
}

bool simd(ZydisISAExt extension) {
  switch (extension) {
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_SSE4A:
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_PCLMULQDQ:
    case ZYDIS_ISA_EXT_SHA:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVX2GATHER:
    case ZYDIS_ISA_EXT_AVXAES:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_FMA:
      return true;
    default:
      return false;
  }
}

bool source_index(ZydisRegister base) {
  return base == ZYDIS_REGISTER_RSI || base == ZYDIS_REGISTER_ESI || base == ZYDIS_REGISTER_SI;
}

}  // namespace

Decoder::Decoder(const core::CpuModel& model, u32 code_bits, core::Counters& counters)
    : model_(model), counters_(counters), code_bits_(code_bits) {
  const auto [mode, width] = code_bits == 64 ? std::pair{ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64}
                             : code_bits == 32
                                 ? std::pair{ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32}
                                 : std::pair{ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16};
  ZydisDecoderInit(&zydis_, mode, width);
  const auto enable = [&](ZydisDecoderMode what, bool on) { ZydisDecoderEnableMode(&zydis_, what, on); };
  enable(ZYDIS_DECODER_MODE_AMD_BRANCHES, true);
  // Encodings that are NOPs, or plain BSF/BSR/WBINVD, on processors without the feature.
  enable(ZYDIS_DECODER_MODE_MPX, false);
  enable(ZYDIS_DECODER_MODE_CET, false);
  enable(ZYDIS_DECODER_MODE_CLDEMOTE, false);
  enable(ZYDIS_DECODER_MODE_LZCNT, model.has(core::Feature::kAbm));
  enable(ZYDIS_DECODER_MODE_TZCNT, model.has(core::Feature::kBmi1));
  enable(ZYDIS_DECODER_MODE_WBNOINVD, model.has(core::Feature::kWbnoinvd));
  for (u32 set = 0; set <= ZYDIS_ISA_SET_MAX_VALUE; ++set)
    available_.push_back(jit::available(static_cast<ZydisISASet>(set), model));
}

const EncodingCache::Entry* Decoder::known(std::span<const u8> bytes) const {
  if (bytes.size() < kLongestInsn) return nullptr;
  if (!encodings_) encodings_ = std::make_unique<EncodingCache>(code_bits_);
  return encodings_->find(encodings_->head(bytes.data()));
}

std::optional<Decoder::Glance> Decoder::glance(std::span<const u8> bytes) const {
  const EncodingCache::Entry* entry = known(bytes);
  Insn fresh;
  if (entry == nullptr && decode_new(bytes, 0, fresh, false) == Result::kTruncated) return std::nullopt;
  const Insn& insn = entry ? entry->insn : fresh;
  return Glance{.mnemonic = insn.mnemonic,
                .length = insn.length,
                .flags_read = insn.flags_read,
                .flags_written = insn.flags_written,
                .falls_through = insn.flow == Flow::kNext && !(insn.flags & (kRep | kRepne | kConditional))};
}

Decoder::Result Decoder::decode(std::span<const u8> bytes, u16 offset, Insn& insn) const {
  const EncodingCache::Entry* entry = known(bytes);
  if (entry == nullptr) return decode_new(bytes, offset, insn, true);
  entry->fill(bytes.data(), offset, insn);
  return insn.flow == Flow::kNext ? Result::kNext : Result::kLast;
}

Decoder::Result Decoder::decode_new(std::span<const u8> bytes, u16 offset, Insn& insn, bool met) const {
  ZydisDecodedInstruction decoded;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  const std::size_t available = std::min<std::size_t>(bytes.size(), kLongestInsn);
  const ZyanStatus status = ZydisDecoderDecodeFull(&zydis_, bytes.data(), available, &decoded, operands);

  insn = Insn{};
  insn.offset = offset;
  insn.length = 1;
  insn.flow = Flow::kEnds;
  if (code_bits_ == 64) insn.flags |= kCode64;
  if (!ZYAN_SUCCESS(status)) {
    if (status == ZYDIS_STATUS_NO_MORE_DATA && available < kLongestInsn) return Result::kTruncated;
    const bool long_one = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA;
    insn.run = long_one ? interp::run_ends<too_long> : interp::run_ends<undefined_opcode>;
    return Result::kLast;
  }

  fill(decoded, operands, insn);
  const Row* row = find_row(decoded.mnemonic);
  const bool foreign = decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
                       decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
                       decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
                       decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW;
  if (!foreign && available_[decoded.meta.isa_set]) insn.run = row ? row->bind(insn) : nullptr;
  if (insn.run == nullptr) {
    insn.run = interp::run_ends<undefined_opcode>;
    insn.flags |= kUndefined;
    if (!met) return Result::kLast;
    counters_[std::string("cpu.unimplemented.") + ZydisMnemonicGetString(decoded.mnemonic)]++;
    core::log(core::LogCategory::kCpu, "no such instruction on this CPU: {}",
              ZydisMnemonicGetString(decoded.mnemonic));
    return Result::kLast;
  }
  // Loading a segment, control or debug register changes what later instructions of the block mean.
  const OperandKind first = insn.op[0].kind;
  const bool system =
      first == OperandKind::kSegment || first == OperandKind::kControl || first == OperandKind::kDebug;
  insn.flow = row->flow == Flow::kNext && system ? Flow::kEnds : row->flow;
  if (bytes.size() >= kLongestInsn)  // then known() was asked
    encodings_->keep(bytes.data(), decoded, operands, insn);
  return insn.flow == Flow::kNext ? Result::kNext : Result::kLast;
}

void Decoder::fill(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands,
                   Insn& insn) const {
  insn.length = from.length;
  insn.mnemonic = static_cast<u16>(from.mnemonic);
  insn.op_size = static_cast<u8>(from.operand_width / 8);
  insn.address_size = static_cast<u8>(from.address_width / 8);
  insn.address_shift = static_cast<u8>(64 - from.address_width);
  if (from.attributes & ZYDIS_ATTRIB_HAS_LOCK) insn.flags |= kLock;
  if (from.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) insn.flags |= kRep;
  if (from.attributes & ZYDIS_ATTRIB_HAS_REPNE) insn.flags |= kRepne;
  if (from.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) insn.flags |= kFar;
  if (from.meta.category == ZYDIS_CATEGORY_COND_BR) insn.flags |= kConditional;
  if (simd(from.meta.isa_ext)) insn.flags |= kSimd;

  if (const auto* accessed = from.cpu_flags) {
    insn.flags_read = flags_read(*accessed);
    insn.flags_written = flags_written(*accessed);
  }

  if (from.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && from.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
      from.opcode >= 0xd8 && from.opcode <= 0xdf) {
    insn.x87_opcode = from.opcode;
    insn.x87_modrm = static_cast<u8>(from.raw.modrm.mod << 6 | from.raw.modrm.reg << 3 | from.raw.modrm.rm);
  }

  bool immediate_seen = false;
  for (u8 i = 0; i < from.operand_count_visible && i < 4; ++i) {
    const ZydisDecodedOperand& op = operands[i];
    const u32 bytes = op.size / 8;
    const u8 size = bytes < 256 ? static_cast<u8>(bytes) : 0;
    switch (op.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        insn.op[i] = register_operand(op.reg.value, size);
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        insn.op[i] = {OperandKind::kMemory, 0, size};
        break;
      case ZYDIS_OPERAND_TYPE_POINTER:
        insn.op[i] = {OperandKind::kImmediate, 0, size};
        insn.imm = op.ptr.offset;
        insn.imm2 = op.ptr.segment;
        break;
      case ZYDIS_OPERAND_TYPE_IMMEDIATE:
        insn.op[i] = {OperandKind::kImmediate, 0, size};
        (immediate_seen ? static_cast<void>(insn.imm2 = static_cast<u16>(op.imm.value.u))
                        : static_cast<void>(insn.imm = op.imm.value.u));
        immediate_seen = true;
        break;
      default:
        break;
    }
  }

  constexpr auto kAnyWrite = ZYDIS_OPERAND_ACTION_MASK_WRITE;
  for (u8 i = 0; i < from.operand_count; ++i) {
    const ZydisDecodedOperand& op = operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && (op.actions & kAnyWrite)) mark_written(op.reg.value, insn);
  }

  // The memory operand; of the hidden ones of string instructions, the source: its segment can be overridden.
  const ZydisDecodedOperand* memory = nullptr;
  for (u8 i = 0; i < from.operand_count; ++i) {
    const ZydisDecodedOperand& op = operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (memory == nullptr || (i >= from.operand_count_visible && source_index(op.mem.base))) memory = &op;
    if (i < from.operand_count_visible) break;
  }
  if (memory == nullptr) return;
  insn.base = gpr_slot(memory->mem.base);
  insn.index = gpr_slot(memory->mem.index);
  insn.scale = static_cast<u8>(memory->mem.scale <= 1   ? 0
                               : memory->mem.scale == 2 ? 1
                               : memory->mem.scale == 4 ? 2
                                                        : 3);
  insn.disp = memory->mem.disp.has_displacement ? memory->mem.disp.value : 0;
  if (insn.base == core::kGprRip) insn.disp += insn.offset + insn.length;
  insn.segment = segment_number(memory->mem.segment);
  if (code_bits_ != 64)
    insn.flags |= kSegmented;
  else if (insn.segment == core::kFs || insn.segment == core::kGs)
    insn.flags |= kSegmentBase;
}

}  // namespace doppel::jit
