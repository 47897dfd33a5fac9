// A bare vCPU whose user code runs in a stub process, for the tests of direct execution.
#pragma once

#include "jit/direct/direct_runner.hpp"
#include "tests/jit/running_machine.hpp"

namespace doppel::jit::test {
inline constexpr u64 kPageTable = kPageTables + 0x3000;
inline constexpr u64 kCode = 0x5'0000, kData = 0x6'0000, kFrame = 0x7'0000;
inline constexpr u64 kPresent = 1, kWritable = 2, kUser = 4, kAccessed = 0x20, kDirty = 0x40;
inline constexpr int kUndefined = 6, kBreakpoint = 3, kPageFault = 14, kDebug = 1;

// Some hosts allow no tracing: then everything runs translated, and there is nothing to test.
inline bool forbidden() {
  static const bool answer = [] {
    try {
      const core::GuestRam ram(2 << 20);
      const direct::PatchedPages patched;
      const direct::StubProcess stub({ram.fd(), patched.fd(), patched.fd()}, core::kFourGiB);
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  }();
  return answer;
}

// Linux' selectors for user code, 4 KiB pages, and everything switched on.
struct DirectMachine : RunningMachine {
  DirectMachine() : RunningMachine(Mode::kLong, 3, Engine::kTranslator) {
    CpuState& s = cpu.state;
    s.segment[core::kCs].selector = 0x33;
    s.segment[core::kSs].selector = 0x2b;
    for (const auto segment : {core::kEs, core::kDs, core::kFs, core::kGs}) s.segment[segment].selector = 0;
    s.cr4 |= core::kCr4Osfxsr | core::kCr4Osxsave | core::kCr4Fsgsbase;
    s.xcr0 = 7;
    core::set_rflags(s, core::kFlagsFixed | core::kIf);
    put<u64>(kPageTables + 0x2000, kPageTable | kPresent | kWritable | kUser);
    for (u64 page = 0; page < 512; ++page) map(page * core::kPageSize, page * core::kPageSize);
    s.rip = kCode;
    cpu.mmu.flush_all();
    cpu.mmu.mode_changed();
    auto made = std::make_unique<direct::DirectRunner>(cpu, dispatcher.blocks(), std::move(backend));
    runner = made.get();
    backend = std::move(made);
    dispatcher.set_backend(runner);
    runner->insist();
  }

  void map(u64 la, u64 physical, u64 bits = kPresent | kWritable | kUser) {
    put<u64>(entry(la), physical | bits);
  }
  // In the 2 MiB after the first; returns where the entry is.
  [[nodiscard]] u64 map_second_region(u64 la, u64 physical) {
    constexpr u64 kSecondTable = kPageTable + core::kPageSize;
    put<u64>(kPageTables + 0x2008, kSecondTable | kPresent | kWritable | kUser);
    const u64 where = kSecondTable + la % mmu::kUserRegionSize / core::kPageSize * 8;
    put<u64>(where, physical | kPresent | kWritable | kUser);
    return where;
  }
  [[nodiscard]] static u64 entry(u64 la) { return kPageTable + la / core::kPageSize * 8; }
  [[nodiscard]] u64& gpr(core::Gpr reg) { return cpu.state.gpr[reg]; }
  [[nodiscard]] u64 count(const char* counter) {
    runner->publish_counters();
    return counters[counter];
  }
  // Back at the code, in user mode, as if the kernel had returned there.
  void again() {
    CpuState& s = cpu.state;
    run_at(3, true);
    s.segment[core::kCs].selector = 0x33;
    s.segment[core::kSs].selector = 0x2b;
    for (const auto segment : {core::kEs, core::kDs, core::kFs, core::kGs}) s.segment[segment].selector = 0;
    s.activity = core::Activity::kRunning;
    core::set_rflags(s, core::kFlagsFixed | core::kIf);
    s.rip = kCode;
    runner->insist();
  }
  // Runs the code to the handler of `vector`, all of its user part directly.
  void run_to(int vector, u64 direct_runs = 1) {
    const u64 before = count("direct.runs");
    REQUIRE(run() == Exit::kIdle);
    CHECK(halted_in() == vector);
    CHECK(count("direct.runs") - before == direct_runs);
  }

  direct::DirectRunner* runner = nullptr;
};

}  // namespace doppel::jit::test
