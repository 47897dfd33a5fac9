// What firmware is given: its image, boot options, and tables through fw_cfg.
#include <doctest.h>

#include <cstring>
#include <map>
#include <numeric>

#include "bios/acpi_loader.hpp"
#include "bios/boot_options.hpp"
#include "bios/firmware_image.hpp"
#include "bios/fw_cfg_content.hpp"
#include "bios/smbios_tables.hpp"

using namespace doppel;
using namespace doppel::bios;

namespace {

u8 sum(std::span<const u8> bytes) {
  return static_cast<u8>(std::accumulate(bytes.begin(), bytes.end(), 0u));
}

// Runs a table-loader script as firmware does, with files at given addresses.
struct Loader {
  std::map<std::string, Bytes> files;
  std::map<std::string, u64> addresses;

  void run(const Bytes& script) {
    REQUIRE(script.size() % 128 == 0);
    for (std::size_t at = 0; at < script.size(); at += 128) {
      const ByteView command{std::span<const u8>(script).subspan(at, 128)};
      const auto file = [&](u64 offset) {
        return std::string(reinterpret_cast<const char*>(command.slice(offset, 56).data()));
      };
      Bytes& target = files.at(file(4));
      switch (command.at<u32>(0)) {
        case 1:  // allocate
          CHECK(addresses.at(file(4)) % command.at<u32>(60) == 0);
          break;
        case 2: {  // add pointer
          const u32 offset = command.at<u32>(116);
          const u8 size = command.at<u8>(120);
          u64 value = 0;
          REQUIRE(offset + size <= target.size());
          std::memcpy(&value, target.data() + offset, size);
          CHECK(value < files.at(file(60)).size());
          value += addresses.at(file(60));
          std::memcpy(target.data() + offset, &value, size);
          break;
        }
        case 3: {  // add checksum
          const auto part = std::span(target).subspan(command.at<u32>(64), command.at<u32>(68));
          target[command.at<u32>(60)] = static_cast<u8>(target[command.at<u32>(60)] - sum(part));
          break;
        }
        default:
          FAIL("unknown command");
      }
    }
  }
};

// Structures of a table by type, each with its strings.
std::multimap<u8, Bytes> structures(const Bytes& tables) {
  std::multimap<u8, Bytes> found;
  for (std::size_t at = 0; at < tables.size();) {
    std::size_t end = at + tables.at(at + 1);
    while (tables.at(end) != 0 || tables.at(end + 1) != 0) ++end;
    found.emplace(tables[at], Bytes(tables.begin() + static_cast<std::ptrdiff_t>(at),
                                    tables.begin() + static_cast<std::ptrdiff_t>(end + 2)));
    at = end + 2;
  }
  return found;
}

}  // namespace

