// When cached translations stay and when they go: flushes, INVLPG, PCIDs.
#include "tests/mmu/fixture.hpp"

using namespace doppel;
using namespace doppel::mmu;
using namespace doppel::mmu::test;

namespace {

constexpr u64 kAll = kP | kRw | kUs;
constexpr u64 kLa = 0x7000'0000'0000, kGlobalLa = 0xffff'8000'0000'1000;

// Two pages, one of them global, whose first words tell which mapping is in force.
struct TwoPages : Machine {
  TwoPages() : Machine(Paging::kFourLevel) {
    for (u64 i = 0; i < 4; ++i) memory.write(kData + i * kPageSize, 4, 100 + i);
    local = map(kLa, kData | kAll);
    global = map(kGlobalLa, kData | kAll | kG);
    CHECK(at(kLa) == 100);
    CHECK(at(kGlobalLa) == 100);
  }
  // Points both pages at the n-th data page without telling the MMU.
  void remap(u64 n) {
    memory.write(local, 8, (kData + n * kPageSize) | kAll);
    memory.write(global, 8, (kData + n * kPageSize) | kAll | kG);
  }
  u32 at(u64 la) {
    u32 value = 0;
    CHECK(mmu.read(la, value));
    return value;
  }
  u64 local, global;
};

}  // namespace

TEST_CASE("each flush drops what it must and keeps what it may, and moves the generation") {
  struct Case {
    const char* name;
    void (*flush)(TwoPages&);
    u32 local, global;
  };
  const Case cases[] = {
      {"none", [](TwoPages&) {}, 100, 100},
      {"all", [](TwoPages& m) { m.mmu.flush_all(); }, 101, 101},
      {"non-global", [](TwoPages& m) { m.mmu.flush_non_global(); }, 101, 100},
      {"INVLPG", [](TwoPages& m) { m.mmu.flush_page(kLa + 0x123); }, 101, 100},
      {"INVLPG, global", [](TwoPages& m) { m.mmu.flush_page(kGlobalLa); }, 100, 101},
      {"INVLPG, same slot", [](TwoPages& m) { m.mmu.flush_page(kLa + kTlbEntries * kPageSize); }, 100, 100},
      {"CR3, bit 63 without PCIDs", [](TwoPages& m) { m.mmu.set_address_space(kRoot, true); }, 101, 100},
      {"CR4.PGE",
       [](TwoPages& m) {
         m.state.cr4 &= ~kCr4Pge;
         m.mmu.mode_changed();
       },
       101, 101},
      {"CR0.WP",
       [](TwoPages& m) {
         m.state.cr0 &= ~kCr0Wp;
         m.mmu.mode_changed();
       },
       101, 101},
      {"CPL", [](TwoPages& m) { m.mmu.mode_changed(); }, 100, 100},
      {"INVPCID 1", [](TwoPages& m) { m.mmu.flush_pcid(0); }, 101, 100},
      {"INVPCID 1, other", [](TwoPages& m) { m.mmu.flush_pcid(1); }, 100, 100},
      {"INVPCID 3", [](TwoPages& m) { m.mmu.flush_all_pcids_non_global(); }, 101, 100},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    TwoPages m;
    m.remap(1);
    // Generations cover what was fetched.
    Mmu::Code code;
    REQUIRE(m.mmu.fetch(kLa, code));
    CHECK(!code.global);
    REQUIRE(m.mmu.fetch(kGlobalLa, code));
    CHECK(code.global);
    const u64 generation = m.mmu.generation(), global_generation = m.mmu.global_generation();
    c.flush(m);
    CHECK(m.at(kLa) == c.local);
    CHECK(m.at(kGlobalLa) == c.global);
    if (c.local != 100) CHECK(m.mmu.generation() != generation);
    if (c.global != 100) CHECK(m.mmu.global_generation() != global_generation);
  }
}

TEST_CASE("INVLPG drops the page for every privilege") {
  TwoPages m;
  m.set_cpl(3);
  CHECK(m.at(kLa) == 100);
  m.remap(1);
  m.mmu.flush_page(kLa);
  CHECK(m.at(kLa) == 101);
  m.set_cpl(0);
  CHECK(m.at(kLa) == 101);
}

