// Direct execution on a bare vCPU: user code runs in a stub process until UD2, whose handler halts. What is
// looked at is what only the host could have got wrong: state that travels, page tables, and what user code
// must not see.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <thread>

#include "jit/direct/code_scan.hpp"
#include "tests/jit/direct_machine.hpp"

namespace doppel::jit::test {

// Code runs where it is, or never.
using InPlace = DirectMachine;
struct Relocated : DirectMachine {
  Relocated() { runner->relocate_all(); }
};

TEST_CASE_TEMPLATE("direct execution: registers, flags and segment bases travel both ways" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  // add r15, rax; mov rbx, fs:[0]; mov rcx, gs:[8]; stc; std; ud2
  m.code({0x49, 0x01, 0xc7, 0x64, 0x48, 0x8b, 0x1c, 0x25, 0,    0,    0,    0,   0x65,
          0x48, 0x8b, 0x0c, 0x25, 8,    0,    0,    0,    0xf9, 0xfd, 0x0f, 0x0b},
         kCode);
  m.gpr(core::kRax) = 40;
  m.gpr(core::kR15) = 2;
  m.cpu.state.segment[core::kFs].base = kData;
  m.cpu.state.segment[core::kGs].base = kData + 8;
  m.put<u64>(kData, 0x1122'3344'5566'7788);
  m.put<u64>(kData + 16, 77);
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kR15) == 42);
  CHECK(m.gpr(core::kRbx) == 0x1122'3344'5566'7788);
  CHECK(m.gpr(core::kRcx) == 77);
  CHECK(m.frame(0) == kCode + 23);
  CHECK((m.frame(2) & (core::kCf | core::kDf)) == (core::kCf | core::kDf));
}

TEST_CASE_TEMPLATE("direct execution: vectors, MXCSR and the x87 stack travel both ways" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  // vaddps ymm1, ymm0, ymm0; fld1; faddp; stmxcsr [kData]; ud2
  m.code({0xc5, 0xfc, 0x58, 0xc8, 0xd9, 0xe8, 0xde, 0xc1, 0x0f, 0xae, 0x1c, 0x25, 0, 0, 6, 0, 0x0f, 0x0b},
         kCode);
  CpuState& s = m.cpu.state;
  for (u64& word : s.vec[0].q) word = 0x3f80'0000'4000'0000;  // 1.0, 2.0
  s.mxcsr = 0x7f80;                                           // round to zero
  s.x87.top = 7;
  s.x87.valid = 1 << 7;
  s.x87.physical[7] = {0x8000'0000'0000'0000, 0x4000};  // 2.0
  m.run_to(kUndefined);
  for (const u64 word : s.vec[1].q) CHECK(word == 0x4000'0000'4080'0000);
  CHECK(m.get<u32>(kData) == 0x7f80);
  CHECK(s.x87.top == 7);
  CHECK(s.x87.valid == 1 << 7);
  CHECK(s.x87.physical[7].significand == 0xc000'0000'0000'0000);
  CHECK(s.x87.physical[7].sign_exponent == 0x4000);  // 3.0
}

TEST_CASE_TEMPLATE("direct execution: accesses mark page tables, faults are the guest's" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  // mov rax, [kData]; mov [kData + 0x1000], rax; mov rax, [kData + 0x2000]
  m.code({0x48, 0x8b, 0x04, 0x25, 0,    0,    6,    0,    0x48, 0x89, 0x04, 0x25,
          0,    0x10, 6,    0,    0x48, 0x8b, 0x04, 0x25, 0,    0x20, 6,    0},
         kCode);
  m.put<u64>(kData, 99);
  m.map(kData + 0x2000, 0, 0);
  m.run_to(kPageFault);
  CHECK(m.cpu.state.cr2 == kData + 0x2000);
  CHECK(m.frame(0) == 4);  // a user's read of a page that is not present
  CHECK(m.frame(1) == kCode + 16);
  CHECK(m.get<u64>(kData + 0x1000) == 99);
  CHECK((m.get<u64>(DirectMachine::entry(kData)) & (kAccessed | kDirty)) == kAccessed);
  CHECK((m.get<u64>(DirectMachine::entry(kData + 0x1000)) & (kAccessed | kDirty)) == (kAccessed | kDirty));
}

TEST_CASE_TEMPLATE("direct execution: a write to a page that may only be read faults" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  m.code({0x48, 0x8b, 0x04, 0x25, 0, 0, 6, 0, 0x48, 0x89, 0x04, 0x25, 0, 0, 6, 0},
         kCode);  // read, then write
  m.map(kData, kData, kPresent | kUser);
  m.run_to(kPageFault);
  CHECK(m.frame(0) == 7);
  CHECK(m.frame(1) == kCode + 8);
}

TEST_CASE_TEMPLATE("direct execution: what the guest flushed is mapped anew" * doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  m.code({0x48, 0x8b, 0x04, 0x25, 0, 0, 6, 0, 0x0f, 0x0b}, kCode);  // mov rax, [kData]; ud2
  m.put<u64>(kData, 1);
  m.put<u64>(kFrame, 2);
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 1);
  m.map(kData, kFrame, kPresent | kWritable | kUser | kAccessed);
  SUBCASE("INVLPG") {
    m.cpu.mmu.flush_page(kData);
  }
  SUBCASE("MOV CR3") {
    m.cpu.mmu.set_address_space(m.cpu.state.cr3, false);
  }
  SUBCASE("everything") {
    m.cpu.mmu.flush_all();
  }
  m.again();
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 2);
}

TEST_CASE_TEMPLATE("direct execution: a page that the guest took away is gone" * doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  m.code({0x48, 0x8b, 0x04, 0x25, 0, 0, 6, 0, 0x0f, 0x0b}, kCode);
  m.run_to(kUndefined);
  m.map(kData, kData, 0);
  m.cpu.mmu.flush_page(kData);
  m.again();
  m.run_to(kPageFault);
  CHECK(m.cpu.state.cr2 == kData);
}

TEST_CASE_TEMPLATE("direct execution: changed code is seen, whoever changes it" * doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  m.code({0xb8, 1, 0, 0, 0, 0x0f, 0x0b}, kCode);  // mov eax, 1; ud2
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 1);
  const u8 two = 2;
  SUBCASE("a device") {
    REQUIRE(m.ram.write(kCode + 1, {&two, 1}));
  }
  SUBCASE("the kernel") {
    REQUIRE(m.cpu.mmu.write(kCode + 1, two));
  }
  m.again();
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 2);
}

