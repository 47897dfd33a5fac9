// Accesses through the Mmu: what the fast path may see, and the slow paths behind it.
#include <algorithm>

#include "tests/mmu/fixture.hpp"

using namespace doppel;
using namespace doppel::mmu;
using namespace doppel::mmu::test;

namespace {

constexpr u64 kAll = kP | kRw | kUs;
constexpr u64 kLa = 0x7000'0000'0000;  // pages under test
using Events = std::vector<Recorder::Event>;

// Which tags the active array holds for the page, as "rwx".
std::string tags(const Machine& m, u64 la) {
  const TlbEntry& e = m.tlb(la);
  const u64 page = la & kPageMask;
  return {e.read == page ? 'r' : '-', e.write == page ? 'w' : '-', e.exec == page ? 'x' : '-'};
}

template <class T>
T read(Machine& m, u64 la) {
  T value{};
  CHECK(m.mmu.read(la, value));
  return value;
}

}  // namespace

TEST_CASE("values of any size and alignment survive, within and across pages") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kData | kAll);
  m.map(kLa + 0x1000, (kData + 0x5000) | kAll);
  struct Block {
    std::array<u8, 64> bytes;
  };
  Block block;
  for (u32 i = 0; i < 64; ++i) block.bytes[i] = static_cast<u8>(i + 1);
  for (const u64 offset : {0x10, 0x11, 0xfc1, 0xff9, 0xfff, 0xfc0}) {
    CAPTURE(offset);
    for (int again = 0; again < 2; ++again) {  // slow, then fast where it can be
      CHECK(m.mmu.write(kLa + offset, u64{0x1122'3344'5566'7788} + offset));
      CHECK(read<u64>(m, kLa + offset) == u64{0x1122'3344'5566'7788} + offset);
      CHECK(m.mmu.write(kLa + offset, u16{0xabcd}));
      CHECK(read<u16>(m, kLa + offset) == 0xabcd);
      CHECK(m.mmu.write(kLa + offset, block));
      CHECK(read<Block>(m, kLa + offset).bytes == block.bytes);
    }
  }
  CHECK(m.memory.read(kData + 0xfff, 1) == block.bytes[0xfff - 0xfc0]);
  CHECK(m.memory.read(kData + 0x5000, 1) == block.bytes[0x1000 - 0xfff]);  // of the block at 0xfff
}

TEST_CASE("tags are set only for what may go straight to memory") {
  struct Case {
    const char* name;
    u64 entry;
    Access access;
    u8 cpl;
    const char* tags;
  };
  const Case cases[] = {
      {"read: not dirty yet", kData | kAll, Access::kRead, 3, "r-x"},
      {"read, dirty before", kData | kAll | kD, Access::kRead, 3, "rwx"},
      {"write", kData | kAll, Access::kWrite, 3, "rwx"},
      {"read-only", kData | kP | kUs | kD, Access::kRead, 3, "r-x"},
      {"no execute", kData | kAll | kD | kXd, Access::kRead, 3, "rw-"},
      {"supervisor page", kData | kP | kRw | kD, Access::kRead, 0, "rwx"},
      {"supervisor, WP", kData | kP | kD, Access::kRead, 0, "r-x"},
      {"MMIO", kMmio | kAll | kD, Access::kWrite, 3, "---"},
      {"ROM", 0xf'0000 | kAll | kD, Access::kWrite, 3, "r-x"},
      {"code page", (kData + 0x1000) | kAll | kD, Access::kWrite, 3, "r-x"},
      {"nothing there", 0xd000'0000 | kAll | kD, Access::kRead, 3, "---"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m(Paging::kFourLevel);
    m.memory.add_rom(0xf'0000, std::vector<u8>(0x1000));
    m.ram.claim_code_page(kData + 0x1000);
    m.map(kLa, c.entry);
    m.set_cpl(c.cpl);
    CHECK(m.mmu.probe(kLa + 5, 1, c.access));
    CHECK(tags(m, kLa) == c.tags);
    for (const Access access : {Access::kRead, Access::kWrite, Access::kExecute}) {
      const bool direct = m.mmu.direct(kLa + 5, access) != nullptr;
      CHECK(direct == (tags(m, kLa)[static_cast<u32>(access)] != '-'));
    }
    CHECK_FALSE(m.state.fault.pending);
  }
}

TEST_CASE("faults carry the error code and the address of the page that faults") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kData | kAll);
  m.map(kLa + 0x1000, (kData + 0x1000) | kP | kUs);
  m.map(kLa + 0x2000, (kData + 0x2000) | kP | kRw);
  m.set_cpl(3);
  u64 value = 0;
  CHECK_FALSE(m.mmu.read(kLa + 0x3004, value));
  check_fault(m, Vector::kPF, kPfUser, kLa + 0x3004);
  CHECK_FALSE(m.mmu.write(kLa + 0x1008, value));
  check_fault(m, Vector::kPF, kPfUser | kPfWrite | kPfPresent, kLa + 0x1008);
  CHECK_FALSE(m.mmu.read(kLa + 0x1ffe, value));
  check_fault(m, Vector::kPF, kPfUser | kPfPresent, kLa + 0x2000);
  CHECK(m.mmu.read_system(kLa + 0x2000, value));

  // Nothing is written when the second page faults, and D stays clear there.
  m.memory.write(kData + 0xff8, 8, 0x1234);
  CHECK_FALSE(m.mmu.write(kLa + 0xffc, ~u64{0}));
  check_fault(m, Vector::kPF, kPfUser | kPfWrite | kPfPresent, kLa + 0x1000);
  CHECK(m.memory.read(kData + 0xff8, 8) == 0x1234);

  Mmu::Code code;
  CHECK_FALSE(m.mmu.fetch(kLa + 0x2010, code));
  check_fault(m, Vector::kPF, kPfUser | kPfPresent | kPfFetch, kLa + 0x2010);
}

TEST_CASE("a fault is walked again once the tables allow the access, without INVLPG") {
  Machine m(Paging::kFourLevel);
  const u64 pa = m.map(kLa, kData | kP);
  CHECK(read<u32>(m, kLa) == 0);
  CHECK_FALSE(m.mmu.write(kLa, u32{1}));
  m.take_fault();
  m.memory.write(pa, 8, (kData + 0x1000) | kP | kRw);
  CHECK(m.mmu.write(kLa, u32{1}));
  CHECK(m.memory.read(kData + 0x1000, 4) == 1);
}

TEST_CASE("a page fault drops what was cached for its address") {
  Machine m(Paging::kFourLevel);
  const u64 pa = m.map(kLa, kData | kP);
  CHECK(read<u32>(m, kLa) == 0);
  m.memory.write(pa, 8, 0);
  CHECK(read<u32>(m, kLa) == 0);
  CHECK_FALSE(m.mmu.write(kLa, u32{1}));
  u32 value = 0;
  CHECK_FALSE(m.mmu.read(kLa, value));
}

TEST_CASE("non-canonical addresses raise #GP(0) in 64-bit mode") {
  Machine m(Paging::kFourLevel);
  m.map(0x7fff'ffff'f000, kData | kAll);
  m.map(~u64{0}, kData | kAll);
  m.map(0, (kData + 0x1000) | kAll);
  u64 value = 0;
  Mmu::Code code;
  for (const u64 la : {u64{0x8000'0000'0000}, u64{0x7fff'ffff'fffc}, u64{0xffff'0000'0000'0000}}) {
    CAPTURE(la);
    CHECK_FALSE(m.mmu.read(la, value));
    check_fault(m, Vector::kGP, 0, 0);
    CHECK_FALSE(m.mmu.write_system(la, value));
    check_fault(m, Vector::kGP, 0, 0);
    CHECK(m.mmu.direct(la, Access::kRead) == (la < 0x8000'0000'0000 ? m.ram.host(kData + 0xffc) : nullptr));
  }
  CHECK_FALSE(m.mmu.fetch(0x8000'0000'0000, code));
  check_fault(m, Vector::kGP, 0, 0);
  CHECK(m.mmu.read(~u64{3}, value));  // runs over the top to address 0

  // Compatibility mode wraps; the processor's own accesses are still 64 bits wide.
  m.state.code_bits = 32;
  CHECK(m.mmu.read(0x8000'0000'0000, value));
  CHECK_FALSE(m.mmu.read_system(0x8000'0000'0000, value));
  check_fault(m, Vector::kGP, 0, 0);
}

TEST_CASE("outside 64-bit mode accesses wrap at 4 GiB") {
  Machine m(Paging::kPae);
  m.map(0xffff'f000, kData | kAll);
  m.map(0, (kData + 0x1000) | kAll);
  CHECK(m.mmu.write(0xffff'fffe, u32{0x4433'2211}));
  CHECK(m.memory.read(kData + 0xffe, 2) == 0x2211);
  CHECK(m.memory.read(kData + 0x1000, 2) == 0x4433);
  CHECK(read<u32>(m, 0xffff'fffe) == 0x4433'2211);
}

TEST_CASE("MMIO accesses arrive whole; those that leave RAM are split at the page") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kData | kAll);
  m.map(kLa + 0x1000, kMmio | kAll);
  m.device.answer = 0x8877'6655'4433'2211;
  CHECK(read<u64>(m, kLa + 0x1008) == 0x8877'6655'4433'2211);
  CHECK(read<u8>(m, kLa + 0x1003) == 0x11);
  CHECK(m.mmu.write(kLa + 0x1010, u32{0xdead'beef}));
  CHECK(m.device.events == Events{{false, 8, 8, 0}, {false, 3, 1, 0}, {true, 0x10, 4, 0xdead'beef}});
  m.device.events.clear();
  CHECK(m.mmu.write(kLa + 0xffe, u32{0x4433'2211}));
  CHECK(m.memory.read(kData + 0xffe, 2) == 0x2211);
  CHECK(m.device.events == Events{{true, 0, 2, 0x4433}});
  CHECK(read<u32>(m, kLa + 0xffe) == 0x2211'2211);
  m.device.events.clear();
  struct Vector128 {
    u64 q[2];
  };
  CHECK(m.mmu.write(kLa + 0x1020, Vector128{{1, 2}}));
  CHECK(m.device.events == Events{{true, 0x20, 8, 1}, {true, 0x28, 8, 2}});

  // A fault on the page behind keeps the device untouched.
  m.device.events.clear();
  CHECK_FALSE(m.mmu.write(kLa + 0x1ffe, u32{0}));
  check_fault(m, Vector::kPF, kPfWrite, kLa + 0x2000);
  CHECK(m.device.events.empty());
}

TEST_CASE("blocks of any size, all or nothing") {
  Machine m(Paging::kFourLevel);
  for (u64 i = 0; i < 4; ++i) m.map(kLa + i * 0x1000, (kData + i * 0x2000) | kAll);
  std::vector<u8> out(0x2800), in(0x2800);
  for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<u8>(i * 7);
  CHECK(m.mmu.write_bytes(kLa + 0x900, in.data(), 0x2800));
  CHECK(m.mmu.read_bytes(kLa + 0x900, out.data(), 0x2800));
  CHECK(out == in);
  CHECK(m.memory.read(kData + 0x2000, 1) == in[0x700]);
  const std::vector<u8> zeros(0x2800);
  CHECK_FALSE(m.mmu.write_bytes(kLa + 0x2000, zeros.data(), 0x2800));
  check_fault(m, Vector::kPF, kPfWrite, kLa + 0x4000);
  CHECK_FALSE(m.mmu.probe(kLa + 0x1000, 0x3001, Access::kRead));
  check_fault(m, Vector::kPF, 0, kLa + 0x4000);
  CHECK(m.mmu.read_bytes(kLa + 0x900, out.data(), 0x2800));
  CHECK(out == in);
}

TEST_CASE("a probe for writing sets D and leaves the bytes alone") {
  Machine m(Paging::kFourLevel);
  const u64 pa = m.map(kLa, kData | kAll);
  m.memory.write(kData, 8, 42);
  CHECK(m.mmu.probe(kLa, 8, Access::kRead));
  CHECK((m.entry(pa) & kD) == 0);
  CHECK(m.mmu.host_for_write<u64>(kLa) == nullptr);
  CHECK(m.mmu.probe(kLa, 8, Access::kWrite));
  CHECK((m.entry(pa) & kD) != 0);
  CHECK(*m.mmu.host_for_write<u64>(kLa) == 42);
  CHECK(m.mmu.host_for_write<u64>(kLa + 0xffc) == nullptr);
}

TEST_CASE("stores to code pages are reported each time, until the page holds no code") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kData | kAll);
  m.map(kLa + 0x5000, kData | kAll);
  CHECK(m.mmu.write(kLa, u32{1}));
  CHECK(m.mmu.write(kLa + 0x5000, u32{1}));
  CHECK(tags(m, kLa) == "rwx");
  m.ram.claim_code_page(kData);
  m.mmu.protect_code_page(kData + 0x123);
  CHECK(tags(m, kLa) == "r-x");
  CHECK(tags(m, kLa + 0x5000) == "r-x");

  std::vector<std::pair<u64, u64>> reports;
  bool last = false;
  m.ram.on_code_write([&](u64 pa, u64 size) {
    reports.emplace_back(pa, size);
    CHECK(m.memory.read(kData + 8, 4) == (reports.size() > 1 ? 8 : 7));
    if (last) m.ram.release_code_page(pa);
  });
  CHECK(m.mmu.write(kLa + 8, u32{7}));
  CHECK(m.mmu.direct(kLa, Access::kWrite) == nullptr);
  CHECK(tags(m, kLa) == "r-x");
  last = true;
  CHECK(m.mmu.write(kLa + 8, u64{8}));
  CHECK(reports == std::vector<std::pair<u64, u64>>{{kData + 8, 4}, {kData + 8, 8}});
  CHECK(tags(m, kLa) == "rwx");
  CHECK(m.memory.read(kData + 8, 4) == 8);
}

TEST_CASE("an observer hears of every page before it can change, once until the tags are revoked") {
  struct Log final : WriteObserver {
    void page_writable(u64 page, u8*) override { writable.push_back(page); }
    void entry_marked(u64 page) override { marked.push_back(page); }
    std::vector<u64> writable, marked;
  } log;
  Machine m(Paging::kFourLevel);
  const u64 entry = m.map(kLa, kData | kAll | kA | kD);
  m.map(kLa + 0x1000, (kData + 0x1000) | kAll | kA | kD);
  for (const u64 at : m.path(kLa)) m.memory.write(at, 8, m.entry(at) | kA);
  m.memory.observe_writes(&log);

  CHECK(read<u64>(m, kLa) == 0);
  CHECK(tags(m, kLa) == "r-x");  // not before it is written
  CHECK(m.mmu.write(kLa, u64{1}));
  CHECK(m.mmu.write(kLa + 8, u64{1}));
  CHECK(log.writable.front() == kData);
  const auto reports = log.writable.size();
  CHECK(tags(m, kLa) == "rwx");
  CHECK(m.mmu.write(kLa + 16, u64{1}));
  CHECK(log.writable.size() == reports);

  m.mmu.revoke_write_tags();
  CHECK(tags(m, kLa) == "r-x");
  CHECK(m.mmu.direct(kLa, Access::kWrite) == m.ram.host(kData));
  CHECK(tags(m, kLa) == "rwx");
  CHECK(log.writable.size() == reports + 1);

  m.mmu.revoke_write_tags();
  log.writable.clear();
  CHECK(m.mmu.write(kLa + 0xffc, u64{1}));  // across pages
  CHECK(std::ranges::count(log.writable, kData) > 0);
  CHECK(std::ranges::count(log.writable, kData + 0x1000) > 0);

  CHECK(log.marked.empty());
  m.memory.write(entry, 8, kData | kAll);
  m.mmu.flush_all();
  CHECK(read<u64>(m, kLa) == 1);
  CHECK(log.marked == std::vector<u64>{entry & kPageMask});
}

TEST_CASE("fetch gives the physical address, and host bytes of plain memory only") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, (kData + 0x3000) | kAll);
  m.map(kLa + 0x1000, kMmio | kAll);
  m.map(kLa + 0x2000, kData | kAll | kXd);
  Mmu::Code code;
  CHECK(m.mmu.fetch(kLa + 0x123, code));
  CHECK(code.physical == kData + 0x3123);
  CHECK(code.host == m.ram.host(kData + 0x3123));
  CHECK(m.mmu.fetch(kLa + 0x1123, code));
  CHECK(code.physical == kMmio + 0x123);
  CHECK(code.host == nullptr);
  CHECK_FALSE(m.mmu.fetch(kLa + 0x2123, code));
  check_fault(m, Vector::kPF, kPfPresent | kPfFetch, kLa + 0x2123);
}

TEST_CASE("the A20 gate applies behind the page tables and without them") {
  Machine m;
  m.memory.write(0x1234, 4, 0x1111);
  m.memory.write(0x10'1234, 4, 0x2222);
  m.memory.set_a20(false);
  Mmu::Code code;
  CHECK(m.mmu.fetch(0x10'1234, code));
  CHECK(code.physical == 0x1234);
  CHECK(read<u32>(m, 0x10'1234) == 0x1111);
  m.memory.set_a20(true);
  m.mmu.flush_all();
  CHECK(read<u32>(m, 0x10'1234) == 0x2222);
}

TEST_CASE("alignment checks apply at CPL 3 with CR0.AM and EFLAGS.AC, to operands up to 8 bytes") {
  struct Block {
    u64 q[4];
  };
  struct Case {
    bool am, ac;
    u8 cpl;
    bool checks;
  };
  for (const Case& c : {Case{true, true, 3, true}, Case{false, true, 3, false}, Case{true, false, 3, false},
                        Case{true, true, 0, false}}) {
    CAPTURE(c.am);
    CAPTURE(c.ac);
    CAPTURE(c.cpl);
    Machine m(Paging::kFourLevel);
    m.map(kLa, kData | kAll);
    CHECK(m.mmu.write(kLa, u64{5}));
    m.state.cr0 |= c.am ? kCr0Am : 0;
    m.state.rflags |= c.ac ? kAc : 0;
    m.set_cpl(c.cpl);
    CHECK(m.mmu.write(kLa, u64{6}));
    CHECK(m.mmu.write(kLa + 1, Block{}));
    CHECK(read<u8>(m, kLa + 1) == 0);
    CHECK((m.mmu.direct(kLa, Access::kRead) == nullptr) == c.checks);
    u64 quad = 0;
    u32 dword = 0;
    u16 word = 0;
    CHECK(m.mmu.read(kLa + 4, dword));
    CHECK(m.mmu.read(kLa + 4, quad) == !c.checks);
    CHECK(m.mmu.read(kLa + 2, dword) == !c.checks);
    CHECK(m.mmu.read(kLa + 1, word) == !c.checks);
    CHECK(m.mmu.write(kLa + 1, word) == !c.checks);
    CHECK(m.mmu.probe(kLa + 1, 2, Access::kWrite) == !c.checks);
    if (c.checks) check_fault(m, Vector::kAC, 0, 0);
    CHECK(m.mmu.read_system(kLa + 1, quad));
    CHECK_FALSE(m.mmu.read(kLa + 0x1001, quad));  // a page fault comes first
    CHECK(m.state.fault.vector == Vector::kPF);
  }
}

TEST_CASE("SMAP follows EFLAGS.AC, and implicit accesses ignore AC") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kData | kAll);
  m.state.cr4 |= kCr4Smap;
  m.mmu.mode_changed();
  u32 value = 0;
  CHECK(m.mmu.privilege() == Privilege::kSupervisor);
  CHECK_FALSE(m.mmu.read(kLa, value));
  check_fault(m, Vector::kPF, kPfPresent, kLa);
  m.state.rflags |= kAc;
  m.mmu.mode_changed();
  CHECK(m.mmu.privilege() == Privilege::kSupervisorUserPages);
  CHECK(m.mmu.read(kLa, value));
  CHECK_FALSE(m.mmu.read_system(kLa, value));
  check_fault(m, Vector::kPF, kPfPresent, kLa);
  m.state.rflags &= ~kAc;
  m.mmu.mode_changed();
  CHECK_FALSE(m.mmu.read(kLa, value));
  m.set_cpl(3);
  CHECK(m.mmu.privilege() == Privilege::kUser);
  CHECK(m.mmu.read(kLa, value));
}

TEST_CASE("data breakpoints are noted by the accesses that touch them") {
  struct Case {
    const char* name;
    u64 address;
    u32 control;  // R/W and LEN of breakpoint 1, with its enable bits
    u64 la;
    bool read_hits, write_hits;
  };
  constexpr u32 kL1 = 1u << 2, kG1 = 1u << 3;
  constexpr auto field = [](u32 rw, u32 len) { return (rw | len << 2) << 20; };
  const Case cases[] = {
      {"write, 4 bytes", kLa + 0x100, kL1 | field(1, 3), kLa + 0x100, false, true},
      {"write, global enable", kLa + 0x100, kG1 | field(1, 3), kLa + 0x100, false, true},
      {"disabled", kLa + 0x100, field(3, 3), kLa + 0x100, false, false},
      {"read or write", kLa + 0x100, kL1 | field(3, 3), kLa + 0x100, true, true},
      {"execute is not ours", kLa + 0x100, kL1 | field(0, 0), kLa + 0x100, false, false},
      {"I/O is not ours", kLa + 0x100, kL1 | field(2, 0), kLa + 0x100, false, false},
      {"last byte of the access", kLa + 0x103, kL1 | field(3, 0), kLa + 0x100, true, true},
      {"just behind the access", kLa + 0x104, kL1 | field(3, 0), kLa + 0x100, false, false},
      {"just before the access", kLa + 0x0ff, kL1 | field(3, 0), kLa + 0x100, false, false},
      {"the address is aligned down", kLa + 0x107, kL1 | field(3, 2), kLa + 0x100, true, true},
      {"8 bytes, tail", kLa + 0x100, kL1 | field(3, 2), kLa + 0x104, true, true},
      {"on the second page", kLa + 0x1000, kL1 | field(3, 0), kLa + 0xffe, true, true},
      {"on the first page only", kLa + 0xffd, kL1 | field(3, 0), kLa + 0xffe, false, false},
  };
  for (const Case& c : cases) {
    CAPTURE(c.name);
    Machine m(Paging::kFourLevel);
    m.map(kLa, kData | kAll);
    m.map(kLa + 0x1000, (kData + 0x1000) | kAll);
    CHECK(m.mmu.write(kLa + 0xfff, u16{0}));  // tags from before must not hide anything
    m.state.dr[1] = c.address;
    m.state.dr[7] = 0x400 | c.control;
    m.mmu.mode_changed();
    for (int again = 0; again < 2; ++again) {
      m.state.debug_hits = 0;
      CHECK(read<u32>(m, c.la) == 0);
      CHECK(m.state.debug_hits == (c.read_hits ? 2 : 0));
      m.state.debug_hits = 0;
      CHECK(m.mmu.write(c.la, u32{0}));
      CHECK(m.state.debug_hits == (c.write_hits ? 2 : 0));
    }
    m.state.dr[7] = 0x400;
    m.mmu.mode_changed();
    m.state.debug_hits = 0;
    CHECK(m.mmu.write(c.la & ~u64{3}, u32{0}));
    CHECK(m.state.debug_hits == 0);
    CHECK(tags(m, c.la & ~u64{3}) == "rwx");
  }
}

TEST_CASE("moving a breakpoint watches its new page") {
  Machine m(Paging::kFourLevel);
  m.map(kLa, kData | kAll);
  m.map(kLa + 0x1000, (kData + 0x1000) | kAll);
  CHECK(m.mmu.write(kLa, u32{0}));
  CHECK(m.mmu.write(kLa + 0x1000, u32{0}));
  m.state.dr[0] = kLa;
  m.state.dr[7] = 0x000f'0401;
  m.mmu.mode_changed();
  CHECK(read<u32>(m, kLa) == 0);
  CHECK(m.state.debug_hits == 1);
  CHECK(tags(m, kLa) == "--x");
  m.state.debug_hits = 0;
  CHECK(tags(m, kLa + 0x1000) == "rwx");
  m.state.dr[0] = kLa + 0x1000;
  m.mmu.mode_changed();
  CHECK(read<u32>(m, kLa) == 0);
  CHECK(tags(m, kLa) == "rwx");
  CHECK(m.mmu.write(kLa, u32{0}));
  CHECK(m.state.debug_hits == 0);
  CHECK(m.mmu.write(kLa + 0x1000, u32{0}));
  CHECK(m.state.debug_hits == 1);
}

TEST_CASE("stores to a device's memory reach it through the TLB; code there is not plain memory") {
  Machine m;
  std::vector<u8> pixels(0x2000, 0x90);
  REQUIRE(m.memory.map_device(kMmio + 0x1000, pixels, true));
  m.mmu.flush_all();
  CHECK(m.mmu.write(kMmio + 0x1004, u32{0x1234'5678}));
  CHECK(pixels[4] == 0x78);
  CHECK(m.mmu.host_for_write<u32>(kMmio + 0x1008) == reinterpret_cast<u32*>(pixels.data() + 8));
  Mmu::Code code;
  CHECK(m.mmu.fetch(kMmio + 0x1000, code));
  CHECK(code.host == nullptr);
}
