// What the tests of decoding, block building and dispatch share: the fixture of the system instructions with
// a dispatcher that runs guest code in it, interpreted or translated. Every vector has a handler that halts,
// so that an exception or interrupt ends the run and leaves its frame on the stack.
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "jit/dispatch.hpp"
#include "tests/interp/system_fixture.hpp"
#ifdef DOPPEL_TRANSLATOR_X64
#include "jit/x64/translator.hpp"
#endif

namespace doppel::jit::test {

using namespace interp::test;
using core::CpuState;
using Exit = Dispatcher::Exit;

inline constexpr u64 kHandlers = 0x9000;  // the handler of vector i is the HLT at kHandlers + i
inline constexpr u16 kLongCode = interp::test::kCode64;  // apart from the InsnFlags of that name
inline constexpr u64 kSpare = 0x5'0000;                  // free RAM

enum class Engine : u8 { kInterpreter, kTranslator };
inline constexpr Engine kEngines[] = {
    Engine::kInterpreter,
#ifdef DOPPEL_TRANSLATOR_X64
    Engine::kTranslator,
#endif
};

// A backend that only remembers which watched pages were written.
struct Watcher final : Backend {
  bool ready(Block&) override { return false; }
  void run(Block&) override {}
  void forget(Block&) override {}
  void forget_page(u64) override {}
  void clear() override {}
  void publish_counters() override {}
  std::string listing(const Block&) const override { return ""; }
  void watched_page_written(u64 physical) override { written.push_back(physical); }
  std::vector<u64> written;
};

struct RunningMachine : Machine {
  explicit RunningMachine(Mode mode = Mode::kLong, u8 cpl = 0, Engine engine = Engine::kInterpreter)
      : Machine(mode, cpl) {
#ifdef DOPPEL_TRANSLATOR_X64
    if (engine == Engine::kTranslator) {
      constexpr u64 kCodeCache = 8 << 20;
      backend = std::make_unique<x64::Translator>(cpu, dispatcher.blocks(), x64::Optimisations{.hot_runs = 0},
                                                  kCodeCache);
      dispatcher.set_backend(backend.get());
    }
#endif
    ram.on_code_write([this](u64 pa, u64 size) { dispatcher.blocks().invalidate(pa, size); });
    for (u32 vector = 0; vector < 256; ++vector) {
      put<u8>(kHandlers + vector, 0xf4);
      if (mode == Mode::kReal)
        put<u32>(vector * 4, static_cast<u32>(kHandlers + vector));
      else
        put_idt(static_cast<u8>(vector), gate(mode == Mode::kLong ? kLongCode : kCode0, kHandlers + vector,
                                              interp::SystemType::kInterruptGate32));
    }
    cpu.mmu.mode_changed();
  }

  void code(std::initializer_list<u8> bytes, u64 at = kRip) {
    std::copy(bytes.begin(), bytes.end(), ram.host(at));
  }
  void interrupt(u8 vector) {
    controller.vector = vector;
    cpu.state.notify(core::kPendingIntr);
  }
  [[nodiscard]] Exit run(u64 budget = 10'000) {
    return dispatcher.run(budget);
  }

  // The vector whose handler the processor halted in, or -1.
  [[nodiscard]] int halted_in() const {
    const u64 handler = cpu.state.rip - 1 - kHandlers;
    return cpu.state.activity == core::Activity::kHalted && handler < 256 ? static_cast<int>(handler) : -1;
  }
  // Words of the frame that the event pushed, from the stack pointer on (an error code first, if there is
  // one).
  [[nodiscard]] u64 frame(u32 index) const {
    const u64 sp = cpu.state.gpr[core::kRsp];
    if (cpu.state.efer & core::kEferLma) return get<u64>(sp + index * 8);
    return core::protected_mode(cpu.state) ? get<u32>(sp + index * 4) : get<u16>(sp + index * 2);
  }

  std::shared_ptr<BlockStore> store = std::make_shared<BlockStore>(ram, counters);
  Dispatcher dispatcher{cpu, store};
  std::unique_ptr<Backend> backend;
};

}  // namespace doppel::jit::test
