#include <array>
#include <functional>
#include <thread>

#include "tests/jit/running_machine.hpp"

namespace doppel::jit::test {
namespace {

constexpr u64 kFlagsWithIf = core::kFlagsFixed | core::kIf, kFlagsWithTf = core::kFlagsFixed | core::kTf;
constexpr u8 kVector = 0x40, kPort = 0x80;
constexpr int kInCode = -1;           // halted by the code's own HLT
constexpr u64 kSingleStep = 1 << 14;  // DR6.BS

using Do = std::function<void(RunningMachine&)>;

// Code that runs to a HLT: its own, or that of a vector's handler.
struct Scenario {
  const char* name;
  std::vector<u8> code;
  Do before;
  int vector;
  u64 offset;  // from the code's start: the return address of the vector's frame, or RIP
  Do after = {};
  Mode mode = Mode::kLong;
  u32 error_words = 0;  // in the frame, below the return address
};

void check(std::span<const Scenario> scenarios) {
  for (const Engine engine : kEngines)
    for (const Scenario& c : scenarios) {
      CAPTURE(std::string(c.name));
      CAPTURE(static_cast<int>(engine));
      RunningMachine m(c.mode, 0, engine);
      std::copy(c.code.begin(), c.code.end(), m.ram.host(kRip));
      if (c.mode == Mode::kReal) m.cpu.state.gpr[core::kRsp] = 0x7000;
      if (c.before) c.before(m);
      CHECK(m.run() == Exit::kIdle);
      CHECK(m.halted_in() == c.vector);
      CHECK((c.vector == kInCode ? m.cpu.state.rip : m.frame(c.error_words)) == kRip + c.offset);
      if (c.after) c.after(m);
    }
}

Do flags(u64 value) {
  return [=](RunningMachine& m) { core::set_rflags(m.cpu.state, value); };
}
// A handler of its own for one vector, instead of the HLT.
void handler(RunningMachine& m, u8 vector, std::initializer_list<u8> code) {
  m.code(code, kSpare);
  m.put_idt(vector, gate(kLongCode, kSpare, interp::SystemType::kInterruptGate32));
}

// Calls `on_write` for each byte written to kPort.
class Port final : public core::Device {
 public:
  Port(RunningMachine& m, std::function<void(u32 count)> on_write) : on_write_(std::move(on_write)) {
    m.ports.attach(kPort, 1, *this);
  }
  [[nodiscard]] std::string_view name() const override { return "port"; }
  void reset() override {}
  [[nodiscard]] u64 read(u64, u32) override { return 0; }
  void write(u64, u32, u64 value) override {
    bytes.push_back(static_cast<u8>(value));
    on_write_(static_cast<u32>(bytes.size()));
  }
  void snapshot(core::SnapshotIo&) override {}
  std::vector<u8> bytes;

