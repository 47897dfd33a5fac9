#include "devices/virtio/virtio_9p.hpp"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "tests/devices/share/nine_p_client.hpp"
#include "tests/devices/virtio_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

constexpr u64 kAsk = 0x10'0000, kTell = 0x20'0000;

struct NinePHost : VirtioHost {
  NinePHost() { attach(function); }
  TwoFolders folders;
  // Answers are waited for, so that nothing need be posted.
  void notify(u16 = 0) {
    VirtioHost::notify();
    model.quiesce();
  }
  // Waits until the folder's thread has something to hand back.
  std::function<void()> posted_work() {
    std::unique_lock guard(posted_mutex);
    REQUIRE(posted_changed.wait_for(guard, std::chrono::seconds(10), [this] { return posted != nullptr; }));
    return std::exchange(posted, nullptr);
  }
  std::mutex posted_mutex;
  std::condition_variable posted_changed;
  std::function<void()> posted;
  std::thread::id poster;
  Virtio9p model{SharedFolder(folders.shared, false), "work", [this](std::function<void()> work) {
                   const std::lock_guard guard(posted_mutex);
                   posted = std::move(work);
                   poster = std::this_thread::get_id();
                   posted_changed.notify_all();
                 }};
  VirtioPci function{model, ram, mmio, msi(), counters};
};
const Mischief<NinePHost> kMischief{
    .queues = 1, .features = 1, .provoke = [](NinePHost& host, u16) { host.notify(); }};

}  // namespace

