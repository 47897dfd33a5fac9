#include "core/cpuid.hpp"

#include <doctest.h>

#include <cstring>
#include <string>
#include <string_view>

using namespace doppel;
using namespace doppel::core;

namespace {

CpuModel model(std::string_view text) {
  auto parsed = parse_cpu_model(text);
  const auto* error = std::get_if<std::string>(&parsed);
  REQUIRE_MESSAGE(!error, text, ": ", error ? *error : "");
  return std::get<CpuModel>(parsed);
}

CpuidResult cpuid(std::string_view text, u32 leaf, u32 subleaf = 0) {
  return model(text).cpuid(leaf, subleaf, CpuState{});
}

std::string characters(std::initializer_list<u32> words) {
  std::string text;
  for (const u32 word : words) text.append(reinterpret_cast<const char*>(&word), sizeof word);
  return text;
}

}  // namespace

TEST_CASE("every feature has a name of its own that parses") {
  for (unsigned i = 0; i < static_cast<unsigned>(Feature::kCount); ++i) {
    const auto feature = static_cast<Feature>(i);
    CAPTURE(i);
    REQUIRE_FALSE(feature_name(feature).empty());
    CHECK_FALSE(model("max,-" + std::string(feature_name(feature))).has(feature));
  }
}

TEST_CASE("models hold what their level promises and nothing that does not work") {
  struct Case {
    const char* text;
    Feature feature;
    bool has;
  };
  for (const Case& c : {Case{"x86-64-v1", Feature::kSse2, true},
                        Case{"x86-64-v1", Feature::kPopcnt, false},
                        Case{"x86-64-v1", Feature::kPdpe1gb, false},
                        Case{"x86-64-v1", Feature::kSmap, true},
                        Case{"x86-64-v2", Feature::kSse42, true},
                        Case{"x86-64-v2", Feature::kCx16, true},
                        Case{"x86-64-v2", Feature::kAes, false},
                        Case{"x86-64-v2", Feature::kLa57, false},
                        Case{"x86-64-v2", Feature::kAvx, false},
                        Case{"x86-64-v3", Feature::kBmi2, true},
                        Case{"x86-64-v3", Feature::kAvx2, true},
                        Case{"x86-64-v3", Feature::kFma, true},
                        Case{"x86-64-v3", Feature::kF16c, true},
                        Case{"x86-64-v3", Feature::kAes, false},
                        Case{"max", Feature::kSha, true},
                        Case{"max", Feature::kLa57, true},
                        Case{"max", Feature::kAvx, true},
                        Case{"max", Feature::kSse4a, false},
                        Case{"X86-64-V2", Feature::kSse42, true},
                        Case{"x86-64-v1,+popcnt", Feature::kPopcnt, true},
                        Case{"x86-64-v1,+sse4.2", Feature::kSse42, true},
                        Case{"x86-64-v1,+sse4-2", Feature::kSsse3, true},
                        Case{"x86-64-v1,+SSE4_1", Feature::kSse42, false},
                        Case{"max,-ssse3", Feature::kSse42, false},
                        Case{"max,-aes,-pni", Feature::kPclmulqdq, true},
                        Case{"max,-aes,+lzcnt", Feature::kAes, false},
                        Case{"max,-xsave", Feature::kXsavec, false},
                        Case{"max,-xsave", Feature::kAvx2, false},
                        Case{"max,-avx", Feature::kFma, false},
                        Case{"max,-avx", Feature::kXsave, true},
                        Case{"x86-64-v2,+f16c", Feature::kAvx, true},
                        Case{"x86-64-v2,+f16c", Feature::kAvx2, false},
                        Case{"max,-lm", Feature::kLa57, false}}) {
    CAPTURE(c.text);
    CAPTURE(feature_name(c.feature));
    CHECK(model(c.text).has(c.feature) == c.has);
  }
}

TEST_CASE("a word that is not known is answered with what to type") {
  struct Case {
    const char *text, *says;
  };
  for (const Case& c :
       {Case{"x86-64-v22", "did you mean \"x86-64-v2\""}, Case{"maxx", "did you mean \"max\""},
        Case{"", "did you mean"}, Case{"qemu64", "type \"x86-64-v1\""}, Case{"host", "type \"max\""},
        Case{"x86-64-v4", "type \"x86-64-v3\""}, Case{"x86-64-v2-AES", "type \"x86-64-v2,+aes\""},
        Case{"EPYC-Milan", "type \"x86-64-v3\""}, Case{"max,-sse44", "did you mean \"sse4"},
        Case{"max,+", "is not known"}, Case{"max,+sse4a", "\"sse4a\" does not work here"},
        Case{"max,aes=on", "write \"+feature\""}}) {
    CAPTURE(c.text);
    const auto parsed = parse_cpu_model(c.text);
    REQUIRE(std::holds_alternative<std::string>(parsed));
    CAPTURE(std::get<std::string>(parsed));
    CHECK(std::get<std::string>(parsed).find(c.says) != std::string::npos);
  }
}