 private:
  std::function<void(u32)> on_write_;
};

}  // namespace

TEST_CASE("single-stepping traps after an instruction") {
  const auto one_left = [](RunningMachine& m) { CHECK(m.cpu.state.gpr[core::kRcx] == 2); };
  const Scenario scenarios[] = {
      {"TF",
       {0x90, 0x90},
       flags(kFlagsWithTf),
       1,
       1,
       [](RunningMachine& m) {
         CHECK((m.cpu.state.dr[6] & kSingleStep) != 0);
         CHECK((m.frame(2) & core::kTf) != 0);
         CHECK((m.cpu.state.rflags & core::kTf) == 0);
       }},
      {"POPF that sets TF: from the next instruction on",
       {0x9d, 0x90, 0x90},
       [](RunningMachine& m) { m.put<u64>(m.cpu.state.gpr[core::kRsp], kFlagsWithTf); },
       1,
       2},
      {"a taken branch", {0xeb, 0x02, 0x90, 0x90, 0x90}, flags(kFlagsWithTf), 1, 4},
      {"INT3 takes TF along",
       {0xcc},
       flags(kFlagsWithTf),
       3,
       1,
       [](RunningMachine& m) { CHECK((m.frame(2) & core::kTf) != 0); }},
      {"a fault comes instead", {0x0f, 0x0b}, flags(kFlagsWithTf), 6, 0},
      {"REP MOVSB: each element",
       {0xf3, 0xa4},
       [](RunningMachine& m) {
         core::set_rflags(m.cpu.state, kFlagsWithTf);
         m.cpu.state.gpr[core::kRcx] = 3;
         m.cpu.state.gpr[core::kRsi] = kSpare;
         m.cpu.state.gpr[core::kRdi] = kSpare + 64;
       },
       1,
       0,
       one_left},
      {"REP SCASB: each element",
       {0xf2, 0xae},
       [](RunningMachine& m) {
         core::set_rflags(m.cpu.state, kFlagsWithTf);
         m.cpu.state.gpr[core::kRax] = 1;
         m.cpu.state.gpr[core::kRcx] = 3;
         m.cpu.state.gpr[core::kRdi] = kSpare;
       },
       1,
       0,
       one_left},
      {"in real mode", {0x90, 0x90}, flags(kFlagsWithTf), 1, 1, {}, Mode::kReal},
  };
  check(scenarios);
}

TEST_CASE("breakpoints: instructions before, data after") {
  const auto break_at = [](u64 address, u64 control, u64 rflags = core::kFlagsFixed) {
    return [=](RunningMachine& m) {
      m.cpu.state.dr[0] = address;
      m.cpu.state.dr[7] = 0x400 | control;
      core::set_rflags(m.cpu.state, rflags);
      m.cpu.mmu.mode_changed();
    };
  };
  constexpr u64 kOnExecution = 1, kOnWrite = 1 | 1 << 16;
  const auto hit = [](RunningMachine& m) { CHECK((m.cpu.state.dr[6] & 1) == 1); };
  const Scenario scenarios[] = {
      {"before the instruction",
       {0xff, 0xc0, 0xff, 0xc0, 0xf4},
       break_at(kRip + 2, kOnExecution),
       1,
       2,
       [](RunningMachine& m) {
         CHECK((m.cpu.state.dr[6] & 1) == 1);
         CHECK(m.cpu.state.gpr[core::kRax] == 1);
         CHECK((m.frame(2) & core::kRf) == 0);
       }},
      {"RF lets one instruction through",
       {0x90, 0xeb, 0xfd},
       break_at(kRip, kOnExecution, core::kFlagsFixed | core::kRf),
       1,
       0,
       hit},
      {"RF lasts for all of a REP",
       {0xf3, 0xaa, 0xf4},
       [&](RunningMachine& m) {
         break_at(kRip, kOnExecution, core::kFlagsFixed | core::kRf)(m);
         m.cpu.state.gpr[core::kRcx] = 5;
         m.cpu.state.gpr[core::kRdi] = kSpare;
       },
       kInCode,
       3,
       [](RunningMachine& m) { CHECK((m.cpu.state.rflags & core::kRf) == 0); }},
      {"a REP resumed after a fault is one instruction",
       {0xf3, 0xaa, 0xf4},
       [](RunningMachine& m) {
         core::set_rflags(m.cpu.state, core::kFlagsFixed | core::kRf);
         m.cpu.state.gpr[core::kRcx] = 1000;
         m.cpu.state.gpr[core::kRdi] = kSpare;
       },
       kInCode,
       3,
       [](RunningMachine& m) { CHECK(m.cpu.counters["interp.instructions decoded"] < 20); }},
      {"a handler that sets RF in its frame gets past",
       {0xff, 0xc0, 0xf4},
       [&](RunningMachine& m) {
         break_at(kRip, kOnExecution)(m);
         handler(m, 1, {0x81, 0x4c, 0x24, 0x10, 0, 0, 1, 0, 0x48, 0xcf});  // OR [RSP + 16], RF; IRETQ
       },
       kInCode,
       3,
       [](RunningMachine& m) { CHECK(m.cpu.state.gpr[core::kRax] == 1); }},
      {"a store", {0x88, 0x04, 0x25, 0x00, 0x00, 0x05, 0x00, 0x90}, break_at(kSpare, kOnWrite), 1, 7, hit},
      {"a load is none",
       {0x8a, 0x04, 0x25, 0x00, 0x00, 0x05, 0x00, 0xf4},
       break_at(kSpare, kOnWrite),
       kInCode,
       8},
  };
  check(scenarios);
}

TEST_CASE("interrupts are taken between instructions, and not in a shadow") {
  const auto pending = [](RunningMachine& m) { m.interrupt(kVector); };
  const auto load_ss = [](RunningMachine& m) {
    m.interrupt(kVector);
    m.cpu.state.gpr[core::kRax] = kData0;
  };
  const Scenario scenarios[] = {
      {"IF is clear", {0x90, 0xf4}, pending, kInCode, 2},
      {"IF is set",
       {0x90, 0xf4},
       [](RunningMachine& m) {
         m.interrupt(kVector);
         core::set_rflags(m.cpu.state, kFlagsWithIf);
       },
       kVector,
       0},
      {"STI, one instruction, the interrupt", {0xfb, 0x90, 0x90, 0xf4}, pending, kVector, 2},
      {"STI, CLI: none", {0xfb, 0xfa, 0x90, 0xf4}, pending, kInCode, 4},
      {"STI, HLT: the interrupt ends the HLT", {0xfb, 0xf4}, pending, kVector, 2},
      {"STI, MOV SS: one more instruction", {0xfb, 0x8e, 0xd0, 0x90, 0x90, 0xf4}, load_ss, kVector, 4},
      {"STI, POP SS: one more instruction",
       {0xfb, 0x17, 0x90, 0x90, 0xf4},
       [](RunningMachine& m) {
         m.interrupt(kVector);
         m.put<u32>(m.cpu.state.gpr[core::kRsp], kData0);
       },
       kVector,
       3,
       {},
       Mode::kProtected},
      {"POPF that sets IF casts none",
       {0x9d, 0x90, 0xf4},
       [](RunningMachine& m) {
         m.interrupt(kVector);
         m.put<u64>(m.cpu.state.gpr[core::kRsp], kFlagsWithIf);
       },
       kVector,
       1},
      {"an NMI needs no IF",
       {0x90, 0xf4},
       [](RunningMachine& m) { m.cpu.state.notify(core::kPendingNmi); },
       2,
       0},
      {"an NMI comes before an interrupt",
       {0x90, 0xf4},
       [](RunningMachine& m) {
         m.cpu.state.notify(core::kPendingNmi);
         m.interrupt(kVector);
         core::set_rflags(m.cpu.state, kFlagsWithIf);
       },
       2,
       0,
       [](RunningMachine& m) { CHECK(m.controller.vector == kVector); }},
  };
  check(scenarios);
}

TEST_CASE("the time-stamp counter, and who may read it") {
  const std::vector<u8> rdtscp = {0x0f, 0x01, 0xf9, 0xf4};
  const auto at = [](u64 cr4) {
    return [=](RunningMachine& m) {
      m.cpu.state.cr4 |= cr4;
      m.cpu.state.tsc_offset = 0x12'3456'789a;
      m.cpu.state.tsc_aux = 0x77;
      for (const u32 reg : {core::kRax, core::kRdx, core::kRcx}) m.cpu.state.gpr[reg] = ~u64{0};
    };
  };
  const Do counted = [](RunningMachine& m) {
    CHECK(m.cpu.state.gpr[core::kRax] == 0x3456'789a + m.clock.now());
    CHECK(m.cpu.state.gpr[core::kRdx] == 0x12);
    CHECK(m.cpu.state.gpr[core::kRcx] == 0x77);
  };
  check(std::array{Scenario{"for all", rdtscp, at(0), kInCode, 4, counted},
                   Scenario{"for the kernel", rdtscp, at(core::kCr4Tsd), kInCode, 4, counted}});
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 3, engine);
    m.code({0x0f, 0x31});
    at(core::kCr4Tsd)(m);
    CHECK(m.run() == Exit::kIdle);
    CHECK(m.halted_in() == 13);
  }
}

