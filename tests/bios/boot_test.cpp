#include <doctest.h>

#include <algorithm>
#include <string>

#include "bios/e820.hpp"
#include "bios/kernel_image.hpp"
#include "core/cpu_state.hpp"
#include "devices/pc_layout.hpp"
#include "tests/bios/synthetic_images.hpp"

using namespace doppel;
using namespace doppel::bios;
using namespace doppel::bios::test;

namespace {

constexpr u64 kMiB = 0x10'0000, kGiB = u64{1} << 30;

// A machine that was given one kernel.
struct Booted {
  core::GuestRam ram;
  core::CpuState state;
  Error error;

  Booted(const BootRequest& request, u64 ram_size) : ram(ram_size), error(boot(request, ram, state)) {}

  template <class T>
  [[nodiscard]] T at(u64 pa) const {
    T value = 0;
    CHECK(ram.read(pa, {reinterpret_cast<u8*>(&value), sizeof value}));
    return value;
  }
  [[nodiscard]] std::string text(u64 pa) const { return reinterpret_cast<const char*>(ram.host(pa)); }
};

void check_flat_protected_mode(const core::CpuState& s) {
  CHECK(s.cr0 == (core::kCr0Pe | core::kCr0Et));
  CHECK(s.code_bits == 32);
  CHECK(s.efer == 0);
  CHECK(core::rflags(s) == core::kFlagsFixed);
  for (const auto segment : {core::kEs, core::kSs, core::kDs}) {
    CHECK(s.segment[segment].selector == 0x18);
    CHECK(s.segment[segment].limit == ~u32{0});
    CHECK(s.segment[segment].attributes == 0xc093);
  }
  CHECK(s.segment[core::kCs].selector == 0x10);
  CHECK(s.segment[core::kCs].attributes == 0xc09b);
}

}  // namespace

