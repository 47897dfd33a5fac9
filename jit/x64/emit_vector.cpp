// SSE to SSE4.2, AES, PCLMUL, SHA, AVX, AVX2, FMA and F16C: emitted as themselves on the host's vector
// registers, under the guest's MXCSR (whose exceptions are all masked while translated code runs).
#include <algorithm>
#include <string_view>

#include "jit/x64/block_emitter.hpp"
#include "jit/x64/host_instruction.hpp"

namespace doppel::jit::x64 {

using namespace asmjit::x86;

namespace {

// Left to the interpreter: element-wise memory accesses, approximations that differ between host CPUs, and
// string comparisons with operands that are not visible.
bool interpreted(std::string_view name) {
  for (const std::string_view prefix :
       {"maskmov", "vmaskmov", "vpmaskmov", "vgather", "vpgather", "rcp", "vrcp", "rsqrt", "vrsqrt",
        "pcmpestr", "pcmpistrm", "vpcmpestr", "vpcmpistrm"})
    if (name.starts_with(prefix)) return true;
  return false;
}

// Whether a memory operand of 16 (or 32) bytes has to be aligned.
bool needs_alignment(std::string_view name, u32 size) {
  if (name[0] == 'v')
    return name.starts_with("vmovaps") || name.starts_with("vmovapd") || name.starts_with("vmovdqa") ||
           name.starts_with("vmovnt");
  if (size != 16) return false;
  for (const std::string_view unaligned : {"movup", "movdqu", "lddqu", "pcmpestr", "pcmpistr"})
    if (name.starts_with(unaligned)) return false;
  return true;
}

// Whether the instruction replaces its whole first operand, so that the old value need not be loaded.
bool replaces_destination(std::string_view name, const Insn& insn, bool upper_halves_matter) {
  if (name[0] == 'v') {
    for (const std::string_view reader :
         {"vfm", "vfnm", "vcomis", "vucomis", "vptest", "vtestp", "vpcmpistr"})
      if (name.starts_with(reader)) return false;
    return true;
  }
  if (upper_halves_matter) return false;
  for (const std::string_view move :
       {"movaps", "movapd", "movups", "movupd", "movdqa", "movdqu", "movd", "lddqu", "pshufd", "cvtdq2"})
    if (name.starts_with(move)) return true;
  return insn.op[1].kind == OperandKind::kMemory && (name == "movss" || name == "movsd" || name == "movq");
}

bool implicit_xmm0(u16 mnemonic) {
  return mnemonic == ZYDIS_MNEMONIC_BLENDVPS || mnemonic == ZYDIS_MNEMONIC_BLENDVPD ||
         mnemonic == ZYDIS_MNEMONIC_PBLENDVB || mnemonic == ZYDIS_MNEMONIC_SHA256RNDS2;
}

}  // namespace

// Upper halves of all registers: those in host registers by the instruction, the others in memory.
void BlockEmitter::emit_zero_upper() {
  uses_avx_ = true;
  a.mov(kScratch1.r32(), 0);
  for (u32 number = 0; number < 16; ++number) {
    if (loaded_ >> number & 1) continue;
    for (const i64 half : {16, 24}) {
      Mem upper = vector_home(number, 8);
      upper.addOffset(half);
      a.mov(upper, kScratch1);
    }
  }
  a.vzeroupper();
  dirty_ |= loaded_;
}

bool BlockEmitter::emit_vector(const Insn& insn) {
  if (insn.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER && context_.avx_usable) {
    emit_zero_upper();
    return true;
  }
  const Operand* memory = nullptr;
  const Operand* resident = nullptr;
  bool vector = false;
  for (const Operand& op : insn.op) {
    switch (op.kind) {
      case OperandKind::kNone:
      case OperandKind::kImmediate:
        break;
      case OperandKind::kVector:
        vector = true;
        break;
      case OperandKind::kMemory:
        memory = &op;
        break;
      case OperandKind::kGpr:
        if (high_byte(op)) return false;
        if (host_of(op) == kInMemory) resident = &op;
        break;
      default:
        return false;
    }
  }
  const std::string_view name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(insn.mnemonic));
  // Conversions from memory to general registers have no vector operand.
  if (!vector && !name.starts_with("cvt") && !name.starts_with("vcvt")) return false;
  const bool vex = name[0] == 'v';
  if (vex ? !context_.avx_usable : !context_.sse_usable) return false;
  if (interpreted(name) || insn.index > core::kGprZero) return false;
  const auto id = host_instruction(insn.mnemonic);
  if (!id || (memory && (memory->size == 0 || memory->size > 32))) return false;

  (vex ? uses_avx_ : uses_sse_) = true;
  const bool fresh =
      insn.op[0].kind == OperandKind::kVector && replaces_destination(name, insn, context_.avx_usable);
  for (u32 i = fresh ? 1 : 0; i < 4; ++i)
    if (insn.op[i].kind == OperandKind::kVector) vector_load(insn.op[i].reg);
  if (implicit_xmm0(insn.mnemonic)) vector_load(0);

  const u8 needed = needed_by(insn);
  if (memory) {
    before_clobber(needed);
    check_access(insn, memory->size, memory == &insn.op[0], needs_alignment(name, memory->size));
  }
  if (needed != 0 && insn.flags_written != 0) flags_to_host();
  if (resident) a.mov(kScratch1, gpr_home(resident->reg / 8u));

  asmjit::Operand_ operands[4];
  u32 count = 0;
  for (const Operand& op : insn.op) {
    switch (op.kind) {
      case OperandKind::kVector:
        operands[count++] = op.size == 32 ? Vec(ymm(op.reg)) : Vec(xmm(op.reg));
        break;
      case OperandKind::kMemory:
        operands[count++] = ptr(kScratch0, 0, op.size);
        break;
      case OperandKind::kImmediate:
        operands[count++] = asmjit::Imm(static_cast<i64>(insn.imm));
        break;
      case OperandKind::kGpr: {
        const u8 host = &op == resident ? static_cast<u8>(kScratch1.id()) : host_of(op);
        operands[count++] = op.size == 8 ? Gp(gpq(host)) : Gp(gpd(host));
        break;
      }
      default:
        break;
    }
  }
  if (a.emitOpArray(*id, operands, count) != asmjit::kErrorOk) return false;
  if (resident == &insn.op[0]) a.mov(gpr_home(resident->reg / 8u), kScratch1);
  if (insn.op[0].kind == OperandKind::kVector) {
    loaded_ |= static_cast<u16>(1u << insn.op[0].reg);
    dirty_ |= static_cast<u16>(1u << insn.op[0].reg);
  }
  if (insn.flags_written != 0) flags_ = Flags::kHost;
  return true;
}

}  // namespace doppel::jit::x64
