// A hostile guest for the storage devices: random registers, rings, descriptors, tables and packets.
//   fuzz_storage [--seconds N] [--seed N] [--only NAME]
#include "devices/floppy_82077.hpp"
#include "devices/ide/ata_disk.hpp"
#include "devices/ide/atapi_cdrom.hpp"
#include "devices/ide/piix3_ide.hpp"
#include "devices/virtio/virtio_blk.hpp"
#include "tests/devices/virtio_fuzz.hpp"

using namespace doppel;
using namespace doppel::core;
using namespace doppel::devices;
using namespace doppel::devices::testing;

namespace {

class VirtioGuest final : public VirtioFuzz {
 public:
  explicit VirtioGuest(u32 seed) : VirtioFuzz(seed, kQueues, 2) { attach(function_); }

 private:
  static constexpr u16 kQueues = 4;

  // A chain that begins with a header and ends with a status, most of the time.
  void shape(u16, u64 at, u32 position, u32 count) override {
    static constexpr u32 kTypes[] = {0, 1, 4, 8, 11, 13};
    if (position == 0) {
      const u64 header = 0x1'0000 + random.below(16) * 32;
      store<u32>(header, random.below(16) ? kTypes[random.below(6)] : static_cast<u32>(random.value()));
      store<u64>(header + 8, random.below(8) ? random.below(2048) : random.value());
      set(at, header, 16);
    } else if (position + 1 == count) {
      store<u32>(at + 8, 1);
    } else if (random.below(8)) {
      store<u32>(at + 8, 512 * static_cast<u32>(1 + random.below(4)));
    }
  }
  void happen() override { disturb(disk_); }

  MemoryDisk disk_{u64{1} << 20};
  VirtioBlk model_{disk_, "fuzz"};
  VirtioPci function_{model_, ram, mmio, [](u64, u32) {}, counters};
};

class IdeGuest final : public FuzzGuest {
 public:
  explicit IdeGuest(u32 seed) : FuzzGuest(seed) {
    function_.channel(0).connect(0, std::make_unique<AtaDisk>(disk_, "fuzz"));
    function_.channel(0).connect(1, std::make_unique<AtapiCdrom>(disc_, "fuzz"));
    function_.reset();
    function_.config_write(4, 2, 7);
  }
  void step() override {
    IdeChannel& channel = function_.channel(0);
    static constexpr u8 kCommands[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39,
                                       0x3d, 0x40, 0x91, 0xc4, 0xc5, 0xc6, 0xc8, 0xca,
                                       0xce, 0xe7, 0xec, 0xef, 0xb0, 0xa0, 0xa1, 0x08};
    switch (random.below(10)) {
      case 0:
        random.access(channel, 9);
        break;
      case 1:
        random.access(function_, 16);
        break;
      case 2:
        command(kCommands[random.below(sizeof kCommands)]);
        break;
      case 3:
        command(0xa0);
        packet();
        break;
      case 4:
        table();
        break;
      case 5:
        if (random.below(64) == 0) snapshot_round(function_);
        break;
      default:
        for (u64 n = random.below(600); n != 0; --n)
          if (random.below(2))
            (void)channel.read(0, 4);
          else
            channel.write(0, 2, random.value() & 0xffff);
    }
    disturb(disk_);
    disturb(disc_);
  }

 private:
  void command(u8 code) {
    IdeChannel& channel = function_.channel(0);
    channel.write(6, 1, (random.below(2) ? 0xe0 : 0xa0) | (code == 0xa0 || random.below(8) == 0 ? 0x10 : 0));
    for (u64 reg = 1; reg < 6; ++reg)
      for (u64 twice = random.below(2); twice < 2; ++twice)
        channel.write(reg, 1, random.below(3) ? random.below(8) : random.below(256));
    channel.write(7, 1, code);
  }
  void packet() {
    static constexpr u8 kOperations[] = {0x00, 0x03, 0x12, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x43,
                                         0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbb, 0xbd, 0xbe, 0x52};
    std::array<u8, 12> bytes{};
    for (u8& byte : bytes)
      if (random.below(3) == 0) byte = static_cast<u8>(random.below(2) ? random.below(8) : random.below(256));
    if (random.below(8)) bytes[0] = kOperations[random.below(sizeof kOperations)];
    for (u32 i = 0; i < 12; i += 2) function_.channel(0).write(0, 2, bytes[i] | bytes[i + 1] << 8);
  }
  void table() {
    for (u32 i = 0; i < 8; ++i) {
      store<u32>(0x1000 + i * 8, static_cast<u32>(address()));
      store<u32>(0x1000 + i * 8 + 4, (length() & 0xffff) | (random.below(4) ? 0 : 1u << 31));
    }
    function_.write(4, 4, random.below(8) ? 0x1000 : address() & 0xffff'ffff);
    function_.write(2, 1, 6);
    function_.write(0, 1, random.below(2) ? 9 : 1);
  }

  MemoryDisk disk_{u64{1} << 20}, disc_{u64{1} << 20, true};
  Piix3Ide function_{IrqLine(), IrqLine(), ram, ports, counters};
};

class FloppyGuest final : public FuzzGuest {
 public:
  explicit FloppyGuest(u32 seed) : FuzzGuest(seed) { chip_.reset(); }
  void step() override {
    switch (random.below(6)) {
      case 0:
        random.access(chip_, 8);
        break;
      case 1:
        chip_.write(2, 1, 0x1c);
        chip_.write(7, 1, random.below(4));
        break;
      case 2:
        if (random.below(64) == 0) snapshot_round(chip_);
        break;
      default:
        command();
    }
    disturb(disk_);
    for (u64 n = random.below(700); n != 0 && random.below(8); --n)
      if (chip_.read(4, 1) & 0x40)
        (void)chip_.read(5, 1);
      else
        break;
  }

 private:
  void command() {
    static constexpr u8 kCommands[] = {0x03, 0x04, 0xc5, 0xe6, 0x07, 0x08, 0x4a,
                                       0x4d, 0x0f, 0x12, 0x13, 0x94, 0x16};
    chip_.write(5, 1, random.below(8) ? kCommands[random.below(sizeof kCommands)] : random.below(256));
    for (u32 i = 0; i < 8; ++i) {
      static constexpr u8 kUsual[] = {0, 0, 0, 1, 2, 18, 0x1b, 0xff};
      chip_.write(5, 1, random.below(4) ? kUsual[i] : random.below(256));
    }
  }

  MemoryDisk disk_{1440 * 1024};
  Floppy82077 chip_{disk_, IrqLine(),
                    [this](std::span<u8> bytes, DmaDirection) {
                      const std::size_t size = random.below(bytes.size() + 1);
                      return Dma8237::Moved{size, random.below(2) != 0};
                    },
                    counters};
};

}  // namespace

int main(int argc, char** argv) {
  return fuzz_main(argc, argv,
                   {{"virtio_blk", [](u32 seed) { return std::make_unique<VirtioGuest>(seed); }},
                    {"ide", [](u32 seed) { return std::make_unique<IdeGuest>(seed); }},
                    {"floppy", [](u32 seed) { return std::make_unique<FloppyGuest>(seed); }}});
}