TEST_CASE("a second NMI waits for the first one's IRET") {
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    std::vector<u64> stacks;
    const Port port(m, [&](u32 count) {
      stacks.push_back(m.cpu.state.gpr[core::kRsp]);
      if (count == 1) m.cpu.state.notify(core::kPendingNmi);
    });
    handler(m, 2, {0xe6, kPort, 0x90, 0x48, 0xcf});  // OUT, NOP, IRETQ
    m.code({0x90, 0xf4});
    m.cpu.state.notify(core::kPendingNmi);
    CHECK(m.run() == Exit::kIdle);
    REQUIRE(stacks.size() == 2);
    CHECK(stacks[0] == stacks[1]);
  }
}

TEST_CASE("a repeated instruction is interrupted between elements and goes on afterwards") {
  for (const Engine engine : kEngines)
    for (const bool resumed : {false, true}) {
      RunningMachine m(Mode::kLong, 0, engine);
      CpuState& s = m.cpu.state;
      Port port(m, [&](u32 count) {
        if (count == 2) m.interrupt(kVector);
      });
      m.code({0xf3, 0x6e, 0xf4});  // REP OUTSB
      m.code({1, 2, 3, 4, 5}, kSpare + 64);
      s.gpr[core::kRcx] = 5;
      s.gpr[core::kRsi] = kSpare + 64;
      s.gpr[core::kRdx] = kPort;
      core::set_rflags(s, kFlagsWithIf);
      if (resumed) handler(m, kVector, {0x48, 0xcf});  // IRETQ
      CHECK(m.run() == Exit::kIdle);
      if (resumed) {
        CHECK(port.bytes == std::vector<u8>{1, 2, 3, 4, 5});
        CHECK(s.rip == kRip + 3);
      } else {
        CHECK(m.halted_in() == kVector);
        CHECK(m.frame(0) == kRip);
        CHECK(s.gpr[core::kRcx] == 3);
        CHECK(s.gpr[core::kRsi] == kSpare + 66);
      }
    }
}

