#include "bios/acpi_tables.hpp"

#include <doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <numeric>
#include <string>

#include "bios/aml.hpp"
#include "devices/pc_layout.hpp"

using namespace doppel;
using namespace doppel::bios;

namespace {

constexpr u32 kBase = 0xe'0000;

bool sums_to_zero(std::span<const u8> bytes) {
  return static_cast<u8>(std::accumulate(bytes.begin(), bytes.end(), 0u)) == 0;
}

// Every table that the RSDP leads to, by signature, with the header.
std::map<std::string, Bytes> tables_of(const AcpiConfig& config) {
  const Bytes area = build_acpi_tables(config, kBase);
  const ByteView view(area);
  std::map<std::string, Bytes> found;
  const auto add = [&](u64 address) {
    const u64 at = address - kBase;
    const auto bytes = view.slice(at, view.at<u32>(at + 4));
    REQUIRE(bytes.size() >= 36);
    Bytes table(bytes.begin(), bytes.end());
    std::string signature(table.begin(), table.begin() + 4);
    found[signature] = table;
    return table;
  };
  const Bytes rsdt = add(view.at<u32>(16)), xsdt = add(view.at<u64>(24));
  REQUIRE((rsdt.size() - 36) / 4 == (xsdt.size() - 36) / 8);
  for (std::size_t i = 0; i < (xsdt.size() - 36) / 8; ++i) {
    const u64 address = ByteView(xsdt).at<u64>(36 + 8 * i);
    CHECK(ByteView(rsdt).at<u32>(36 + 4 * i) == address);
    add(address);
  }
  const ByteView fadt(found.at("FACP"));
  CHECK(fadt.at<u32>(40) == fadt.at<u64>(140));
  add(fadt.at<u64>(140));
  add(fadt.at<u32>(36));
  return found;
}

bool have(const char* program) {
  return std::system((std::string("command -v ") + program + " >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace

TEST_CASE("the RSDP is valid in both revisions") {
  const Bytes area = build_acpi_tables({}, kBase);
  CHECK(ByteView(area).has_text(0, "RSD PTR "));
  CHECK(area[15] == 2);
  CHECK(ByteView(area).at<u32>(20) == 36);
  CHECK(sums_to_zero({area.data(), 20}));
  CHECK(sums_to_zero({area.data(), 36}));
}

TEST_CASE("every table is reachable and has the right length and checksum") {
  for (const u32 cpus : {1u, 4u, 255u, 300u}) {
    CAPTURE(cpus);
    const auto tables = tables_of({.cpus = cpus});
    for (const char* signature : {"RSDT", "XSDT", "FACP", "FACS", "APIC", "HPET", "DSDT"})
      CHECK_MESSAGE(tables.contains(signature), signature);
    CHECK_FALSE(tables.contains("MCFG"));
    for (const auto& [signature, bytes] : tables) {
      CAPTURE(signature);
      if (signature != "FACS") CHECK(sums_to_zero(bytes));
    }
  }
}

TEST_CASE("the FADT names the PM block, the SCI and the reset register") {
  struct Case {
    u32 offset, size;
    u64 value;
  };
  const Bytes fadt = tables_of({.vga = false, .msi = false}).at("FACP");
  CHECK(fadt.size() == 268);
  for (const Case& c : {Case{46, 2, 9},
                        {48, 4, 0},
                        {56, 4, 0x600},
                        {64, 4, 0x604},
                        {76, 4, 0x608},
                        {88, 1, 4},
                        {89, 1, 2},
                        {91, 1, 4},
                        {92, 1, 0},
                        {109, 2, 0x0f},
                        {116, 1, 1},
                        {117, 1, 8},
                        {120, 8, 0xcf9},
                        {128, 1, 6},
                        {148, 1, 1},
                        {152, 8, 0x600},
                        {176, 8, 0x604},
                        {212, 8, 0x608}}) {
    u64 value = 0;
    std::memcpy(&value, fadt.data() + c.offset, c.size);
    CAPTURE(c.offset);
    CHECK(value == c.value);
  }
  const Bytes with_vga = tables_of({.vga = true, .msi = true}).at("FACP");
  CHECK(ByteView(with_vga).at<u16>(109) == 0x03);
}

TEST_CASE("the FACS is 64 bytes, aligned to 64") {
  const auto tables = tables_of({});
  CHECK(tables.at("FACS").size() == 64);
  CHECK(ByteView(tables.at("FACP")).at<u32>(36) % 64 == 0);
}

TEST_CASE("the MADT has one local APIC per CPU, the I/O APIC, the overrides and the NMI line") {
  for (const u32 cpus : {1u, 4u, 255u, 300u}) {
    CAPTURE(cpus);
    const Bytes bytes = tables_of({.cpus = cpus}).at("APIC");
    const ByteView madt(bytes);
    CHECK(madt.at<u32>(36) == devices::kLocalApicBase);
    std::map<u8, u32> count;
    u64 at = 44;
    for (; madt.at<u8>(at + 1) >= 2; at += madt.at<u8>(at + 1)) {
      const u8 type = madt.at<u8>(at);
      if (type == 0) CHECK(madt.at<u8>(at + 3) == count[type]);
      if (type == 1) CHECK(madt.at<u32>(at + 4) == devices::kIoApicBase);
      if (type == 2 && madt.at<u8>(at + 3) == 0) CHECK(madt.at<u32>(at + 4) == 2);
      if (type == 2 && madt.at<u8>(at + 3) == 9) CHECK(madt.at<u16>(at + 8) == 0x0d);
      if (type == 9) CHECK(madt.at<u32>(at + 4) == 255 + count[type]);
      ++count[type];
    }
    CHECK(at == bytes.size());
    CHECK(count[0] + count[9] == cpus);
    CHECK(count[0] <= 255);
    CHECK(count[1] == 1);
    CHECK(count[2] == 2);
    CHECK(count[4] == 1);
  }
}

TEST_CASE("tables go to the firmware area, for a number of CPUs that makes sense") {
  core::GuestRam ram(0x10'0000);
  CHECK_FALSE(place_acpi_tables({.cpus = 2}, ram));
  CHECK(std::memcmp(ram.host(devices::kFirmwareTables), "RSD PTR ", 8) == 0);
  CHECK_FALSE(place_acpi_tables({.cpus = 1024}, ram));
  CHECK(place_acpi_tables({.cpus = 0}, ram));
  CHECK(place_acpi_tables({.cpus = 5000}, ram));
}

TEST_CASE("AML terms are encoded as the specification has them") {
  struct Case {
    Bytes built, expected;
  };
  using namespace aml;
  for (const Case& c : {
           Case{integer(0), {0x00}},
           Case{integer(1), {0x01}},
           Case{integer(0xff), {0x0a, 0xff}},
           Case{integer(0x100), {0x0b, 0x00, 0x01}},
           Case{integer(0x10000), {0x0c, 0, 0, 1, 0}},
           Case{integer(u64{1} << 32), {0x0e, 0, 0, 0, 0, 1, 0, 0, 0}},
           Case{eisa_id("PNP0A03"), {0x0c, 0x41, 0xd0, 0x0a, 0x03}},
           Case{path("\\_SB"), {'\\', '_', 'S', 'B', '_'}},
           Case{path("AB.CDEF"), {0x2e, 'A', 'B', '_', '_', 'C', 'D', 'E', 'F'}},
           Case{path("^A.B.C"), {'^', 0x2f, 3, 'A', '_', '_', '_', 'B', '_', '_', '_', 'C', '_', '_', '_'}},
           Case{path("\\"), {'\\', 0}},
           Case{package({integer(5), integer(0)}), {0x12, 0x05, 0x02, 0x0a, 0x05, 0x00}},
           Case{name("_UID", integer(1)), {0x08, '_', 'U', 'I', 'D', 0x01}},
           Case{string("A"), {0x0d, 'A', 0}},
           Case{isa_irq(8), {0x22, 0x00, 0x01}},
           Case{io_ports(0x3f8, 8), {0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8}},
       })
    CHECK(c.built == c.expected);
}

TEST_CASE("AML lengths take one to three bytes and count themselves") {
  struct Case {
    std::size_t body;  // of the whole buffer term, after its length
    Bytes length;
  };
  for (const Case& c :
       {Case{62, {0x3f}}, {63, {0x41, 0x04}}, {0xffd, {0x4f, 0xff}}, {0xffe, {0x81, 0x00, 0x01}}}) {
    const std::size_t size_field = aml::integer(c.body).size();
    const Bytes built = aml::buffer(Bytes(c.body - size_field));
    CAPTURE(c.body);
    CHECK(built.size() == 1 + c.length.size() + c.body);
    CHECK(std::equal(c.length.begin(), c.length.end(), built.begin() + 1));
  }
}

TEST_CASE("iasl disassembles the DSDT and compiles it again without a complaint") {
  if (!have("iasl")) return;
  const auto directory = std::filesystem::temp_directory_path() / "doppel_acpi_test";
  std::filesystem::create_directories(directory);
  for (const auto& [signature, bytes] : tables_of({.cpus = 3})) {
    const auto aml = directory / (signature + ".aml"), dsl = directory / (signature + ".dsl");
    std::ofstream(aml, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    const std::string run = "cd " + directory.string() + " && iasl -d " + aml.string() + " >log 2>&1";
    CAPTURE(signature);
    CHECK(std::system(run.c_str()) == 0);
    CHECK(std::filesystem::exists(dsl));
  }
  const std::string compile =
      "cd " + directory.string() + " && iasl -we DSDT.dsl >log 2>&1 && grep -q '0 Errors, 0 Warnings' log";
  CHECK(std::system(compile.c_str()) == 0);
  std::filesystem::remove_all(directory);
}
