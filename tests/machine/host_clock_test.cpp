#include "core/machine/host_clock.hpp"

#include <doctest.h>

#include <string>
#include <thread>
#include <vector>

namespace doppel::machine {
namespace {

using namespace std::chrono_literals;
constexpr u64 kMs = 1'000'000;

struct Fixture {
  boost::asio::io_context events;
  std::recursive_mutex lock;
  HostClock clock{events, lock};
  std::string fired;

  auto timer(char name) {
    return clock.make_timer([this, name] { fired += name; });
  }
  void run(std::chrono::milliseconds time) {
    events.restart();
    events.run_for(time);
  }
};

}  // namespace

TEST_CASE("time goes on with the host's") {
  Fixture f;
  const u64 start = f.clock.now();
  std::this_thread::sleep_for(20ms);
  const u64 slept = f.clock.now() - start;
  CHECK(slept >= 20 * kMs);
  CHECK(slept < 5'000 * kMs);
}

TEST_CASE("timers fire once, in the order of their deadlines, not before them") {
  Fixture f;
  const auto a = f.timer('a'), b = f.timer('b'), past = f.timer('p');
  u64 fired_at = 0;
  const u64 now = f.clock.now(), deadline = now + 10 * kMs;
  const auto late = f.clock.make_timer([&] { fired_at = f.clock.now(); });
  a->arm(now + 6 * kMs);
  b->arm(now + 3 * kMs);
  past->arm(0);
  late->arm(deadline);
  f.run(100ms);
  CHECK(f.fired == "pba");
  CHECK(fired_at >= deadline);
}

TEST_CASE("timers are moved, stopped and destroyed") {
  Fixture f;
  const auto moved_back = f.timer('b'), moved_forward = f.timer('f'), stopped = f.timer('s');
  auto destroyed = f.timer('d');
  const u64 now = f.clock.now();
  moved_back->arm(now + 1 * kMs);
  moved_back->arm(now + 20 * kMs);
  moved_forward->arm(now + 60'000 * kMs);
  moved_forward->arm(now + 5 * kMs);
  stopped->arm(now + 2 * kMs);
  stopped->cancel();
  destroyed->arm(now + 2 * kMs);
  destroyed.reset();
  f.run(100ms);
  CHECK(f.fired == "fb");
}

TEST_CASE("a callback holds the device lock and may arm its timer again") {
  Fixture f;
  int count = 0, lock_held = 0;
  std::unique_ptr<core::Timer> timer;
  timer = f.clock.make_timer([&] {
    std::thread other([&] {
      if (f.lock.try_lock())
        f.lock.unlock();
      else
        ++lock_held;
    });
    other.join();
    if (++count < 3) timer->arm(f.clock.now() + kMs);
  });
  timer->arm(f.clock.now());
  f.run(100ms);
  CHECK(count == 3);
  CHECK(lock_held == 3);
}

TEST_CASE("a timer that another thread arms wakes the event loop") {
  Fixture f;
  const auto timer = f.timer('x');
  std::thread other([&] {
    std::this_thread::sleep_for(10ms);
    const std::lock_guard guard(f.lock);
    timer->arm(f.clock.now() + kMs);
  });
  const auto work = boost::asio::make_work_guard(f.events);
  f.run(100ms);
  other.join();
  CHECK(f.fired == "x");
}

}  // namespace doppel::machine