TEST_CASE("no byte of an instruction may lie above the limit of CS") {
  const auto limit = [](u32 value) {
    return [=](RunningMachine& m) { m.cpu.state.segment[core::kCs].limit = static_cast<u32>(kRip + value); };
  };
  const auto untouched = [](RunningMachine& m) {
    CHECK(m.frame(0) == 0);
    CHECK(m.cpu.state.gpr[core::kRax] == 0);
  };
  const Scenario scenarios[] = {
      {"the first one inside",
       {0x90, 0x90, 0xff, 0xc0, 0xf4},
       limit(1),
       13,
       2,
       untouched,
       Mode::kProtected,
       1},
      {"all but the last byte inside",
       {0x90, 0xb8, 1, 0, 0, 0, 0xf4},
       limit(4),
       13,
       1,
       untouched,
       Mode::kProtected,
       1},
      {"all inside", {0x90, 0xb8, 1, 0, 0, 0, 0xf4}, limit(6), kInCode, 7, {}, Mode::kProtected},
      {"a jump out", {0xeb, 0x10}, limit(4), 13, 0, untouched, Mode::kProtected, 1},
      {"real mode's 64 KiB",
       {0xeb, 0x00},
       [](RunningMachine& m) {
         m.code({0xb0}, 0xffff);  // MOV AL, imm8
         m.cpu.state.rip = 0xffff;
       },
       13,
       0xffff - kRip,
       [](RunningMachine& m) { CHECK(m.cpu.state.gpr[core::kRax] == 0); },
       Mode::kReal},
  };
  check(scenarios);
}

TEST_CASE("code that changes itself runs changed") {
  const auto changed = [](RunningMachine& m) { CHECK((m.cpu.state.gpr[core::kRax] & 0xff) == 7); };
  const Scenario scenarios[] = {
      {"the next instruction, in the running block",
       {0xc6, 0x05, 1, 0, 0, 0, 7, 0xb0, 1, 0xf4},
       {},
       kInCode,
       10,
       changed},
      {"an earlier one, in a loop",
       {0xb0, 1, 0xc6, 0x05, 0xf8, 0xff, 0xff, 0xff, 7, 0xff, 0xc9, 0x75, 0xf3, 0xf4},
       [](RunningMachine& m) { m.cpu.state.gpr[core::kRcx] = 2; },
       kInCode,
       14,
       changed},
      {"by a string instruction",
       {0xf3, 0xa4, 0xb0, 1, 0xf4},
       [](RunningMachine& m) {
         m.put<u8>(kSpare, 7);
         m.cpu.state.gpr[core::kRcx] = 1;
         m.cpu.state.gpr[core::kRsi] = kSpare;
         m.cpu.state.gpr[core::kRdi] = kRip + 3;
       },
       kInCode,
       5,
       changed},
      {"by a push",
       {0x53, 0xb0, 1, 0xf4},
       [](RunningMachine& m) {
         m.cpu.state.gpr[core::kRbx] = 0xf407;
         m.cpu.state.gpr[core::kRsp] = kRip + 2 + 8;
       },
       kInCode,
       4,
       changed},
      {"by a locked exchange",
       {0x86, 0x1d, 1, 0, 0, 0, 0xb0, 1, 0xf4},
       [](RunningMachine& m) { m.cpu.state.gpr[core::kRbx] = 7; },
       kInCode,
       9,
       changed},
      {"in 16-bit code", {0xc6, 0x06, 0x06, 0x80, 7, 0xb0, 1, 0xf4}, {}, kInCode, 8, changed, Mode::kReal},
      {"into a shorter instruction: the rest is decoded anew",
       {0xc6, 0x05, 0, 0, 0, 0, 0x90, 0xb8, 0xb0, 7, 0xf4, 0x90},
       {},
       kInCode,
       11,
       changed},
  };
  check(scenarios);
}