TEST_CASE_TEMPLATE("direct execution: code that changes itself" * doctest::skip(forbidden()), Place, InPlace,
                   Relocated) {
  Place place;
  DirectMachine& m = place;
  // mov byte [kCode + 9], 2; mov eax, 1; ud2
  m.code({0xc6, 0x04, 0x25, 9, 0, 5, 0, 2, 0xb8, 1, 0, 0, 0, 0x0f, 0x0b}, kCode);
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 2);
}

TEST_CASE_TEMPLATE("direct execution: CPUID and RDTSC tell of the guest's processor" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  m.clock.advance(1'000'000);
  std::vector<u8> code(64, 0x90);  // enough before it to know where instructions begin
  for (const u8 byte : {0xb8, 0, 0, 0, 0x80, 0x31, 0xc9, 0x0f, 0xa2, 0x0f, 0x0b})
    code.push_back(static_cast<u8>(byte));
  std::copy(code.begin(), code.end(), m.ram.host(kCode));  // mov eax, 8000'0000h; xor ecx, ecx; cpuid; ud2
  m.run_to(kUndefined);
  CHECK(static_cast<u32>(m.gpr(core::kRax)) == m.model.cpuid(0x8000'0000, 0, m.cpu.state).eax);

  std::fill_n(m.ram.host(kCode), 128, u8{0x90});
  m.code({0x0f, 0x31, 0x0f, 0x0b}, kCode + 64);  // rdtsc; ud2
  m.cpu.mmu.flush_all();
  m.dispatcher.blocks().clear();
  m.again();
  m.run_to(kUndefined);
  CHECK((m.gpr(core::kRdx) << 32 | m.gpr(core::kRax)) == m.cpu.tsc());
}

TEST_CASE_TEMPLATE("direct execution: XSAVE knows no components but the guest's" * doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  struct Case {
    const char* name;
    std::array<u8, 3> store;  // at [rdi]
  };
  const Case cases[] = {
      {"xsave", {0x0f, 0xae, 0x27}}, {"xsaveopt", {0x0f, 0xae, 0x37}}, {"xsavec", {0x0f, 0xc7, 0x27}}};
  constexpr u64 kGuestSize = 832;  // of x87, SSE and AVX in either format
  for (const auto& [name, store] : cases) {
    CAPTURE(std::string(name));
    Place place;
    DirectMachine& m = place;
    std::array<u8, 69> code;
    code.fill(0x90);
    std::ranges::copy(store, &code[64]);
    code[67] = 0x0f, code[68] = 0x0b;  // ud2
    std::ranges::copy(code, m.ram.host(kCode));
    std::memset(m.ram.host(kData), 0, core::kXsaveLegacySize + 64);
    std::memset(m.ram.host(kData + kGuestSize), 0xaa, core::kPageSize - kGuestSize);
    m.gpr(core::kRdi) = kData;
    m.gpr(core::kRax) = m.gpr(core::kRdx) = ~u64{0};
    m.run_to(kUndefined);
    CHECK((m.get<u64>(kData + core::kXsaveLegacySize) & ~u64{7}) == 0);  // XSTATE_BV
    const u64 format = m.get<u64>(kData + core::kXsaveLegacySize + 8);   // XCOMP_BV
    CHECK(format == (std::string_view(name) == "xsavec" ? u64{1} << 63 | 7 : 0));
    CHECK(std::ranges::all_of(std::span(m.ram.host(kData + kGuestSize), core::kPageSize - kGuestSize),
                              [](u8 byte) { return byte == 0xaa; }));
  }
}

TEST_CASE_TEMPLATE("direct execution: a copy with other instructions is not to be read" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  std::vector<u8> code(64, 0x90);
  // mov al, [kCode + 72]; jmp +2; cpuid; ud2
  for (const u8 byte : {0x8a, 0x04, 0x25, 0x49, 0, 5, 0, 0xeb, 2, 0x0f, 0xa2, 0x0f, 0x0b})
    code.push_back(byte);
  std::copy(code.begin(), code.end(), m.ram.host(kCode));
  m.run_to(kUndefined);
  CHECK((m.gpr(core::kRax) & 0xff) == 0x0f);
}

TEST_CASE_TEMPLATE("direct execution: breakpoints and single steps trap behind the instruction" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  m.put_idt(kBreakpoint, gate(kLongCode, kHandlers + kBreakpoint, interp::SystemType::kInterruptGate32, 3));
  SUBCASE("INT3") {
    m.code({0x90, 0xcc}, kCode);
    m.run_to(kBreakpoint);
    CHECK(m.frame(0) == kCode + 2);
  }
  SUBCASE("INT3 with alignment checks") {
    m.cpu.state.cr0 |= core::kCr0Am;
    core::set_rflags(m.cpu.state, core::rflags(m.cpu.state) | core::kAc);
    m.cpu.mmu.mode_changed();
    m.code({0xff, 0xc0, 0xcc}, kCode);  // inc eax
    m.run_to(kBreakpoint);
    CHECK(m.frame(0) == kCode + 3);
  }
  SUBCASE("TF by POPFQ, and then INT3") {
    m.code({0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0xcc}, kCode);
    m.run_to(kBreakpoint);
    CHECK(m.frame(0) == kCode + 10);
  }
  SUBCASE("TF by POPFQ, and then a store to code") {
    // pushfq; or dword [rsp], 100h; popfq; mov byte [kCode + 100], 90h
    m.code({0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0xc6, 0x04, 0x25, 100, 0, 5, 0, 0x90, 0x90, 0x90},
           kCode);
    m.run_to(kDebug);
    CHECK(m.frame(0) == kCode + 17);
  }
  SUBCASE("TF by POPFQ") {
    // pushfq; or dword [rsp], 100h; popfq; nop; nop
    m.code({0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90}, kCode);
    m.run_to(kDebug);
    CHECK(m.frame(0) == kCode + 10);
    CHECK((m.cpu.state.dr[6] & 1u << 14) != 0);
  }
}

TEST_CASE_TEMPLATE(
    "direct execution: system calls, privileged instructions and bad addresses are the guest's" *
        doctest::skip(forbidden()),
    Place, InPlace, Relocated) {
  struct Case {
    const char* name;
    std::vector<u8> code;
    int vector;
  };
  const Case cases[] = {
      {"INT 80h", {0xcd, 0x80}, 13},
      {"HLT", {0xf4}, 13},
      {"CLI", {0xfa}, 13},
      {"MOV CR0", {0x0f, 0x20, 0xc0}, 13},
      {"an address that is not canonical", {0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0x80}, kPageFault},
      {"DIV by zero", {0x31, 0xc9, 0xf7, 0xf1}, 0},
      {"SYSCALL without EFER.SCE", {0x0f, 0x05}, kUndefined}};
  for (const Case& c : cases) {
    CAPTURE(std::string(c.name));
    Place place;
    DirectMachine& m = place;
    m.cpu.state.efer &= ~core::kEferSce;
    std::copy(c.code.begin(), c.code.end(), m.ram.host(kCode));
    m.run_to(c.vector);
  }
}

TEST_CASE_TEMPLATE(
    "direct execution: bases and selectors that the host refuses to set are no more than an exit" *
        doctest::skip(forbidden()),
    Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  std::vector<u8> code;
  u64 base = 0;
  SUBCASE("a segment base of the kernel's half") {
    base = 0xffff'8000'0000'0000;
    // mov rax, base; wrfsbase rax
    code = {0x48, 0xb8, 0, 0, 0, 0, 0, 0x80, 0xff, 0xff, 0xf3, 0x48, 0x0f, 0xae, 0xd0};
  }
  SUBCASE("a null selector with a privilege level") {
    code = {0xb8, 1, 0, 0, 0, 0x8e, 0xd8};
  }  // mov eax, 1; mov ds, ax
  // mov rcx, [kData], for which the process stops and goes on; ud2
  for (const u8 byte : {0x48, 0x8b, 0x0c, 0x25, 0, 0, 6, 0, 0x0f, 0x0b})
    code.push_back(static_cast<u8>(byte));
  std::copy(code.begin(), code.end(), m.ram.host(kCode));
  m.put<u64>(kData, 123);
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRcx) == 123);
  CHECK(m.cpu.state.segment[core::kFs].base == base);
}

