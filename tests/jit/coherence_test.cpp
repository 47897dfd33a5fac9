#include "jit/coherence.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/jit/running_machine.hpp"

namespace doppel::jit::test {
namespace {

// A second processor in the memory of another one's machine, with the same tables and modes.
struct SecondProcessor {
  explicit SecondProcessor(RunningMachine& m)
      : memory(m.model, m.memory, m.ports, controller, m.clock, counters), dispatcher(*memory, m.store) {
    CpuState& s = cpu().state;
    const CpuState& like = m.cpu.state;
    s.gpr = like.gpr;
    s.gpr[core::kRsp] -= 0x1000;
    s.rip = like.rip;
    s.segment = like.segment;
    s.tr = like.tr;
    s.gdtr = like.gdtr;
    s.idtr = like.idtr;
    s.cr0 = like.cr0;
    s.cr3 = like.cr3;
    s.cr4 = like.cr4;
    s.efer = like.efer;
    s.code_bits = like.code_bits;
    cpu().mmu.flush_all();
    cpu().mmu.mode_changed();
  }
  [[nodiscard]] Vcpu& cpu() { return *memory; }

  ManualController controller;
  core::Counters counters;
  machine::VcpuMemory memory;
  Dispatcher dispatcher;
};

// Two processors that share memory; both engines.
struct TwoProcessors {
  explicit TwoProcessors(Engine engine, u64 code_cache = 8 << 20) : second(first) {
#ifdef DOPPEL_TRANSLATOR_X64
    if (engine == Engine::kTranslator) {
      const auto translations = x64::Translator::make_translations(
          first.model, first.counters,
          {.optimisations = {.hot_runs = 0}, .cache_size = code_cache, .shared = true});
      for (u32 i : {0u, 1u}) {
        backends[i] = std::make_unique<x64::Translator>(cpu(i), dispatcher(i).blocks(), translations);
        dispatcher(i).set_backend(backends[i].get());
      }
    }
#endif
    for (u32 i : {0u, 1u})
      members[i] = &coherence.join(cpu(i), dispatcher(i).blocks(), [this, i] {
        ++interrupts[i];
        cpu(i).state.notify(core::kPendingCoherence);
      });
    first.ram.on_code_write([this](u64 pa, u64 size) { dispatcher(running).blocks().invalidate(pa, size); });
  }
  [[nodiscard]] Vcpu& cpu(u32 i) {
    return i == 0 ? first.cpu : second.cpu();
  }
  [[nodiscard]] Dispatcher& dispatcher(u32 i) {
    return i == 0 ? first.dispatcher : second.dispatcher;
  }
  // Runs code at `rip` on one of them, on the calling thread, until it halts.
  void run(u32 i, u64 rip) {
    running = i;
    CpuState& s = cpu(i).state;
    s.rip = rip;
    s.activity = core::Activity::kRunning;
    members[i]->resume();
    Exit exit = Exit::kYield;
    while (exit == Exit::kYield) exit = dispatcher(i).run(~u64{0});
    members[i]->rest();
    CHECK(bool{exit == Exit::kIdle});
  }

  Coherence coherence;
  RunningMachine first;
  SecondProcessor second;
  std::array<std::unique_ptr<Backend>, 2> backends;
  std::array<Coherence::Member*, 2> members{};
  std::array<std::atomic<u32>, 2> interrupts{};
  static inline thread_local u32 running = 0;
};

constexpr u64 kCodeAt = kSpare, kStoreAt = kSpare + 0x1000, kDataAt = kSpare + 0x2000;

}  // namespace

TEST_CASE("a store to code reaches the blocks of a processor that rests") {
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine);
    m.first.code({0xb8, 1, 0, 0, 0, 0xf4}, kCodeAt);                  // MOV EAX, 1; HLT
    m.first.code({0xc6, 0x04, 0x25, 1, 0, 5, 0, 2, 0xf4}, kStoreAt);  // MOV BYTE [kCodeAt + 1], 2
    for (int i = 0; i < 3; ++i) m.run(0, kCodeAt);
    CHECK(m.cpu(0).state.gpr[core::kRax] == 1);
    m.run(1, kStoreAt);
    CHECK(m.interrupts[0] == 0);  // done by the second one's thread
    m.run(0, kCodeAt);
    CHECK(m.cpu(0).state.gpr[core::kRax] == 2);
  }
}

