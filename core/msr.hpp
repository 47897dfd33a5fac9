// Numbers of the model-specific registers that exist here, by their names in the manuals. The interpreter's
// table gives them meaning; devices and boot code name them.
// Source: AMD APM Vol. 2 appendix A; AMD PPR; Intel SDM Vol. 4.
#pragma once

#include "core/types.hpp"

namespace doppel::core::msr {

// Architectural.
inline constexpr u32 kP5McAddr = 0x0, kP5McType = 0x1, kTsc = 0x10, kApicBase = 0x1b, kTscAdjust = 0x3b,
                     kSpecCtrl = 0x48, kPatchLevel = 0x8b, kMtrrCap = 0xfe, kSysenterCs = 0x174,
                     kSysenterEsp = 0x175, kSysenterEip = 0x176, kMcgCap = 0x179, kMcgStatus = 0x17a,
                     kMiscEnable = 0x1a0, kDebugCtl = 0x1d9, kLastBranchFrom = 0x1db, kLastBranchTo = 0x1dc,
                     kLastExceptionFrom = 0x1dd, kLastExceptionTo = 0x1de, kMtrrPhysBase0 = 0x200,
                     kMtrrPhysMask7 = 0x20f, kMtrrFix64k00000 = 0x250, kMtrrFix16k80000 = 0x258,
                     kMtrrFix16kA0000 = 0x259, kMtrrFix4kC0000 = 0x268, kMtrrFix4kF8000 = 0x26f, kPat = 0x277,
                     kMtrrDefType = 0x2ff, kTscDeadline = 0x6e0, kX2apicFirst = 0x800, kX2apicLast = 0x8ff;

// AMD64 architecture.
inline constexpr u32 kEfer = 0xc000'0080, kStar = 0xc000'0081, kLstar = 0xc000'0082, kCstar = 0xc000'0083,
                     kSfmask = 0xc000'0084, kFsBase = 0xc000'0100, kGsBase = 0xc000'0101,
                     kKernelGsBase = 0xc000'0102, kTscAux = 0xc000'0103;

// AMD processors.
inline constexpr u32 kPerfEvtSel0 = 0xc001'0000, kPerfCtr3 = 0xc001'0007, kSysCfg = 0xc001'0010,
                     kHwcr = 0xc001'0015, kTopMem = 0xc001'001a, kTopMem2 = 0xc001'001d, kNbCfg = 0xc001'001f,
                     kPatchLoader = 0xc001'0020, kIntPendingMessage = 0xc001'0055,
                     kMmioConfBase = 0xc001'0058, kSmmTsegAddr = 0xc001'0112, kVmCr = 0xc001'0114,
                     kLsCfg = 0xc001'1020, kIcCfg = 0xc001'1021, kDcCfg = 0xc001'1022, kDeCfg = 0xc001'1029,
                     kBuCfg2 = 0xc001'102a;

}  // namespace doppel::core::msr
