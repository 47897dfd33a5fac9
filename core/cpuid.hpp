// CPU models and what CPUID shows of them. A feature bit is set only if the instruction or register behind it
// works. Models: x86-64-v1, x86-64-v2, x86-64-v3, max (as in the x86-64 psABI), changed by "+feature" and
// "-feature". Sources: AMD APM Vol. 3 appendix E; Intel SDM Vol. 2A, CPUID.
#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/cpu_state.hpp"
#include "core/types.hpp"

namespace doppel::core {

// One per CPUID feature bit that can vary; names as in Linux' /proc/cpuinfo.
enum class Feature : u8 {
  kFpu,
  kVme,
  kDe,
  kPse,
  kTsc,
  kMsr,
  kPae,
  kMce,
  kCx8,
  kApic,
  kSep,
  kMtrr,
  kPge,
  kMca,
  kCmov,
  kPat,
  kPse36,
  kClflush,
  kMmx,
  kFxsr,
  kSse,
  kSse2,
  kSse3,
  kPclmulqdq,
  kMonitor,
  kSsse3,
  kFma,
  kCx16,
  kPcid,
  kSse41,
  kSse42,
  kX2apic,
  kMovbe,
  kPopcnt,
  kTscDeadline,
  kAes,
  kXsave,
  kAvx,
  kF16c,
  kRdrand,
  kFsgsbase,
  kTscAdjust,
  kBmi1,
  kAvx2,
  kSmep,
  kBmi2,
  kErms,
  kInvpcid,
  kRdseed,
  kAdx,
  kSmap,
  kClflushopt,
  kClwb,
  kSha,
  kUmip,
  kLa57,
  kRdpid,
  kFsrm,
  kXsaveopt,
  kXsavec,
  kXgetbv1,
  kSyscall,
  kNx,
  kMmxext,
  kFxsrOpt,
  kPdpe1gb,
  kRdtscp,
  kLm,
  kLahfLm,
  kCmpLegacy,
  kCr8Legacy,
  kAbm,
  kSse4a,
  kMisalignsse,
  k3dnowprefetch,
  kInvariantTsc,
  kArat,
  kWbnoinvd,
  kClzero,
  kCount,
};

// XCR0 components and the layout of the standard XSAVE area (SDM Vol. 1, "XSAVE Area").
inline constexpr u64 kXcr0X87 = 1u << 0, kXcr0Sse = 1u << 1, kXcr0Avx = 1u << 2;
inline constexpr u32 kXsaveLegacySize = 512, kXsaveHeaderSize = 64, kXsaveAvxOffset = 576,
                     kXsaveAvxSize = 256;

struct CpuidResult {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};

struct CpuModel {
  std::string name;
  std::bitset<static_cast<std::size_t>(Feature::kCount)> features;
  u64 tsc_hz = 1'000'000'000;
  u32 cpus = 1;     // logical processors of the package, for topology leaves
  u32 threads = 1;  // of them in a core; a power of two
  u32 apic_id = 0;  // of the vCPU that asks

  [[nodiscard]] bool has(Feature f) const { return features.test(static_cast<std::size_t>(f)); }
  // The bits that XCR0 may have.
  [[nodiscard]] u64 xcr0_mask() const;
  // The CPUID instruction. `state` supplies OSXSAVE, the XCR0-dependent sizes and the like.
  [[nodiscard]] CpuidResult cpuid(u32 leaf, u32 subleaf, const CpuState& state) const;
};

// The name of a feature as users type it ("sse4_2"), and all of them.
[[nodiscard]] std::string_view feature_name(Feature f);
[[nodiscard]] const std::vector<std::string>& cpu_model_names();

// Parses "x86-64-v2", "max,-aes", "x86-64-v1,+popcnt". On error the sentence names the unknown word and the
// nearest valid spelling, or says which feature does not work here.
[[nodiscard]] std::variant<CpuModel, std::string> parse_cpu_model(std::string_view text);

}  // namespace doppel::core
