#include "core/clock.hpp"

#include <doctest.h>

#include <vector>

using namespace doppel;
using namespace doppel::core;

TEST_CASE("a manual clock fires timers in order of deadline, at their deadlines") {
  ManualClock clock;
  std::vector<u64> fired;
  auto late = clock.make_timer([&] { fired.push_back(clock.now()); });
  auto early = clock.make_timer([&] { fired.push_back(clock.now()); });
  late->arm(200);
  early->arm(100);

  clock.advance(99);
  CHECK(fired.empty());
  clock.advance(1000);
  CHECK(fired == std::vector<u64>{100, 200});
  CHECK(clock.now() == 1099);
}

TEST_CASE("a timer can re-arm itself, be cancelled, and be destroyed while armed") {
  ManualClock clock;
  int count = 0;
  std::unique_ptr<Timer> periodic;
  periodic = clock.make_timer([&] {
    ++count;
    periodic->arm(clock.now() + 10);
  });
  periodic->arm(10);
  clock.advance(35);
  CHECK(count == 3);
  periodic->cancel();
  clock.advance(100);
  CHECK(count == 3);
  periodic->arm(clock.now() + 5);
  periodic.reset();
  clock.advance(100);
  CHECK(count == 3);
}
