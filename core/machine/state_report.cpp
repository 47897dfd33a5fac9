#include "core/machine/state_report.hpp"

#include <fmt/format.h>

#include <iterator>

namespace doppel::machine {
namespace {

std::string segment_line(const char* name, const core::SegmentRegister& s) {
  return fmt::format("{:<4} {:04x} base {:016x} limit {:08x} attributes {:04x}\n", name, s.selector, s.base,
                     s.limit, s.attributes);
}

// Up to `count` values of T from linear address `la`, stopping where memory ends.
template <class T>
std::string memory_line(jit::Vcpu& cpu, u64 la, int count) {
  const core::Fault saved = cpu.state.fault;
  std::string line;
  for (int i = 0; i < count; ++i) {
    T value;
    if (!cpu.mmu.read_system<T>(la + static_cast<u64>(i) * sizeof(T), value)) {
      line += " (not mapped)";
      break;
    }
    line += fmt::format(" {:0{}x}", value, sizeof(T) * 2);
  }
  cpu.state.fault = saved;
  return line + "\n";
}

}  // namespace

std::string describe(jit::Vcpu& cpu) {
  const core::CpuState& s = cpu.state;
  static constexpr const char* kNames[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                           "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
  std::string out;
  for (int i = 0; i < 16; ++i)
    out += fmt::format("{:<4}{:016x}{}", kNames[i], s.gpr[static_cast<std::size_t>(i)],
                       i % 4 == 3 ? "\n" : "  ");
  out += fmt::format("RIP {:016x}  RFLAGS {:08x}  CPL {}  {}-bit code\n", s.rip, core::rflags(s), s.cpl,
                     s.code_bits);
  static constexpr const char* kSegments[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  for (std::size_t i = 0; i < s.segment.size(); ++i) out += segment_line(kSegments[i], s.segment[i]);
  out += segment_line("LDTR", s.ldtr) + segment_line("TR", s.tr);
  out += fmt::format("GDTR {:016x} limit {:04x}   IDTR {:016x} limit {:04x}\n", s.gdtr.base, s.gdtr.limit,
                     s.idtr.base, s.idtr.limit);
  out += fmt::format("CR0 {:08x}  CR2 {:016x}  CR3 {:016x}  CR4 {:08x}  EFER {:x}\n", s.cr0, s.cr2, s.cr3,
                     s.cr4, s.efer);
  const bool flat = s.code_bits == 64;
  const u64 code = flat ? s.rip : s.segment[core::kCs].base + s.rip;
  const u64 stack = flat ? s.gpr[core::kRsp] : s.segment[core::kSs].base + s.gpr[core::kRsp];
  out += "code at RIP:" + memory_line<u8>(cpu, code, 16);
  for (u64 row = 0; row < 4; ++row)
    out += fmt::format("stack at {:016x}:", stack + row * 32) + memory_line<u64>(cpu, stack + row * 32, 4);
  return out;
}

}  // namespace doppel::machine