TEST_CASE(
    "a processor that goes from block to block through another one's jumps does not meet what it has "
    "changed") {
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine);
    // JMP to the next block; MOV EAX, 1; HLT. And the same behind a store of 2 to the MOV.
    m.first.code({0xeb, 0x0e}, kCodeAt);
    m.first.code({0xb8, 1, 0, 0, 0, 0xf4}, kCodeAt + 0x10);
    m.first.code({0xc6, 0x04, 0x25, 0x11, 0, 5, 0, 2, 0xe9}, kStoreAt);
    m.first.put<u32>(kStoreAt + 9, static_cast<u32>(kCodeAt - (kStoreAt + 13)));
    for (int i = 0; i < 3; ++i) m.run(0, kCodeAt);
    CHECK(m.cpu(0).state.gpr[core::kRax] == 1);
    m.run(1, kCodeAt);
    CHECK(m.cpu(1).state.gpr[core::kRax] == 1);
    m.run(1, kStoreAt);
    CHECK(m.cpu(1).state.gpr[core::kRax] == 2);
    m.run(0, kCodeAt);
    CHECK(m.cpu(0).state.gpr[core::kRax] == 2);
  }
}

TEST_CASE("what one processor has translated, another one runs") {
#ifdef DOPPEL_TRANSLATOR_X64
  TwoProcessors m(Engine::kTranslator);
  m.first.code({0xb8, 1, 0, 0, 0, 0xf4}, kCodeAt);
  const auto translated = [&](u32 i) { return m.cpu(i).counters["jit.blocks translated"].load(); };
  m.run(0, kCodeAt);
  CHECK(translated(0) == 1);
  m.run(1, kCodeAt);
  CHECK(translated(1) == 0);
  CHECK(m.cpu(1).counters["jit.entered from the dispatcher"] != 0);
#endif
}

TEST_CASE("a page that becomes code is write-protected by all") {
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine);
    m.first.code({0xb8, 1, 0, 0, 0, 0xf4}, kCodeAt);
    m.first.code({0xc6, 0x04, 0x25, 1, 0, 5, 0, 2, 0xf4}, kStoreAt);
    m.run(1, kStoreAt);  // the page is plain memory: its TLB lets stores through
    CHECK(m.cpu(1).mmu.may_store(kCodeAt));
    m.run(0, kCodeAt);
    CHECK_FALSE(m.cpu(1).mmu.may_store(kCodeAt));
    *m.first.ram.host(kStoreAt + 7) = 3;
    m.second.dispatcher.blocks().invalidate(kStoreAt, 8);
    m.run(1, kStoreAt);
    m.run(0, kCodeAt);
    CHECK(m.cpu(0).state.gpr[core::kRax] == 3);
  }
}

TEST_CASE("a page that one processor watches is written by another one") {
  TwoProcessors m(Engine::kInterpreter);
  std::array<Watcher, 2> watchers;
  for (u32 i : {0u, 1u}) {
    m.dispatcher(i).set_backend(&watchers[i]);
    m.dispatcher(i).blocks().watch(kDataAt);
  }
  const u8 byte = 1;
  m.members[0]->resume();  // in guest code, as it were
  m.running = 1;
  REQUIRE(m.first.ram.write(kDataAt + 5, {&byte, 1}));
  CHECK(watchers[1].written == std::vector<u64>{kDataAt});
  CHECK(watchers[0].written.empty());
  CHECK(m.interrupts[0] == 1);
  m.members[0]->serve();
  CHECK(watchers[0].written == std::vector<u64>{kDataAt});
  CHECK_FALSE(m.first.ram.is_code_page(kDataAt));

  m.members[0]->rest();
  m.dispatcher(0).blocks().watch(kDataAt);
  REQUIRE(m.first.ram.write(kDataAt + 5, {&byte, 1}));
  CHECK(watchers[0].written.size() == 2);  // told by the other one's thread
  CHECK(watchers[1].written.size() == 1);
  for (u32 i : {0u, 1u}) m.dispatcher(i).set_backend(nullptr);
}