TEST_CASE("memory and register files that only seem to be as before") {
  const Scenario scenarios[] = {
      // The second store is 4 GiB above the first; its displacement plus 7 does not fit in 31 bits.
      {"the largest displacement",
       {0x48, 0x89, 0x1f, 0x48, 0x89, 0x86, 0xff, 0xff, 0xff, 0x7f, 0xf4},
       [](RunningMachine& m) {
         m.put<u64>(kPageTables + 0x1000 + 4 * 8, (kPageTables + 0x2000) | 7);
         m.cpu.state.gpr[core::kRax] = 7;
         m.cpu.state.gpr[core::kRdi] = kSpare;
         m.cpu.state.gpr[core::kRsi] = kSpare + 0x8000'0001;
       },
       kInCode,
       11,
       [](RunningMachine& m) { CHECK(m.get<u64>(kSpare) == 7); }},
      // ADD AL, -1; DEC BYTE [RDI]; REPNE CMPSB; SETC AL
      {"a string comparison of no elements keeps the flags",
       {0x04, 0xff, 0xfe, 0x0f, 0xf2, 0xa6, 0x0f, 0x92, 0xc0, 0xf4},
       [](RunningMachine& m) {
         m.cpu.state.gpr[core::kRax] = 1;
         m.cpu.state.gpr[core::kRcx] = 0;
         m.cpu.state.gpr[core::kRdi] = kSpare;
       },
       kInCode,
       10,
       [](RunningMachine& m) { CHECK((m.cpu.state.gpr[core::kRax] & 0xff) == 1); }},
      // ADD AL, -1; PUSHFQ across a page end; XOR EAX, EAX
      {"flags that only a push needs",
       {0x04, 0xff, 0x9c, 0x31, 0xc0, 0xf4},
       [](RunningMachine& m) {
         m.cpu.state.gpr[core::kRax] = 1;
         m.cpu.state.gpr[core::kRsp] = kSpare + 0x1004;
       },
       kInCode,
       6,
       [](RunningMachine& m) { CHECK((m.get<u64>(kSpare + 0xffc) & core::kCf) != 0); }},
      // CMP EBX, [RDI]; ADD AL, -1; LDMXCSR [RDI]; SETC CL
      {"flags that live over a load of MXCSR",
       {0x3b, 0x1f, 0x04, 0xff, 0x0f, 0xae, 0x17, 0x0f, 0x92, 0xc1, 0xf4},
       [](RunningMachine& m) {
         m.cpu.state.cr4 |= core::kCr4Osfxsr;
         m.cpu.state.gpr[core::kRax] = 0x7f02;
         m.cpu.state.gpr[core::kRdi] = kSpare;
         m.put<u32>(kSpare, 0x1fbf);
       },
       kInCode,
       11,
       [](RunningMachine& m) {
         CHECK(m.cpu.state.mxcsr == 0x1fbf);
         CHECK((m.cpu.state.gpr[core::kRcx] & 0xff) == 1);
       }},
      // L: ADDPS XMM0, XMM0; MOV CR0, RAX; DEC ECX; CMOVZ RAX, RBX; CMP ECX, -5; JG L; HLT
      {"CR0.TS is set in a loop with SSE instructions",
       {0x0f, 0x58, 0xc0, 0x0f, 0x22, 0xc0, 0xff, 0xc9, 0x48, 0x0f, 0x44, 0xc3, 0x83, 0xf9, 0xfb, 0x7f, 0xef,
        0xf4},
       [](RunningMachine& m) {
         core::CpuState& s = m.cpu.state;
         s.cr4 |= core::kCr4Osfxsr;
         s.gpr[core::kRax] = s.cr0;
         s.gpr[core::kRbx] = s.cr0 | core::kCr0Ts;
         s.gpr[core::kRcx] = 3;
       },
       7,
       0},
  };
  check(scenarios);
}

// SSE4A, which no model has but some hosts do.
TEST_CASE("instructions of the host that the processor lacks do not exist") {
  const Scenario scenarios[] = {{"MOVNTSS [RAX], XMM0",
                                 {0xf3, 0x0f, 0x2b, 0x00, 0xf4},
                                 [](RunningMachine& m) {
                                   m.cpu.state.cr4 |= core::kCr4Osfxsr;
                                   m.cpu.state.gpr[core::kRax] = kSpare;
                                 },
                                 6,
                                 0}};
  check(scenarios);
}

