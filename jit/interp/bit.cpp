// BT BTS BTR BTC BSF BSR.
#include <bit>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/bind.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/modify.hpp"

namespace doppel::interp {
namespace {

enum class BitOp { kTest, kSet, kReset, kComplement };

template <BitOp Op, class T>
T apply(T value, u32 bit) {
  const T mask = static_cast<T>(T{1} << bit);
  if constexpr (Op == BitOp::kSet) return value | mask;
  if constexpr (Op == BitOp::kReset) return static_cast<T>(value & ~mask);
  if constexpr (Op == BitOp::kComplement) return value ^ mask;
  return value;
}

// A register bit offset into memory is signed and reaches beyond the operand; an immediate one is taken
// modulo the size.
template <BitOp Op, class T>
bool bit_operation(Vcpu& cpu, const Insn& insn) {
  constexpr u32 kWidth = sizeof(T) * 8;
  const bool immediate = insn.op[1].kind == OperandKind::kImmediate;
  const T offset = immediate ? static_cast<T>(insn.imm) : read_gpr<T>(cpu, insn.op[1].reg);
  const u32 bit = static_cast<u32>(offset % kWidth);
  T old{};
  if (insn.op[0].kind == OperandKind::kGpr) {
    old = read_gpr<T>(cpu, insn.op[0].reg);
    if constexpr (Op != BitOp::kTest) write_gpr<T>(cpu, insn.op[0].reg, apply<Op, T>(old, bit));
  } else {
    u64 ea = effective_address(cpu, insn);
    if (!immediate) {
      const i64 element =
          static_cast<i64>(static_cast<std::make_signed_t<T>>(offset)) >> std::countr_zero(kWidth);
      ea = (ea + static_cast<u64>(element * static_cast<i64>(sizeof(T)))) & insn.address_mask();
    }
    if constexpr (Op == BitOp::kTest) {
      u64 la{};
      if (!linear_address(cpu, insn, ea, sizeof(T), mmu::Access::kRead, la)) return false;
      if (!cpu.mmu.read<T>(la, old)) return memory_fault(cpu, insn.segment);
    } else {
      if (!modify_at<T>(cpu, insn, ea, [&](T value) {
            old = value;
            return apply<Op, T>(value, bit);
          }))
        return false;
    }
  }
  set_cf(cpu.state, old >> bit & 1);
  return true;
}

template <BitOp Op>
constexpr Row bit_row(ZydisMnemonic mnemonic) {
  return {mnemonic, Flow::kNext, [](const Insn& insn) -> Handler {
            switch (insn.op_size) {
              case 2:
                return run_next<bit_operation<Op, u16>>;
              case 4:
                return run_next<bit_operation<Op, u32>>;
              default:
                return run_next<bit_operation<Op, u64>>;
            }
          }};
}

// BSF, BSR: a zero source sets ZF and leaves the destination as it is (AMD; Intel documents it as undefined).
// The other flags are undefined; they are left alone, as AMD processors do.
template <bool kReverse, class T>
bool bit_scan(Vcpu& cpu, const Insn& insn) {
  T value{};
  if (!read_rm<T>(cpu, insn, insn.op[1], value)) return false;
  set_flags(cpu.state, core::kZf, value == 0 ? core::kZf : 0);
  if (value == 0) return true;
  const int index =
      kReverse ? static_cast<int>(sizeof(T) * 8) - 1 - std::countl_zero(value) : std::countr_zero(value);
  write_gpr<T>(cpu, insn.op[0].reg, static_cast<T>(index));
  return true;
}
template <bool kReverse>
Handler bind_scan(const Insn& insn) {
  switch (insn.op_size) {
    case 2:
      return run_next<bit_scan<kReverse, u16>>;
    case 4:
      return run_next<bit_scan<kReverse, u32>>;
    default:
      return run_next<bit_scan<kReverse, u64>>;
  }
}

constexpr Row kRows[] = {
    bit_row<BitOp::kTest>(ZYDIS_MNEMONIC_BT),
    bit_row<BitOp::kSet>(ZYDIS_MNEMONIC_BTS),
    bit_row<BitOp::kReset>(ZYDIS_MNEMONIC_BTR),
    bit_row<BitOp::kComplement>(ZYDIS_MNEMONIC_BTC),
    {ZYDIS_MNEMONIC_BSF, Flow::kNext, bind_scan<false>},
    {ZYDIS_MNEMONIC_BSR, Flow::kNext, bind_scan<true>},
};

}  // namespace

const Rows kBitRows = kRows;

}  // namespace doppel::interp
