// Relocated code: at each instruction of the host, the guest must be where its own instructions take it. One
// machine interprets a program, an instruction at a time; a stub process runs the copy in single steps.
#include <asmjit/x86.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "jit/direct/guest_registers.hpp"
#include "jit/direct/shadow_space.hpp"
#include "tests/jit/direct_machine.hpp"

namespace doppel::jit::test {
namespace {

namespace x86 = asmjit::x86;

// Physical; the program sees them at its base, code first.
constexpr u64 kProgramCode = 0x10'0000, kProgramData = 0x10'1000, kProgramStack = 0x10'2000;
constexpr u64 kProgramTables = 0x10'8000;
constexpr u64 kStackTop = 0x800;

// The forms that a copy has to change, in all their varieties; no flags without a defined value.
std::vector<u8> make_program(u64 base) {
  asmjit::CodeHolder code;
  code.init(asmjit::Environment::host(), base);
  x86::Assembler a(&code);
  using namespace asmjit::x86;
  const u64 data = base + core::kPageSize;
  const auto at = [&](u64 offset, u32 size) {
    x86::Mem mem = x86::ptr(data + offset, size);
    mem.setRel();
    return mem;
  };
  const asmjit::Label add_one = a.newLabel(), drop = a.newLabel(), loop = a.newLabel(), here = a.newLabel(),
                      there = a.newLabel(), middle = a.newLabel(), empty = a.newLabel(), end = a.newLabel(),
                      last = a.newLabel(), back = a.newLabel();

  // RIP-relative operands: loads, stores, with immediates, prefixes, VEX, implicit registers.
  a.mov(rax, at(0, 8));
  a.add(at(8, 8), rax);
  a.mov(at(16, 4), ecx);
  a.movzx(r9d, at(1, 1));
  a.add(at(24, 4), 0x12345);
  a.cmp(at(0, 1), 3);
  a.lock().xadd(at(32, 8), rdx);
  a.movups(xmm1, at(0, 16));
  a.vpaddd(ymm2, ymm1, at(0, 32));
  a.vpshufb(xmm9, xmm1, at(16, 16));
  a.mulx(r10, r11, at(0, 8));
  a.cmpxchg(at(8, 8), rbx);
  a.push(at(0, 8));
  a.pop(at(40, 8));
  a.lea(rsi, at(64, 8));
  a.lea(r14d, at(72, 4));
  a.movsxd(rcx, at(4, 4));

  // Calls and returns.
  a.call(add_one);
  a.lea(rbx, x86::ptr(add_one));
  a.call(rbx);
  a.mov(x86::qword_ptr(rsi), rbx);
  a.call(x86::qword_ptr(rsi));
  a.call(at(64, 8));
  a.mov(r12, 2);
  a.lea(r13, x86::ptr(rsi, -16));
  a.call(x86::qword_ptr(r13, r12, 3));
  a.push(rbx);
  a.call(x86::qword_ptr(rsp));
  a.push(rax);
  a.call(drop);

  // Jumps.
  a.lea(rcx, x86::ptr(here));
  a.jmp(rcx);
  a.bind(there);
  a.lea(rdx, x86::ptr(middle));
  a.mov(at(80, 8), rdx);
  a.jmp(at(80, 8));
  a.bind(here);
  a.jmp(there);
  a.bind(middle);
  a.mov(ecx, 3);
  a.bind(loop);
  a.stc();
  a.adc(rax, rcx);
  a.loop(loop);
  a.jecxz(rcx, empty);
  a.int3();
  a.bind(empty);
  a.mov(ecx, 1);
  a.jecxz(rcx, last);
  a.bind(back);
  a.sub(ecx, 1);
  a.jns(back);
  a.cld();
  a.lea(rdi, at(128, 1));
  a.movsb();
  a.cmp(eax, ecx);
  a.jz(last);
  a.jmp(end);
  a.bind(last);
  a.int3();
  a.bind(end);
  a.ud2();

  a.bind(add_one);
  a.add(rax, 1);
  a.ret();
  a.bind(drop);
  a.std();
  a.ret(8);

  const auto& buffer = code.textSection()->buffer();
  return {buffer.data(), buffer.data() + buffer.size()};
}

void load(DirectMachine& m, u64 base) {
  u64 table = kPageTables;
  u64 free = kProgramTables;
  for (u32 level = 3; level > 0; --level) {
    const u64 entry = table + (base >> (12 + 9 * level) & 511) * 8;
    if (!(m.get<u64>(entry) & kPresent)) {
      m.put<u64>(entry, free | kPresent | kWritable | kUser);
      free += core::kPageSize;
    }
    table = m.get<u64>(entry) & core::kPageMask;
  }
  const u64 first = table + (base >> 12 & 511) * 8;
  m.put<u64>(first, kProgramCode | kPresent | kUser);
  m.put<u64>(first + 8, kProgramData | kPresent | kWritable | kUser);
  m.put<u64>(first + 16, kProgramStack | kPresent | kWritable | kUser);
  const std::vector<u8> program = make_program(base);
  REQUIRE(program.size() <= core::kPageSize);
  std::ranges::copy(program, m.ram.host(kProgramCode));
  for (u64 i = 0; i < 256; ++i) m.put<u8>(kProgramData + i, static_cast<u8>(i * 37 + 3));
  for (u32 i = 0; i < 16; ++i) m.cpu.state.gpr[i] = 0x1111'2222'3333'0000 * (i + 1) + i;
  m.gpr(core::kRsp) = base + 2 * core::kPageSize + kStackTop;
  m.cpu.state.rip = base;
  m.cpu.mmu.flush_all();
}

struct State {
  u64 rip;
  std::array<u64, 16> gpr;
  u64 flags;
  bool operator==(const State&) const = default;
};

constexpr u64 kFlags = core::kArithmeticFlags | core::kDf;

State state_of(const CpuState& s) {
  State state{s.rip, {}, core::rflags(s) & kFlags};
  std::copy_n(s.gpr.begin(), state.gpr.size(), state.gpr.begin());
  return state;
}

State state_of(user_regs_struct registers) {
  State state{registers.rip, {}, registers.eflags & kFlags};
  for (u32 i = 0; i < 16; ++i) state.gpr[i] = direct::general_register(registers, i);
  return state;
}

}  // namespace

TEST_CASE("relocated code: the guest is between two of its instructions at each of the host's" *
          doctest::skip(forbidden())) {
  u64 base = 0;
  SUBCASE("in the first 2 GiB") {
    base = 0x4000'0000;
  }
  SUBCASE("far from everything") {
    base = 0x7f12'3456'7000;
  }
  CAPTURE(base);
  DirectMachine interpreted;
  load(interpreted, base);
  std::vector<State> expected{state_of(interpreted.cpu.state)};
  constexpr std::size_t kMost = 500;
  while (interpreted.cpu.state.cpl == 3 && expected.size() < kMost) {
    (void)interpreted.dispatcher.step();
    if (interpreted.cpu.state.cpl == 3) expected.push_back(state_of(interpreted.cpu.state));
  }
  REQUIRE(interpreted.halted_in() == -1);
  REQUIRE(expected.size() < kMost);
  REQUIRE(expected.size() > 70);

  DirectMachine m;
  load(m, base);
  direct::CodeFrames code(m.cpu, m.dispatcher.blocks());
  code.refuse_all();
  direct::WritableFrames writable(m.ram);
  direct::ShadowSpace space(m.cpu, code, writable);
  REQUIRE(space.refresh());
  auto& stub = space.stub();
  stub.registers = stub.initial();
  direct::to_host(m.cpu.state, stub.registers);
  std::size_t at = 0, steps = 0;
  while (true) {
    auto stop = stub.step();
    ++steps;
    REQUIRE(steps < 20 * kMost);
    if (stop.reason != direct::StubProcess::Stop::Reason::kStepped &&
        space.stopped(stop) != direct::ShadowSpace::Outcome::kGoesOn)
      break;
    user_regs_struct now = stub.registers;
    if (direct::RelocatedCode::holds(now.rip)) space.relocated().leave(now);
    const State state = state_of(now);
    if (state == expected[at]) continue;
    ++at;
    REQUIRE(at < expected.size());
    REQUIRE(state.rip == expected[at].rip);
    for (u32 i = 0; i < 16; ++i) REQUIRE(state.gpr[i] == expected[at].gpr[i]);
    REQUIRE(state.flags == expected[at].flags);
  }
  space.end();
  CHECK(at == expected.size() - 1);
  CHECK(state_of(stub.registers) == expected.back());
  CHECK(steps > expected.size());
  for (const u64 page : {kProgramData, kProgramStack})
    CHECK(std::memcmp(m.ram.host(page), interpreted.ram.host(page), core::kPageSize) == 0);
}

// A block of one page of code, for an address of which the place of a branch can be chosen.
struct Blocks final : direct::RelocatedBlock::Surroundings {
  std::size_t fetch(u64 rip, std::span<u8, kLongestInsn> bytes) override {
    const std::size_t size = rip < code.size() ? std::min<std::size_t>(bytes.size(), code.size() - rip) : 0;
    std::copy_n(code.begin() + static_cast<std::ptrdiff_t>(rip), size, bytes.begin());
    return size;
  }
  u64 target(u64) override { return branch; }
  [[nodiscard]] bool has(u64) const override { return false; }
  u64 exit(u64 rip) override {
    exits.push_back(rip);
    return kExit;
  }
  u64 literal(u64) override { return kLiteral; }