TEST_CASE("a change of the memory map flushes the TLBs of others") {
  TwoProcessors m(Engine::kInterpreter);
  u32 value = 0;
  REQUIRE(m.cpu(0).mmu.read(kDataAt, value));
  const u64 before = m.cpu(0).mmu.generation();
  m.coherence.flush_others(m.members[0]);
  CHECK(m.cpu(0).mmu.generation() == before);
  m.coherence.flush_others(nullptr);
  CHECK(m.cpu(0).mmu.generation() != before);
}

TEST_CASE("a processor in guest code leaves what another one changes") {
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine);
    m.first.code({0xeb, 0xfe, 0xf4}, kCodeAt);                        // JMP to itself; HLT
    m.first.code({0xc6, 0x04, 0x25, 1, 0, 5, 0, 0, 0xf4}, kStoreAt);  // ends the loop: JMP to the HLT
    std::thread spinning([&] { m.run(0, kCodeAt); });
    while (!m.first.ram.is_code_page(kCodeAt)) std::this_thread::yield();
    m.run(1, kStoreAt);
    spinning.join();
  }
}

// Each processor calls function after function and changes some: a function adds up changes. It never returns
// less than what the same processor saw before, or has changed it to.
TEST_CASE("processors that change each other's code, with little memory for translations") {
  constexpr u32 kFunctions = 2048, kStride = 32, kRounds = 30;
  constexpr u64 kFunctionsAt = 0x10'0000, kDriverAt = kSpare + 0x4000;
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine, 256 << 10);
    // MOV EAX, n; JMP to the ADD; NOPs; ADD EAX, 0; RET
    for (u32 f = 0; f < kFunctions; ++f)
      m.first.code({0xb8, 0, 0, 0, 0, 0xeb, 1, 0x90, 0x83, 0xc0, 0, 0xc3}, kFunctionsAt + u64{f} * kStride);
    for (u32 i : {0u, 1u}) {
      // Each begins at one end. RBX: the function; R12: where its last result is kept; ESI: rounds.
      //   round: MOV RBX, first; MOV ECX, kFunctions
      //   next:  CALL RBX; CMP EAX, [R12 + RCX*4]; JB bad; MOV [R12 + RCX*4], EAX; TEST CL, 3; JNZ skip
      //          LOCK INC DWORD [RBX + 1]; INC DWORD [R12 + RCX*4]; CALL RBX; CMP EAX, [R12 + RCX*4]; JB bad
      //   skip:  ADD RBX, step; DEC ECX; JNZ next; DEC ESI; JNZ round; MOV EDX, 1; HLT;  bad: HLT
      std::vector<u8> code;
      const auto put = [&](std::initializer_list<u8> bytes) { code.insert(code.end(), bytes); };
      const auto put32 = [&](u32 value) {
        for (u32 b = 0; b < 4; ++b) code.push_back(static_cast<u8>(value >> (8 * b)));
      };
      put({0x31, 0xd2, 0xbe});  // XOR EDX, EDX; MOV ESI
      put32(kRounds);
      const std::size_t round = code.size();
      put({0xbb});
      put32(static_cast<u32>(i == 0 ? kFunctionsAt : kFunctionsAt + u64{kFunctions - 1} * kStride));
      put({0xb9});
      put32(kFunctions);
      const std::size_t next = code.size();
      std::vector<std::size_t> to_bad;
      const auto put_call = [&] {
        put({0xff, 0xd3, 0x41, 0x3b, 0x04, 0x8c, 0x0f, 0x82});
        to_bad.push_back(code.size());
        put32(0);
      };
      put_call();
      put({0x41, 0x89, 0x04, 0x8c, 0xf6, 0xc1, 3, 0x75, 8 + 12});
      put({0xf0, 0xff, 0x43, 0x01, 0x41, 0xff, 0x04, 0x8c});
      put_call();
      put({0x48, 0x83, 0xc3, static_cast<u8>(i == 0 ? kStride : -kStride)});
      put({0xff, 0xc9, 0x0f, 0x85});
      put32(static_cast<u32>(next - (code.size() + 4)));
      put({0xff, 0xce, 0x0f, 0x85});
      put32(static_cast<u32>(round - (code.size() + 4)));
      put({0xba, 1, 0, 0, 0, 0xf4});
      for (const std::size_t field : to_bad) {
        const u32 distance = static_cast<u32>(code.size() - (field + 4));
        std::memcpy(&code[field], &distance, 4);
      }
      put({0xf4});
      std::copy(code.begin(), code.end(), m.first.ram.host(kDriverAt + i * 0x1000));
      m.cpu(i).state.gpr[core::kR12] = 0x18'0000 + i * 0x1'0000;
    }
    std::thread other([&] { m.run(1, kDriverAt + 0x1000); });
    m.run(0, kDriverAt);
    other.join();
    for (u32 i : {0u, 1u}) CHECK(m.cpu(i).state.gpr[core::kRdx] == 1);
    // Nothing was lost.
    for (u32 f = 0; f < kFunctions; ++f) {
      CAPTURE(f);
      const u32 times = ((kFunctions - f) % 4 == 0) + ((f + 1) % 4 == 0);
      REQUIRE(m.first.get<u32>(kFunctionsAt + u64{f} * kStride + 1) == times * kRounds);
    }
