// That the ways in which programs run are what their names say.
#include <doctest.h>

#include "tests/interp/guest_cpu.hpp"

namespace doppel::tests {
namespace {

// Counts RAX down by way of two jumps.
Program loop() {
  Program p{.mode = Mode::kUser64,
            .code = {0xff, 0xc8, 0x75, 0x02, 0xeb, 0x02, 0xeb, 0xf8},  // L: DEC EAX; JNZ M; JMP end; M: JMP L
            .initial = {},
            .data = {}};
  p.initial.gpr[core::kRax] = 1000;
  return p;
}

}  // namespace

TEST_CASE("translated in full means chained, and short blocks hold one instruction") {
  for (const Engine engine : engines()) {
    CAPTURE(std::string(engine_name(engine)));
    GuestCpu guest("max", engine);
    for (int i = 0; i < 2; ++i) {
      const Outcome outcome = guest.run(loop());
      CHECK(outcome.fault == kNoFault);
      CHECK(outcome.state.gpr[core::kRax] == 0);
    }
    const u64 blocks = guest.counter("jit.blocks translated"),
              instructions = guest.counter("jit.instructions translated"),
              entered = guest.counter("jit.entered from the dispatcher"),
              linked = guest.counter("jit.jumps linked");
    if (engine == Engine::kInterpreter) {
      CHECK(blocks == 0);
      continue;
    }
    CHECK(linked >= 2);
    CHECK(entered < 20);  // of 4,000 blocks
    CHECK((blocks == instructions) == (engine == Engine::kShortBlocks));
  }
}

}  // namespace doppel::tests
