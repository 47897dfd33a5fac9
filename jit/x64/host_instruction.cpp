#include "jit/x64/host_instruction.hpp"

#include <cstring>
#include <vector>

namespace doppel::jit::x64 {
namespace {

// Instruction sets beyond the x86-64 baseline; each needs its CPUID bit on the host.
bool host_has(asmjit::InstId id) {
  const asmjit::BaseInst instruction(id);
  asmjit::CpuFeatures needed;
  // Without operands asmjit names every feature that any form of the instruction needs.
  if (asmjit::InstAPI::queryFeatures(asmjit::Arch::kX64, instruction, nullptr, 0, &needed) !=
      asmjit::kErrorOk)
    return false;
  const auto& host = asmjit::CpuInfo::host().features();
  auto it = needed.iterator();
  while (it.hasNext()) {
    const auto feature = static_cast<u32>(it.next());
    const auto name = static_cast<asmjit::CpuFeatures::X86::Id>(feature);
    // The forms of the AVX-512 sets are never emitted.
    if (name >= asmjit::CpuFeatures::X86::kAVX512_4FMAPS &&
        name <= asmjit::CpuFeatures::X86::kAVX512_VPOPCNTDQ)
      continue;
    if (!host.has(feature)) return false;
  }
  return true;
}

std::vector<asmjit::InstId> make_table() {
  std::vector<asmjit::InstId> table(ZYDIS_MNEMONIC_MAX_VALUE + 1, asmjit::BaseInst::kIdNone);
  for (std::size_t m = 1; m < table.size(); ++m) {
    const char* name = ZydisMnemonicGetString(static_cast<ZydisMnemonic>(m));
    if (name == nullptr) continue;
    const asmjit::InstId id = asmjit::InstAPI::stringToInstId(asmjit::Arch::kX64, name, std::strlen(name));
    if (id != asmjit::BaseInst::kIdNone && host_has(id)) table[m] = id;
  }
  return table;
}

}  // namespace

std::optional<asmjit::InstId> host_instruction(u16 mnemonic) {
  static const std::vector<asmjit::InstId> table = make_table();
  const asmjit::InstId id = table[mnemonic];
  if (id == asmjit::BaseInst::kIdNone) return std::nullopt;
  return id;
}

}  // namespace doppel::jit::x64