#ifdef DOPPEL_TRANSLATOR_X64
    if (engine == Engine::kTranslator) CHECK(m.first.counters["jit.code cache clears"] != 0);
#endif
  }
}

TEST_CASE("locked additions to what lies on two pages are not lost, and others stand still") {
  constexpr u64 kOnTwoPages = kDataAt + 0xffe;
  constexpr u32 kTimes = 20'000;
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine);
    // MOV ECX, kTimes; again: LOCK ADD DWORD [kOnTwoPages], 1; DEC ECX; JNZ again; HLT
    m.first.code({0xb9, kTimes & 0xff, kTimes >> 8, 0, 0,       //
                  0xf0, 0x83, 0x04, 0x25, 0xfe, 0x2f, 5, 0, 1,  //
                  0xff, 0xc9, 0x75, 0xf3, 0xf4},
                 kCodeAt);
    std::thread other([&] { m.run(1, kCodeAt); });
    m.run(0, kCodeAt);
    other.join();
    CHECK(m.first.get<u32>(kOnTwoPages) == 2 * kTimes);
  }
}

TEST_CASE("between begin_exclusive and end_exclusive no other processor runs") {
  for (const Engine engine : kEngines) {
    TwoProcessors m(engine);
    // again: INC DWORD [kDataAt]; CMP BYTE [kDataAt + 4], 0; JZ again; HLT
    m.first.code({0xff, 0x04, 0x25, 0, 0x20, 5, 0,     //
                  0x80, 0x3c, 0x25, 4, 0x20, 5, 0, 0,  //
                  0x74, 0xef, 0xf4},
                 kCodeAt);
    std::thread counting([&] { m.run(0, kCodeAt); });
    const std::atomic_ref counter(*reinterpret_cast<u32*>(m.first.ram.host(kDataAt)));
    while (counter.load() == 0) std::this_thread::yield();
    m.members[1]->resume();
    for (int i = 0; i < 20; ++i) {
      m.coherence.begin_exclusive(*m.members[1]);
      const u32 before = counter.load();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      CHECK(counter.load() == before);
      m.coherence.end_exclusive(*m.members[1]);
      while (counter.load() == before) std::this_thread::yield();
    }
    m.members[1]->rest();
    *m.first.ram.host(kDataAt + 4) = 1;
    counting.join();
  }
}

}  // namespace doppel::jit::test
