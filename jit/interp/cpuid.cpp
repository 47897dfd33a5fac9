#include <sys/random.h>

#include <array>

#include "jit/interp/arithmetic_flags.hpp"
#include "jit/interp/families.hpp"
#include "jit/interp/semantics.hpp"

namespace doppel::interp {
namespace {

bool cpuid(Vcpu& cpu, const Insn&) {
  auto& gpr = cpu.state.gpr;
  const core::CpuidResult result =
      cpu.model.cpuid(static_cast<u32>(gpr[core::kRax]), static_cast<u32>(gpr[core::kRcx]), cpu.state);
  gpr[core::kRax] = result.eax;
  gpr[core::kRbx] = result.ebx;
  gpr[core::kRcx] = result.ecx;
  gpr[core::kRdx] = result.edx;
  return true;
}

// RDRAND and RDSEED hand out the host's entropy. CF = 0 tells the guest that there is none at the moment.
bool random_number(Vcpu& cpu, const Insn& insn) {
  std::array<u8, 8> bytes{};
  const bool ok = getrandom(bytes.data(), bytes.size(), GRND_NONBLOCK) == static_cast<ssize_t>(bytes.size());
  by_size(insn.op[0].size, [&]<class T>() {
    T value = 0;
    if (ok) std::memcpy(&value, bytes.data(), sizeof value);
    write_gpr<T>(cpu, insn.op[0].reg, value);
  });
  set_flags(cpu.state, core::kArithmeticFlags, ok ? core::kCf : 0);
  return true;
}

constexpr Row kRows[] = {
    row<cpuid>(ZYDIS_MNEMONIC_CPUID),
    row<random_number>(ZYDIS_MNEMONIC_RDRAND),
    row<random_number>(ZYDIS_MNEMONIC_RDSEED),
};

}  // namespace

const Rows kCpuidRows = kRows;

}  // namespace doppel::interp