TEST_CASE("an image ends at 4 GiB and its end appears below 1 MiB") {
  for (const u64 size : {u64{4} << 10, u64{64} << 10, u64{128} << 10, u64{256} << 10, u64{4} << 20}) {
    CAPTURE(size);
    Bytes image(size);
    image.back() = 0x5a;
    CHECK_FALSE(check_firmware(image));
    const auto parts = place_firmware(image);
    REQUIRE(parts.size() == 2);
    CHECK(parts[0].base + parts[0].bytes.size() == core::kFourGiB);
    CHECK(parts[0].bytes.size() == size);
    CHECK(parts[1].base + parts[1].bytes.size() == 0x10'0000);
    CHECK(parts[1].bytes.size() == std::min<u64>(size, 0x2'0000));
    CHECK(parts[1].bytes.back() == 0x5a);
  }
  for (const u64 size : {u64{0}, u64{1}, u64{0xffff}, u64{0x1'0001}, (u64{16} << 20) + 0x1'0000})
    CHECK(check_firmware(Bytes(size)));
}

TEST_CASE("a store of variables lies below the image that it was built with") {
  const Bytes code(0x37'c000, 0x5a);  // OVMF_CODE_4M.fd
  CHECK_FALSE(check_variable_store(code, 0x8'4000));
  CHECK(variable_store_base(code, 0x8'4000) == 0xffc0'0000);
  CHECK(check_variable_store(code, 0x2'0000));
  CHECK(check_variable_store(Bytes(256 << 10), 0x8'4000));
  CHECK_FALSE(check_variable_store(Bytes(0x1e'0000), 0x2'0000));  // OVMF_CODE.fd
  // The whole of OVMF begins with a volume for variables.
  Bytes whole(0x1e'0000);
  static constexpr u8 kGuid[] = {0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c,
                                 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};
  std::copy(std::begin(kGuid), std::end(kGuid), whole.begin() + 16);
  CHECK(check_variable_store(whole, 0x2'0000));
  CHECK(check_variable_store(Bytes(4096), 8192));
}

TEST_CASE("the original of a store is beside the firmware") {
  CHECK(original_variable_store("/usr/share/OVMF/OVMF_CODE_4M.fd") == "/usr/share/OVMF/OVMF_VARS_4M.fd");
  CHECK(original_variable_store("OVMF_CODE.fd") == "OVMF_VARS.fd");
  CHECK(original_variable_store("/CODE/firmware.fd").empty());
  CHECK(original_variable_store("/CODE/CODE.fd") == "/CODE/VARS.fd");
  CHECK(original_variable_store("bios.bin").empty());
}

TEST_CASE("--boot takes QEMU's forms") {
  struct Case {
    const char* text;
    const char* order;
    const char* once;
    bool menu, strict;
    std::optional<u32> menu_wait, retry_wait;
  };
  for (const Case& c :
       {Case{"d", "d", "", false, false, {}, {}}, Case{"dca", "dca", "", false, false, {}, {}},
        Case{"order=dc,menu=on", "dc", "", true, false, {}, {}},
        Case{"dc,once=n,strict=on", "dc", "n", false, true, {}, {}},
        Case{"menu=off", "cad", "", false, false, {}, {}},
        Case{"splash-time=0,reboot-timeout=65535", "cad", "", false, false, 0, 65535}}) {
    CAPTURE(std::string(c.text));
    const auto parsed = parse_boot_options(c.text);
    REQUIRE(std::holds_alternative<BootOptions>(parsed));
    const auto& options = std::get<BootOptions>(parsed);
    CHECK(options.order == c.order);
    CHECK(options.once == c.once);
    CHECK(options.menu == c.menu);
    CHECK(options.strict == c.strict);
    CHECK(options.menu_wait_ms == c.menu_wait);
    CHECK(options.retry_wait_ms == c.retry_wait);
  }
}

TEST_CASE("--boot with a mistake says which") {
  struct Case {
    const char* text;
    const char* says;
  };
  for (const Case& c :
       {Case{"", "letter"}, Case{"x", "\"x\""}, Case{"cc", "twice"}, Case{"order=", "letter"},
        Case{"d,menu=yes", "yes"}, Case{"d,dc", "\"dc\""}, Case{"ordre=c", "\"order\""},
        Case{"menu", "\"m\""}, Case{"splash-time=long", "long"}, Case{"splash-time=65536", "65536"},
        Case{",", "letter"}, Case{"reboot-timeout=-1", "-1"}}) {
    CAPTURE(std::string(c.text));
    const auto parsed = parse_boot_options(c.text);
    REQUIRE(std::holds_alternative<std::string>(parsed));
    CHECK_MESSAGE(std::get<std::string>(parsed).find(c.says) != std::string::npos,
                  std::get<std::string>(parsed));
  }
}

TEST_CASE("the boot order in CMOS") {
  struct Case {
    const char* order;
    u8 third, first;
  };
  for (const Case& c :
       {Case{"c", 0, 0x02}, Case{"cad", 0x30, 0x12}, Case{"dc", 0, 0x23}, Case{"ncab", 0x10, 0x24}}) {
    CAPTURE(std::string(c.order));
    CHECK(cmos_boot_order(c.order).third == c.third);
    CHECK(cmos_boot_order(c.order).first == c.first);
  }
}

TEST_CASE("the table loader makes the same tables as the direct way") {
  for (const u32 cpus : {1u, 4u, 300u}) {
    CAPTURE(cpus);
    constexpr u32 kBase = 0x7f'0000;
    const AcpiFiles acpi = build_acpi_files({.cpus = cpus});
    Loader loader;
    loader.files = {{"etc/acpi/rsdp", acpi.rsdp}, {"etc/acpi/tables", acpi.tables}};
    loader.addresses = {{"etc/acpi/rsdp", kBase}, {"etc/acpi/tables", kBase + 64}};
    loader.run(acpi.loader);
    const Bytes direct = build_acpi_tables({.cpus = cpus}, kBase);
    const Bytes &rsdp = loader.files["etc/acpi/rsdp"], &tables = loader.files["etc/acpi/tables"];
    REQUIRE(direct.size() == 64 + tables.size());
    CHECK(std::equal(rsdp.begin(), rsdp.end(), direct.begin()));
    CHECK(std::equal(tables.begin(), tables.end(), direct.begin() + 64));
  }
}

TEST_CASE("SMBIOS: an entry point that firmware can finish, and every required structure") {
  for (const u64 gib : {u64{1}, u64{3}, u64{20}, u64{4096}}) {
    CAPTURE(gib);
    const u64 ram = gib << 30;
    const SmbiosTables smbios = build_smbios_tables({.cpus = 2, .ram_size = ram});
    const ByteView anchor(smbios.anchor);
    CHECK(anchor.has_text(0, "_SM_"));
    CHECK(anchor.has_text(16, "_DMI_"));
    CHECK(anchor.size() == 31);
    CHECK(anchor.at<u8>(5) == 31);
    CHECK(anchor.at<u16>(22) == smbios.tables.size());
    const auto found = structures(smbios.tables);
    CHECK(anchor.at<u16>(28) == found.size());
    std::size_t longest = 0;
    for (const auto& [type, bytes] : found) longest = std::max(longest, bytes.size());
    CHECK(anchor.at<u16>(8) == longest);
    const std::map<u8, std::pair<std::size_t, u8>> expected = {// type: how many, formatted length
                                                               {0, {1, 0x18}},
                                                               {1, {1, 0x1b}},
                                                               {3, {1, 0x16}},
                                                               {4, {2, 0x2a}},
                                                               {16, {1, 0x17}},
                                                               {17, {(gib + 15) / 16, 0x28}},
                                                               {19, {gib > 3 ? 2 : 1, 0x1f}},
                                                               {32, {1, 0x0b}},
                                                               {127, {1, 4}}};
    for (const auto& [type, shape] : expected) {
      CAPTURE(type);
      CHECK(found.count(type) == shape.first);
      CHECK(found.find(type)->second[1] == shape.second);
    }
    u64 modules = 0;
    for (auto [it, end] = found.equal_range(17); it != end; ++it) modules += ByteView(it->second).at<u32>(28);
    CHECK(modules == ram >> 20);
    const ByteView array(found.find(16)->second);
    CHECK((array.at<u32>(7) == 0x8000'0000 ? array.at<u64>(15) : u64{array.at<u32>(7)} << 10) == ram);
  }
}

TEST_CASE("fw_cfg says what firmware asks for") {
  core::GuestRam ram(u64{5} << 30);
  core::Counters counters;
  devices::FwCfg fw_cfg(ram, counters);
  BootOptions boot;
  boot.menu = true;
  boot.menu_wait_ms = 0x1234;
  boot.strict = true;
  boot.device_paths = {"/pci@i0cf8/ide@1,1/drive@0/disk@0"};
  fill_fw_cfg(fw_cfg, {.cpus = 3}, boot, ram);
  const auto bytes = [](std::span<const u8> item) { return Bytes(item.begin(), item.end()); };
  CHECK(bytes(fw_cfg.item(devices::kFwCfgCpus)) == Bytes{3, 0});
  CHECK(bytes(fw_cfg.item(devices::kFwCfgBootMenu)) == Bytes{1, 0});
  CHECK(bytes(fw_cfg.file("etc/boot-menu-wait")) == Bytes{0x34, 0x12});
  CHECK(bytes(fw_cfg.file("etc/boot-fail-wait")) == Bytes{0xff, 0xff, 0xff, 0xff});
  CHECK(bytes(fw_cfg.file("bootorder")) == c_string("/pci@i0cf8/ide@1,1/drive@0/disk@0\nHALT"));
  CHECK(fw_cfg.file("etc/system-states").size() == 6);
  const ByteView e820(fw_cfg.file("etc/e820"));
  REQUIRE(e820.size() == 40);
  CHECK(e820.at<u64>(8) == core::kPciHoleStart);
  CHECK(e820.at<u64>(20) == core::kFourGiB);
  CHECK(e820.at<u64>(28) == (u64{2} << 30));
  for (const char* file : {"etc/table-loader", "etc/acpi/tables", "etc/acpi/rsdp", "etc/smbios/smbios-tables",
                           "etc/smbios/smbios-anchor"})
    CHECK_MESSAGE(!fw_cfg.file(file).empty(), file);
  // The next start of the machine: what was said for one start only is gone.
  fill_fw_cfg(fw_cfg, {.cpus = 3}, {}, ram);
  CHECK(fw_cfg.file("bootorder").empty());
}
