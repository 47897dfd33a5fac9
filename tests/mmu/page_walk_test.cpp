#include "mmu/page_walk.hpp"

#include "tests/mmu/fixture.hpp"

using namespace doppel;
using namespace doppel::mmu;
using namespace doppel::mmu::test;

namespace {

constexpr u64 kAll = kP | kRw | kUs;

WalkResult walk(Machine& m, u64 la, Access access = Access::kRead,
                Privilege privilege = Privilege::kSupervisorUserPages) {
  return mmu::walk(m.state, m.memory, la, access, privilege);
}

}  // namespace

TEST_CASE("without paging linear addresses are physical and everything is allowed") {
  Machine m;
  const WalkResult result = walk(m, 0x12'3456, Access::kWrite, Privilege::kUser);
  CHECK(result.ok);
  CHECK(result.translation.physical == 0x12'3000);
  CHECK(result.translation.dirty);
  CHECK(result.translation.executable);
}

TEST_CASE("every paging mode and page size finds its page") {
  struct Case {
    const char* name;
    Paging paging;
    u64 la;
    u32 level;
    u64 entry, physical, size;
  };
  const Case cases[] = {
      {"32-bit 4K", Paging::kLegacy, 0x1234'5678, 1, 0x80'3000, 0x80'3000, 4096},
      {"32-bit 4K, top", Paging::kLegacy, 0xffff'ffff, 1, 0x80'3000, 0x80'3000, 4096},
      {"32-bit 4K, PAT bit", Paging::kLegacy, 0x1234'5678, 1, 0x80'3000 | kPs, 0x80'3000, 4096},
      {"32-bit 4M", Paging::kLegacy, 0x1234'5678, 2, 0x80'0000 | kPs, 0xb4'5000, 4 * kMiB},
      {"32-bit 4M, PAT bit", Paging::kLegacy, 0x1234'5678, 2, 0x80'1000 | kPs, 0xb4'5000, 4 * kMiB},
      {"PSE-36", Paging::kLegacy, 0x1234'5678, 2, 0x9a'6000 | kPs, 0xd3'00b4'5000, 4 * kMiB},
      {"PAE 4K", Paging::kPae, 0x1234'5678, 1, 0xff'1234'5000, 0xff'1234'5000, 4096},
      {"PAE 4K, fourth PDPTE", Paging::kPae, 0xffff'f000, 1, 0x80'3000, 0x80'3000, 4096},
      {"PAE 2M", Paging::kPae, 0x1234'5678, 2, 0x80'0000 | kPs, 0x94'5000, 2 * kMiB},
      {"4-level 4K", Paging::kFourLevel, 0x7fff'1234'5678, 1, 0x80'3000, 0x80'3000, 4096},
      {"4-level 4K, high half", Paging::kFourLevel, 0xffff'8000'1234'5678, 1, 0x80'3000, 0x80'3000, 4096},
      {"4-level 4K, ignored bits", Paging::kFourLevel, 0x1234'5678, 1, 0x7ff0'0000'0080'3e00, 0x80'3000,
       4096},
      {"4-level 2M", Paging::kFourLevel, 0x7fff'1234'5678, 2, 0x80'0000 | kPs, 0x94'5000, 2 * kMiB},
      {"4-level 2M, PAT bit", Paging::kFourLevel, 0x7fff'1234'5678, 2, 0x80'1000 | kPs, 0x94'5000, 2 * kMiB},
      {"4-level 1G", Paging::kFourLevel, 0x7fff'1234'5678, 3, 0x40'0000'0000 | kPs, 0x40'1234'5000, kGiB},
      {"5-level 4K", Paging::kFiveLevel, 0x00ab'7fff'1234'5678, 1, 0x80'3000, 0x80'3000, 4096},
      {"5-level 2M", Paging::kFiveLevel, 0x00ab'7fff'1234'5678, 2, 0x80'0000 | kPs, 0x94'5000, 2 * kMiB},
      {"5-level 1G", Paging::kFiveLevel, 0xff12'7fff'1234'5678, 3, 0x40'0000'0000 | kPs, 0x40'1234'5000,
       kGiB},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m(c.paging);
    m.map(c.la, c.entry | kAll, c.level);
    const WalkResult result = walk(m, c.la);
    CHECK(result.ok);
    CHECK(result.translation.physical == c.physical);
    CHECK(result.translation.page_size == c.size);
    CHECK_FALSE(result.translation.global);
  }
}

TEST_CASE("PS in a 32-bit PDE is ignored without CR4.PSE") {
  Machine m(Paging::kLegacy);
  m.state.cr4 &= ~kCr4Pse;
  m.map(0x40'1000, 0x80'3000 | kAll, 1, kAll | kPs);
  CHECK(walk(m, 0x40'1000).translation.physical == 0x80'3000);
}

TEST_CASE("G counts only with CR4.PGE") {
  Machine m(Paging::kFourLevel);
  m.map(0x1000, kData | kAll | kG);
  CHECK(walk(m, 0x1000).translation.global);
  m.state.cr4 &= ~kCr4Pge;
  CHECK_FALSE(walk(m, 0x1000).translation.global);
}

TEST_CASE("an entry that is not present at any level is a fault with P = 0") {
  struct Case {
    Paging paging;
    u32 level;
  };
  for (const Case& c :
       {Case{Paging::kLegacy, 1}, Case{Paging::kLegacy, 2}, Case{Paging::kPae, 1}, Case{Paging::kPae, 2},
        Case{Paging::kFourLevel, 1}, Case{Paging::kFourLevel, 2}, Case{Paging::kFourLevel, 3},
        Case{Paging::kFourLevel, 4}, Case{Paging::kFiveLevel, 5}, Case{Paging::kFiveLevel, 1}}) {
    CAPTURE(static_cast<int>(c.paging));
    CAPTURE(c.level);
    Machine m(c.paging);
    const u64 everything_but_p = ~kP;
    m.map(0x1000, everything_but_p, c.level);
    const WalkResult result = walk(m, 0x1000, Access::kWrite, Privilege::kUser);
    CHECK_FALSE(result.ok);
    CHECK(result.error == (kPfWrite | kPfUser));
  }
  Machine m(Paging::kPae);
  m.map(0x4000'0000, kData | kAll);
  CHECK(walk(m, 0x4000'0000).ok);
  m.state.pdpte[1] &= ~kP;
  CHECK_FALSE(walk(m, 0x4000'0000).ok);
  CHECK(walk(m, 0x4000'0000).error == 0);
}

TEST_CASE("reserved bits fault with RSVD at every level") {
  struct Case {
    const char* name;
    Paging paging;
    u32 level;
    u64 bits;
    bool nxe, fault;
  };
  const Case cases[] = {
      {"PTE bit 40", Paging::kFourLevel, 1, u64{1} << 40, true, true},
      {"PTE bit 51", Paging::kFourLevel, 1, u64{1} << 51, true, true},
      {"PTE bit 52 is ignored", Paging::kFourLevel, 1, u64{1} << 52, true, false},
      {"PTE bit 62 is ignored", Paging::kFourLevel, 1, u64{1} << 62, true, false},
      {"PTE XD without NXE", Paging::kFourLevel, 1, kXd, false, true},
      {"PTE XD with NXE", Paging::kFourLevel, 1, kXd, true, false},
      {"PTE PAT", Paging::kFourLevel, 1, kPs, true, false},
      {"PDE bit 40", Paging::kFourLevel, 2, u64{1} << 40, true, true},
      {"2M bit 13", Paging::kFourLevel, 2, kPs | 1u << 13, true, true},
      {"2M bit 20", Paging::kFourLevel, 2, kPs | 1u << 20, true, true},
      {"2M PAT", Paging::kFourLevel, 2, kPs | 1u << 12, true, false},
      {"PDPTE XD without NXE", Paging::kFourLevel, 3, kXd, false, true},
      {"1G bit 13", Paging::kFourLevel, 3, kPs | 1u << 13, true, true},
      {"1G bit 29", Paging::kFourLevel, 3, kPs | 1u << 29, true, true},
      {"1G PAT", Paging::kFourLevel, 3, kPs | 1u << 12, true, false},
      {"PML4E PS", Paging::kFourLevel, 4, kPs, true, true},
      {"PML4E bit 45", Paging::kFourLevel, 4, u64{1} << 45, true, true},
      {"PML5E PS", Paging::kFiveLevel, 5, kPs, true, true},
      {"PML5E bit 40", Paging::kFiveLevel, 5, u64{1} << 40, true, true},
      {"PML4E PS, 5 levels", Paging::kFiveLevel, 4, kPs, true, true},
      {"PAE PTE bit 40", Paging::kPae, 1, u64{1} << 40, true, true},
      {"PAE PTE bit 52", Paging::kPae, 1, u64{1} << 52, true, true},
      {"PAE PTE bit 62", Paging::kPae, 1, u64{1} << 62, true, true},
      {"PAE PTE XD without NXE", Paging::kPae, 1, kXd, false, true},
      {"PAE PTE XD with NXE", Paging::kPae, 1, kXd, true, false},
      {"PAE PDE bit 62", Paging::kPae, 2, u64{1} << 62, true, true},
      {"PAE 2M bit 20", Paging::kPae, 2, kPs | 1u << 20, true, true},
      {"PAE 2M PAT", Paging::kPae, 2, kPs | 1u << 12, true, false},
      {"4M bit 21", Paging::kLegacy, 2, kPs | 1u << 21, true, true},
      {"4M bits 20:12", Paging::kLegacy, 2, kPs | 0x1f'f000, true, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m(c.paging);
    if (!c.nxe) m.state.efer &= ~kEferNxe;
    const u32 leaf = c.bits & kPs ? c.level : 1;
    m.map(0, (c.level == leaf ? 0 : kData) | kAll, leaf);
    const u64 pa = m.path(0, c.level).back();
    m.memory.write(pa, m.entry_size(), m.entry(pa) | c.bits);
    const WalkResult result = walk(m, 0, Access::kWrite);
    CHECK(result.ok == !c.fault);
    if (c.fault) CHECK(result.error == (kPfPresent | kPfReserved | kPfWrite));
    if (c.fault) CHECK((m.entry(pa) & kA) == 0);
  }
}

// What each privilege may do: user, supervisor, supervisor with access to user pages.
TEST_CASE("access rights by page, CR0.WP, SMEP and SMAP") {
  struct Case {
    u64 entry;
    bool wp;
    u64 cr4;
    const char *user, *supervisor, *user_pages;
  };
  const Case cases[] = {
      {0, true, 0, "---", "r-x", "r-x"},
      {0, false, 0, "---", "rwx", "rwx"},
      {kRw, true, 0, "---", "rwx", "rwx"},
      {kRw | kXd, true, 0, "---", "rw-", "rw-"},
      {kRw, true, kCr4Smep | kCr4Smap, "---", "rwx", "rwx"},
      {kUs, true, 0, "r-x", "r-x", "r-x"},
      {kUs, false, 0, "r-x", "rwx", "rwx"},
      {kUs | kXd, true, 0, "r--", "r--", "r--"},
      {kUs | kRw, true, 0, "rwx", "rwx", "rwx"},
      {kUs | kRw | kXd, true, 0, "rw-", "rw-", "rw-"},
      {kUs | kRw, true, kCr4Smep, "rwx", "rw-", "rw-"},
      {kUs | kRw, true, kCr4Smap, "rwx", "--x", "rwx"},
      {kUs, false, kCr4Smap, "r-x", "--x", "rwx"},
      {kUs, true, kCr4Smap, "r-x", "--x", "r-x"},
      {kUs | kRw, true, kCr4Smep | kCr4Smap, "rwx", "---", "rw-"},
  };
  const auto check = [](Machine& m, const Case& c) {
    const std::pair<Privilege, const char*> expected[] = {{Privilege::kUser, c.user},
                                                          {Privilege::kSupervisor, c.supervisor},
                                                          {Privilege::kSupervisorUserPages, c.user_pages}};
    for (const auto& [privilege, rights] : expected) {
      for (u32 i = 0; i < 3; ++i) {
        CAPTURE(static_cast<int>(privilege));
        CAPTURE(i);
        const auto access = static_cast<Access>(i);
        const WalkResult result = walk(m, 0x1000, access, privilege);
        CHECK(result.ok == (rights[i] != '-'));
        if (result.ok) {
          CHECK(result.translation.readable == (rights[0] != '-'));
          CHECK(result.translation.writable == (rights[1] != '-'));
          CHECK(result.translation.executable == (rights[2] != '-'));
        } else {
          CHECK(result.error == (kPfPresent | (privilege == Privilege::kUser ? kPfUser : 0) |
                                 (i == 1 ? kPfWrite : 0) | (i == 2 ? kPfFetch : 0)));
        }
      }
    }
  };
  for (const Case& c : cases) {
    CAPTURE(c.entry);
    CAPTURE(c.wp);
    CAPTURE(c.cr4);
    for (const u32 level : {1u, 2u, 3u, 4u}) {  // the one entry that restricts is the leaf's or one above it
      CAPTURE(level);
      Machine m(Paging::kFourLevel);
      if (!c.wp) m.state.cr0 &= ~kCr0Wp;
      m.state.cr4 |= c.cr4;
      m.map(0x1000, kData | kAll);
      const u64 pa = m.path(0x1000, level).back();
      m.memory.write(pa, 8, (m.entry(pa) & ~kAll) | kP | c.entry);
      check(m, c);
    }
  }
}

TEST_CASE("the I/D bit of the error code needs SMEP, or NXE with PAE") {
  struct Case {
    Paging paging;
    bool nxe, smep, id;
  };
  for (const Case& c :
       {Case{Paging::kLegacy, false, false, false}, Case{Paging::kLegacy, true, false, false},
        Case{Paging::kLegacy, false, true, true}, Case{Paging::kPae, false, false, false},
        Case{Paging::kPae, true, false, true}, Case{Paging::kPae, false, true, true},
        Case{Paging::kFourLevel, false, false, false}, Case{Paging::kFourLevel, true, false, true}}) {
    CAPTURE(static_cast<int>(c.paging));
    CAPTURE(c.nxe);
    CAPTURE(c.smep);
    Machine m(c.paging);
    m.state.efer = (m.state.efer & ~kEferNxe) | (c.nxe ? kEferNxe : 0);
    m.state.cr4 |= c.smep ? kCr4Smep : 0;
    CHECK(walk(m, 0x5000, Access::kExecute, Privilege::kUser).error == (kPfUser | (c.id ? kPfFetch : 0)));
    CHECK(walk(m, 0x5000, Access::kRead, Privilege::kUser).error == kPfUser);
  }
}

TEST_CASE("accessed bits are set along the path of a permitted access, dirty by writes only") {
  for (const Paging paging : {Paging::kLegacy, Paging::kPae, Paging::kFourLevel, Paging::kFiveLevel}) {
    CAPTURE(static_cast<int>(paging));
    Machine m(paging);
    m.map(0x1000, kData | kP, 1);
    const std::vector<u64> path = m.path(0x1000);
    const auto check_bits = [&](u64 above, u64 leaf) {
      for (const u64 pa : path) CHECK((m.entry(pa) & (kA | kD)) == (pa == path.back() ? leaf : above));
    };
    CHECK_FALSE(walk(m, 0x1000, Access::kWrite).ok);
    CHECK_FALSE(walk(m, 0x1000, Access::kRead, Privilege::kUser).ok);
    check_bits(0, 0);
    CHECK_FALSE(walk(m, 0x1000).translation.dirty);
    check_bits(kA, kA);
    m.memory.write(path.back(), m.entry_size(), kData | kAll);
    CHECK(walk(m, 0x1000, Access::kExecute).ok);
    check_bits(kA, kA);
    CHECK(walk(m, 0x1000, Access::kWrite).translation.dirty);
    check_bits(kA, kA | kD);
    CHECK(walk(m, 0x1000).translation.dirty);
  }
}

TEST_CASE("a large page has its dirty bit in the entry that maps it") {
  Machine m(Paging::kFourLevel);
  const u64 pa = m.map(0x20'0000, kData | kAll | kPs, 2);
  CHECK(walk(m, 0x2f'f000, Access::kWrite).ok);
  CHECK((m.entry(pa) & (kA | kD)) == (kA | kD));
}

TEST_CASE("page tables in ROM or MMIO keep their bits, and the walk ends") {
  Machine m(Paging::kFourLevel);
  m.device.answer = kMmio | kAll;  // every entry points back at the device
  m.state.cr3 = kMmio;
  const WalkResult result = walk(m, 0x1000, Access::kWrite);
  CHECK(result.ok);
  CHECK(result.translation.physical == kMmio);
  for (const auto& event : m.device.events) CHECK_FALSE(event.write);
}

TEST_CASE("loading the PDPTEs checks the reserved bits of those that are present") {
  struct Case {
    u64 pdpte;
    bool ok;
  };
  for (const Case& c : {Case{kP, true}, Case{0, true}, Case{~kP, true}, Case{kP | 0xff'ffff'fe18, true},
                        Case{kP | 1u << 1, false}, Case{kP | 1u << 2, false}, Case{kP | 1u << 5, false},
                        Case{kP | 1u << 8, false}, Case{kP | u64{1} << 40, false}, Case{kP | kXd, false}}) {
    CAPTURE(c.pdpte);
    Machine m(Paging::kPae);
    const auto before = m.state.pdpte;
    m.memory.write(0x20'0020 + 3 * 8, 8, c.pdpte);
    CHECK(load_pdptes(m.state, m.memory, 0x20'0020 | 0x18) == c.ok);
    CHECK(m.state.pdpte == (c.ok ? std::array<u64, 4>{0, 0, 0, c.pdpte} : before));
  }
}

TEST_CASE("canonical addresses depend on the number of levels") {
  CpuState state;
  struct Case {
    u64 la;
    bool four, five;
  };
  for (const Case& c :
       {Case{0, true, true}, Case{0x7fff'ffff'ffff, true, true}, Case{0x8000'0000'0000, false, true},
        Case{0x00ff'ffff'ffff'ffff, false, true}, Case{0x0100'0000'0000'0000, false, false},
        Case{0xff00'0000'0000'0000, false, true}, Case{0xffff'7fff'ffff'ffff, false, true},
        Case{0xffff'8000'0000'0000, true, true}, Case{~u64{0}, true, true}}) {
    CAPTURE(c.la);
    state.cr4 = 0;
    CHECK(canonical(state, c.la) == c.four);
    state.cr4 = kCr4La57;
    CHECK(canonical(state, c.la) == c.five);
  }
}

TEST_CASE("a region of user pages is seen as the page tables have it, and not marked") {
  constexpr u64 kLa = 0x7fff'1240'0000;  // 2 MiB aligned
  struct Case {
    const char* name;
    u64 entry, rights;
    bool present, writable, executable;
  };
  const Case cases[] = {
      {"all", kAll | kA | kD, kAll, true, true, true},
      {"not accessed", kAll | kD, kAll, false, false, false},
      {"clean", kAll | kA, kAll, true, false, true},
      {"read-only", kP | kUs | kA | kD, kAll, true, false, true},
      {"read-only above", kAll | kA | kD, kP | kUs, true, false, true},
      {"supervisor", kP | kRw | kA | kD, kAll, false, false, false},
      {"supervisor above", kAll | kA | kD, kP | kRw, false, false, false},
      {"no execution", kAll | kA | kD | kXd, kAll, true, true, false},
      {"not present", (kAll | kA | kD) & ~u64{kP}, kAll, false, false, false},
      {"a reserved bit", kAll | kA | kD | u64{1} << 45, kAll, false, false, false},
  };
  for (const Paging paging : {Paging::kFourLevel, Paging::kFiveLevel})
    for (const Case& c : cases) {
      CAPTURE(std::string(c.name));
      Machine m(paging);
      const u64 at = m.map(kLa + 5 * kPageSize, 0x80'3000 | c.entry, 1, c.rights);
      const u64 before = m.entry(at);
      const UserRegion region = walk_user_region(m.state, m.memory, kLa + 0x1234);
      CHECK(region[5].present == c.present);
      CHECK(region[5].writable == c.writable);
      CHECK(region[5].executable == c.executable);
      if (c.present) CHECK(region[5].physical == 0x80'3000);
      CHECK_FALSE(region[4].present);
      CHECK(m.entry(at) == before);
    }
}

TEST_CASE("a region of user pages in large pages") {
  constexpr u64 kLa = 0x7fff'1240'0000;
  for (const u32 level : {2u, 3u}) {
    Machine m(Paging::kFourLevel);
    m.map(kLa, 0x4000'0000 | kPs | kAll | kA | kD, level);
    const UserRegion region = walk_user_region(m.state, m.memory, kLa);
    CHECK(region[511].present);
    CHECK(region[511].physical == 0x4000'0000 + (level == 3 ? kLa % kGiB : 0) + 511 * kPageSize);
  }
  Machine m(Paging::kPae);
  for (const UserPage& page : walk_user_region(m.state, m.memory, 0)) CHECK_FALSE(page.present);
}
