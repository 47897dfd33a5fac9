#include "devices/virtio/virtio_console.hpp"

#include <memory>
#include <string>
#include <utility>

#include "tests/devices/virtio_mischief.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

constexpr u64 kMultiport = u64{1} << 1;
constexpr u16 kControlIn = 2, kControlOut = 3;
constexpr u16 kQueues = 8;  // of three ports
constexpr u64 kText = 0x10'0000, kRoom = 0x11'0000;

struct Sink final : CharBackend {
  void write(u8 byte) override {
    text += static_cast<char>(byte);
    if (on_write) on_write();
  }
  std::string text;
  std::function<void()> on_write;
};

// A console and two named ports.
struct ConsoleHost : VirtioHost {
  ConsoleHost() { attach(function); }

  void start_all(u64 features = kMultiport, u16 size = 8) {
    REQUIRE(negotiate(kFeatureVersion1 | features));
    for (u16 queue = 0; queue < kQueues; ++queue) {
      DriverQueue::enable(*this, queue, size);
      rings.at(queue) =
          std::make_unique<DriverQueue>(*this, (features & kFeaturePacked) != 0, size, false, queue);
      for (u64 pa = 0x1000; pa < 0x8000; pa += 8) store<u64>(queue * 0x1'0000u + pa, 0);
    }
    driver_ok();
  }
  void put(u64 at, std::string_view bytes) {
    CHECK(ram.write(at, {reinterpret_cast<const u8*>(bytes.data()), bytes.size()}));
  }
  std::string bytes(u64 at, std::size_t size) {
    std::string out(size, '\0');
    CHECK(ram.read(at, {reinterpret_cast<u8*>(out.data()), size}));
    return out;
  }
  void print(u16 queue, std::string_view text) {
    put(kText, text);
    rings[queue]->add({{kText, static_cast<u32>(text.size()), false}});
    notify(queue);
  }
  // A place for input of this many bytes.
  void offer(u16 queue, u32 size) {
    rings[queue]->add({{kRoom + queue * 0x1'0000u, size, true}});
    notify(queue);
  }
  std::string taken(u16 queue) {
    std::string out;
    for (const u32 size : rings[queue]->used()) out += bytes(kRoom + queue * 0x1'0000u, size);
    return out;
  }
  std::size_t receive(std::size_t port, std::string_view text) {
    return model.receive(port, {reinterpret_cast<const u8*>(text.data()), text.size()});
  }
  void say(u32 id, u16 event, u16 value) {
    store<u32>(kText, id);
    store<u16>(kText + 4, event);
    store<u16>(kText + 6, value);
    rings[kControlOut]->add({{kText, 8, false}});
    notify(kControlOut);
  }
  // The next message from the device: "port event value name".
  std::string hear() {
    if (!std::exchange(listening, true)) offer(kControlIn, 64);
    const std::string message = taken(kControlIn);
    if (message.empty()) return "";
    listening = false;
    CHECK(message.size() >= 8);
    const u64 at = kRoom + kControlIn * 0x1'0000u;
    return std::to_string(load<u32>(at)) + ' ' + std::to_string(load<u16>(at + 4)) + ' ' +
           std::to_string(load<u16>(at + 6)) + (message.size() > 8 ? " " + message.substr(8) : "");
  }

  Sink sinks[3];
  int room = 0;
  bool listening = false;  // there is a place for a message
  std::vector<bool> opened;
  std::vector<std::unique_ptr<DriverQueue>> rings = std::vector<std::unique_ptr<DriverQueue>>(kQueues);
  VirtioConsole model{{{.name = "", .output = &sinks[0], .room = {}, .opened = {}},
                       {.name = "org.one",
                        .output = &sinks[1],
                        .room = [this] { ++room; },
                        .opened = [this](bool open) { opened.push_back(open); }},
                       {.name = "org.two", .output = &sinks[2], .room = {}, .opened = {}}}};
  VirtioPci function{model, ram, mmio, msi(), counters};
};
const Mischief<ConsoleHost> kMischief{.queues = kQueues, .features = kMultiport};

}  // namespace

TEST_CASE("the console's identity, features and configuration") {
  ConsoleHost m;
  CHECK(m.function.config_read(0, 4) == 0x1043'1af4);
  CHECK(m.get(kCommonAt + 0x12, 2) == kQueues);
  m.set(kCommonAt, 4, 0);
  CHECK((m.get(kCommonAt + 4, 4) & 0xff) == kMultiport);
  CHECK(m.get(kConfigAt + 4, 4) == 3);
  CHECK(m.get(kConfigAt + 12, 4) == 0);
  m.set(kConfigAt + 4, 4, 77);
  CHECK(m.get(kConfigAt + 4, 4) == 3);
}

TEST_CASE("a driver of one port: text in both directions without any control message") {
  for (const u64 layout : {u64{0}, kFeaturePacked}) {
    ConsoleHost m;
    m.start_all(layout);
    for (int i = 0; i < 20; ++i) {
      m.print(1, "line\n");
      CHECK(m.rings[1]->used() == std::vector<u32>{0});
    }
    CHECK(m.sinks[0].text.size() == 100);
    CHECK(m.sinks[0].text.substr(95) == "line\n");
    CHECK(m.intx);
    (void)m.get(kIsrAt, 1);
    // What comes before there is room waits, and is cut to fit.
    CHECK(m.receive(0, "abcdefg") == 7);
    CHECK_FALSE(m.intx);
    m.offer(0, 3);
    CHECK(m.taken(0) == "abc");
    CHECK(m.intx);
    m.offer(0, 16);
    CHECK(m.taken(0) == "defg");
    m.offer(0, 16);
    CHECK(m.taken(0).empty());
    CHECK(m.receive(0, "h") == 1);
    CHECK(m.taken(0) == "h");
    m.say(0, 0, 1);  // not agreed: no answer
    CHECK(m.hear().empty());
  }
}

TEST_CASE("ports: announced, named, opened by either side") {
  ConsoleHost m;
  m.model.set_host_connected(1, false);
  m.start_all();
  CHECK(m.hear().empty());
  m.say(0, 0, 1);
  for (const char* added : {"0 1 1", "1 1 1", "2 1 1", ""}) CHECK(m.hear() == added);
  m.say(0, 3, 1);
  CHECK(m.hear() == "0 4 1");
  CHECK(m.hear() == "0 6 1");
  m.say(1, 3, 1);
  CHECK(m.hear() == "1 7 1 org.one");
  CHECK(m.hear().empty());  // nobody is at the host's end
  m.model.set_host_connected(1, true);
  CHECK(m.hear() == "1 6 1");
  m.say(2, 3, 1);
  CHECK(m.hear() == "2 7 1 org.two");
  CHECK(m.hear() == "2 6 1");
  // Input for a port that the guest has not opened waits for that.
  m.offer(4, 16);
  CHECK(m.receive(1, "early") == 5);
  CHECK(m.taken(4).empty());
  m.say(1, 6, 1);
  CHECK(m.opened == std::vector<bool>{true});
  CHECK(m.taken(4) == "early");
  m.print(5, "out of port one");
  m.print(7, "out of port two");
  CHECK(m.sinks[0].text.empty());
  CHECK(m.sinks[1].text == "out of port one");
  CHECK(m.sinks[2].text == "out of port two");
  m.model.set_host_connected(1, false);
  CHECK(m.hear() == "1 6 0");
  m.say(1, 6, 0);
  CHECK(m.opened == std::vector<bool>{true, false});
  m.offer(4, 16);
  CHECK(m.receive(1, "late") == 4);
  CHECK(m.taken(4).empty());
  // A reset closes what is open and forgets what waits.
  m.say(1, 6, 1);
  CHECK(m.taken(4) == "late");
  CHECK(m.receive(1, "lost in the reset") == 17);
  m.set(kCommonAt + 0x14, 1, 0);
  CHECK(m.opened == std::vector<bool>{true, false, true, false});
  m.start_all();
  m.say(1, 6, 1);
  m.offer(4, 16);
  CHECK(m.taken(4).empty());
}

TEST_CASE("input has an end: what does not fit is refused, and the host hears when there is room") {
  ConsoleHost m;
  m.start_all();
  m.say(1, 6, 1);
  const std::string much(50'000, 'x');
  CHECK(m.receive(1, much) == 50'000);
  CHECK(m.receive(1, much) == 15'536);
  CHECK(m.receive(1, much) == 0);
  CHECK(m.room == 0);
  for (int i = 0; i < 8; ++i) m.offer(4, 4096);
  CHECK(m.room == 0);  // half is still there
  m.offer(4, 4096);
  CHECK(m.room == 1);
  m.offer(4, 4096);
  CHECK(m.room == 1);
}

TEST_CASE("control messages that make no sense") {
  ConsoleHost m;
  m.start_all();
  for (u32 id : {3u, 1000u, ~u32{0}})
    for (u16 event = 0; event < 10; ++event) {
      if (event == 0) continue;
      m.say(id, event, 1);
    }
  for (u16 event : {1, 2, 4, 5, 7, 8, 1000}) m.say(1, event, 1);
  m.say(0, 0, 0);
  CHECK(m.hear().empty());
  m.put(kText, std::string(64, '\0'));
  m.rings[kControlOut]->add({{kText, 7, false}});  // too short
  m.notify(kControlOut);
  CHECK(m.hear().empty());
  CHECK(m.status() == 15);
  // A guest that asks and never reads: there is an end to what is kept for it.
  for (int i = 0; i < 1000; ++i) {
    m.say(0, 0, 1);
    (void)m.rings[kControlOut]->used();
  }
  int messages = 0;
  while (!m.hear().empty()) ++messages;
  CHECK(messages == 1 + 256);  // there was a place for one
  // Room for less than a message: cut, as long as there is room at all.
  m.say(1, 3, 1);
  CHECK(m.hear() == "1 7 1 org.one");
  m.offer(kControlIn, 10);
  CHECK(m.taken(kControlIn).size() == 8);
  m.say(1, 3, 1);
  m.offer(kControlIn, 10);
  CHECK(m.taken(kControlIn).size() == 10);
}

TEST_CASE("a driver that prints while the device takes is served to the end") {
  for (const u64 features : {kFeatureEventIndex, kFeatureEventIndex | kFeaturePacked}) {
    ConsoleHost m;
    std::vector<std::function<void()>> later;
    m.function.on_unfinished([&](std::function<void()> work) { later.push_back(std::move(work)); });
    m.start_all(features);
    // As another processor would: a new line for each that is taken, and no notification, for the device is
    // busy.
    int lines = 100;
    m.sinks[0].on_write = [&] {
      if (lines-- > 0) m.rings[1]->add({{kText, 1, false}});
      (void)m.rings[1]->used();
    };
    m.print(1, "x");
    CHECK(m.sinks[0].text.size() < 40);  // not all at once
    int rounds = 0;
    for (; !later.empty(); ++rounds) {
      CHECK(later.size() == 1);
      const auto work = std::move(later.front());
      later.clear();
      work();
    }
    CHECK(m.sinks[0].text.size() == 101);
    CHECK(rounds >= 2);
  }
}

TEST_CASE("what was put off does nothing after a reset") {
  ConsoleHost m;
  std::vector<std::function<void()>> later;
  m.function.on_unfinished([&](std::function<void()> work) { later.push_back(std::move(work)); });
  m.start_all(0);
  m.sinks[0].on_write = [&] {
    m.rings[1]->add({{kText, 1, false}});
    (void)m.rings[1]->used();
  };
  m.print(1, "x");
  REQUIRE(later.size() == 1);
  const std::size_t printed = m.sinks[0].text.size();
  m.set(kCommonAt + 0x14, 1, 0);
  later.front()();
  CHECK(m.sinks[0].text.size() == printed);
  CHECK_FALSE(m.intx);
}

TEST_CASE("more than a megabyte in one request is no console's output") {
  for (const u32 pieces : {16u, 17u}) {
    ConsoleHost m;
    m.start_all(kFeatureIndirect);
    DriverQueue queue(m, false, 8, true, 1);
    queue.add(std::vector<Segment>(pieces, {kText, 0x1'0000, false}));
    m.notify(1);
    CHECK(m.sinks[0].text.size() == (pieces == 16 ? 1u << 20 : 0));
    CHECK((m.status() & 0x40) == (pieces == 16 ? 0 : 0x40));
  }
}

TEST_CASE("console and hostile rings") {
  // Input queues are looked at when there is something for the guest.
  Mischief<ConsoleHost> mischief = kMischief;
  mischief.provoke = [](ConsoleHost& host, u16 queue) {
    if (queue == 0) (void)host.model.receive(0, std::vector<u8>(16));
    if (queue == kControlIn) host.model.set_host_connected(1, true);
    host.notify(queue);
  };
  mischief.features = 0;
  for (const u16 queue : {u16{0}, u16{1}}) {
    CAPTURE(queue);
    mischief.descriptors(queue);
    mischief.rings(queue);
  }
  mischief.features = kMultiport;
  for (const u16 queue : {kControlIn, kControlOut, u16{5}, u16{7}}) {
    CAPTURE(queue);
    mischief.descriptors(queue);
    mischief.rings(queue);
  }
  mischief.noise(3, [](ConsoleHost& host, Hostile& random) {
    const std::size_t port = random.below(3);
    if (random.below(4) == 0) (void)host.model.receive(port, std::vector<u8>(random.below(20'000)));
    if (random.below(8) == 0) host.model.set_host_connected(port, random.below(2));
  });
}

TEST_CASE("a console's waiting input and open ports survive a snapshot") {
  ConsoleHost from, to;
  from.start_all();
  from.say(1, 6, 1);
  CHECK(from.receive(1, "waiting") == 7);
  from.say(0, 0, 1);
  core::SnapshotIo saved;
  from.function.snapshot(saved);
  core::SnapshotIo loading(saved.stream());
  to.function.snapshot(loading);
  core::SnapshotIo again;
  to.function.snapshot(again);
  CHECK(saved.stream() == again.stream());
}