TEST_CASE("vendor, hypervisor and brand read as text") {
  const auto vendor = cpuid("max", 0), extended = cpuid("max", 0x8000'0000),
             hypervisor = cpuid("max", 0x4000'0000);
  CHECK(characters({vendor.ebx, vendor.edx, vendor.ecx}) == "AuthenticAMD");
  CHECK(characters({extended.ebx, extended.edx, extended.ecx}) == "AuthenticAMD");
  CHECK(characters({hypervisor.ebx, hypervisor.ecx, hypervisor.edx}) == "DoppelDoppel");
  CHECK(hypervisor.eax == 0x4000'0000);
  std::string brand;
  for (u32 leaf = 0x8000'0002; leaf <= 0x8000'0004; ++leaf) {
    const auto r = cpuid("x86-64-v2", leaf);
    brand += characters({r.eax, r.ebx, r.ecx, r.edx});
  }
  CHECK(std::string(brand.c_str()) == "Doppel Virtual CPU (x86-64-v2)");
}

TEST_CASE("bits are where the manuals put them") {
  struct Case {
    const char* text;
    u32 leaf, subleaf;
    u32 CpuidResult::*reg;
    u32 mask, value;
  };
  constexpr auto kA = &CpuidResult::eax, kB = &CpuidResult::ebx, kC = &CpuidResult::ecx,
                 kD = &CpuidResult::edx;
  for (const Case& c : {Case{"max", 0, 0, kA, ~0u, 0xd},
                        Case{"max", 1, 0, kA, ~0u, 0x00a1'0f11},  // 19h, 11h, 1
                        Case{"max", 1, 0, kD, ~0u, 0x078b'fbff},  // HTT off: one core
                        Case{"max", 1, 0, kC, ~0u, 0xf7fa'320b},
                        Case{"x86-64-v1", 1, 0, kC, 1u << 23 | 1u << 20, 0},
                        Case{"x86-64-v2", 7, 0, kB, 1u << 8 | 1u << 20, 1u << 20},
                        Case{"max", 7, 1, kB, ~0u, 0},
                        Case{"max", 0xd, 0, kA, ~0u, 7},
                        Case{"max", 0xd, 0, kC, ~0u, 832},
                        Case{"max", 0xd, 1, kA, ~0u, 7},
                        Case{"max", 0xd, 2, kA, ~0u, 256},
                        Case{"max", 0xd, 2, kB, ~0u, 576},
                        Case{"x86-64-v2", 0xd, 0, kA, ~0u, 3},
                        Case{"x86-64-v2", 0xd, 0, kC, ~0u, 576},
                        Case{"x86-64-v2", 0xd, 2, kA, ~0u, 0},
                        Case{"max,-xsave", 0xd, 0, kA, ~0u, 0},
                        Case{"x86-64-v2", 0x8000'0001, 0, kD, ~0u, 0x2dd3'fbff},  // with leaf 1's bits
                        Case{"x86-64-v1", 0x8000'0001, 0, kC, ~0u, 1u << 0 | 1u << 4 | 1u << 8},
                        Case{"x86-64-v2", 0x8000'0008, 0, kA, ~0u, 48u << 8 | 40},
                        Case{"max", 0x8000'0008, 0, kA, ~0u, 57u << 8 | 40},
                        Case{"max", 0x8000'0021, 0, kA, 1u << 2 | 1u << 6 | 1u << 8, 0x144},
                        Case{"max", 0x8000'0022, 0, kA, ~0u, 0},
                        Case{"max", 0x4000'0001, 0, kA, ~0u, 0}}) {
    CAPTURE(c.text);
    CAPTURE(c.leaf);
    CAPTURE(c.subleaf);
    CHECK((cpuid(c.text, c.leaf, c.subleaf).*c.reg & c.mask) == c.value);
  }
}

TEST_CASE("topology leaves agree on the number of cores") {
  CpuModel m = model("max");
  m.cpus = 6;
  m.apic_id = 5;
  const CpuState state;
  CHECK(m.cpuid(1, 0, state).ebx == (5u << 24 | 6u << 16 | 8u << 8));
  CHECK((m.cpuid(1, 0, state).edx >> 28 & 1) == 1);
  CHECK((m.cpuid(0x8000'0001, 0, state).ecx >> 1 & 1) == 1);
  CHECK(m.cpuid(0x8000'0008, 0, state).ecx == (3u << 12 | 5));
  struct Case {
    u32 subleaf, eax, ebx, ecx;
  };
  for (const Case& c : {Case{0, 0, 1, 0x100}, Case{1, 3, 6, 0x201}, Case{2, 0, 0, 2}}) {
    const auto r = m.cpuid(0xb, c.subleaf, state);
    CAPTURE(c.subleaf);
    CHECK(r.eax == c.eax);
    CHECK(r.ebx == c.ebx);
    CHECK(r.ecx == c.ecx);
    CHECK(r.edx == 5);
  }
}

TEST_CASE("OSXSAVE and the XSAVE size follow CR4 and XCR0") {
  const CpuModel m = model("max");
  CpuState state;
  CHECK((m.cpuid(1, 0, state).ecx >> 27 & 1) == 0);
  CHECK(m.cpuid(0xd, 0, state).ebx == 576);
  CHECK(m.cpuid(0xd, 0, state).ecx == 832);
  state.cr4 |= kCr4Osxsave;
  state.xcr0 = 7;
  CHECK((m.cpuid(1, 0, state).ecx >> 27 & 1) == 1);
  CHECK(m.cpuid(0xd, 0, state).ebx == 832);
  CHECK(m.cpuid(0xd, 1, state).ebx == 832);
  CHECK(m.cpuid(0xd, 2, state).eax == 256);
  CHECK(m.cpuid(0xd, 2, state).ebx == 576);
}
