// A hostile guest for every device that is no disk and no network card: the virtio entropy source, balloon,
// console, shared folder and vsock, and the chips of the board.
//   fuzz_devices [--seconds N] [--seed N] [--only NAME]
#include "devices/virtio/virtio_9p.hpp"
#include "devices/virtio/virtio_balloon.hpp"
#include "devices/virtio/virtio_console.hpp"
#include "devices/virtio/virtio_rng.hpp"
#include "devices/virtio/virtio_vsock.hpp"
#include "tests/devices/pc_fuzz.hpp"
#include "tests/devices/share/nine_p_noise.hpp"
#include "tests/devices/share/two_folders.hpp"
#include "tests/devices/virtio_fuzz.hpp"
#include "tests/devices/vsock_fixture.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

class RngGuest final : public VirtioFuzz {
 public:
  explicit RngGuest(u32 seed) : VirtioFuzz(seed, 1) { attach(function_); }

 private:
  void shape(u16, u64, u32, u32) override {}

  VirtioRng model_;
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
};

class BalloonGuest final : public VirtioFuzz {
 public:
  explicit BalloonGuest(u32 seed) : VirtioFuzz(seed, 3) { attach(function_); }

 private:
  // A list of pages to give away; pages that are free.
  void shape(u16 queue, u64 at, u32, u32) override {
    const u64 list = 0x10'0000 + random.below(16) * 4096;
    for (u32 i = 0; i < 16; ++i)
      store<u32>(list + i * 4,
                 static_cast<u32>(random.below(4) ? 0x100 + random.below(0x110) : random.value()));
    if (queue < 2)
      set(at, list, static_cast<u32>(random.below(64) + 1));
    else
      set(at, random.below(kRam), static_cast<u32>(random.below(0x1'0000)));
  }
  void happen() override {
    if (random.below(64) == 0) model_.set_target(random.value());
  }

  VirtioBalloon model_{ram, counters};
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
};

class ConsoleGuest final : public VirtioFuzz {
 public:
  explicit ConsoleGuest(u32 seed) : VirtioFuzz(seed, 8) {
    attach(function_);
    function_.on_unfinished([this](std::function<void()> work) { later_.push_back(std::move(work)); });
  }

 private:
  // A control message.
  void shape(u16 queue, u64 at, u32 position, u32) override {
    if (queue != 3 || position != 0) return;
    const u64 message = 0x10'0000 + random.below(64) * 16;
    store<u32>(message, static_cast<u32>(random.below(8) ? random.below(3) : random.value()));
    store<u16>(message + 4, static_cast<u16>(random.below(8)));
    store<u16>(message + 6, static_cast<u16>(random.below(4) ? 1 : random.below(2)));
    set(at, message, 8);
  }
  void happen() override {
    const std::size_t port = random.below(3);
    if (random.below(16) == 0)
      (void)model_.receive(port, std::vector<u8>(random.below(random.below(8) ? 100 : 70'000)));
    if (random.below(64) == 0) model_.set_host_connected(port, random.below(2));
    const auto work = std::exchange(later_, {});
    for (const auto& one : work) one();
  }

  struct Swallow final : CharBackend {
    void write(u8) override {}
  } nowhere_;
  std::vector<std::function<void()>> later_;
  VirtioConsole model_{{{.name = "", .output = &nowhere_, .room = {}, .opened = {}},
                        {.name = "one", .output = &nowhere_, .room = [] {}, .opened = [](bool) {}},
                        {.name = "two", .output = &nowhere_, .room = {}, .opened = {}}}};
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
};

class ShareGuest final : public VirtioFuzz {
 public:
  explicit ShareGuest(u32 seed) : VirtioFuzz(seed, 1, 2), before_(TwoFolders::listing(folders_.outside)) {
    attach(function_);
  }
  ~ShareGuest() override {
    if (TwoFolders::listing(folders_.outside) == before_) return;
    std::fprintf(stderr, "the shared folder was left\n");
    std::abort();
  }

 private:
  // A message, and room for the answer behind it.
  void shape(u16, u64 at, u32 position, u32 count) override {
    if (position + 1 == count && count > 1)
      set(at, 0x18'0000, static_cast<u32>(random.below(8) ? 8192 : random.below(300)));
    if (position != 0) return;
    const std::vector<u8> message = noise_.message(random);
    if (message.empty()) return;
    const u64 place = 0x10'0000 + random.below(16) * 0x1000;
    (void)ram.write(place, message);
    set(at, place, static_cast<u32>(message.size()));
  }

  void happen() override {
    if (random.below(8) == 0) model_.quiesce();
  }

  TwoFolders folders_;
  std::string before_;
  NinePNoise noise_;
  Virtio9p model_{SharedFolder(folders_.shared, false), "fuzz", [](const std::function<void()>&) {}};
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
};

class VsockGuest final : public VirtioFuzz {
 public:
  explicit VsockGuest(u32 seed) : VirtioFuzz(seed, 3) {
    attach(function_);
    host_.listen(1);
    function_.on_unfinished([this](std::function<void()> work) { later_.push_back(std::move(work)); });
  }

 private:
  static constexpr std::size_t kMostPrograms = 16;
  static constexpr u32 kGuestPort = 3;  // that host programs ask for

  bool writes(u16 queue) override { return rarely(64) ? random.below(2) : queue != 1; }
  // Room for packets; a packet of one of a few connections.
  void shape(u16 queue, u64 at, u32 position, u32) override {
    if (queue != 1)
      return set(at, 0x18'0000 + random.below(16) * 0x1000,
                 static_cast<u32>((rarely(64) ? 0 : 44) + random.below(random.below(4) ? 5000 : 70'000)));
    if (position != 0) return;
    static constexpr u16 kUsual[] = {1, 2, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6, 7};
    VsockPacket packet{.source = 5, .destination = 2, .type = 1};
    const bool listener = random.below(2);
    packet.source_port = listener || rarely(8) ? static_cast<u32>(random.below(4)) : kGuestPort;
    packet.destination_port =
        listener ? 1 : (u32{1} << 30) + greeted_ - 1 - static_cast<u32>(random.below(4));
    packet.operation =
        random.below(32) ? kUsual[random.below(std::size(kUsual))] : static_cast<u16>(random.below(9));
    packet.size = static_cast<u32>(random.below(random.below(2) ? 60'000 : 2000));
    packet.flags = static_cast<u32>(random.below(4));
    packet.buffer = static_cast<u32>(random.below(4) ? 65536 : random.value());
    packet.forwarded = static_cast<u32>(random.below(2) ? 0 : random.below(100'000));
    const u32 said = packet.size;
    if (rarely(16)) packet.size = static_cast<u32>(random.value());
    if (rarely(64)) packet.source = random.value();
    const u64 place = 0x10'0000 + random.below(4) * 0x1'0000;
    (void)ram.write(place, {reinterpret_cast<const u8*>(&packet), sizeof packet});
    set(at, place, static_cast<u32>(rarely(16) ? random.below(100) : sizeof packet + said));
  }
  void happen() override {
    if (random.below(64) == 0 && programs_.size() < kMostPrograms) {
      const bool greets = random.below(8);
      add(host_.client());
      VsockPrograms::write(programs_.back(), greets ? "CONNECT 3\n" : "CONNECT");
      greeted_ += greets;
    }
    if (random.below(8) == 0 && programs_.size() < kMostPrograms && host_.called()) add(host_.accept());
    if (!programs_.empty()) program(random.below(programs_.size()));
    if (random.below(4) == 0) (void)host_.wait(0);
    const auto work = std::exchange(later_, {});
    for (const auto& one : work) one();
  }
  void add(FileDescriptor program) {
    ::fcntl(program.get(), F_SETFL, O_NONBLOCK);
    programs_.push_back(std::move(program));
  }
  void program(std::size_t which) {
    const FileDescriptor& socket = programs_[which];
    switch (random.below(64)) {
      case 0:
        programs_.erase(programs_.begin() + static_cast<std::ptrdiff_t>(which));
        break;
      case 1:
        ::shutdown(socket.get(), random.below(4) ? SHUT_WR : SHUT_RD);
        break;
      case 2:
        (void)VsockPrograms::read(socket, 100'000);
        break;
      case 3:
      case 4:
      case 5:
      case 6:
        VsockPrograms::write(socket, std::string(random.below(random.below(8) ? 3000 : 100'000), 'x'));
        break;
      default:
        break;
    }
  }

  VsockPrograms host_;
  std::vector<FileDescriptor> programs_;
  u32 greeted_ = 0;  // how many programs have asked for a port
  std::vector<std::function<void()>> later_;
  VirtioVsock model_{5, host_.sockets, counters};
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
};

}  // namespace

int main(int argc, char** argv) {
  return fuzz_main(argc, argv,
                   {{"virtio_rng", [](u32 seed) { return std::make_unique<RngGuest>(seed); }},
                    {"virtio_balloon", [](u32 seed) { return std::make_unique<BalloonGuest>(seed); }},
                    {"virtio_console", [](u32 seed) { return std::make_unique<ConsoleGuest>(seed); }},
                    {"virtio_9p", [](u32 seed) { return std::make_unique<ShareGuest>(seed); }},
                    {"virtio_vsock", [](u32 seed) { return std::make_unique<VsockGuest>(seed); }},
                    {"pc", [](u32 seed) { return std::make_unique<PcFuzz>(seed); }, 50'000}});
}
