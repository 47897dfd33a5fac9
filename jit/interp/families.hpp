// The instruction families: each .cpp file in this folder defines the rows of its instructions.
// jit/instructions.cpp joins them to the one table, one row per mnemonic.
#pragma once

#include <span>

#include "jit/insn.hpp"

namespace doppel::interp {

using Rows = std::span<const jit::Row>;

// Integer.
extern const Rows kMoveRows, kAluRows, kShiftRows, kBitRows, kMulDivRows, kStackRows, kControlFlowRows,
    kStringRows, kFlagRows, kDecimalRows, kAtomicRows, kBmiRows;
// System.
extern const Rows kSegmentRows, kFarTransferRows, kInterruptRows, kSyscallRows, kControlRegisterRows,
    kDescriptorTableRows, kMsrRows, kCpuidRows, kPortRows, kCacheRows;
// SIMD.
extern const Rows kSseMoveRows, kSseIntegerRows, kSseFloatRows, kSseShuffleRows, kSseConvertRows,
    kSseCompareRows, kSseStringRows, kFmaRows, kMmxRows, kCryptoRows;
// x87 and state management.
extern const Rows kX87MoveRows, kX87ArithmeticRows, kX87ControlRows, kX87TranscendentalRows, kXsaveRows;

}  // namespace doppel::interp