TEST_CASE_TEMPLATE("direct execution: a page that becomes code stops being writable" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  // The page of the function is at kAlias, too, which is in another region.
  constexpr u64 kAlias = 0x26'0000;
  (void)m.map_second_region(kAlias, kFrame);
  // mov byte [kAlias + 0x800], 0xc3; call kFrame; mov byte [kAlias + 1], 2; call kFrame; ud2
  m.code({0xc6, 0x04, 0x25, 0, 8,    0x26, 0, 0xc3, 0xe8, 0xf3, 0xff, 1, 0,    0xc6,
          0x04, 0x25, 1,    0, 0x26, 0,    2, 0xe8, 0xe6, 0xff, 1,    0, 0x0f, 0x0b},
         kCode);
  std::fill_n(m.ram.host(kFrame), core::kPageSize, u8{0x90});
  m.code({0xb8, 1, 0, 0, 0, 0xc3}, kFrame);  // mov eax, 1; ret
  m.code({0x0f, 0xa2}, kFrame + 0x400);      // so a copy is executed
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 2);
}

TEST_CASE_TEMPLATE("direct execution: an interrupt stops a loop" * doctest::skip(forbidden()), Place, InPlace,
                   Relocated) {
  Place place;
  DirectMachine& m = place;
  m.code({0xeb, 0xfe}, kCode);
  std::thread device([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    m.interrupt(0x40);
    m.runner->interrupt();
  });
  m.run_to(0x40);
  device.join();
  CHECK(m.frame(0) == kCode);
}

