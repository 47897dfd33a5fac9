#include "jit/state_difference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace doppel::jit {

using core::CpuState;
using core::Fault;

namespace {

// A run of equal elements of CpuState. Elements of at most 8 bytes, `stride` apart.
struct Field {
  const char* name;
  std::size_t offset;
  u32 size, count = 1, stride = 0;
};

#define DOPPEL_FIELD(member) \
  { #member, offsetof(CpuState, member), sizeof(CpuState::member) }
#define DOPPEL_FIELD_OF(base, member) \
  { #base "." #member, offsetof(CpuState, base.member), sizeof(decltype(CpuState::base)::member) }
#define DOPPEL_ARRAY(member)                                                        \
  {                                                                                 \
#member, offsetof(CpuState, member), sizeof(CpuState::member[0]),               \
        static_cast < u32>(sizeof(CpuState::member) / sizeof(CpuState::member[0])), \
        sizeof(CpuState::member[0])                                                 \
  }
#define DOPPEL_SEGMENTS(member)                                                                   \
  {                                                                                               \
    "segment." #member, offsetof(CpuState, segment) + offsetof(core::SegmentRegister, member),    \
        sizeof(core::SegmentRegister::member), core::kSegmentCount, sizeof(core::SegmentRegister) \
  }
#define DOPPEL_SEGMENT(name)                                                                  \
  DOPPEL_FIELD_OF(name, base), DOPPEL_FIELD_OF(name, limit), DOPPEL_FIELD_OF(name, selector), \
      DOPPEL_FIELD_OF(name, attributes)

constexpr Field kFields[] = {
    DOPPEL_FIELD(cpl),
    DOPPEL_FIELD(code_bits),
    DOPPEL_FIELD(interrupt_shadow),
    DOPPEL_FIELD(nmi_blocked),
    DOPPEL_FIELD(activity),
    DOPPEL_SEGMENTS(base),
    DOPPEL_SEGMENTS(limit),
    DOPPEL_SEGMENTS(selector),
    DOPPEL_SEGMENTS(attributes),
    DOPPEL_SEGMENT(ldtr),
    DOPPEL_SEGMENT(tr),
    DOPPEL_FIELD_OF(gdtr, base),
    DOPPEL_FIELD_OF(gdtr, limit),
    DOPPEL_FIELD_OF(idtr, base),
    DOPPEL_FIELD_OF(idtr, limit),
    DOPPEL_FIELD(cr0),
    DOPPEL_FIELD(cr2),
    DOPPEL_FIELD(cr3),
    DOPPEL_FIELD(cr4),
    DOPPEL_FIELD(cr8),
    DOPPEL_FIELD(xcr0),
    DOPPEL_FIELD(efer),
    DOPPEL_ARRAY(pdpte),
    DOPPEL_ARRAY(dr),
    DOPPEL_FIELD(star),
    DOPPEL_FIELD(lstar),
    DOPPEL_FIELD(cstar),
    DOPPEL_FIELD(sfmask),
    DOPPEL_FIELD(kernel_gs_base),
    DOPPEL_FIELD(tsc_aux),
    DOPPEL_FIELD(sysenter_cs),
    DOPPEL_FIELD(sysenter_esp),
    DOPPEL_FIELD(sysenter_eip),
    DOPPEL_FIELD(mxcsr),
    DOPPEL_FIELD_OF(x87, control),
    DOPPEL_FIELD_OF(x87, status),
    DOPPEL_FIELD_OF(x87, top),
    DOPPEL_FIELD_OF(x87, valid),
    {"x87.significand", offsetof(CpuState, x87.physical), 8, 8, sizeof(core::X87Register)},
    {"x87.sign_exponent", offsetof(CpuState, x87.physical) + offsetof(core::X87Register, sign_exponent), 2, 8,
     sizeof(core::X87Register)},
    {"vec", offsetof(CpuState, vec), 8, sizeof(CpuState::vec) / 8, 8},
    DOPPEL_FIELD(debug_hits),
};

// What follows the fields that other threads and the engines own.
constexpr std::size_t kRest = offsetof(CpuState, cpl);

constexpr const char* kGprNames[] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                     "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};

const u8* bytes(const CpuState& s) {
  return reinterpret_cast<const u8*>(&s);
}

u64 element(const CpuState& s, const Field& field, u32 index) {
  u64 value = 0;
  std::memcpy(&value, bytes(s) + field.offset + index * field.stride, field.size);
  return value;
}

bool same_field(const CpuState& a, const CpuState& b, const Field& field) {
  if (field.stride == field.size || field.count == 1)
    return std::memcmp(bytes(a) + field.offset, bytes(b) + field.offset, field.size * field.count) == 0;
  for (u32 i = 0; i < field.count; ++i)
    if (element(a, field, i) != element(b, field, i)) return false;
  return true;
}

// What a fault tells its handler, and nothing else.
Fault visible(const Fault& f) {
  if (!f.pending) return {};
  const bool has_address = f.vector == core::Vector::kPF || f.vector == core::Vector::kDB;
  return {f.vector, true, core::has_error_code(f.vector) ? f.error : 0, has_address ? f.address : 0};
}
bool same_fault(const Fault& a, const Fault& b) {
  const Fault x = visible(a), y = visible(b);
  return x.pending == y.pending && x.vector == y.vector && x.error == y.error && x.address == y.address;
}

std::string describe(const Fault& fault) {
  const Fault f = visible(fault);
  return f.pending ? fmt::format("#{} {:x} {:x}", static_cast<u32>(f.vector), f.error, f.address) : "none";
}

std::string line(const std::string& name, bool differs, const std::string& before,
                 const std::string& translated, const std::string& interpreted) {
  return fmt::format("{} {:<22} {:<24} {:<24} {}\n", differs ? '*' : ' ', name, before, translated,
                     interpreted);
}
std::string line(const std::string& name, u64 before, u64 translated, u64 interpreted) {
  const auto hex = [](u64 value) { return fmt::format("{:016x}", value); };
  return line(name, translated != interpreted, hex(before), hex(translated), hex(interpreted));
}

}  // namespace

// Around the fields that other threads and the engines own.
void copy_state(CpuState& to, const CpuState& from) {
  constexpr std::size_t kOwn = offsetof(CpuState, attention);
  static_assert(offsetof(CpuState, pending) > kOwn && offsetof(CpuState, pending) < kRest);
  static_assert(offsetof(CpuState, tlb) > kOwn && offsetof(CpuState, tlb) < kRest);
  static_assert(offsetof(CpuState, translator) > kOwn && offsetof(CpuState, translator) < kRest);
  auto* out = reinterpret_cast<u8*>(&to);
  std::memcpy(out, &from, kOwn);
  std::memcpy(out + kRest, bytes(from) + kRest, sizeof(CpuState) - kRest);
}

bool same_state(const CpuState& a, const CpuState& b, u64 flags, u64 bits) {
  // Nearly always all of it is the same, to the last byte.
  const bool same_rest = std::memcmp(bytes(a) + kRest, bytes(b) + kRest, sizeof(CpuState) - kRest) == 0;
  const auto same_bits = [bits](u64 x, u64 y) { return ((x ^ y) & bits) == 0; };
  return std::equal(a.gpr.begin(), a.gpr.begin() + 16, b.gpr.begin(), same_bits) && a.rip == b.rip &&
         a.rflags == b.rflags &&
         ((core::arithmetic_flags(a.lazy) ^ core::arithmetic_flags(b.lazy)) & flags) == 0 &&
         (same_rest || (same_fault(a.fault, b.fault) && std::ranges::all_of(kFields, [&](const Field& field) {
                          return same_field(a, b, field);
                        })));
}

std::string state_table(const CpuState& before, const CpuState& translated, const CpuState& interpreted) {
  std::string out = line("", false, "before", "translated", "interpreted");
  for (std::size_t i = 0; i < 16; ++i)
    out += line(kGprNames[i], before.gpr[i], translated.gpr[i], interpreted.gpr[i]);
  out += line("RIP", before.rip, translated.rip, interpreted.rip);
  out += line("RFLAGS", core::rflags(before), core::rflags(translated), core::rflags(interpreted));
  out += line("fault", !same_fault(translated.fault, interpreted.fault), describe(before.fault),
              describe(translated.fault), describe(interpreted.fault));
  for (const Field& field : kFields)
    for (u32 i = 0; i < field.count; ++i) {
      const u64 t = element(translated, field, i), n = element(interpreted, field, i);
      if (t == n) continue;
      const std::string name = field.count == 1 ? field.name : fmt::format("{}[{}]", field.name, i);
      out += line(name, element(before, field, i), t, n);
    }
  return out;
}

}  // namespace doppel::jit
