#include "jit/instructions.hpp"

#include <algorithm>
#include <array>
#include <iterator>

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

namespace {

// The features that instruction sets need; all of a set's.
struct SetFeature {
  ZydisISASet isa_set;
  core::Feature feature;
};
using core::Feature;
constexpr SetFeature kSetFeatures[] = {
    {ZYDIS_ISA_SET_X87, Feature::kFpu},
    {ZYDIS_ISA_SET_CMOV, Feature::kCmov},
    {ZYDIS_ISA_SET_FCMOV, Feature::kCmov},
    {ZYDIS_ISA_SET_PENTIUMMMX, Feature::kMmx},
    {ZYDIS_ISA_SET_FXSAVE, Feature::kFxsr},
    {ZYDIS_ISA_SET_FXSAVE64, Feature::kFxsr},
    {ZYDIS_ISA_SET_SSE, Feature::kSse},
    {ZYDIS_ISA_SET_SSEMXCSR, Feature::kSse},
    {ZYDIS_ISA_SET_SSE2, Feature::kSse2},
    {ZYDIS_ISA_SET_SSE2MMX, Feature::kSse2},
    {ZYDIS_ISA_SET_SSE3, Feature::kSse3},
    {ZYDIS_ISA_SET_SSE3X87, Feature::kSse3},
    {ZYDIS_ISA_SET_SSSE3, Feature::kSsse3},
    {ZYDIS_ISA_SET_SSSE3MMX, Feature::kSsse3},
    {ZYDIS_ISA_SET_SSE4, Feature::kSse41},
    {ZYDIS_ISA_SET_SSE42, Feature::kSse42},
    {ZYDIS_ISA_SET_SSE4A, Feature::kSse4a},
    {ZYDIS_ISA_SET_POPCNT, Feature::kPopcnt},
    {ZYDIS_ISA_SET_LZCNT, Feature::kAbm},
    {ZYDIS_ISA_SET_BMI1, Feature::kBmi1},
    {ZYDIS_ISA_SET_BMI2, Feature::kBmi2},
    {ZYDIS_ISA_SET_ADOX_ADCX, Feature::kAdx},
    {ZYDIS_ISA_SET_MOVBE, Feature::kMovbe},
    {ZYDIS_ISA_SET_AES, Feature::kAes},
    {ZYDIS_ISA_SET_PCLMULQDQ, Feature::kPclmulqdq},
    {ZYDIS_ISA_SET_SHA, Feature::kSha},
    {ZYDIS_ISA_SET_AVX, Feature::kAvx},
    {ZYDIS_ISA_SET_AVX2, Feature::kAvx2},
    {ZYDIS_ISA_SET_AVX2GATHER, Feature::kAvx2},
    {ZYDIS_ISA_SET_FMA, Feature::kFma},
    {ZYDIS_ISA_SET_F16C, Feature::kF16c},
    {ZYDIS_ISA_SET_CMPXCHG16B, Feature::kCx16},
    {ZYDIS_ISA_SET_RDRAND, Feature::kRdrand},
    {ZYDIS_ISA_SET_RDSEED, Feature::kRdseed},
    {ZYDIS_ISA_SET_RDTSCP, Feature::kRdtscp},
    {ZYDIS_ISA_SET_RDPID, Feature::kRdpid},
    {ZYDIS_ISA_SET_RDWRFSGS, Feature::kFsgsbase},
    {ZYDIS_ISA_SET_SMAP, Feature::kSmap},
    {ZYDIS_ISA_SET_INVPCID, Feature::kInvpcid},
    {ZYDIS_ISA_SET_MONITOR, Feature::kMonitor},
    {ZYDIS_ISA_SET_CLFLUSHOPT, Feature::kClflushopt},
    {ZYDIS_ISA_SET_CLWB, Feature::kClwb},
    {ZYDIS_ISA_SET_CLFSH, Feature::kClflush},
    {ZYDIS_ISA_SET_CLZERO, Feature::kClzero},
    {ZYDIS_ISA_SET_XSAVE, Feature::kXsave},
    {ZYDIS_ISA_SET_XSAVEOPT, Feature::kXsaveopt},
    {ZYDIS_ISA_SET_XSAVEC, Feature::kXsavec},
    {ZYDIS_ISA_SET_AVXAES, Feature::kAvx},
    {ZYDIS_ISA_SET_AVXAES, Feature::kAes},
    {ZYDIS_ISA_SET_SSE_PREFETCH, Feature::kSse},
    {ZYDIS_ISA_SET_LONGMODE, Feature::kLm},
};
// Sets that every model has.
constexpr ZydisISASet kBaseSets[] = {
    ZYDIS_ISA_SET_I86,          ZYDIS_ISA_SET_I186,  ZYDIS_ISA_SET_I286REAL, ZYDIS_ISA_SET_I286PROTECTED,
    ZYDIS_ISA_SET_I386,         ZYDIS_ISA_SET_I486,  ZYDIS_ISA_SET_I486REAL, ZYDIS_ISA_SET_PENTIUMREAL,
    ZYDIS_ISA_SET_PPRO,         ZYDIS_ISA_SET_RDPMC, ZYDIS_ISA_SET_FAT_NOP,  ZYDIS_ISA_SET_PAUSE,
    ZYDIS_ISA_SET_PREFETCH_NOP, ZYDIS_ISA_SET_LAHF};

}  // namespace

bool available(ZydisISASet isa_set, const core::CpuModel& model) {
  bool known = std::find(std::begin(kBaseSets), std::end(kBaseSets), isa_set) != std::end(kBaseSets);
  for (const SetFeature& needed : kSetFeatures) {
    if (needed.isa_set != isa_set) continue;
    if (!model.has(needed.feature)) return false;
    known = true;
  }
  return known;
}

}  // namespace doppel::jit