TEST_CASE_TEMPLATE("direct execution: state that the host cannot have stays translated" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  const std::pair<const char*, void (*)(DirectMachine&)> cases[] = {
      {"another code selector", [](DirectMachine& m) { m.cpu.state.segment[core::kCs].selector = 0x43; }},
      {"FPU switched off", [](DirectMachine& m) { m.cpu.state.cr0 |= core::kCr0Ts; }},
      {"a breakpoint", [](DirectMachine& m) { m.cpu.state.dr[7] |= 1; }},
      {"IOPL 3", [](DirectMachine& m) { m.cpu.state.rflags |= core::kIopl; }},
  };
  for (const auto& [name, change] : cases) {
    CAPTURE(std::string(name));
    Place place;
    DirectMachine& m = place;
    m.code({0x0f, 0x0b}, kCode);
    change(m);
    m.run_to(kUndefined, 0);
  }
}

TEST_CASE_TEMPLATE("direct execution: the ID flag is the guest's" * doctest::skip(forbidden()), Place,
                   InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  // pushfq; pop rbx; push 200002h; popfq; mov rax, [kData]; pushfq; pop rcx; ud2
  m.code({0x9c, 0x5b, 0x68, 2, 0, 0x20, 0, 0x9d, 0x48, 0x8b, 0x04, 0x25, 0, 0, 6, 0, 0x9c, 0x59, 0x0f, 0x0b},
         kCode);
  bool set = false;
  SUBCASE("it was clear") {
    set = false;
  }
  SUBCASE("it was set") {
    set = true;
    core::set_rflags(m.cpu.state, core::rflags(m.cpu.state) | core::kId);
  }
  REQUIRE(m.run() == Exit::kIdle);
  CHECK(m.halted_in() == kUndefined);
  CHECK(((m.gpr(core::kRbx) & core::kId) != 0) == set);
  CHECK((m.gpr(core::kRcx) & core::kId) != 0);
  // What the process keeps of it is not the next one's.
  m.again();
  REQUIRE(m.run() == Exit::kIdle);
  CHECK((m.gpr(core::kRbx) & core::kId) == 0);
}

