// Fused multiply-add, three operands. Source: Intel SDM Vol. 2C, VFMADD132PD and the following; Vol. 1,
// "Fused-Multiply-ADD (FMA) Numeric Behavior".
#include "jit/interp/families.hpp"
#include "jit/interp/sse_float_forms.hpp"

namespace doppel::interp {
namespace {

// The digits of the mnemonic: operands a, b, c of a * b + c.
enum class Order { k132, k213, k231 };

// What is negated: nothing, the addend, or the addend in even (odd) lanes.
enum class Addend { kPlus, kMinus, kMinusEven, kMinusOdd };

template <class U>
U negate_unless_nan(U x, bool negate) {
  return negate && !is_nan(x) ? static_cast<U>(x ^ FloatFormat<U>::kSign) : x;
}

template <class U, Order O, Addend A, bool kNegateProduct>
Rounded<U> multiply_add(U first, U second, U third, std::size_t lane, u32 mxcsr) {
  const U a = O == Order::k132 ? first : second;
  const U b = O == Order::k213 ? first : third;
  const U c = O == Order::k132 ? second : O == Order::k213 ? third : first;
  const bool minus = A == Addend::kMinus || (A == Addend::kMinusEven && lane % 2 == 0) ||
                     (A == Addend::kMinusOdd && lane % 2 == 1);
  return float_multiply_add(negate_unless_nan(a, kNegateProduct), b, negate_unless_nan(c, minus), mxcsr);
}

template <class U, Order O, Addend A, bool kNegateProduct>
struct Packed {
  template <Form F>
  static bool run_form(Vcpu& cpu, const Insn& insn) {
    if (!available<F>(cpu)) return false;
    Bits<kWidth<F>> third{};
    if (!read_source<F>(cpu, insn, insn.op[2], third)) return false;
    const auto first = lanes<U>(read_register<F>(cpu, insn.op[0].reg));
    const auto second = lanes<U>(read_register<F>(cpu, insn.op[1].reg));
    LaneResults<U, kWidth<F>> result;
    for (u32 i = 0; i < first.size(); ++i)
      result.set(i, multiply_add<U, O, A, kNegateProduct>(first[i], second[i], lanes<U>(third)[i], i,
                                                          cpu.state.mxcsr));
    if (!float_complete(cpu, result.flags)) return false;
    write_register<F>(cpu, insn.op[0].reg, bits(result.value));
    return true;
  }
  template <Form F>
  struct In {
    static constexpr Semantics run = run_form<F>;
  };
};

template <class U, Order O, Addend A, bool kNegateProduct>
bool scalar(Vcpu& cpu, const Insn& insn) {
  if (!available<Form::kVex128>(cpu)) return false;
  U third{};
  if (!read_scalar(cpu, insn, insn.op[2], third)) return false;
  auto value = lanes<U>(read_vector<16>(cpu, insn.op[0].reg));
  const Rounded<U> result = multiply_add<U, O, A, kNegateProduct>(value[0], read_low<U>(cpu, insn.op[1].reg),
                                                                  third, 0, cpu.state.mxcsr);
  if (!float_complete(cpu, result.flags)) return false;
  value[0] = result.bits;
  write_register<Form::kVex128>(cpu, insn.op[0].reg, bits(value));
  return true;
}

// The rows of one operation, for the orders 132, 213, 231.
template <Addend A, bool kNegateProduct>
constexpr auto packed_rows(std::array<ZydisMnemonic, 3> single_precision,
                           std::array<ZydisMnemonic, 3> double_precision) {
  const auto& s = single_precision;
  const auto& d = double_precision;
  return join_rows(vex_only<Packed<u32, Order::k132, A, kNegateProduct>::template In>(s[0]),
                   vex_only<Packed<u32, Order::k213, A, kNegateProduct>::template In>(s[1]),
                   vex_only<Packed<u32, Order::k231, A, kNegateProduct>::template In>(s[2]),
                   vex_only<Packed<u64, Order::k132, A, kNegateProduct>::template In>(d[0]),
                   vex_only<Packed<u64, Order::k213, A, kNegateProduct>::template In>(d[1]),
                   vex_only<Packed<u64, Order::k231, A, kNegateProduct>::template In>(d[2]));
}
template <Addend A, bool kNegateProduct>
constexpr auto scalar_rows(std::array<ZydisMnemonic, 3> single_precision,
                           std::array<ZydisMnemonic, 3> double_precision) {
  const auto& s = single_precision;
  const auto& d = double_precision;
  return RowArray<6>{row<scalar<u32, Order::k132, A, kNegateProduct>>(s[0]),
                     row<scalar<u32, Order::k213, A, kNegateProduct>>(s[1]),
                     row<scalar<u32, Order::k231, A, kNegateProduct>>(s[2]),
                     row<scalar<u64, Order::k132, A, kNegateProduct>>(d[0]),
                     row<scalar<u64, Order::k213, A, kNegateProduct>>(d[1]),
                     row<scalar<u64, Order::k231, A, kNegateProduct>>(d[2])};
}

constexpr auto kTable = join_rows(
    packed_rows<Addend::kPlus, false>(
        {ZYDIS_MNEMONIC_VFMADD132PS, ZYDIS_MNEMONIC_VFMADD213PS, ZYDIS_MNEMONIC_VFMADD231PS},
        {ZYDIS_MNEMONIC_VFMADD132PD, ZYDIS_MNEMONIC_VFMADD213PD, ZYDIS_MNEMONIC_VFMADD231PD}),
    packed_rows<Addend::kMinus, false>(
        {ZYDIS_MNEMONIC_VFMSUB132PS, ZYDIS_MNEMONIC_VFMSUB213PS, ZYDIS_MNEMONIC_VFMSUB231PS},
        {ZYDIS_MNEMONIC_VFMSUB132PD, ZYDIS_MNEMONIC_VFMSUB213PD, ZYDIS_MNEMONIC_VFMSUB231PD}),
    packed_rows<Addend::kPlus, true>(
        {ZYDIS_MNEMONIC_VFNMADD132PS, ZYDIS_MNEMONIC_VFNMADD213PS, ZYDIS_MNEMONIC_VFNMADD231PS},
        {ZYDIS_MNEMONIC_VFNMADD132PD, ZYDIS_MNEMONIC_VFNMADD213PD, ZYDIS_MNEMONIC_VFNMADD231PD}),
    packed_rows<Addend::kMinus, true>(
        {ZYDIS_MNEMONIC_VFNMSUB132PS, ZYDIS_MNEMONIC_VFNMSUB213PS, ZYDIS_MNEMONIC_VFNMSUB231PS},
        {ZYDIS_MNEMONIC_VFNMSUB132PD, ZYDIS_MNEMONIC_VFNMSUB213PD, ZYDIS_MNEMONIC_VFNMSUB231PD}),
    packed_rows<Addend::kMinusEven, false>(
        {ZYDIS_MNEMONIC_VFMADDSUB132PS, ZYDIS_MNEMONIC_VFMADDSUB213PS, ZYDIS_MNEMONIC_VFMADDSUB231PS},
        {ZYDIS_MNEMONIC_VFMADDSUB132PD, ZYDIS_MNEMONIC_VFMADDSUB213PD, ZYDIS_MNEMONIC_VFMADDSUB231PD}),
    packed_rows<Addend::kMinusOdd, false>(
        {ZYDIS_MNEMONIC_VFMSUBADD132PS, ZYDIS_MNEMONIC_VFMSUBADD213PS, ZYDIS_MNEMONIC_VFMSUBADD231PS},
        {ZYDIS_MNEMONIC_VFMSUBADD132PD, ZYDIS_MNEMONIC_VFMSUBADD213PD, ZYDIS_MNEMONIC_VFMSUBADD231PD}),
    scalar_rows<Addend::kPlus, false>(
        {ZYDIS_MNEMONIC_VFMADD132SS, ZYDIS_MNEMONIC_VFMADD213SS, ZYDIS_MNEMONIC_VFMADD231SS},
        {ZYDIS_MNEMONIC_VFMADD132SD, ZYDIS_MNEMONIC_VFMADD213SD, ZYDIS_MNEMONIC_VFMADD231SD}),
    scalar_rows<Addend::kMinus, false>(
        {ZYDIS_MNEMONIC_VFMSUB132SS, ZYDIS_MNEMONIC_VFMSUB213SS, ZYDIS_MNEMONIC_VFMSUB231SS},
        {ZYDIS_MNEMONIC_VFMSUB132SD, ZYDIS_MNEMONIC_VFMSUB213SD, ZYDIS_MNEMONIC_VFMSUB231SD}),
    scalar_rows<Addend::kPlus, true>(
        {ZYDIS_MNEMONIC_VFNMADD132SS, ZYDIS_MNEMONIC_VFNMADD213SS, ZYDIS_MNEMONIC_VFNMADD231SS},
        {ZYDIS_MNEMONIC_VFNMADD132SD, ZYDIS_MNEMONIC_VFNMADD213SD, ZYDIS_MNEMONIC_VFNMADD231SD}),
    scalar_rows<Addend::kMinus, true>(
        {ZYDIS_MNEMONIC_VFNMSUB132SS, ZYDIS_MNEMONIC_VFNMSUB213SS, ZYDIS_MNEMONIC_VFNMSUB231SS},
        {ZYDIS_MNEMONIC_VFNMSUB132SD, ZYDIS_MNEMONIC_VFNMSUB213SD, ZYDIS_MNEMONIC_VFNMSUB231SD}));

}  // namespace

constinit const Rows kFmaRows{kTable};

}  // namespace doppel::interp