TEST_CASE("string instructions, one by one and repeated") {
  // From kSpare + 16 to `to`, `count` elements.
  const auto copy = [](u64 to, u64 count, u64 rflags = core::kFlagsFixed) {
    return [=](RunningMachine& m) {
      for (u8 i = 0; i < 32; ++i) m.put<u8>(kSpare + i, i);
      m.cpu.state.gpr[core::kRsi] = kSpare + 16;
      m.cpu.state.gpr[core::kRdi] = to;
      m.cpu.state.gpr[core::kRcx] = count;
      m.cpu.state.rflags = rflags;
    };
  };
  const auto bytes = [](u64 at, std::vector<u8> expected, u64 rdi) {
    return [=](RunningMachine& m) {
      CHECK(std::vector<u8>(m.ram.host(at), m.ram.host(at) + expected.size()) == expected);
      CHECK(m.cpu.state.gpr[core::kRdi] == rdi);
    };
  };
  const u64 down = core::kFlagsFixed | core::kDf, to = kSpare + 64, edge = kSpare + 0xffe;
  for (const Mode mode : {Mode::kProtected, Mode::kLong}) {
    const Scenario scenarios[] = {
        {"MOVSB and LOOP",
         {0xa4, 0xe2, 0xfd, 0xf4},
         copy(to, 4),
         kInCode,
         4,
         bytes(to, {16, 17, 18, 19, 0}, to + 4),
         mode},
        {"MOVSD across a page end",
         {0xa5, 0xf4},
         copy(edge, 1),
         kInCode,
         2,
         bytes(edge, {16, 17, 18, 19, 0}, edge + 4),
         mode},
        {"MOVSB downwards",
         {0xa4, 0xe2, 0xfd, 0xf4},
         copy(to, 3, down),
         kInCode,
         4,
         bytes(to - 2, {14, 15, 16, 0}, to - 3),
         mode},
        {"LODSW, STOSB", {0x66, 0xad, 0xaa, 0xf4}, copy(to, 0), kInCode, 4, bytes(to, {16, 0}, to + 1), mode},
        {"REP MOVSB onto itself",
         {0xf3, 0xa4, 0xf4},
         copy(kSpare + 18, 7),
         kInCode,
         3,
         bytes(kSpare + 16, {16, 17, 16, 17, 16, 17, 16, 17, 16, 25}, kSpare + 25),
         mode},
        {"REP MOVSD onto itself",
         {0xf3, 0xa5, 0xf4},
         copy(kSpare + 18, 2),
         kInCode,
         3,
         bytes(kSpare + 16, {16, 17, 16, 17, 18, 19, 18, 19, 22, 23, 26}, kSpare + 26),
         mode},
    };
    check(scenarios);
  }
}

