#include "devices/virtio/virtio_vsock.hpp"

#include "tests/devices/virtio_mischief.hpp"
#include "tests/devices/vsock_fixture.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

constexpr u16 kQueues = 3, kEvents = 2;
constexpr u64 kCid = 5;
constexpr u64 kRoom = 0x10'0000, kSay = 0x20'0000;
enum Operation : u16 {
  kRequest = 1,
  kResponse,
  kReset,
  kShutdown,
  kReadWrite,
  kCreditUpdate,
  kCreditRequest
};

struct VsockHost : VirtioHost {
  VsockHost() { attach(function); }

  void start_all(u64 layout = 0) {
    REQUIRE(negotiate(kFeatureVersion1 | 1 | layout));
    for (u16 queue = 0; queue < kQueues; ++queue) {
      DriverQueue::enable(*this, queue, 8);
      rings.at(queue) = std::make_unique<DriverQueue>(*this, layout != 0, u16{8}, false, queue);
    }
    driver_ok();
    offered = 0;
    offer(4);
  }
  void offer(u32 count, u32 size = 4096) {
    for (; count != 0; --count) rings[0]->add({{kRoom + offered++ % 8 * 0x1'0000, size, true}});
    notify(0);
  }
  // From the guest's port 1000 to the host's 80, unless said otherwise.
  void say(u16 operation, std::string_view data = {}, u32 flags = 0, u32 guest_port = 1000,
           u32 host_port = 80) {
    VsockPacket packet{.source = kCid,
                       .destination = 2,
                       .source_port = guest_port,
                       .destination_port = host_port,
                       .size = static_cast<u32>(data.size()),
                       .type = 1,
                       .operation = operation,
                       .flags = flags,
                       .buffer = buffer,
                       .forwarded = forwarded};
    send(packet, data);
  }
  void send(const VsockPacket& packet, std::string_view data = {}) {
    store(kSay, packet);
    CHECK(ram.write(kSay + sizeof packet, {reinterpret_cast<const u8*>(data.data()), data.size()}));
    rings[1]->add({{kSay, static_cast<u32>(sizeof packet + data.size()), false}});
    notify(1);
    CHECK(rings[1]->used().size() == 1);
  }
  // Takes the packets for the guest as "operation flags data"; their buffers go back.
  void collect() {
    for (const u32 size : rings[0]->used()) {
      const u64 at = kRoom + taken++ % 8 * 0x1'0000;
      last = load<VsockPacket>(at);
      CHECK(size == sizeof last + last.size);
      CHECK((last.source == 2 && last.destination == kCid && last.type == 1));
      std::string data(last.size, '\0');
      CHECK(ram.read(at + sizeof last, {reinterpret_cast<u8*>(data.data()), data.size()}));
      heard.push_back(std::to_string(last.operation) + ' ' + std::to_string(last.flags) + ' ' + data);
      offer(1);
    }
  }
  // The next of them; empty: there is none.
  std::string hear() {
    for (collect(); heard.empty(); collect())
      if (!host.wait(200)) return "";
    const std::string first = heard.front();
    heard.pop_front();
    return first;
  }

  std::vector<std::unique_ptr<DriverQueue>> rings = std::vector<std::unique_ptr<DriverQueue>>(kQueues);
  u32 buffer = 65536, forwarded = 0;
  u64 offered = 0, taken = 0;
  std::deque<std::string> heard;
  VsockPacket last{};
  VsockPrograms host;
  VirtioVsock model{kCid, host.sockets, counters};
  VirtioPci function{model, ram, mmio, msi(), counters};
};
const Mischief<VsockHost> kMischief{.queues = kQueues, .features = 1};

}  // namespace

TEST_CASE("the vsock device's identity, feature and context id") {
  VsockHost m;
  CHECK(m.function.config_read(0, 4) == 0x1053'1af4);
  CHECK(m.get(kCommonAt + 0x12, 2) == kQueues);
  m.set(kCommonAt, 4, 0);
  CHECK((m.get(kCommonAt + 4, 4) & 0xff) == 1);
  CHECK(m.get(kConfigAt, 4) == kCid);
  CHECK(m.get(kConfigAt + 4, 4) == 0);
}

TEST_CASE("the guest connects: data both ways, and an end from each side") {
  for (const u64 layout : {u64{0}, kFeaturePacked}) {
    VsockHost m;
    m.start_all(layout);
    m.host.listen(80);
    m.say(kRequest);
    CHECK(m.hear() == "2 0 ");
    CHECK(u32{m.last.buffer} == VirtioVsock::kBuffer);
    FileDescriptor program = m.host.accept();
    m.say(kReadWrite, "hello");
    CHECK(VsockPrograms::read(program, 5) == "hello");
    VsockPrograms::write(program, "world");
    CHECK(m.hear() == "5 0 world");
    CHECK(u32{m.last.forwarded} == 5);
    m.say(kShutdown, {}, 2);  // sends no more
    CHECK(VsockPrograms::read(program, 1).empty());
    VsockPrograms::write(program, "still");
    CHECK(m.hear() == "5 0 still");
    program = FileDescriptor();
    CHECK(m.hear() == "4 3 ");  // neither sends nor takes
    m.say(kReset);
    m.say(kReadWrite, "late");
    CHECK(m.hear() == "3 0 ");
  }
}

TEST_CASE("a host program connects") {
  VsockHost m;
  m.start_all();
  FileDescriptor program = m.host.client();
  VsockPrograms::write(program, "CONNECT 22\nearly");
  CHECK(m.hear() == "1 0 ");
  CHECK(u32{m.last.destination_port} == 22);
  const u32 port = m.last.source_port;
  CHECK(port >= 1u << 30);
  m.say(kResponse, {}, 0, 22, port);
  CHECK(m.hear() == "5 0 early");
  const std::string answer = "OK " + std::to_string(port) + "\n";
  CHECK(VsockPrograms::read(program, answer.size()) == answer);
  // Refused.
  FileDescriptor other = m.host.client();
  VsockPrograms::write(other, "CONNECT 23\n");
  CHECK(m.hear() == "1 0 ");
  CHECK(u32{m.last.source_port} != port);
  m.say(kReset, {}, 0, 23, m.last.source_port);
  CHECK(VsockPrograms::read(other, 1).empty());
  // No greeting at all.
  for (const std::string_view text :
       {"HELLO 1\n", "CONNECT \n", "CONNECT 1x\n", "CONNECT 99999999999999999999999999"}) {
    FileDescriptor wrong = m.host.client();
    VsockPrograms::write(wrong, text);
    while (m.host.wait(100)) {
    }
    CHECK(VsockPrograms::read(wrong, 1).empty());
  }
}

TEST_CASE("credit bounds what waits, both ways") {
  VsockHost m;
  m.start_all();
  m.host.listen(80);
  m.buffer = 10;
  m.say(kRequest);
  CHECK(m.hear() == "2 0 ");
  FileDescriptor program = m.host.accept();
  VsockPrograms::write(program, "0123456789abcde");
  CHECK(m.hear() == "5 0 0123456789");
  CHECK(m.hear().empty());
  m.forwarded = 7;
  m.say(kCreditUpdate);
  CHECK(m.hear() == "5 0 abcde");
  m.say(kCreditRequest);
  CHECK(m.hear() == "6 0 ");
  // A program that reads nothing: the socket's buffer fills, then ours. Beyond its credit the guest is wrong.
  const std::string much(4000, 'x');
  u32 sent = 0;
  while ((m.heard.empty() || m.heard.back() != "3 0 ") && sent < 4'000'000) {
    m.say(kReadWrite, much);
    sent += static_cast<u32>(much.size());
    m.collect();
  }
  CHECK(sent > VirtioVsock::kBuffer);
  CHECK(sent < 2'000'000);
}

TEST_CASE("packets that fit nothing are refused or ignored") {
  VsockHost m;
  m.start_all();
  m.say(kRequest);  // nobody listens
  CHECK(m.hear() == "3 0 ");
  for (const u16 operation : {kResponse, kShutdown, kReadWrite, kCreditUpdate, kCreditRequest}) {
    m.say(operation);
    CHECK(m.hear() == "3 0 ");
  }
  m.say(kReset);
  m.send({.source = kCid, .destination = 3, .type = 1, .operation = kRequest});
  m.send({.source = 9, .destination = 2, .type = 1, .operation = kRequest});
  CHECK(m.hear().empty());
  m.send({.source = kCid, .destination = 2, .type = 7, .operation = kRequest});
  CHECK(m.hear() == "3 0 ");
  // Twice the same connection; an operation that is none.
  m.host.listen(80);
  for (const u16 wrong : {u16{kRequest}, u16{99}}) {
    m.say(kRequest);
    CHECK(m.hear() == "2 0 ");
    m.say(wrong);
    CHECK(m.hear() == "3 0 ");
  }
  CHECK(m.status() == 15);
}

TEST_CASE("connections are bounded, and gone with a reset") {
  VsockHost m;
  m.start_all();
  m.host.listen(80);
  std::size_t open = 0, refused = 0;
  std::vector<FileDescriptor> programs;
  for (u32 port = 0; port < VirtioVsock::kMostConnections + 10; ++port) {
    m.say(kRequest, {}, 0, port);
    const std::string answer = m.hear();
    open += answer == "2 0 ";
    refused += answer == "3 0 ";
    if (answer == "2 0 ") programs.push_back(m.host.accept());
  }
  CHECK(open == VirtioVsock::kMostConnections);
  CHECK(refused == 10);
  m.set(kCommonAt + 0x14, 1, 0);
  for (const FileDescriptor& program : programs) CHECK(VsockPrograms::read(program, 1).empty());
}

TEST_CASE("a snapshot that is loaded tells the guest that its connections are gone") {
  VsockHost m;
  m.start_all();
  m.host.listen(80);
  m.say(kRequest);
  CHECK(m.hear() == "2 0 ");
  m.rings[kEvents]->add({{kRoom + 0xf'0000, 4, true}});
  m.store<u32>(kRoom + 0xf'0000, 77);
  m.notify(kEvents);
  CHECK(m.rings[kEvents]->used().empty());
  core::SnapshotIo saved;
  m.function.snapshot(saved);
  core::SnapshotIo loading(saved.stream());
  std::vector<std::function<void()>> later;
  m.function.on_unfinished([&](std::function<void()> work) { later.push_back(std::move(work)); });
  m.function.snapshot(loading);
  for (const auto& work : later) work();
  CHECK(m.rings[kEvents]->used() == std::vector<u32>{4});
  CHECK(m.load<u32>(kRoom + 0xf'0000) == 0);
  m.say(kReadWrite, "gone");
  CHECK(m.hear() == "3 0 ");
}

TEST_CASE("vsock and hostile rings") {
  for (const u16 queue : {u16{0}, u16{1}}) {
    kMischief.descriptors(queue);
    kMischief.rings(queue);
  }
  kMischief.noise(6);
}
