// SSE to SSE4.2, AES, PCLMUL, SHA, AVX, AVX2, FMA and F16C: emitted as themselves on the host's vector
// registers, under the guest's MXCSR (whose exceptions are all masked while translated code runs).
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

}  // namespace

bool BlockEmitter::emit_vector(const Insn& insn) {
  if (insn.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER && context_.avx) {
    need_vectors(insn, true);
    a.vzeroupper();
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
  if (vex && !context_.avx) return false;
  if (interpreted(name) || insn.index > core::kGprZero) return false;
  const auto id = host_instruction(insn.mnemonic);
  if (!id || (memory && (memory->size == 0 || memory->size > 32))) return false;

  need_vectors(insn, vex);
  const u8 needed = needed_by(insn);
  Mem host_memory;
  if (memory)
    host_memory = guest_memory(insn, memory->size, memory == &insn.op[0],
                               needs_alignment(name, memory->size) ? memory->size : 1);
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
        operands[count++] = host_memory;
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
  if (insn.flags_written != 0) flags_ = Flags::kHost;
  return true;
}

}  // namespace doppel::jit::x64