TEST_CASE("32-bit code: addresses wrap, segments limit") {
  static constexpr u32 kValue = 0x1234'5678;
  constexpr u8 kHigh = kSpare >> 16;  // of a displacement with zeros below
  const auto with = [](auto change) {
    return [=](RunningMachine& m) {
      m.put<u32>(kSpare, kValue);
      change(m.cpu.state);
    };
  };
  const Do same = with([](CpuState&) {});
  const Do loaded = [](RunningMachine& m) { CHECK(m.cpu.state.gpr[core::kRax] == kValue); };
  const Scenario scenarios[] = {
      {"an absolute address", {0xa1, 0, 0, kHigh, 0, 0xf4}, same, kInCode, 6, loaded, Mode::kProtected},
      {"base and displacement wrap",  // MOV EAX, [EBX + kSpare + 16]
       {0x8b, 0x83, 0x10, 0, kHigh, 0, 0xf4},
       with([](CpuState& s) { s.gpr[core::kRbx] = 0xffff'fff0; }),
       kInCode,
       7,
       loaded,
       Mode::kProtected},
      {"index and displacement wrap",  // MOV EAX, [ECX * 8 + kSpare + 64]
       {0x8b, 0x04, 0xcd, 0x40, 0, kHigh, 0, 0xf4},
       with([](CpuState& s) { s.gpr[core::kRcx] = 0xffff'fff8; }),
       kInCode,
       8,
       loaded,
       Mode::kProtected},
      {"16-bit addresses",  // MOV EAX, [BX + SI]
       {0x67, 0x8b, 0x00, 0xf4},
       [](RunningMachine& m) {
         m.put<u32>(0x7000, kValue);
         m.cpu.state.gpr[core::kRbx] = 0x1'f000;
         m.cpu.state.gpr[core::kRsi] = 0x8000;
       },
       kInCode,
       4,
       loaded,
       Mode::kProtected},
      {"across the end of 4 GiB", {0xa1, 0xfe, 0xff, 0xff, 0xff, 0xf4}, same, 13, 0, {}, Mode::kProtected, 1},
      {"the same through SS",  // MOV EAX, [EBP - 2]
       {0x8b, 0x45, 0xfe, 0xf4},
       with([](CpuState& s) { s.gpr[core::kRbp] = 0; }),
       12,
       0,
       {},
       Mode::kProtected,
       1},
      {"a base of FS",
       {0x64, 0xa1, 0, 0, 0, 0, 0xf4},
       with([](CpuState& s) { s.segment[core::kFs].base = kSpare; }),
       kInCode,
       7,
       loaded,
       Mode::kProtected},
      {"a limit of FS",
       {0x64, 0xa1, 0, 0, kHigh, 0, 0xf4},
       with([](CpuState& s) { s.segment[core::kFs].limit = kSpare; }),
       13,
       0,
       {},
       Mode::kProtected,
       1},
      {"GS that may only be read",
       {0x65, 0xa3, 0, 0, kHigh, 0, 0xf4},
       with([](CpuState& s) { s.segment[core::kGs].attributes &= static_cast<u16>(~core::kSegWritable); }),
       13,
       0,
       {},
       Mode::kProtected,
       1},
      {"reading through CS", {0x2e, 0xa1, 0, 0, kHigh, 0, 0xf4}, same, kInCode, 7, loaded, Mode::kProtected},
      {"writing through CS", {0x2e, 0xa3, 0, 0, kHigh, 0, 0xf4}, same, 13, 0, {}, Mode::kProtected, 1},
      {"DS that is not flat",
       {0xa1, 4, 0, 0, 0, 0xf4},
       with([](CpuState& s) { s.segment[core::kDs].base = kSpare - 4; }),
       kInCode,
       6,
       loaded,
       Mode::kProtected},
      // PUSH 5; PUSHFD; POP ECX; CALL +1; HLT; POP EBX; PUSH EBX; RET
      {"the stack",
       {0x6a, 5, 0x9c, 0x59, 0xe8, 1, 0, 0, 0, 0xf4, 0x5b, 0x53, 0xc3},
       with([](CpuState& s) { s.gpr[core::kRsp] = kSpare + 0x1000; }),
       kInCode,
       10,
       [](RunningMachine& m) {
         CHECK(m.cpu.state.gpr[core::kRsp] == kSpare + 0xffc);
         CHECK(m.get<u32>(kSpare + 0xffc) == 5);
         CHECK(m.cpu.state.gpr[core::kRcx] == core::kFlagsFixed);
         CHECK(m.cpu.state.gpr[core::kRbx] == kRip + 9);
       },
       Mode::kProtected},
  };
  check(scenarios);
}

#ifdef DOPPEL_TRANSLATOR_X64
TEST_CASE("32-bit code is translated where segments are flat") {
  for (const bool is_flat : {false, true}) {
    RunningMachine m(Mode::kProtected, 0, Engine::kTranslator);
    if (!is_flat) m.cpu.state.segment[core::kEs].base = 16;
    m.code({0x31, 0xc0, 0xf4});
    CHECK(m.run() == Exit::kIdle);
    CHECK((m.counters["jit.blocks translated"] != 0) == is_flat);
  }
}
#endif

TEST_CASE("code that a device changes runs changed") {
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    for (const u8 value : {1, 7, 9}) {
      for (int twice = 0; twice < 2; ++twice) {
        m.cpu.state.activity = core::Activity::kRunning;
        m.cpu.state.rip = kRip;
        const u8 bytes[] = {0xb0, value, 0xf4};
        if (twice == 0) REQUIRE(m.ram.write(kRip, bytes));
        CHECK(m.run() == Exit::kIdle);
        CHECK((m.cpu.state.gpr[core::kRax] & 0xff) == value);
      }
    }
  }
}

TEST_CASE("a jump to another page is looked up anew after each flush of that page") {
  constexpr u64 kFrom = kSpare, kTo = kSpare + 0x1000, kOther = kSpare + 0x3000,
                kTable = kPageTables + 0x3000, kGlobalPage = 0x107;
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    m.cpu.state.cr4 |= core::kCr4Pge;
    for (u64 page = 0; page < 512; ++page) m.put<u64>(kTable + page * 8, page << 12 | kGlobalPage);
    m.put<u64>(kPageTables + 0x2000, kTable | 7);
    m.cpu.mmu.flush_all();
    m.code({0xe9, 0xfb, 0x0f, 0, 0}, kFrom);  // JMP kTo
    m.code({0xb0, 1, 0xf4}, kTo);             // MOV AL, 1; HLT
    m.code({0xb0, 9, 0xf4}, kOther);
    const auto run = [&] {
      m.cpu.state.activity = core::Activity::kRunning;
      m.cpu.state.rip = kFrom;
      CHECK(m.run() == Exit::kIdle);
      return m.cpu.state.gpr[core::kRax] & 0xff;
    };
    const auto map = [&](u64 page) {
      m.put<u64>(kTable + (kTo >> 12) * 8, page | kGlobalPage);
      m.cpu.mmu.flush_page(kTo);
    };
    // More often than a jump waits until it asks to be linked again.
    for (const u64 page : {kTo, kTo, kOther, kTo, kOther}) {
      map(page);
      for (int i = 0; i < 200; ++i) REQUIRE(run() == (page == kTo ? 1 : 9));
    }
#ifdef DOPPEL_TRANSLATOR_X64
    if (engine == Engine::kTranslator) CHECK(m.counters["jit.jumps linked"] >= 5);
#endif
  }
}

TEST_CASE("an instruction on two pages") {
  constexpr u64 kEdge = kSpare + 0xfff, kSecond = kSpare + 0x1000, kOther = kSpare + 0x3000,
                kTable = kPageTables + 0x3000;
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    constexpr u64 kPresent = 7;
    for (u64 page = 0; page < 512; ++page) m.put<u64>(kTable + page * 8, page << 12 | kPresent);
    m.put<u64>(kPageTables + 0x2000, kTable | kPresent);
    const auto map_second = [&](u64 entry) {
      m.put<u64>(kTable + (kSecond >> 12) * 8, entry);
      m.cpu.mmu.flush_page(kSecond);
    };
    const auto run_from_edge = [&] {
      m.cpu.state.activity = core::Activity::kRunning;
      m.cpu.state.rip = kEdge;
      CHECK(m.run() == Exit::kIdle);
      return m.cpu.state.gpr[core::kRax] & 0xff;
    };
    m.code({0xb0}, kEdge);  // MOV AL, imm8
    m.code({1, 0xf4}, kSecond);
    m.code({9, 0xf4}, kOther);

    map_second(0);
    run_from_edge();
    CHECK(m.halted_in() == 14);
    CHECK(m.cpu.state.cr2 == kSecond);
    CHECK(m.frame(0) == 0);
    CHECK(m.frame(1) == kEdge);
    map_second(kSecond | kPresent);
    CHECK(run_from_edge() == 1);
    map_second(kOther | kPresent);
    CHECK(run_from_edge() == 9);
    map_second(kSecond | kPresent);
    CHECK(run_from_edge() == 1);
    const u8 changed[] = {7};
    REQUIRE(m.ram.write(kSecond, changed));
    CHECK(run_from_edge() == 7);
    map_second(0);
    run_from_edge();
    CHECK(m.halted_in() == 14);
  }
}

TEST_CASE("a halted processor waits for an interrupt and goes on behind the HLT") {
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    m.code({0xf4, 0x90, 0xf4});
    core::set_rflags(m.cpu.state, kFlagsWithIf);
    CHECK(m.run() == Exit::kIdle);
    CHECK(m.run() == Exit::kIdle);
    CHECK(m.cpu.state.rip == kRip + 1);
    m.interrupt(kVector);
    CHECK(m.run() == Exit::kIdle);
    CHECK(m.halted_in() == kVector);
    CHECK(m.frame(0) == kRip + 1);
  }
}

