#include "jit/instructions.hpp"

#include <array>

#include "core/log.hpp"
#include "jit/interp/families.hpp"

namespace doppel::jit {
namespace {

using namespace doppel::interp;

const std::array kFamilies = {
    // Integer.
    &kMoveRows, &kAluRows, &kShiftRows, &kBitRows, &kMulDivRows, &kStackRows, &kControlFlowRows, &kStringRows,
    &kFlagRows, &kDecimalRows, &kAtomicRows, &kBmiRows,
    // System.
    &kSegmentRows, &kFarTransferRows, &kInterruptRows, &kSyscallRows, &kControlRegisterRows,
    &kDescriptorTableRows, &kMsrRows, &kCpuidRows, &kPortRows, &kCacheRows,
    // SIMD.
    &kSseMoveRows, &kSseIntegerRows, &kSseFloatRows, &kSseShuffleRows, &kSseConvertRows, &kSseCompareRows,
    &kSseStringRows, &kFmaRows, &kMmxRows, &kCryptoRows,
    // x87 and state management.
    &kX87MoveRows, &kX87ArithmeticRows, &kX87ControlRows, &kX87TranscendentalRows, &kXsaveRows};

using Table = std::array<const Row*, ZYDIS_MNEMONIC_MAX_VALUE + 1>;

Table join_families() {
  Table table{};
  for (const Rows* rows : kFamilies)
    for (const Row& row : *rows) {
      DOPPEL_CHECK(table[row.mnemonic] == nullptr, "two rows for {}", ZydisMnemonicGetString(row.mnemonic));
      table[row.mnemonic] = &row;
    }
  return table;
}

}  // namespace

const Row* find_row(ZydisMnemonic mnemonic) {
  static const Table table = join_families();
  return table[mnemonic];
}

std::optional<core::Feature> required_feature(ZydisISASet isa_set) {
  using core::Feature;
  switch (isa_set) {
    case ZYDIS_ISA_SET_X87:
      return Feature::kFpu;
    case ZYDIS_ISA_SET_CMOV:
    case ZYDIS_ISA_SET_FCMOV:
      return Feature::kCmov;
    case ZYDIS_ISA_SET_PENTIUMMMX:
      return Feature::kMmx;
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
      return Feature::kFxsr;
    case ZYDIS_ISA_SET_SSE:
    case ZYDIS_ISA_SET_SSEMXCSR:
      return Feature::kSse;
    case ZYDIS_ISA_SET_SSE2:
    case ZYDIS_ISA_SET_SSE2MMX:
      return Feature::kSse2;
    case ZYDIS_ISA_SET_SSE3:
    case ZYDIS_ISA_SET_SSE3X87:
      return Feature::kSse3;
    case ZYDIS_ISA_SET_SSSE3:
    case ZYDIS_ISA_SET_SSSE3MMX:
      return Feature::kSsse3;
    case ZYDIS_ISA_SET_SSE4:
      return Feature::kSse41;
    case ZYDIS_ISA_SET_SSE42:
      return Feature::kSse42;
    case ZYDIS_ISA_SET_SSE4A:
      return Feature::kSse4a;
    case ZYDIS_ISA_SET_POPCNT:
      return Feature::kPopcnt;
    case ZYDIS_ISA_SET_LZCNT:
      return Feature::kAbm;
    case ZYDIS_ISA_SET_BMI1:
      return Feature::kBmi1;
    case ZYDIS_ISA_SET_BMI2:
      return Feature::kBmi2;
    case ZYDIS_ISA_SET_ADOX_ADCX:
      return Feature::kAdx;
    case ZYDIS_ISA_SET_MOVBE:
      return Feature::kMovbe;
    case ZYDIS_ISA_SET_AES:
      return Feature::kAes;
    case ZYDIS_ISA_SET_PCLMULQDQ:
      return Feature::kPclmulqdq;
    case ZYDIS_ISA_SET_SHA:
      return Feature::kSha;
    case ZYDIS_ISA_SET_AVX:
      return Feature::kAvx;
    case ZYDIS_ISA_SET_AVX2:
    case ZYDIS_ISA_SET_AVX2GATHER:
      return Feature::kAvx2;
    case ZYDIS_ISA_SET_FMA:
      return Feature::kFma;
    case ZYDIS_ISA_SET_F16C:
      return Feature::kF16c;
    case ZYDIS_ISA_SET_CMPXCHG16B:
      return Feature::kCx16;
    case ZYDIS_ISA_SET_RDRAND:
      return Feature::kRdrand;
    case ZYDIS_ISA_SET_RDSEED:
      return Feature::kRdseed;
    case ZYDIS_ISA_SET_RDTSCP:
      return Feature::kRdtscp;
    case ZYDIS_ISA_SET_RDPID:
      return Feature::kRdpid;
    case ZYDIS_ISA_SET_RDWRFSGS:
      return Feature::kFsgsbase;
    case ZYDIS_ISA_SET_SMAP:
      return Feature::kSmap;
    case ZYDIS_ISA_SET_INVPCID:
      return Feature::kInvpcid;
    case ZYDIS_ISA_SET_MONITOR:
      return Feature::kMonitor;
    case ZYDIS_ISA_SET_CLFLUSHOPT:
      return Feature::kClflushopt;
    case ZYDIS_ISA_SET_CLWB:
      return Feature::kClwb;
    case ZYDIS_ISA_SET_CLFSH:
      return Feature::kClflush;
    case ZYDIS_ISA_SET_CLZERO:
      return Feature::kClzero;
    case ZYDIS_ISA_SET_XSAVE:
      return Feature::kXsave;
    case ZYDIS_ISA_SET_XSAVEOPT:
      return Feature::kXsaveopt;
    case ZYDIS_ISA_SET_XSAVEC:
      return Feature::kXsavec;
    default:
      return std::nullopt;
  }
}

}  // namespace doppel::jit