  static constexpr u64 kExit = 0x7f00'0070'0000, kLiteral = 0x7f00'0080'0000;
  std::vector<u8> code;
  u64 branch = kExit;
  std::vector<u64> exits;
};

TEST_CASE("relocated code: SGDT and SIDT cannot be read from any byte of it") {
  constexpr u64 kAddress = 0x7f00'0000'0000;
  const direct::RelocationAddresses addresses{
      .slots = 0x7f00'00a0'0000, .table = 0x7f00'0090'0000, .lookup = kAddress + 0x10'0000};
  struct Case {
    const char* name;
    std::vector<u8> code;
    u64 branch;              // where its branch goes
    std::vector<u64> exits;  // instructions that are not for the copy
  };
  const Case cases[] = {{"sgdt [rax]", {0x90, 0x0f, 0x01, 0x00}, Blocks::kExit, {1}},
                        {"in an immediate", {0x90, 0xb8, 0x0f, 0x01, 0, 0, 0x90}, Blocks::kExit, {1}},
                        {"in a displacement", {0x8b, 0x80, 0x0f, 0x01, 0, 0}, Blocks::kExit, {0}},
                        {"of two neighbours", {0xb0, 0x0f, 0x01, 0x08, 0x90}, Blocks::kExit, {}},
                        {"in the low bytes of a branch", {0x74, 0}, kAddress + 6 + 0x10f, {}},
                        {"in the high bytes of a branch", {0x74, 0}, kAddress + 6 + 0x1'0f80, {}},
                        {"lgdt [rax]", {0x90, 0x0f, 0x01, 0x10}, Blocks::kExit, {}}};
  for (const auto& [name, code, branch, exits] : cases) {
    CAPTURE(std::string(name));
    Blocks blocks;
    blocks.code = code;
    blocks.branch = branch;
    const direct::RelocatedBlock block(0, kAddress, addresses, blocks);
    CHECK(!direct::could_store_table(block.code()));
    CHECK(blocks.exits == exits);
    REQUIRE(!block.marks().empty());
    CHECK(block.marks()[0].offset == 0);
    CHECK(block.code().size() > 5);
  }
}

}  // namespace doppel::jit::test