TEST_CASE("an endless loop is left when somebody asks") {
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    m.code({0xff, 0xc0, 0xeb, 0xfc});
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      m.cpu.state.notify(core::kPendingStop);
    });
    CHECK(m.run(~u64{0}) == Exit::kStopped);
    other.join();
    CHECK(m.cpu.state.gpr[core::kRax] > 0);
    CHECK((m.cpu.state.pending & core::kPendingStop) == 0);
  }
}

TEST_CASE("the budget counts instructions, a step is one") {
  RunningMachine m;
  m.code({0xff, 0xc0, 0xeb, 0xfc});
  CHECK(m.run(1000) == Exit::kBudget);
  CHECK(m.dispatcher.instructions() >= 1000);
  CHECK(m.dispatcher.instructions() < 1000 + kMaxBlockInsns);
  CHECK(m.cpu.state.gpr[core::kRax] == m.dispatcher.instructions() / 2);
  m.cpu.state.rip = kRip;
  const u64 before = m.dispatcher.instructions();
  CHECK(m.dispatcher.step() == Exit::kBudget);
  CHECK(m.cpu.state.rip == kRip + 2);
  CHECK(m.dispatcher.instructions() == before + 1);
}

TEST_CASE("a fault without any handler is a shutdown, and stays one") {
  for (const Engine engine : kEngines) {
    RunningMachine m(Mode::kLong, 0, engine);
    m.code({0x90, 0x0f, 0x0b});
    m.cpu.state.idtr.limit = 0;
    CHECK(m.run() == Exit::kShutdown);
    CHECK(m.run() == Exit::kShutdown);
    CHECK(m.cpu.state.rip == kRip + 1);
  }
}

}  // namespace doppel::jit::test
