#include "core/cpuid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <initializer_list>

#include "core/spelling.hpp"

namespace doppel::core {
namespace {

using Features = std::bitset<static_cast<std::size_t>(Feature::kCount)>;

enum class Reg : u8 { kEax, kEbx, kEcx, kEdx };

// Where CPUID shows a feature, and its names: as Linux or users spell it, and a second spelling if any.
struct FeatureInfo {
  Feature feature;
  u32 leaf, subleaf;
  Reg reg;
  u8 bit;
  std::string_view name, alias = {};
};

constexpr u32 kExtended = 0x8000'0000, kHypervisor = 0x4000'0000;
constexpr u32 kMaxBasicLeaf = 0xd, kMaxExtendedLeaf = kExtended + 0x21;

constexpr FeatureInfo kFeatures[] = {
    {Feature::kFpu, 1, 0, Reg::kEdx, 0, "fpu"},
    {Feature::kVme, 1, 0, Reg::kEdx, 1, "vme"},
    {Feature::kDe, 1, 0, Reg::kEdx, 2, "de"},
    {Feature::kPse, 1, 0, Reg::kEdx, 3, "pse"},
    {Feature::kTsc, 1, 0, Reg::kEdx, 4, "tsc"},
    {Feature::kMsr, 1, 0, Reg::kEdx, 5, "msr"},
    {Feature::kPae, 1, 0, Reg::kEdx, 6, "pae"},
    {Feature::kMce, 1, 0, Reg::kEdx, 7, "mce"},
    {Feature::kCx8, 1, 0, Reg::kEdx, 8, "cx8", "cmpxchg8b"},
    {Feature::kApic, 1, 0, Reg::kEdx, 9, "apic"},
    {Feature::kSep, 1, 0, Reg::kEdx, 11, "sep", "sysenter"},
    {Feature::kMtrr, 1, 0, Reg::kEdx, 12, "mtrr"},
    {Feature::kPge, 1, 0, Reg::kEdx, 13, "pge"},
    {Feature::kMca, 1, 0, Reg::kEdx, 14, "mca"},
    {Feature::kCmov, 1, 0, Reg::kEdx, 15, "cmov"},
    {Feature::kPat, 1, 0, Reg::kEdx, 16, "pat"},
    {Feature::kPse36, 1, 0, Reg::kEdx, 17, "pse36"},
    {Feature::kClflush, 1, 0, Reg::kEdx, 19, "clflush", "clfsh"},
    {Feature::kMmx, 1, 0, Reg::kEdx, 23, "mmx"},
    {Feature::kFxsr, 1, 0, Reg::kEdx, 24, "fxsr"},
    {Feature::kSse, 1, 0, Reg::kEdx, 25, "sse"},
    {Feature::kSse2, 1, 0, Reg::kEdx, 26, "sse2"},

    {Feature::kSse3, 1, 0, Reg::kEcx, 0, "sse3", "pni"},
    {Feature::kPclmulqdq, 1, 0, Reg::kEcx, 1, "pclmulqdq", "pclmul"},
    {Feature::kMonitor, 1, 0, Reg::kEcx, 3, "monitor", "mwait"},
    {Feature::kSsse3, 1, 0, Reg::kEcx, 9, "ssse3"},
    {Feature::kFma, 1, 0, Reg::kEcx, 12, "fma"},
    {Feature::kCx16, 1, 0, Reg::kEcx, 13, "cx16", "cmpxchg16b"},
    {Feature::kPcid, 1, 0, Reg::kEcx, 17, "pcid"},
    {Feature::kSse41, 1, 0, Reg::kEcx, 19, "sse4_1"},
    {Feature::kSse42, 1, 0, Reg::kEcx, 20, "sse4_2"},
    {Feature::kX2apic, 1, 0, Reg::kEcx, 21, "x2apic"},
    {Feature::kMovbe, 1, 0, Reg::kEcx, 22, "movbe"},
    {Feature::kPopcnt, 1, 0, Reg::kEcx, 23, "popcnt"},
    {Feature::kTscDeadline, 1, 0, Reg::kEcx, 24, "tsc_deadline_timer", "tsc_deadline"},
    {Feature::kAes, 1, 0, Reg::kEcx, 25, "aes", "aesni"},
    {Feature::kXsave, 1, 0, Reg::kEcx, 26, "xsave"},
    {Feature::kAvx, 1, 0, Reg::kEcx, 28, "avx"},
    {Feature::kF16c, 1, 0, Reg::kEcx, 29, "f16c"},
    {Feature::kRdrand, 1, 0, Reg::kEcx, 30, "rdrand"},

    {Feature::kArat, 6, 0, Reg::kEax, 2, "arat"},

    {Feature::kFsgsbase, 7, 0, Reg::kEbx, 0, "fsgsbase"},
    {Feature::kTscAdjust, 7, 0, Reg::kEbx, 1, "tsc_adjust"},
    {Feature::kBmi1, 7, 0, Reg::kEbx, 3, "bmi1"},
    {Feature::kAvx2, 7, 0, Reg::kEbx, 5, "avx2"},
    {Feature::kSmep, 7, 0, Reg::kEbx, 7, "smep"},
    {Feature::kBmi2, 7, 0, Reg::kEbx, 8, "bmi2"},
    {Feature::kErms, 7, 0, Reg::kEbx, 9, "erms"},
    {Feature::kInvpcid, 7, 0, Reg::kEbx, 10, "invpcid"},
    {Feature::kRdseed, 7, 0, Reg::kEbx, 18, "rdseed"},
    {Feature::kAdx, 7, 0, Reg::kEbx, 19, "adx"},
    {Feature::kSmap, 7, 0, Reg::kEbx, 20, "smap"},
    {Feature::kClflushopt, 7, 0, Reg::kEbx, 23, "clflushopt"},
    {Feature::kClwb, 7, 0, Reg::kEbx, 24, "clwb"},
    {Feature::kSha, 7, 0, Reg::kEbx, 29, "sha_ni", "sha"},
    {Feature::kUmip, 7, 0, Reg::kEcx, 2, "umip"},
    {Feature::kLa57, 7, 0, Reg::kEcx, 16, "la57"},
    {Feature::kRdpid, 7, 0, Reg::kEcx, 22, "rdpid"},
    {Feature::kFsrm, 7, 0, Reg::kEdx, 4, "fsrm"},

    {Feature::kXsaveopt, 0xd, 1, Reg::kEax, 0, "xsaveopt"},
    {Feature::kXsavec, 0xd, 1, Reg::kEax, 1, "xsavec"},
    {Feature::kXgetbv1, 0xd, 1, Reg::kEax, 2, "xgetbv1"},

    {Feature::kLahfLm, kExtended + 1, 0, Reg::kEcx, 0, "lahf_lm"},
    {Feature::kCmpLegacy, kExtended + 1, 0, Reg::kEcx, 1, "cmp_legacy"},
    {Feature::kCr8Legacy, kExtended + 1, 0, Reg::kEcx, 4, "cr8_legacy", "cr8legacy"},
    {Feature::kAbm, kExtended + 1, 0, Reg::kEcx, 5, "abm", "lzcnt"},
    {Feature::kSse4a, kExtended + 1, 0, Reg::kEcx, 6, "sse4a"},
    {Feature::kMisalignsse, kExtended + 1, 0, Reg::kEcx, 7, "misalignsse"},
    {Feature::k3dnowprefetch, kExtended + 1, 0, Reg::kEcx, 8, "3dnowprefetch"},
    {Feature::kSyscall, kExtended + 1, 0, Reg::kEdx, 11, "syscall"},
    {Feature::kNx, kExtended + 1, 0, Reg::kEdx, 20, "nx"},
    {Feature::kMmxext, kExtended + 1, 0, Reg::kEdx, 22, "mmxext"},
    {Feature::kFxsrOpt, kExtended + 1, 0, Reg::kEdx, 25, "fxsr_opt", "ffxsr"},
    {Feature::kPdpe1gb, kExtended + 1, 0, Reg::kEdx, 26, "pdpe1gb"},
    {Feature::kRdtscp, kExtended + 1, 0, Reg::kEdx, 27, "rdtscp"},
    {Feature::kLm, kExtended + 1, 0, Reg::kEdx, 29, "lm"},
    {Feature::kInvariantTsc, kExtended + 7, 0, Reg::kEdx, 8, "nonstop_tsc", "invtsc"},
    {Feature::kClzero, kExtended + 8, 0, Reg::kEbx, 0, "clzero"},
    {Feature::kWbnoinvd, kExtended + 8, 0, Reg::kEbx, 9, "wbnoinvd"},
};
static_assert(std::size(kFeatures) == static_cast<std::size_t>(Feature::kCount));

Features set_of(std::initializer_list<Feature> list) {
  Features set;
  for (const Feature f : list) set.set(static_cast<std::size_t>(f));
  return set;
}

// The models are the levels of the x86-64 psABI plus what operating systems rely on and programs do not see.
const Features kLevel1 = set_of({
    Feature::kFpu,      Feature::kVme,          Feature::kDe,        Feature::kPse,
    Feature::kTsc,      Feature::kMsr,          Feature::kPae,       Feature::kMce,
    Feature::kCx8,      Feature::kApic,         Feature::kSep,       Feature::kMtrr,
    Feature::kPge,      Feature::kMca,          Feature::kCmov,      Feature::kPat,
    Feature::kPse36,    Feature::kClflush,      Feature::kMmx,       Feature::kFxsr,
    Feature::kSse,      Feature::kSse2,         Feature::kMmxext,    Feature::kSyscall,
    Feature::kNx,       Feature::kLm,           Feature::kX2apic,    Feature::kTscDeadline,
    Feature::kPcid,     Feature::kSmep,         Feature::kSmap,      Feature::kInvpcid,
    Feature::kFsgsbase, Feature::kErms,         Feature::kFsrm,      Feature::kRdtscp,
    Feature::kXsave,    Feature::kXsaveopt,     Feature::kXsavec,    Feature::kXgetbv1,
    Feature::kRdrand,   Feature::kRdseed,       Feature::kMovbe,     Feature::kUmip,
    Feature::kMonitor,  Feature::kInvariantTsc, Feature::kArat,      Feature::kClflushopt,
    Feature::kRdpid,    Feature::kLahfLm,       Feature::kCr8Legacy, Feature::k3dnowprefetch,
});
const Features kLevel2 = kLevel1 | set_of({Feature::kCx16, Feature::kPopcnt, Feature::kSse3, Feature::kSsse3,
                                           Feature::kSse41, Feature::kSse42, Feature::kPdpe1gb});
const Features kLevel3 = kLevel2 | set_of({Feature::kAvx, Feature::kAvx2, Feature::kBmi1, Feature::kBmi2,
                                           Feature::kF16c, Feature::kFma, Feature::kAbm});

// What the rest of the program implements; nothing else is ever shown. A feature moves here with its
// instructions.
const Features kWorks = kLevel2 | set_of({Feature::kAes, Feature::kPclmulqdq, Feature::kSha, Feature::kBmi1,
                                          Feature::kBmi2, Feature::kAdx, Feature::kAbm, Feature::kLa57,
                                          Feature::kAvx, Feature::kAvx2, Feature::kFma, Feature::kF16c});

struct ModelInfo {
  std::string_view name;
  const Features& features;
};
const ModelInfo kModels[] = {
    {"x86-64-v1", kLevel1}, {"x86-64-v2", kLevel2}, {"x86-64-v3", kLevel3}, {"max", kWorks}};

// What a feature cannot do without. Removing the second removes the first; adding the first adds the second.
struct Dependency {
  Feature feature, needs;
};
constexpr Dependency kDependencies[] = {
    {Feature::kSse, Feature::kFxsr},         {Feature::kSse2, Feature::kSse},
    {Feature::kSse3, Feature::kSse2},        {Feature::kSsse3, Feature::kSse3},
    {Feature::kSse41, Feature::kSsse3},      {Feature::kSse42, Feature::kSse41},
    {Feature::kAes, Feature::kSse2},         {Feature::kPclmulqdq, Feature::kSse2},
    {Feature::kSha, Feature::kSse2},         {Feature::kMmxext, Feature::kMmx},
    {Feature::kXsaveopt, Feature::kXsave},   {Feature::kXsavec, Feature::kXsave},
    {Feature::kXgetbv1, Feature::kXsave},    {Feature::kXsave, Feature::kFxsr},
    {Feature::kAvx, Feature::kXsave},        {Feature::kAvx2, Feature::kAvx},
    {Feature::kFma, Feature::kAvx},          {Feature::kF16c, Feature::kAvx},
    {Feature::kLm, Feature::kPae},           {Feature::kNx, Feature::kPae},
    {Feature::kLa57, Feature::kLm},          {Feature::kPcid, Feature::kLm},
    {Feature::kPdpe1gb, Feature::kLm},       {Feature::kX2apic, Feature::kApic},
    {Feature::kTscDeadline, Feature::kApic}, {Feature::kInvariantTsc, Feature::kTsc},
    {Feature::kRdtscp, Feature::kTsc},
};

// Applied until nothing changes; the relation is acyclic and short.
void change_feature(Features& set, Feature feature, bool on) {
  set.set(static_cast<std::size_t>(feature), on);
  for (const auto& [dependent, needs] : kDependencies) {
    const Feature from = on ? dependent : needs, to = on ? needs : dependent;
    if (from == feature && set.test(static_cast<std::size_t>(to)) != on) change_feature(set, to, on);
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Leaves.

// Family 19h, model 11h, stepping 1: a CPU on which operating systems have few errata to work around.
constexpr u32 kSignature = 0x00a1'0f11;
constexpr u32 kCacheLine = 64;
constexpr u32 kPhysicalBits = 40;

// Three registers' worth of vendor text in the order in which CPUID returns it.
CpuidResult vendor_leaf(u32 max_leaf, std::string_view text, std::array<Reg, 3> order) {
  CpuidResult r{.eax = max_leaf};
  for (std::size_t i = 0; i < order.size(); ++i) {
    u32 word = 0;
    for (u32 byte = 0; byte < 4; ++byte) word |= u32{static_cast<u8>(text[i * 4 + byte])} << (8 * byte);
    (order[i] == Reg::kEbx ? r.ebx : order[i] == Reg::kEcx ? r.ecx : r.edx) = word;
  }
  return r;
}

// Processor name string, leaves 80000002h-80000004h: 48 bytes, zero-terminated.
CpuidResult brand_leaf(std::string_view model, u32 part) {
  std::array<char, 48> text{};
  const std::string name = fmt::format("Doppel Virtual CPU ({})", model);
  std::copy_n(name.begin(), std::min(name.size(), text.size() - 1), text.begin());
  std::array<u32, 4> words;
  std::memcpy(words.data(), text.data() + part * sizeof words, sizeof words);
  return {words[0], words[1], words[2], words[3]};
}

// Bits of an APIC ID that tell the logical processors of the package apart.
u32 apic_id_bits(u32 cpus) {
  return static_cast<u32>(std::bit_width(std::max(cpus, 1u) - 1));
}

// EAX is the shift to the next level's ID.
CpuidResult topology_leaf(const CpuModel& model, u32 subleaf) {
  constexpr u32 kSmtLevel = 1 << 8, kCoreLevel = 2 << 8;
  CpuidResult r{.ecx = subleaf & 0xff, .edx = model.apic_id};
  if (subleaf == 0) {
    r.eax = apic_id_bits(model.threads);
    r.ebx = model.threads;
    r.ecx |= kSmtLevel;
  } else if (subleaf == 1) {
    r.eax = apic_id_bits(model.cpus);
    r.ebx = model.cpus;
    r.ecx |= kCoreLevel;
  }
  return r;
}

u32 xsave_size(u64 components) {
  return kXsaveLegacySize + kXsaveHeaderSize + (components & kXcr0Avx ? kXsaveAvxSize : 0);
}

CpuidResult xsave_leaf(const CpuModel& model, u32 subleaf, const CpuState& state) {
  const u64 supported = model.xcr0_mask();
  switch (subleaf) {
    case 0:
      return {static_cast<u32>(supported), xsave_size(state.xcr0), xsave_size(supported),
              static_cast<u32>(supported >> 32)};
    case 1:
      return {.ebx = model.has(Feature::kXsavec) ? xsave_size(state.xcr0) : 0};
    case 2:
      if (supported & kXcr0Avx) return {kXsaveAvxSize, kXsaveAvxOffset, 0, 0};
      [[fallthrough]];
    default:
      return {};
  }
}

// Everything of a leaf that is not a bit of kFeatures.
CpuidResult leaf_values(const CpuModel& model, u32 leaf, u32 subleaf, const CpuState& state) {
  switch (leaf) {
    case 0:
      return vendor_leaf(kMaxBasicLeaf, "AuthenticAMD", {Reg::kEbx, Reg::kEdx, Reg::kEcx});
    case 1: {
      constexpr u32 kOsxsave = 1u << 27, kRunsUnderHypervisor = 1u << 31, kHtt = 1u << 28;
      return {kSignature,
              (model.apic_id & 0xff) << 24 | std::min(model.cpus, 255u) << 16 | kCacheLine / 8 << 8,
              kRunsUnderHypervisor | (state.cr4 & kCr4Osxsave ? kOsxsave : 0), model.cpus > 1 ? kHtt : 0};
    }
    case 5:
      return model.has(Feature::kMonitor) ? CpuidResult{kCacheLine, kCacheLine, 0, 0} : CpuidResult{};
    case 0xb:
      return topology_leaf(model, subleaf);
    case 0xd:
      return model.has(Feature::kXsave) ? xsave_leaf(model, subleaf, state) : CpuidResult{};
    case kHypervisor:
      return vendor_leaf(kHypervisor, "DoppelDoppel", {Reg::kEbx, Reg::kEcx, Reg::kEdx});
    case kExtended:
      return vendor_leaf(kMaxExtendedLeaf, "AuthenticAMD", {Reg::kEbx, Reg::kEdx, Reg::kEcx});
    case kExtended + 1: {
      // HTT with CmpLegacy: the logical processors of leaf 1 are cores, not threads of one core.
      constexpr u32 kCmpLegacyBit = 1u << 1, kTopologyExtensions = 1u << 22;
      const u32 bits = model.threads > 1 ? kTopologyExtensions : model.cpus > 1 ? kCmpLegacyBit : 0;
      return {kSignature, 0, bits, 0};
    }
    case kExtended + 2:
    case kExtended + 3:
    case kExtended + 4:
      return brand_leaf(model.name, leaf - (kExtended + 2));
    case kExtended + 5:  // L1: 64-entry TLBs; 32 KiB caches, 8 ways, 64-byte lines
      return {0xff40'ff40, 0xff40'ff40, 0x2008'0140, 0x2008'0140};
    case kExtended + 6:  // L2: TLBs, 1 MiB cache, 8 ways; L3: 32 MiB, 16 ways
      return {0x5c00'2200, 0x6c00'4200, 0x0400'6140, 0x0100'8140};
    case kExtended + 8: {
      // XSAVEERPTR: error pointers are always saved and restored, so nothing leaks across processes. SSB_NO
      // and BTC_NO: nothing speculates here, so there is nothing to mitigate.
      constexpr u32 kXsaveErPtr = 1u << 2, kSsbNo = 1u << 26, kBtcNo = 1u << 29;
      const u32 linear_bits = model.has(Feature::kLa57) ? 57 : 48;
      return {kPhysicalBits | linear_bits << 8, kXsaveErPtr | kSsbNo | kBtcNo,
              (std::min(model.cpus, 256u) - 1) | apic_id_bits(model.cpus) << 12, 0};
    }
    case kExtended + 0x1e:
      if (model.threads == 1) return {};
      return {model.apic_id, (model.threads - 1) << 8 | model.apic_id / model.threads, 0, 0};
    case kExtended + 0x21: {
      // LFENCE always serializing, null selector clears the base, automatic IBRS; immune to SRSO and TSA.
      // With these an operating system picks no retpolines and no flushes.
      constexpr u32 kLfenceSerializes = 1u << 2, kNullClearsBase = 1u << 6, kAutoIbrs = 1u << 8,
                    kSrsoNo = 1u << 29, kTsaSqNo = 1u << 1, kTsaL1No = 1u << 2;
      return {kLfenceSerializes | kNullClearsBase | kAutoIbrs | kSrsoNo, 0, kTsaSqNo | kTsaL1No, 0};
    }
    default:
      return {};
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Names as users type them.

// Names that other programs know; what to type here instead.
struct ForeignModel {
  std::string_view prefix, advice;
};
constexpr ForeignModel kForeignModels[] = {
    {"host", "the guest does not run on the host's CPU; type \"max\" for every feature that works"},
    {"native", "the guest does not run on the host's CPU; type \"max\" for every feature that works"},
    {"base", "type \"x86-64-v1\""},
    {"qemu", "type \"x86-64-v1\""},
    {"kvm", "type \"x86-64-v1\""},
    {"x8664v2aes", "type \"x86-64-v2,+aes\""},
    {"x8664v4", "AVX-512 does not work here; type \"x86-64-v3\""},
    {"epyc", "type \"x86-64-v3\""},
    {"opteron", "type \"x86-64-v2\""},
    {"phenom", "type \"x86-64-v1\""},
    {"athlon", "type \"x86-64-v1\""},
    {"conroe", "type \"x86-64-v1\""},
    {"penryn", "type \"x86-64-v1\""},
    {"nehalem", "type \"x86-64-v2\""},
    {"westmere", "type \"x86-64-v2,+aes\""},
    {"sandybridge", "type \"x86-64-v2\""},
    {"ivybridge", "type \"x86-64-v2\""},
    {"haswell", "type \"x86-64-v3\""},
    {"broadwell", "type \"x86-64-v3\""},
    {"skylake", "type \"x86-64-v3\""},
    {"cascadelake", "type \"x86-64-v3\""},
    {"icelake", "type \"x86-64-v3\""},
    {"sapphirerapids", "type \"x86-64-v3\""},
    {"core2duo", "type \"x86-64-v1\""},
    {"pentium", "type \"x86-64-v1,-lm\""},
    {"486", "type \"x86-64-v1,-lm\""},
};

const FeatureInfo* find_feature(std::string_view word) {
  const std::string key = fold_spelling(word);
  const auto it = std::ranges::find_if(kFeatures, [&](const FeatureInfo& f) {
    return fold_spelling(f.name) == key || fold_spelling(f.alias) == key;
  });
  return key.empty() || it == std::end(kFeatures) ? nullptr : it;
}

std::string unknown_model(std::string_view word) {
  const std::string key = fold_spelling(word);
  for (const auto& [prefix, advice] : kForeignModels)
    if (key.starts_with(prefix)) return fmt::format("CPU model \"{}\" is not known: {}", word, advice);
  std::string all;
  for (const std::string& name : cpu_model_names()) all += (all.empty() ? "" : ", ") + name;
  return fmt::format("CPU model \"{}\" is not known; did you mean \"{}\"? Models are {}.", word,
                     nearest_spelling(word, cpu_model_names()), all);
}

// Applies "+name" or "-name"; the result is an error sentence, or empty.
std::string apply_change(CpuModel& model, std::string_view change) {
  const bool on = change.starts_with('+');
  if (!on && !change.starts_with('-'))
    return fmt::format("\"{}\" after the CPU model: write \"+feature\" or \"-feature\"", change);
  const std::string_view word = change.substr(1);
  const FeatureInfo* info = find_feature(word);
  if (!info) {
    std::vector<std::string> names;
    for (const FeatureInfo& f : kFeatures) names.emplace_back(f.name);
    return fmt::format("CPU feature \"{}\" is not known; did you mean \"{}\"?", word,
                       nearest_spelling(word, names));
  }
  if (on && !kWorks.test(static_cast<std::size_t>(info->feature)))
    return fmt::format("CPU feature \"{}\" does not work here; leave \"{}\" away", info->name, change);
  change_feature(model.features, info->feature, on);
  return {};
}

}  // namespace

u64 CpuModel::xcr0_mask() const {
  return kXcr0X87 | (has(Feature::kSse) ? kXcr0Sse : 0) | (has(Feature::kAvx) ? kXcr0Avx : 0);
}

CpuidResult CpuModel::cpuid(u32 leaf, u32 subleaf, const CpuState& state) const {
  CpuidResult r = leaf_values(*this, leaf, subleaf, state);
  const bool has_subleaves = leaf == 7 || leaf == 0xd;
  u32* const regs[] = {&r.eax, &r.ebx, &r.ecx, &r.edx};
  for (const FeatureInfo& f : kFeatures)
    if (f.leaf == leaf && (!has_subleaves || f.subleaf == subleaf) && has(f.feature))
      *regs[static_cast<u8>(f.reg)] |= 1u << f.bit;
  if (leaf == kExtended + 1) {
    // AMD repeats these bits of leaf 1 here (APM Vol. 3, Fn8000_0001_EDX).
    constexpr u32 kRepeated = 0x0183'f3ff;
    r.edx |= cpuid(1, 0, state).edx & kRepeated;
  }
  return r;
}

std::string_view feature_name(Feature f) {
  const auto it = std::ranges::find(kFeatures, f, &FeatureInfo::feature);
  return it == std::end(kFeatures) ? std::string_view{} : it->name;
}

const std::vector<std::string>& cpu_model_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> list;
    for (const ModelInfo& m : kModels) list.emplace_back(m.name);
    return list;
  }();
  return names;
}

std::variant<CpuModel, std::string> parse_cpu_model(std::string_view text) {
  const auto take = [&] {
    const auto comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    return word;
  };

  const std::string_view name = take();
  const auto info = std::ranges::find_if(
      kModels, [&](const ModelInfo& m) { return fold_spelling(m.name) == fold_spelling(name); });
  if (info == std::end(kModels)) return unknown_model(name);

  CpuModel model;
  model.name = info->name;
  model.features = info->features & kWorks;
  while (!text.empty())
    if (std::string error = apply_change(model, take()); !error.empty()) return error;
  return model;
}

}  // namespace doppel::core
