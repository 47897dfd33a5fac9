// Instructions that only MMX registers have: EMMS, MASKMOVQ, and the conversions of SSE and SSE2 that use
// them. The packed integer instructions of MMX share their rows with SSE2 (sse_integer.cpp, sse_shuffle.cpp,
// sse_move.cpp). Source: Intel SDM Vol. 1, ch. 9 and "MMX and SSE"; Vol. 2, the instructions' pages.
#include "jit/interp/families.hpp"
#include "jit/interp/sse_conversions.hpp"
#include "jit/interp/sse_float_forms.hpp"
#include "jit/interp/sse_masked.hpp"

namespace doppel::interp {
namespace {

bool emms(Vcpu& cpu, const Insn&) {
  if (!available<Form::kMmx>(cpu)) return false;
  cpu.state.x87.top = 0;
  cpu.state.x87.valid = 0;
  return true;
}

bool sse_and_mmx_available(Vcpu& cpu) {
  return available<Form::kSse>(cpu) && available<Form::kMmx>(cpu);
}

// CVTPI2PS (keeps the high half) and CVTPI2PD. From memory they have nothing to do with MMX registers;
// Intel's manual says that of CVTPI2PD only, AMD processors do it for both.
template <class To>
bool from_mmx(Vcpu& cpu, const Insn& insn) {
  const bool touches = insn.op[1].kind == OperandKind::kMmx;
  if (!(touches ? sse_and_mmx_available(cpu) : available<Form::kSse>(cpu))) return false;
  Bits<8> source{};
  if (!read_source<Form::kMmx>(cpu, insn, insn.op[1], source)) return false;

  LaneResults<To, 16> result;
  result.value = lanes<To>(read_vector<16>(cpu, insn.op[0].reg));
  for (u32 i = 0; i < 2; ++i) result.set(i, kConvert<To, i32>(lanes<i32>(source)[i], cpu.state.mxcsr));
  if (touches) touch_mmx(cpu);  // an exception does not take this back
  if (!float_complete(cpu, result.flags)) return false;
  write_register<Form::kSse>(cpu, insn.op[0].reg, bits(result.value));
  return true;
}

// CVTPS2PI, CVTTPS2PI (8 bytes of memory), CVTPD2PI, CVTTPD2PI (16 bytes, aligned).
template <class From, bool kTruncating>
bool to_mmx(Vcpu& cpu, const Insn& insn) {
  if (!sse_and_mmx_available(cpu)) return false;
  std::array<From, 2> source{};
  if constexpr (sizeof(From) == 8) {
    Bits<16> all{};
    if (!read_source<Form::kSse>(cpu, insn, insn.op[1], all)) return false;
    source = lanes<From>(all);
  } else {
    if (!read_scalar(cpu, insn, insn.op[1], source)) return false;
  }

  LaneResults<i32, 8> result;
  for (u32 i = 0; i < 2; ++i) result.set(i, kConvert<i32, From, kTruncating>(source[i], cpu.state.mxcsr));
  touch_mmx(cpu);  // an exception does not take this back
  if (!float_complete(cpu, result.flags)) return false;
  write_register<Form::kMmx>(cpu, insn.op[0].reg, bits(result.value));
  return true;
}

constexpr auto kTable = join_rows(
    single<emms>(ZYDIS_MNEMONIC_EMMS), single<MaskedBytes<Form::kMmx>::run>(ZYDIS_MNEMONIC_MASKMOVQ),
    single<from_mmx<u32>>(ZYDIS_MNEMONIC_CVTPI2PS), single<from_mmx<u64>>(ZYDIS_MNEMONIC_CVTPI2PD),
    single<to_mmx<u32, false>>(ZYDIS_MNEMONIC_CVTPS2PI), single<to_mmx<u32, true>>(ZYDIS_MNEMONIC_CVTTPS2PI),
    single<to_mmx<u64, false>>(ZYDIS_MNEMONIC_CVTPD2PI), single<to_mmx<u64, true>>(ZYDIS_MNEMONIC_CVTTPD2PI));

}  // namespace

constinit const Rows kMmxRows{kTable};

}  // namespace doppel::interp