TEST_CASE("INVLPG anywhere in a large page drops all of it and nothing else") {
  struct Case {
    u32 level;
    u64 size;
  };
  for (const Case& c : {Case{2, 2 * kMiB}, Case{3, kGiB}}) {
    CAPTURE(c.size);
    Machine m(Paging::kFourLevel);
    const u64 pa = m.map(kLa, kPs | kAll, c.level);
    m.map(kLa + c.size, kPs | kAll, c.level);
    const u64 pieces[] = {0, 0x5000, 0x1f'f000};
    u8 byte = 0;
    for (const u64 piece : pieces) {
      CHECK(m.mmu.read(kLa + piece, byte));
      CHECK(m.mmu.read(kLa + c.size + piece, byte));
    }
    m.memory.write(pa, 8, 0);
    const u64 misses = m.misses();
    m.mmu.flush_page(kLa + c.size - 1);
    for (const u64 piece : pieces) {
      CAPTURE(piece);
      CHECK_FALSE(m.mmu.read(kLa + piece, byte));
      CHECK(m.mmu.read(kLa + c.size + piece, byte));
    }
    CHECK(m.misses() == misses + 3);
  }
}

TEST_CASE("a 4 MiB page is dropped whole") {
  Machine m(Paging::kLegacy);
  const u64 pa = m.map(0x40'0000, kData | kPs | kAll, 2);
  u8 byte = 0;
  CHECK(m.mmu.read(0x40'1000, byte));
  m.memory.write(pa, 4, 0);
  CHECK(m.mmu.read(0x40'1000, byte));
  m.mmu.flush_page(0x7f'ffff);
  CHECK_FALSE(m.mmu.read(0x40'1000, byte));
}

TEST_CASE("slots are found again after pages replaced one another") {
  Machine m(Paging::kFourLevel);
  const u64 alias = kLa + kTlbEntries * kPageSize;
  const u64 first = m.map(kLa, kData | kAll | kG);
  const u64 second = m.map(alias, (kData + kPageSize) | kAll);
  u8 byte = 0;
  for (int i = 0; i < 3; ++i) {
    CHECK(m.mmu.write(kLa, u8{1}));
    CHECK(m.mmu.write(alias, u8{2}));
  }
  CHECK(m.mmu.read(kLa, byte));  // the global page holds the slot now
  m.memory.write(first, 8, 0);
  m.memory.write(second, 8, 0);
  m.mmu.flush_non_global();
  CHECK(m.mmu.read(kLa, byte));
  CHECK(byte == 1);
  m.mmu.flush_all();
  CHECK_FALSE(m.mmu.read(kLa, byte));
}

TEST_CASE(
    "the active array follows the mode, and misses after a flush of thousands of pages are all misses") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kPs | kAll, 2);
  m.map(kLa + 2 * kMiB, kPs | kAll, 2);
  const TlbEntry* supervisor = m.state.tlb;
  m.set_cpl(3);
  CHECK(m.state.tlb != supervisor);
  u8 byte = 0;
  for (int round = 0; round < 2; ++round) {
    const u64 misses = m.misses();
    for (u64 page = 0; page < 1024; ++page) CHECK(m.mmu.read(kLa + page * kPageSize, byte));
    for (u64 page = 0; page < 1024; ++page) CHECK(m.mmu.read(kLa + page * kPageSize, byte));
    CHECK(m.misses() == misses + 1024);
    m.mmu.flush_non_global();
  }
  m.set_cpl(0);
  CHECK(m.state.tlb == supervisor);
}

namespace {

// Address spaces of PCIDs: the same linear page means another data page in each.
struct Pcids : TwoPages {
  Pcids() {
    for (u64 i = 0; i < 8; ++i) memory.write(kData + i * kPageSize, 4, 100 + i);
    state.cr4 |= kCr4Pcide;
    mmu.mode_changed();
  }
  void switch_to(u64 pcid, bool keep) {
    state.cr3 = kRoot | pcid;
    mmu.set_address_space(state.cr3, keep);
  }
};

}  // namespace

TEST_CASE("a PCID's translations wait for its return") {
  Pcids m;
  for (u64 pcid = 1; pcid <= 4; ++pcid) {
    m.switch_to(pcid, true);
    m.remap(pcid);
    CHECK(m.at(kLa) == 100 + pcid);
  }
  m.remap(7);
  for (u64 pcid = 1; pcid <= 4; ++pcid) {
    CAPTURE(pcid);
    m.switch_to(pcid, true);
    CHECK(m.at(kLa) == 100 + pcid);
  }
  m.switch_to(2, false);
  CHECK(m.at(kLa) == 107);
  m.switch_to(3, true);
  CHECK(m.at(kLa) == 103);

  m.mmu.flush_pcid(4);
  m.mmu.flush_page_pcid(kLa, 1);
  m.mmu.flush_page_pcid(kLa + kPageSize, 3);
  CHECK(m.at(kLa) == 103);
  m.switch_to(1, true);
  CHECK(m.at(kLa) == 107);
  m.switch_to(4, true);
  CHECK(m.at(kLa) == 107);
  m.mmu.flush_all_pcids_non_global();
  m.switch_to(3, true);
  CHECK(m.at(kLa) == 107);
}

TEST_CASE("more PCIDs than there are places for stay apart") {
  Pcids m;
  for (int round = 0; round < 3; ++round) {
    for (u64 pcid = 0; pcid < 4096; pcid += 97) {
      m.remap(pcid % 7 + 1);
      m.switch_to(pcid, false);
      CHECK(m.at(kLa) == 100 + pcid % 7 + 1);
    }
  }
  for (u64 pcid = 0; pcid < 8; ++pcid) {
    m.remap(pcid % 4);
    m.switch_to(pcid, true);
    CHECK(m.at(kLa) == 100 + pcid % 4);
  }
  m.switch_to(0, true);  // gave its place away meanwhile
  CHECK(m.at(kLa) == 103);
  m.switch_to(904, true);  // never seen: nothing of its predecessor's may show
  m.remap(0);
  m.switch_to(905, true);
  CHECK(m.at(kLa) == 100);
}

TEST_CASE("a flush of global pages reaches the address spaces that wait") {
  struct Case {
    const char* name;
    void (*flush)(Pcids&);
  };
  for (const Case& c : {Case{"all", [](Pcids& m) { m.mmu.flush_all(); }},
                        Case{"INVLPG", [](Pcids& m) { m.mmu.flush_page(kGlobalLa); }}}) {
    CAPTURE(c.name);
    Pcids m;
    for (const u64 pcid : {1, 2}) {
      m.switch_to(pcid, true);
      CHECK(m.at(kGlobalLa) == 100);
    }
    m.remap(1);
    c.flush(m);
    m.switch_to(1, true);
    CHECK(m.at(kGlobalLa) == 101);
  }
}

TEST_CASE("code pages are protected in the address spaces that wait") {
  Pcids m;
  for (const u64 pcid : {1, 2}) {
    m.switch_to(pcid, true);
    CHECK(m.mmu.write(kLa, u32{100}));
  }
  m.ram.claim_code_page(kData);
  m.mmu.protect_code_page(kData);
  m.switch_to(1, true);
  CHECK(m.tlb(kLa).read == kLa);
  CHECK(m.tlb(kLa).write == kTlbInvalid);
}

TEST_CASE("clearing CR4.PCIDE forgets every PCID") {
  Pcids m;
  m.switch_to(3, true);
  CHECK(m.at(kLa) == 100);
  m.remap(1);
  m.state.cr4 &= ~kCr4Pcide;
  m.mmu.mode_changed();
  CHECK(m.at(kLa) == 101);
  m.remap(2);
  m.mmu.flush_non_global();
  CHECK(m.at(kLa) == 102);
}

TEST_CASE("who keeps translations of its own is told when they must go") {
  struct Observer final : FlushObserver {
    void flushed_page(u64 la) override { told += "page " + std::to_string(la) + "; "; }
    void flushed_space(u16 pcid) override { told += "space " + std::to_string(pcid) + "; "; }
    void flushed_all() override { told += "all; "; }
    void code_page_protected(u64 physical) override { told += "code " + std::to_string(physical) + "; "; }
    std::string told;
  } observer;
  Machine m(Paging::kFourLevel);
  m.mmu.observe_flushes(&observer);
  const auto tells = [&](const char* what, auto act) {
    CAPTURE(what);
    observer.told.clear();
    act();
    CHECK(observer.told == what);
  };
  tells("page 4096; ", [&] { m.mmu.flush_page(4096); });
  tells("page 4096; ", [&] { m.mmu.flush_page_pcid(4096, 7); });
  tells("space 0; ", [&] { m.mmu.set_address_space(m.state.cr3, false); });
  tells("space 9; ", [&] { m.mmu.flush_pcid(9); });
  tells("space 0; all; ", [&] { m.mmu.flush_all_pcids_non_global(); });
  tells("all; ", [&] { m.mmu.flush_all(); });
  tells("code 8192; ", [&] { m.mmu.protect_code_page(8192); });
  m.state.cr4 |= kCr4Pcide;
  m.mmu.mode_changed();
  tells("", [&] { m.mmu.set_address_space(m.state.cr3, true); });
  m.mmu.observe_flushes(nullptr);
}