TEST_CASE_TEMPLATE("direct execution: code that is mapped elsewhere is another one" *
                       doctest::skip(forbidden()),
                   Place, InPlace, Relocated) {
  Place place;
  DirectMachine& m = place;
  constexpr u64 kFunction = 0x26'0000;  // in a region that has no data
  const u64 entry = m.map_second_region(kFunction, kFrame);
  m.code({0xe8, 0xfb, 0xff, 0x20, 0, 0x0f, 0x0b}, kCode);  // call kFunction; ud2
  m.code({0xb8, 1, 0, 0, 0, 0xc3}, kFrame);                // mov eax, 1; ret
  m.code({0xb8, 2, 0, 0, 0, 0xc3}, kData);
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 1);
  m.put<u64>(entry, kData | kPresent | kUser | kAccessed);
  m.cpu.mmu.flush_page(kFunction);
  m.again();
  m.run_to(kUndefined);
  CHECK(m.gpr(core::kRax) == 2);
}

TEST_CASE("direct execution: a run that copies more than its credit ends, and the translator goes on" *
          doctest::skip(forbidden())) {
  constexpr u64 kBlocks = 40, kBlock = 32;
  const auto run = [&](u64 credit) {
    Relocated m;
    m.runner->insist(credit);
    // inc rbx; mov eax, next; jmp rax: each stops the process once
    for (u64 i = 0; i < kBlocks; ++i) {
      const u64 next = kCode + (i + 1) * kBlock;
      m.code({0x48, 0xff, 0xc3, 0xb8, static_cast<u8>(next), static_cast<u8>(next >> 8),
              static_cast<u8>(next >> 16), 0, 0xff, 0xe0},
             kCode + i * kBlock);
    }
    m.code({0x0f, 0x0b}, kCode + kBlocks * kBlock);
    m.gpr(core::kRbx) = 0;
    m.run_to(kUndefined);
    CHECK(m.gpr(core::kRbx) == kBlocks);
    return std::pair(m.count("direct.ended by copying too much"), m.count("direct.relocated blocks"));
  };
  const auto [all_ended, all_blocks] = run(~u64{0});
  CHECK(all_ended == 0);
  CHECK(all_blocks >= kBlocks);
  const auto [ended, blocks] = run(500'000);
  CHECK(ended == 1);
  CHECK(blocks < kBlocks / 2);
  CHECK(run(0).second <= 2);
}

TEST_CASE("direct execution: relocated code that finds no more room begins anew" *
          doctest::skip(forbidden())) {
  Relocated m;
  // lea rcx, [rip + 2]; jmp rcx: on to the next; ud2
  constexpr std::array<u8, 9> kHop = {0x48, 0x8d, 0x0d, 2, 0, 0, 0, 0xff, 0xe1};
  constexpr u64 kHops = 51'000, kFirst = 0x10'0000;
  u64 at = kFirst;
  for (u64 i = 0; i < kHops; ++i, at += kHop.size()) std::ranges::copy(kHop, m.ram.host(at));
  m.code({0x0f, 0x0b}, at);
  m.code({0xe9, 0xfb, 0xff, 0x0a, 0}, kCode);  // jmp kFirst
  m.run_to(kUndefined);
  CHECK(m.frame(0) == at);
  CHECK(m.count("direct.relocated code forgotten") == 1);
  CHECK(m.count("direct.relocated blocks") > kHops);
}

TEST_CASE("sensitive instructions are told from bytes that look like them") {
  const core::CpuModel model = std::get<core::CpuModel>(core::parse_cpu_model("max"));
  core::Counters counters;
  const Decoder decoder(model, 64, counters);
  const auto scan = [&](std::initializer_list<u8> bytes, u32 at = 1000, direct::HostHides host = {}) {
    std::vector<u8> page(core::kPageSize, 0x90);
    std::copy(bytes.begin(), bytes.end(), page.begin() + at);
    return direct::sensitive_instructions(page, decoder, host);
  };
  using Found = std::vector<u16>;
  CHECK(scan({}) == Found{});
  CHECK(scan({0x0f, 0xa2}) == Found{1000});                        // cpuid
  CHECK(scan({0x0f, 0x01, 0xd0}) == Found{1000});                  // xgetbv
  CHECK(scan({0x0f, 0x03, 0xc1}) == Found{1000});                  // lsl eax, ecx
  CHECK(scan({0x48, 0x0f, 0x03, 0xc1}) == Found{1000});            // lsl rax, ecx: from its prefix on
  CHECK(scan({0xf3, 0x0f, 0xc7, 0xf8}) == Found{1000});            // rdpid rax
  CHECK(scan({0xb8, 0x0f, 0xa2, 0x0f, 0xa2}) == Found{});          // mov eax, a20f'a20fh
  CHECK(scan({0x81, 0xe3, 0xff, 0x0f, 0x03, 0}) == Found{});       // and ebx, 3'0fffh
  CHECK(scan({0xe8, 0, 0, 0x0f, 0x03}) == Found{});                // call
  CHECK(scan({0x0f, 0xc7, 0x0f}) == Found{});                      // cmpxchg8b [rdi]
  CHECK(scan({0x0f, 0xa2}, 4) == std::nullopt);                    // too near the page's start to tell
  CHECK(scan({0xff, 0x49, 0x0f, 0xae, 0x07}, 0) == std::nullopt);  // fxsave64 [r15] after another's last byte
  CHECK(scan({0xb8, 0x0f, 0xa2, 0x90, 0x90, 0x0f, 0xa2}) == Found{1005});
  CHECK(scan({0x0f, 0xc7, 0x64, 0x24, 0x40}) == Found{1000});          // xsavec [rsp + 40h]
  CHECK(scan({0x48, 0x0f, 0xae, 0x23}) == Found{1000});                // xsave64 [rbx]
  CHECK(scan({0x0f, 0xae, 0x6c, 0x24, 0x40}) == Found{1000});          // xrstor [rsp + 40h]
  CHECK(scan({0x0f, 0xae, 0x07}) == Found{1000});                      // fxsave [rdi]
  CHECK(scan({0x0f, 0xae, 0xe8, 0x0f, 0xae, 0x1c, 0x24}) == Found{});  // lfence; stmxcsr [rsp]
  CHECK(scan({0x0f, 0xc7, 0x64}, 4093) == Found{4093});                // goes on on the next page
  CHECK(scan({0x0f, 0xc7}, 4094) == Found{4094});
  CHECK(scan({0x0f, 0xa2}, 4094) == Found{4094});
  CHECK(scan({0xf3, 0x48, 0x0f, 0xae, 0xd0}) == Found{1000});  // wrfsbase rax
  CHECK(scan({0x0f, 0x01, 0x0c, 0x24}) == Found{1000});        // sidt [rsp]
  CHECK(scan({0x0f, 0x01, 0xe0}) == Found{1000});              // smsw eax

  constexpr direct::HostHides kNoUmip{.tables = false}, kNoTsd{.time = false};
  CHECK(scan({}, 0, kNoUmip) == Found{});
  CHECK(scan({0x0f, 0xa2}, 1000, kNoUmip) == Found{1000});
  CHECK(scan({0x0f, 0x01, 0x0c, 0x24}, 1000, kNoUmip) == std::nullopt);
  CHECK(scan({0xb8, 0x0f, 0x01, 0, 0}, 1000, kNoUmip) == std::nullopt);  // mov eax, 10fh: sgdt [rax] within
  CHECK(scan({0xb8, 0x0f, 0x01, 0x10, 0}, 1000, kNoUmip) == Found{});    // lgdt faults
  CHECK(scan({0x0f, 0x01}, 4094, kNoUmip) == std::nullopt);
  CHECK(scan({0x0f}, 4095, kNoUmip) == std::nullopt);
  CHECK(scan({0x0f}, 4095) == Found{});

  CHECK(scan({0x0f, 0x31}) == Found{});
  CHECK(scan({0x0f, 0x31}, 1000, kNoTsd) == Found{1000});        // rdtsc
  CHECK(scan({0x0f, 0x01, 0xf9}, 1000, kNoTsd) == Found{1000});  // rdtscp
}

}  // namespace doppel::jit::test