TEST_CASE("the 9P transport's identity, feature and mount tag") {
  NinePHost m;
  CHECK(m.function.config_read(0, 4) == 0x1049'1af4);
  CHECK(m.get(kCommonAt + 0x12, 2) == 1);
  m.set(kCommonAt, 4, 0);
  CHECK((m.get(kCommonAt + 4, 4) & 0xff) == 1);
  CHECK(m.get(kConfigAt, 2) == 4);
  CHECK(m.get(kConfigAt + 2, 4) == 0x6b72'6f77);  // "work"
  CHECK(m.get(kConfigAt + 6, 4) == 0);
}

TEST_CASE("messages travel in pieces, both ways, in every layout") {
  for (const bool packed : {false, true})
    for (const bool indirect : {false, true}) {
      NinePHost m;
      REQUIRE(m.start(kFeatureVersion1 | kFeatureIndirect | (packed ? kFeaturePacked : 0), 8));
      DriverQueue queue(m, packed, 8, indirect);
      const auto call = [&](const NinePMessage& message) {
        CHECK(m.ram.write(kAsk, {message.bytes.data(), 5}));
        CHECK(m.ram.write(kAsk + 0x1000, {message.bytes.data() + 5, message.bytes.size() - 5}));
        queue.add({{kAsk, 5, false},
                   {kAsk + 0x1000, static_cast<u32>(message.bytes.size() - 5), false},
                   {kTell, 6, true},
                   {kTell + 0x1000, 4096, true}});
        m.notify();
        const auto used = queue.used();
        REQUIRE(used.size() == 1);
        CHECK(m.load<u32>(kTell) == used[0]);
        CHECK(m.load<u8>(kTell + 4) == message.bytes[4] + 1);
        return used[0];
      };
      CHECK(call(NinePMessage(kVersion).put<u32>(8192).text("9P2000.L")) == 7 + 4 + 2 + 8);
      CHECK(call(NinePMessage(kAttach).put<u32>(0).put(~0u).text("").text("").put<u32>(0)) == 7 + 13);
      CHECK(call(NinePMessage(kWalk).put<u32>(0).put<u32>(1).put<u16>(1).text("file")) == 7 + 2 + 13);
      CHECK(call(NinePMessage(kLopen).put<u32>(1).put<u32>(0)) == 7 + 13 + 4);
      CHECK(call(NinePMessage(kRead).put<u32>(1).put<u64>(0).put<u32>(100)) == 7 + 4 + 6);
      CHECK(m.load<u32>(kTell + 0x1000 + 1) == 6);            // bytes
      CHECK(m.load<u32>(kTell + 0x1000 + 5) == 0x6966'2061);  // "a fi"
    }
}

TEST_CASE("a request without room for any answer breaks the rules; one without a message is empty") {
  NinePHost m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  queue.add({{kAsk, 4, false}, {kTell, 100, true}});
  m.notify();
  CHECK(queue.used() == std::vector<u32>{0});
  CHECK(m.status() == 15);
  for (const std::vector<Segment>& segments : {std::vector<Segment>{{kAsk, 64, false}},
                                               std::vector<Segment>{{kAsk, 64, false}, {kTell, 10, true}}}) {
    NinePHost other;
    REQUIRE(other.start(kFeatureVersion1, 8));
    DriverQueue ring(other, false, 8);
    ring.add(segments);
    other.notify();
    CHECK((other.status() & 0x40) != 0);
  }
}

TEST_CASE("a message longer than any, and one that says so") {
  NinePHost m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  NinePMessage message(kWrite);
  message.put<u32>(1).put<u64>(0).put<u32>(1u << 20);
  const u32 size = 2u << 20;
  std::memcpy(message.bytes.data(), &size, 4);
  CHECK(m.ram.write(kAsk, message.bytes));
  queue.add({{kAsk, 2u << 20, false}, {kTell, 100, true}});
  m.notify();
  CHECK(queue.used() == std::vector<u32>{11});
  CHECK(m.load<u8>(kTell + 4) == 7);
  CHECK(m.load<u32>(kTell + 7) == EPROTO);
}

TEST_CASE("a reset forgets what was open") {
  NinePHost m;
  for (int i = 0; i < 2; ++i) {
    REQUIRE(m.start(kFeatureVersion1, 8));
    for (u64 pa = 0x1000; pa < 0x8000; pa += 8) m.store<u64>(pa, 0);
    DriverQueue queue(m, false, 8);
    const NinePMessage message = NinePMessage(kAttach).put<u32>(0).put(~0u).text("").text("").put<u32>(0);
    for (const u8 answer : {105, 7}) {  // the second time the fid is taken
      CHECK(m.ram.write(kAsk, message.bytes));
      queue.add({{kAsk, static_cast<u32>(message.bytes.size()), false}, {kTell, 100, true}});
      m.notify();
      CHECK(m.load<u8>(kTell + 4) == answer);
    }
  }
}

TEST_CASE("messages are answered on another thread, in order, and written on the vCPU's") {
  NinePHost m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  const auto ask = [&](u64 place, const NinePMessage& message) {
    CHECK(m.ram.write(kAsk + place, message.bytes));
    queue.add({{kAsk + place, static_cast<u32>(message.bytes.size()), false}, {kTell + place, 4096, true}});
  };
  ask(0, NinePMessage(kVersion).put<u32>(8192).text("9P2000.L"));
  ask(0x1000, NinePMessage(kAttach).put<u32>(0).put(~0u).text("").text("").put<u32>(0));
  ask(0x2000, NinePMessage(kClunk).put<u32>(0));
  m.VirtioHost::notify();
  const auto work = m.posted_work();
  CHECK(m.poster != std::this_thread::get_id());
  CHECK(queue.used().empty());
  CHECK(m.load<u32>(kTell) == 0);
  work();
  m.model.quiesce();
  CHECK(queue.used() == std::vector<u32>{21, 20, 7});
}

TEST_CASE("what a reset finds in flight is not answered after it") {
  NinePHost m;
  REQUIRE(m.start(kFeatureVersion1, 8));
  DriverQueue queue(m, false, 8);
  const NinePMessage message = NinePMessage(kVersion).put<u32>(8192).text("9P2000.L");
  CHECK(m.ram.write(kAsk, message.bytes));
  queue.add({{kAsk, static_cast<u32>(message.bytes.size()), false}, {kTell, 100, true}});
  m.VirtioHost::notify();
  const auto work = m.posted_work();
  REQUIRE(m.start(kFeatureVersion1, 8));
  work();
  m.model.quiesce();
  CHECK(queue.used().empty());
  CHECK(m.load<u32>(kTell) == 0);
}

TEST_CASE("9P transport and hostile rings") {
  kMischief.descriptors(0);
  kMischief.rings(0);
  kMischief.noise(4);
}

TEST_CASE("an answer that is handed back after the device has gone is nobody's") {
  TwoFolders folders;
  std::function<void()> posted;
  std::atomic<bool> answered{false};
  bool done = false;
  {
    FolderThread folder(SharedFolder(folders.shared, false), [&](std::function<void()> work) {
      posted = std::move(work);
      answered = true;
    });
    folder.submit(NinePMessage(kVersion).put<u32>(8192).text("9P2000.L").bytes, 100,
                  [&](std::span<const u8>) { done = true; });
    while (!answered) std::this_thread::yield();
  }
  posted();
  CHECK(!done);
}
