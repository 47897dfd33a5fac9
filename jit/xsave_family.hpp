// XSAVE, its variants that user code has, and XRSTOR. Used by whoever must know what they see or show.
#pragma once

#include "core/types.hpp"
#include "jit/zydis.hpp"

namespace doppel::jit {

[[nodiscard]] inline bool in_xsave_family(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
      return true;
    default:
      return false;
  }
}

}  // namespace doppel::jit
