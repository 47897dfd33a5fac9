#include "core/machine/directed_yield.hpp"

#include <doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace doppel::machine::test {
namespace {

using std::chrono::steady_clock;

constexpr auto asleep = [] { return false; };

// Of two vCPUs on `host_processors`, one spins a hundred times: how long that takes. Standing aside each time
// would be a tenth of a second.
double spinning_seconds(u32 host_processors, auto&& awake) {
  DirectedYield yields(host_processors);
  DirectedYield::Seat first, second;
  yields.run(first);
  yields.run(second);
  const auto begin = steady_clock::now();
  for (int i = 0; i < 100; ++i) yields.spin(first, awake);
  return std::chrono::duration<double>(steady_clock::now() - begin).count();
}

}  // namespace

TEST_CASE("a vCPU that spins goes on at once where each has a host processor") {
  CHECK(spinning_seconds(2, asleep) < 0.05);
}

TEST_CASE("two vCPUs that spin on one host processor take turns") {
  constexpr u32 kTurns = 2000;
  DirectedYield yields(1);
  std::atomic<u32> turn{0};
  const auto play = [&](u32 self) {
    DirectedYield::Seat seat;
    yields.run(seat);
    for (u32 i = self; i < kTurns; i += 2) {
      while (turn.load() != i) yields.spin(seat, asleep);
      turn = i + 1;
    }
    yields.rest(seat);
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  CHECK(turn == kTurns);
}

TEST_CASE("a vCPU that stands aside comes back when it is woken, or when another one sleeps") {
  for (const bool woken : {true, false}) {
    CAPTURE(woken);
    DirectedYield yields(1);
    DirectedYield::Seat spinning, computing;
    yields.run(computing);
    std::atomic<bool> go_on{false};
    std::thread spinner([&] {
      yields.run(spinning);
      while (!go_on) yields.spin(spinning, asleep);
      yields.rest(spinning);
    });
    go_on = true;
    woken ? yields.wake(spinning) : yields.rest(computing);
    spinner.join();
  }
}

TEST_CASE("a vCPU that has something to do does not stand aside") {
  CHECK(spinning_seconds(1, [] { return true; }) < 0.05);
}

}  // namespace doppel::machine::test
