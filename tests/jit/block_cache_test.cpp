#include "jit/block_cache.hpp"

#include "tests/jit/running_machine.hpp"

namespace doppel::jit::test {
namespace {

struct CacheMachine : RunningMachine {
  using RunningMachine::RunningMachine;
  [[nodiscard]] Block* find(u64 linear = kRip, u32 max_insns = kMaxBlockInsns) {
    return dispatcher.blocks().find(linear, max_insns);
  }
};

}  // namespace

TEST_CASE("a block goes on over conditional branches and ends at other ones") {
  struct Case {
    const char* what;
    std::vector<u8> code;
    u32 count, bytes;
  };
  for (const Case& c :
       {Case{"a return", {0x90, 0x90, 0xc3, 0x90}, 3, 3},
        Case{"conditional branches inside", {0x74, 0x10, 0x75, 0x20, 0x90, 0xeb, 0x00}, 4, 7},
        Case{"an undefined instruction", {0x90, 0x06, 0x90}, 2, 2}, Case{"STI", {0x90, 0xfb, 0x90}, 2, 2}}) {
    CAPTURE(std::string(c.what));
    CacheMachine m;
    std::copy(c.code.begin(), c.code.end(), m.ram.host(kRip));
    const Block* block = m.find();
    REQUIRE(block != nullptr);
    CHECK(block->count == c.count);
    CHECK(block->bytes == c.bytes);
    CHECK(block->physical == kRip);
    CHECK(block->second_page == kNoPage);
    CHECK(bool{block->insns[block->count].run == end_of_block});
  }
}

TEST_CASE("a block has a greatest length, and stays on its page") {
  CacheMachine m;
  std::fill_n(m.ram.host(kSpare), 0x2000, u8{0x90});
  CHECK(m.find(kSpare)->count == kMaxBlockInsns);
  const Block* block = m.find(kSpare + 0xffd);
  CHECK(block->count == 3);
  CHECK(block->second_page == kNoPage);

  m.code({0xb8, 1, 2, 3, 4, 0xc3}, kSpare + 0x1ffe);  // MOV EAX on two pages
  block = m.find(kSpare + 0x1ffd);
  CHECK(block->count == 1);  // it stands alone
  block = m.find(kSpare + 0x1ffe);
  CHECK(block->count == 1);
  CHECK(block->bytes == 5);
  CHECK(block->second_page == kSpare + 0x2000);
  CHECK(block->insns[0].imm == 0x0403'0201);
}

TEST_CASE("bytes that are no instruction are looked at beyond the first") {
  CacheMachine m;
  m.code({0x90, 0xf2, 0x41, 0xff, 0xff});  // an opcode that does not exist
  const Block* block = m.find();
  CHECK(block->count == 2);
  m.dispatcher.blocks().invalidate(kRip + 4, 1);
  CHECK(!block->valid);

  m.code({0xf2, 0x41, 0xff, 0xff}, kSpare + 0xffe);  // on two pages
  block = m.find(kSpare + 0xffe);
  CHECK(block->count == 1);
  m.dispatcher.blocks().invalidate(kSpare + 0x1001, 1);
  CHECK(!block->valid);
}

TEST_CASE("a known block is found again, by physical address and code size") {
  CacheMachine m;
  m.code({0x90, 0xc3});
  Block* const block = m.find();
  CHECK(m.find() == block);
  CHECK(m.find(kRip + 1) != block);
  m.cpu.state.code_bits = 32;
  Block* const other_size = m.find();
  CHECK(other_size != block);
  m.cpu.state.code_bits = 64;
  CHECK(m.find() == block);

  // The same memory at another linear address.
  constexpr u64 kAlias = 0x4000'0000, kPresent = 7;
  m.put<u64>(kPageTables + 0x1000 + 8, (kPageTables + 0x2000) | kPresent);
  CHECK(m.find(kAlias + kRip) == block);
}

TEST_CASE("blocks of one instruction are not kept") {
  CacheMachine m;
  m.code({0x90, 0x90, 0xc3});
  const Block* single = m.find(kRip, 1);
  REQUIRE(single != nullptr);
  CHECK(single->count == 1);
  CHECK(single->bytes == 1);
  CHECK_FALSE(m.ram.is_code_page(kRip));
  m.code({0xc3});  // unseen, as the page is not watched
  CHECK(m.find(kRip, 1)->insns[0].mnemonic == ZYDIS_MNEMONIC_RET);
}

TEST_CASE("a write drops the blocks that it touches and no others") {
  struct Case {
    u64 at, size;
    bool first, second;  // whether they go
  };
  constexpr u64 kFirst = kSpare + 0x10, kSecond = kSpare + 0x20;  // two bytes each
  for (const Case& c : {Case{kFirst - 1, 1, false, false}, Case{kFirst, 1, true, false},
                        Case{kFirst + 1, 1, true, false}, Case{kFirst + 2, 8, false, false},
                        Case{kFirst + 1, 16, true, true}, Case{kSecond + 2, 100, false, false},
                        Case{kSpare - 0x1000, 0x3000, true, true}, Case{kSpare + 0x1010, 2, false, false}}) {
    CAPTURE(c.at);
    CAPTURE(c.size);
    CacheMachine m;
    m.code({0x90, 0xc3}, kFirst);
    m.code({0x90, 0xc3}, kSecond);
    Block *const first = m.find(kFirst), *const second = m.find(kSecond);
    REQUIRE(m.ram.is_code_page(kSpare));
    m.dispatcher.blocks().invalidate(c.at, c.size);
    CHECK(first->valid == !c.first);
    CHECK(second->valid == !c.second);
    CHECK((m.find(kFirst) == first) == !c.first);
    CHECK((m.find(kSecond) == second) == !c.second);
  }
}

TEST_CASE("a page is watched as long as blocks lie on it") {
  CacheMachine m;
  m.code({0x90, 0xc3}, kSpare + 0x10);
  m.code({0x90, 0xc3}, kSpare + 0x20);
  REQUIRE(m.find(kSpare + 0x10) != nullptr);
  REQUIRE(m.find(kSpare + 0x20) != nullptr);
  m.dispatcher.blocks().invalidate(kSpare + 0x10, 1);
  CHECK(m.ram.is_code_page(kSpare));
  m.dispatcher.blocks().invalidate(kSpare + 0x20, 1);
  CHECK_FALSE(m.ram.is_code_page(kSpare));
  REQUIRE(m.find(kSpare + 0x10) != nullptr);
  CHECK(m.ram.is_code_page(kSpare));
}

TEST_CASE("a block on two pages is dropped by a write to either") {
  constexpr u64 kEdge = kSpare + 0xffe;
  struct Case {
    u64 at;
    bool drops;
  };
  for (const Case& c : {Case{kEdge, true}, Case{kEdge - 1, false}, Case{kSpare + 0x1000, true},
                        Case{kSpare + 0x1002, true}, Case{kSpare + 0x1003, false}}) {
    CAPTURE(c.at);
    CacheMachine m;
    m.code({0xb8, 1, 2, 3, 4, 0xc3}, kEdge);
    const Block* block = m.find(kEdge);
    CHECK(m.ram.is_code_page(kSpare));
    CHECK(m.ram.is_code_page(kSpare + 0x1000));
    m.dispatcher.blocks().invalidate(c.at, 1);
    CHECK(block->valid == !c.drops);
    CHECK(m.ram.is_code_page(kSpare) == !c.drops);
    CHECK(m.ram.is_code_page(kSpare + 0x1000) == !c.drops);
  }
}

TEST_CASE("a block that was dropped while it runs is left before its next instruction") {
  CacheMachine m;
  m.code({0x90, 0x90, 0x90, 0xc3});
  const Block* block = m.find();
  m.cpu.state.gpr[core::kGprRip] = kRip;
  m.dispatcher.blocks().invalidate(kRip + 3, 1);
  CHECK(block->insns[1].run(m.cpu, &block->insns[1]) == nullptr);
  CHECK(m.cpu.state.rip == kRip + 1);
}

TEST_CASE("clearing drops everything and says so") {
  CacheMachine m;
  m.code({0x90, 0xc3});
  REQUIRE(m.find() != nullptr);
  const u64 generation = m.dispatcher.blocks().generation();
  m.dispatcher.blocks().clear();
  CHECK(m.dispatcher.blocks().generation() != generation);
  CHECK_FALSE(m.ram.is_code_page(kRip));
  m.code({0xc3});
  CHECK(m.find()->count == 1);
}

TEST_CASE("a full cache gives single instructions, until the dispatcher makes room") {
  CacheMachine m;
  m.code({0xf4});
  const u64 generation = m.dispatcher.blocks().generation();
  constexpr u64 kCode = 0x10'0000, kSize = 0x4'0000;
  std::fill_n(m.ram.host(kCode), kSize, u8{0x90});
  u64 at = kCode;
  while (at < kCode + kSize - kMaxBlockInsns && !(m.cpu.state.pending & core::kPendingRoom))
    REQUIRE(m.find(at++) != nullptr);
  REQUIRE((m.cpu.state.pending & core::kPendingRoom));
  CHECK(m.find(kCode)->count == kMaxBlockInsns);
  CHECK_FALSE(m.find(at)->kept);
  CHECK(m.find(at)->count == 1);
  CHECK(bool{m.run() == Exit::kIdle});
  CHECK(m.dispatcher.blocks().generation() > generation);
  CHECK(m.find(at)->kept);
  CHECK(m.find(at)->count > 1);
}

TEST_CASE("code in MMIO is read anew each time") {
  class Flash final : public core::Device {
   public:
    [[nodiscard]] std::string_view name() const override { return "flash"; }
    void reset() override {}
    [[nodiscard]] u64 read(u64 offset, u32) override {
      return offset == 0 ? first : offset == 1 ? second : 0xf4;
    }
    void write(u64, u32, u64) override {}
    void snapshot(core::SnapshotIo&) override {}
    u8 first = 0x90, second = 0xc3;
  } flash;
  CacheMachine m(Mode::kProtected);
  constexpr u64 kFlash = 0xfff0'0000;
  m.mmio.attach(kFlash, 0x1000, flash);
  CHECK(m.find(kFlash)->count == 1);
  CHECK(m.find(kFlash + 1)->insns[0].mnemonic == ZYDIS_MNEMONIC_RET);
  flash.second = 0xf4;
  CHECK(m.find(kFlash + 1)->insns[0].mnemonic == ZYDIS_MNEMONIC_HLT);
  for (const u8 first : {0xf4, 0x90}) {
    flash.first = first;
    m.cpu.state.rip = kFlash;
    m.cpu.state.activity = core::Activity::kRunning;
    CHECK(bool{m.run() == Exit::kIdle});
    CHECK(m.cpu.state.rip == kFlash + (first == 0x90 ? 2 : 1));
  }
}

TEST_CASE("a fetch that faults leaves no block") {
  CacheMachine m;
  CHECK(m.find(0x8000'0000) == nullptr);
  CHECK(m.cpu.state.fault.pending);
  CHECK(bool{m.cpu.state.fault.vector == core::Vector::kPF});
}

TEST_CASE("granules that blocks were made from") {
  RunningMachine m;
  BlockCache& blocks = m.dispatcher.blocks();
  m.code({0x90, 0x90, 0xf4}, kSpare + 0x7f);  // in the second and third granule
  REQUIRE(blocks.find(kSpare + 0x7f) != nullptr);
  struct Case {
    u64 offset;
    u32 size;
    bool holds;
  };
  for (const Case& c :
       {Case{0, 64, false}, Case{0x3f, 1, false}, Case{0x3f, 2, true}, Case{0x40, 8, true},
        Case{0xbf, 1, true}, Case{0xc0, 8, false}, Case{0xff8, 8, false}, Case{0x1000, 8, false}}) {
    CAPTURE(c.offset);
    CHECK(blocks.holds_code(kSpare + c.offset, c.size) == c.holds);
  }
  blocks.invalidate(kSpare + 0xc0, 8);
  CHECK(blocks.holds_code(kSpare + 0x80, 1));
  blocks.invalidate(kSpare + 0x80, 1);
  CHECK_FALSE(blocks.holds_code(kSpare + 0x80, 1));
}

TEST_CASE("a watched page is reported once, whatever byte is written, and whether it has blocks or not") {
  Watcher watcher;
  CacheMachine m;
  m.dispatcher.set_backend(&watcher);
  BlockCache& blocks = m.dispatcher.blocks();
  const u8 byte = 0x90;

  blocks.watch(kSpare);
  CHECK(m.ram.is_code_page(kSpare));
  CHECK(blocks.holds_code(kSpare + 0xfff, 1));
  REQUIRE(m.ram.write(kSpare + 0x800, {&byte, 1}));
  CHECK(watcher.written == std::vector<u64>{kSpare});
  CHECK_FALSE(m.ram.is_code_page(kSpare));
  REQUIRE(m.ram.write(kSpare + 0x800, {&byte, 1}));
  CHECK(watcher.written.size() == 1);

  m.code({0x90, 0xc3}, kSpare);
  const Block* block = m.find(kSpare);
  blocks.watch(kSpare);
  REQUIRE(m.ram.write(kSpare + 0x800, {&byte, 1}));
  CHECK(watcher.written.size() == 2);
  CHECK(block->valid);
  CHECK(m.ram.is_code_page(kSpare));
  CHECK_FALSE(blocks.holds_code(kSpare + 0x800, 1));
}

}  // namespace doppel::jit::test