TEST_CASE("bzImage, 64-bit entry: long mode, boot parameters, map, RAM disk, command line, tables") {
  const Bytes kernel = BzImage{}.build(), first(10, 1), second(5, 2);
  const Booted m({.kernel = kernel,
                  .modules = {{first, ""}, {second, ""}},
                  .command_line = "console=ttyS0",
                  .rng_seed = Bytes(32, 7)},
                 64 * kMiB);
  REQUIRE_MESSAGE(!m.error, *m.error);
  const core::CpuState& s = m.state;
  CHECK(s.rip == 0x100'0200);
  CHECK(s.code_bits == 64);
  CHECK(s.cr0 == (core::kCr0Pe | core::kCr0Et | core::kCr0Pg));
  CHECK(s.cr4 == core::kCr4Pae);
  CHECK(s.efer == (core::kEferLme | core::kEferLma));
  CHECK(s.segment[core::kCs].attributes == 0xa09b);
  CHECK(m.at<u64>(s.gdtr.base + 0x10) == 0x00af'9b00'0000'ffff);
  CHECK(m.at<u64>(s.gdtr.base + 0x18) == 0x00cf'9300'0000'ffff);
  CHECK(m.at<u8>(0x100'0000) == 0xa5);

  const u64 params = s.gpr[core::kRsi];
  CHECK(m.at<u32>(params + 0x202) == 0x5372'6448);
  CHECK(m.at<u8>(params + 0x210) == 0xff);
  CHECK(m.at<u32>(params + 0x214) == 0x100'0000);
  CHECK(m.at<u64>(params + 0x70) == devices::kFirmwareTables);
  CHECK(m.text(m.at<u32>(params + 0x228)) == "console=ttyS0");
  const u32 ramdisk = m.at<u32>(params + 0x218);
  CHECK(ramdisk == 64 * kMiB - 0x1000);
  CHECK(m.at<u32>(params + 0x21c) == 17);  // the second archive starts at a multiple of four
  CHECK(m.at<u8>(ramdisk + 9) == 1);
  CHECK(m.at<u16>(ramdisk + 10) == 0);
  CHECK(m.at<u8>(ramdisk + 12) == 2);
  const u64 setup_data = m.at<u64>(params + 0x250);
  CHECK(m.at<u64>(setup_data) == 0);
  CHECK(m.at<u32>(setup_data + 8) == 9);
  CHECK(m.at<u32>(setup_data + 12) == 32);
  CHECK(m.at<u8>(setup_data + 16 + 31) == 7);

  const auto map = memory_map(m.ram);
  CHECK(m.at<u8>(params + 0x1e8) == map.size());
  for (std::size_t i = 0; i < map.size(); ++i) {
    CHECK(m.at<u64>(params + 0x2d0 + 20 * i) == map[i].base);
    CHECK(m.at<u64>(params + 0x2d8 + 20 * i) == map[i].size);
    CHECK(m.at<u32>(params + 0x2e0 + 20 * i) == static_cast<u32>(map[i].type));
  }
  CHECK(m.at<u8>(params + 0x26c) == 0);  // past the file's header: zero, not the file's payload
}

TEST_CASE("bzImage: which entry, and where") {
  struct Case {
    const char* what;
    BzImage image;
    bool want_32bit;
    u8 bits;
    u64 rip;
  };
  for (const Case& c : {
           Case{"64-bit", {}, false, 64, 0x100'0200},
           Case{"32-bit on demand", {}, true, 32, 0x100'0000},
           Case{"no 64-bit entry", {.xloadflags = 0}, false, 32, 0x100'0000},
           Case{"before xloadflags", {.version = 0x20b}, false, 32, 0x100'0000},
           Case{"before pref_address", {.version = 0x206}, false, 32, 0x10'0000},
           Case{"not relocatable", {.relocatable = 0}, false, 64, 0x10'0200},
           Case{"preferred address not aligned", {.pref_address = 0x110'0000}, false, 64, 0x120'0200},
       }) {
    CAPTURE(c.what);
    const Bytes kernel = c.image.build();
    const Booted m({.kernel = kernel, .linux_32bit_entry = c.want_32bit}, 64 * kMiB);
    REQUIRE_MESSAGE(!m.error, *m.error);
    CHECK(m.state.code_bits == c.bits);
    CHECK(m.state.rip == c.rip);
    if (c.bits == 32) check_flat_protected_mode(m.state);
  }
}

TEST_CASE("bzImage: the RAM disk goes as high as the kernel and the RAM allow") {
  struct Case {
    BzImage image;
    u64 ram, size, address;
  };
  for (const Case& c : {
           Case{{}, 64 * kMiB, kMiB, 63 * kMiB},
           Case{{.initrd_addr_max = 0x37f'ffff}, 64 * kMiB, kMiB, 55 * kMiB},
           Case{{}, 5 * kGiB, kMiB, 2047 * kMiB},
           Case{{.initrd_addr_max = 0xffff'ffff}, 5 * kGiB, kMiB, 3071 * kMiB},
           Case{{.initrd_addr_max = 0x17f'ffff}, 5 * kGiB, kMiB, 15 * kMiB},         // below the kernel
           Case{{.initrd_addr_max = 0x17f'ffff}, 5 * kGiB, 16 * kMiB, 6128 * kMiB},  // above 4 GiB
           Case{{.xloadflags = 1, .initrd_addr_max = 0x17f'ffff}, 5 * kGiB, 16 * kMiB, 0},
           Case{{}, 32 * kMiB, 16 * kMiB, 0},
       }) {
    const Bytes kernel = c.image.build(), module(c.size, 0x77);
    const Booted m({.kernel = kernel, .modules = {{module, ""}}}, c.ram);
    CAPTURE(c.ram);
    CAPTURE(c.image.initrd_addr_max);
    CHECK(m.error.has_value() == (c.address == 0));
    if (m.error) continue;
    const u64 params = m.state.gpr[core::kRsi];
    const u64 address = m.at<u32>(params + 0x218) | u64{m.at<u32>(params + 0xc0)} << 32;
    CHECK(address == c.address);
    CHECK(m.at<u8>(address + c.size - 1) == 0x77);
  }
}

TEST_CASE("bzImage: a RAM disk above 4 GiB is mapped") {
  const Bytes kernel = BzImage{.initrd_addr_max = 0x17f'ffff}.build(), module(24 * kMiB, 0x77);
  const Booted m({.kernel = kernel, .modules = {{module, ""}}}, 5 * kGiB);
  REQUIRE_MESSAGE(!m.error, *m.error);
  const u64 params = m.state.gpr[core::kRsi];
  CHECK(m.at<u32>(params + 0xc0) == 1);
  CHECK(m.at<u64>((m.at<u64>(m.state.cr3) & ~u64{0xfff}) + 5 * 8) != 0);
}

TEST_CASE("PVH: start info, modules and map in 32-bit protected mode") {
  const Bytes kernel = pvh_kernel(), module(100, 0x33);
  Booted m({.kernel = kernel, .modules = {{module, "first"}}, .command_line = "quiet"}, 64 * kMiB);
  REQUIRE_MESSAGE(!m.error, *m.error);
  check_flat_protected_mode(m.state);
  CHECK(m.state.rip == 0x100'0010);
  CHECK(m.at<u8>(0x100'003f) == 0x90);
  CHECK(m.at<u8>(0x100'0040) == 0);

  const u64 info = m.state.gpr[core::kRbx];
  CHECK(m.at<u32>(info) == 0x336e'c578);
  CHECK(m.at<u32>(info + 4) == 1);
  CHECK(m.at<u32>(info + 12) == 1);
  const u64 list = m.at<u64>(info + 16);
  CHECK(m.at<u8>(m.at<u64>(list)) == 0x33);
  CHECK(m.at<u64>(list + 8) == 100);
  CHECK(m.text(m.at<u64>(list + 16)) == "first");
  CHECK(m.text(m.at<u64>(info + 24)) == "quiet");
  CHECK(m.at<u64>(info + 32) == devices::kFirmwareTables);
  const auto map = memory_map(m.ram);
  CHECK(m.at<u32>(info + 48) == map.size());
  CHECK(m.at<u64>(m.at<u64>(info + 40) + 24 * (map.size() - 1)) == map.back().base);
}

TEST_CASE("memory beyond a segment's bytes is cleared, also on the second boot") {
  const Bytes kernel = pvh_kernel();
  core::GuestRam ram(64 * kMiB);
  const u8 dirt = 0xff;
  CHECK(ram.write(0x100'2fff, {&dirt, 1}));
  core::CpuState state;
  CHECK_FALSE(boot({.kernel = kernel}, ram, state));
  CHECK(*ram.host(0x100'2fff) == 0);
}

TEST_CASE("Multiboot: ELF kernel linked high, information structure, modules after the kernel") {
  const Bytes kernel = multiboot_kernel(), one(0x1001, 0x44), two(3, 0x55);
  const Booted m({.kernel = kernel, .modules = {{one, "one"}, {two, "two"}}, .command_line = "args"},
                 64 * kMiB);
  REQUIRE_MESSAGE(!m.error, *m.error);
  check_flat_protected_mode(m.state);
  CHECK(m.state.rip == 0x10'000c);
  CHECK(m.state.gpr[core::kRax] == 0x2bad'b002);

  const u64 info = m.state.gpr[core::kRbx];
  CHECK(m.at<u32>(info) == 0x24d);
  CHECK(m.at<u32>(info + 4) == 639);
  CHECK(m.at<u32>(info + 8) == 63 * 1024);
  CHECK(m.text(m.at<u32>(info + 16)) == "args");
  CHECK(m.at<u32>(info + 20) == 2);
  const u64 list = m.at<u32>(info + 24);
  CHECK(m.at<u32>(list) == 0x10'2000);
  CHECK(m.at<u32>(list + 4) == 0x10'3001);
  CHECK(m.text(m.at<u32>(list + 8)) == "one");
  CHECK(m.at<u32>(list + 16) == 0x10'4000);
  CHECK(m.at<u8>(0x10'4002) == 0x55);
  const auto map = memory_map(m.ram);
  CHECK(m.at<u32>(info + 44) == 24 * map.size());
  CHECK(m.at<u32>(m.at<u32>(info + 48)) == 20);
  CHECK(m.at<u64>(m.at<u32>(info + 48) + 4 + 24 * 3) == map[3].base);
  CHECK(m.text(m.at<u32>(info + 64)) == "doppel");
}

TEST_CASE("Multiboot: address fields replace the file format") {
  const Bytes kernel = multiboot_flat_kernel();
  const Booted m({.kernel = kernel}, 64 * kMiB);
  REQUIRE_MESSAGE(!m.error, *m.error);
  CHECK(m.state.rip == 0x20'0030);
  CHECK(m.at<u8>(0x20'0000) == 0x11);
  CHECK(m.at<u32>(0x20'0010) == 0x1bad'b002);
  CHECK(m.at<u8>(0x20'004f) == 0x90);
  CHECK(m.at<u8>(0x20'0050) == 0);
}

TEST_CASE("a BIOS data area and cacheable memory are there, whatever the kernel") {
  const Bytes kernel = multiboot_kernel();
  const Booted m({.kernel = kernel}, 64 * kMiB);
  CHECK(m.at<u16>(0x400) == 0x3f8);
  CHECK(m.at<u16>(0x40e) == 0x9fc0);
  CHECK(m.at<u16>(0x413) == 639);
  CHECK(m.state.mtrr_def_type == 0x806);
  CHECK(m.state.mtrr_variable[0] == 0xc000'0000);
  CHECK(m.state.mtrr_variable[1] == 0xff'c000'0800);
}

TEST_CASE("one sentence says what is wrong with a kernel file") {
  struct Case {
    const char* expected;
    Bytes file;
    u64 ram = 64 * kMiB;
    std::string command_line;
  };
  const auto bytes = [](std::string_view text, std::size_t size) {
    Bytes out(text.begin(), text.end());
    out.resize(size);
    return out;
  };
  Bytes cut = BzImage{}.build();
  cut.resize(0x700);
  Bytes boot_sector(0x10000);
  poke(boot_sector, 0x1fe, u16{0xaa55});
  Bytes short_elf = pvh_kernel();
  short_elf.pop_back();
  Bytes arm = pvh_kernel();
  poke(arm, 18, u16{183});
  for (const Case& c : {
           Case{"is empty", {}},
           Case{"only 5 bytes", bytes("hello", 5)},
           Case{"not a kernel", Bytes(4096, 'x')},
           Case{"gzip", bytes("\x1f\x8b", 4096)},
           Case{"qcow2", bytes("QFI\xfb", 4096)},
           Case{"boot sector", boot_sector},
           Case{"PVH", elf<u64>(0x10'0000, {{.physical = 0x10'0000, .bytes = Bytes(16), .memory_size = 16}})},
           Case{"another processor", arm},
           Case{"2.05, which is too old", BzImage{.version = 0x205}.build()},
           Case{"zImage", BzImage{.loadflags = 0}.build()},
           Case{"truncated", cut},
           Case{"at most 255", BzImage{}.build(), 64 * kMiB, std::string(256, 'a')},
           Case{"more memory", BzImage{}.build(), 16 * kMiB},
           Case{"more memory", BzImage{.init_size = 0xffff'ffff}.build()},
           Case{"makes no sense", BzImage{.pref_address = ~u64{0}}.build()},
           Case{"makes no sense", BzImage{.alignment = 3}.build()},
           Case{"RAM at 0x1000000", pvh_kernel(), 2 * kMiB},
           Case{"entry lies outside",
                elf<u64>(0,
                         {{.physical = 0x10'0000, .bytes = Bytes(16), .memory_size = 16}, pvh_note(0x1234)})},
           Case{"truncated", short_elf},
           Case{"video mode", multiboot_kernel(7)},
           Case{"unknown (flags 0x8)", multiboot_kernel(0xb)},
       }) {
    const Booted m({.kernel = c.file, .command_line = c.command_line}, c.ram);
    CAPTURE(c.expected);
    REQUIRE(m.error);
    CHECK_MESSAGE(m.error->find(c.expected) != std::string::npos, *m.error);
    CHECK(m.error->back() == '.');
    CHECK(std::count(m.error->begin(), m.error->end(), '\n') == 0);
  }
}

TEST_CASE("the protocol of a file is recognised") {
  CHECK(kernel_kind(BzImage{}.build()) == KernelKind::kLinux);
  CHECK(kernel_kind(pvh_kernel()) == KernelKind::kPvh);
  CHECK(kernel_kind(multiboot_kernel()) == KernelKind::kMultiboot);
  CHECK(kernel_kind(multiboot_flat_kernel()) == KernelKind::kMultiboot);
  CHECK(kernel_kind(Bytes(10000)) == KernelKind::kUnknown);
  CHECK(kernel_kind({}) == KernelKind::kUnknown);
}
