#include "tests/interp/instruction_case.hpp"

#include <fmt/format.h>

#include <cstring>
#include <deque>
#include <map>

#include "tests/interp/assembler.hpp"
#include "tests/interp/instruction_facts.hpp"
#include "tests/interp/native_cpu.hpp"

namespace doppel::tests {
namespace {

struct Registered {
  Mode mode;
  const Case* item;
};
std::deque<Registered>& registered() {
  static std::deque<Registered> cases;
  return cases;
}

u32 x87_top(u32 used) {
  return (8 - used) & 7;
}
u8 x87_tags(u32 used) {  // the used registers are physical 8-used..7
  return static_cast<u8>(0xff00u >> used);
}

// Applies what `from` gives of registers and memory.
void apply(const State& from, MachineState& state, Data& data) {
  const std::pair<u32, const std::optional<u64>&> gprs[] = {
      {core::kRax, from.rax}, {core::kRbx, from.rbx}, {core::kRcx, from.rcx}, {core::kRdx, from.rdx},
      {core::kRsi, from.rsi}, {core::kRdi, from.rdi}, {core::kRbp, from.rbp}, {core::kRsp, from.rsp},
      {core::kR8, from.r8},   {core::kR9, from.r9},   {core::kR15, from.r15}};
  for (const auto& [index, value] : gprs)
    if (value) state.gpr[index] = *value;
  const std::pair<u32, const std::optional<Xmm>&> xmms[] = {
      {0, from.xmm0}, {1, from.xmm1}, {2, from.xmm2}, {7, from.xmm7}};
  for (const auto& [index, value] : xmms)
    if (value) {
      state.vec[index].q[0] = value->low;
      state.vec[index].q[1] = value->high;
    }
  if (from.flags) state.rflags = *from.flags | core::kFlagsFixed;
  state.mxcsr = from.mxcsr.value_or(state.mxcsr);
  state.fcw = from.fcw.value_or(state.fcw);
  std::memcpy(data.data(), from.mem.values.data(), from.mem.count * 8);
}

void apply_x87(const State& from, MachineState& state) {
  const u32 used = from.st.count;
  for (u32 i = 0; i < used; ++i)
    state.st[i] = {from.st.values[i].significand, from.st.values[i].sign_exponent};
  state.ftw = x87_tags(used);
  state.fsw = static_cast<u16>(from.fsw.value_or(0) | x87_top(used) << 11);
}

Program program_of(Mode mode, const Case& item, std::vector<u8> code) {
  Program p{.mode = mode, .code = std::move(code), .initial = {}, .data = {}};
  const u64 width_mask = code_bits(mode) == 64 ? ~u64{0} : code_bits(mode) == 32 ? 0xffff'ffff : 0xffff;
  for (u64 i = 0; i < 16; ++i) p.initial.gpr[i] = (0x8877'6655'4433'2211 * (2 * i + 3)) & width_mask;
  p.initial.gpr[core::kRsp] = layout(mode).data + kDataSize / 2;
  for (u64 i = 0; i < 16; ++i)
    p.initial.vec[i] = {{u64{0x1111'2222'3333'4444} * (i + 1), 0x5555'6666'7777'8888 + i, 0, 0}};
  for (u32 i = 0; i < kDataSize; ++i) p.data[i] = static_cast<u8>(i * 0x35 + 0x17);
  apply(item.before, p.initial, p.data);
  apply_x87(item.before, p.initial);
  return p;
}

bool host_is_amd() {
#ifdef __x86_64__
  return __builtin_cpu_is("amd");
#else
  return false;
#endif
}

// Everything that all the tables' cases need, made once: one run of the assembler, one child for the host's
// results.
struct Prepared {
  std::vector<Program> programs;
  std::vector<std::optional<Outcome>> native;
};

const Prepared& prepared() {
  static const Prepared all = [] {
    std::vector<Source> sources;
    for (const auto& [mode, item] : registered()) {
      const Layout where = layout(mode);
      sources.push_back({item->code, code_bits(mode), where.code, where.data});
    }
    std::vector<std::vector<u8>> code = assemble(sources);

    Prepared out;
    std::vector<Program> batch;
    std::vector<std::size_t> numbers;
    for (std::size_t i = 0; i < code.size(); ++i) {
      const auto& [mode, item] = registered()[i];
      out.programs.push_back(program_of(mode, *item, std::move(code[i])));
      if (!native_available(out.programs.back()) || (item->as_amd && !host_is_amd())) continue;
      batch.push_back(out.programs.back());
      numbers.push_back(i);
    }
    out.native.resize(out.programs.size());
    const std::vector<Outcome> outcomes = run_natively(batch);
    for (std::size_t i = 0; i < numbers.size(); ++i) out.native[numbers[i]] = outcomes[i];
    return out;
  }();
  return all;
}

// Whether the exception is the instruction's purpose: then RIP is behind it.
bool is_trap(ZydisMnemonic mnemonic, const State& after) {
  return mnemonic == ZYDIS_MNEMONIC_INT3 || mnemonic == ZYDIS_MNEMONIC_INTO ||
         (mnemonic == ZYDIS_MNEMONIC_INT && after.error == 0);
}

// The outcome that a case asks for. What it leaves open is taken from `actual`.
Outcome expected(const Case& item, const Program& program, const CodeFacts& facts, const Outcome& actual) {
  Outcome out{.state = program.initial, .data = program.data};
  const State& after = item.after;
  apply(after, out.state, out.data);
  out.fault = after.fault.value_or(kNoFault);
  out.error = after.error;
  out.address = after.cr2;
  const u64 start = layout(program.mode).code;
  const bool at_last = after.fault && !is_trap(facts.last_mnemonic, after);
  out.state.rip = start + (at_last ? facts.last : program.code.size());

  State x87 = after;
  if (x87.st.count == 0) x87.st = item.before.st;
  x87.fsw = after.fsw.value_or(actual.state.fsw) & ~(7u << 11);
  apply_x87(x87, out.state);
  for (u32 i = x87.st.count; i < 8; ++i) out.state.st[i] = actual.state.st[i];  // not in use
  return out;
}

}  // namespace

CaseTable::CaseTable(Mode mode, std::span<const Case> cases)
    : mode_(mode), cases_(cases), first_(registered().size()) {
  for (const Case& item : cases_) registered().push_back({mode, &item});
}

void CaseTable::check() const {
  for (const Engine engine : engines()) check(engine);
}

void CaseTable::check(Engine engine) const {
  static std::map<Engine, GuestCpu> guests;
  GuestCpu& guest = guests.try_emplace(engine, "max", engine).first->second;
  for (std::size_t i = 0; i < cases_.size(); ++i) {
    const Case& item = cases_[i];
    const Program& program = prepared().programs[first_ + i];
    const std::optional<Outcome>& native = prepared().native[first_ + i];
    const CodeFacts facts = facts_of(program.code, code_bits(mode_));
    INFO(std::string(engine_name(engine)) << ", case " << i << ": " << std::string(item.code) << "\n"
                                          << listing(program.code, code_bits(mode_), layout(mode_).code));

    static_cast<void>(guest.run(program));
    const Outcome actual = guest.run(program);  // its blocks are chained by now
    const u64 undefined = facts.undefined_flags | stale_flags(engine, actual);
    const std::string wrong = differences(actual, expected(item, program, facts, actual), undefined);
    CHECK_MESSAGE(wrong.empty(), "guest, expected:\n" << wrong);
    if (!native) continue;
    const std::string oracle = differences(actual, *native, undefined);
    CHECK_MESSAGE(oracle.empty(), "guest, host:\n" << oracle);
    if (engine != Engine::kInterpreter) continue;
    const std::string claim =
        differences(*native, expected(item, program, facts, *native), facts.undefined_flags);
    CHECK_MESSAGE(claim.empty(), "host, expected:\n" << claim);
  }
}

}  // namespace doppel::tests
