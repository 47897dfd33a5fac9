// The bare guest of smp_guest_test.py, after long_mode_start.S: starts all processors and has them disagree
// about memory, locks, interrupts, code and translations of addresses. Each line "@name number" on port 0xe9
// is a fact that the test knows; the numbers are hexadecimal. "rounds=N" and "xapic" on the command line.
#include <cstddef>
#include <cstdint>

namespace {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

// ---------------------------------------------------------------------------------------------------------------
// Instructions that C++ has no words for.

u64 rdmsr(u32 msr) {
  u32 low, high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
  return u64{high} << 32 | low;
}
void wrmsr(u32 msr, u64 value) {
  asm volatile("wrmsr" ::"c"(msr), "a"(static_cast<u32>(value)), "d"(static_cast<u32>(value >> 32))
               : "memory");
}
u64 rdtsc() {
  u32 low, high;
  asm volatile("rdtscp" : "=a"(low), "=d"(high)::"ecx", "memory");
  return u64{high} << 32 | low;
}
struct Leaf {
  u32 a, b, c, d;
};
Leaf cpuid(u32 leaf, u32 subleaf = 0) {
  Leaf l;
  asm volatile("cpuid" : "=a"(l.a), "=b"(l.b), "=c"(l.c), "=d"(l.d) : "a"(leaf), "c"(subleaf) : "memory");
  return l;
}
void pause() {
  asm volatile("pause" ::: "memory");
}
template <class T>
T load(const volatile T& from) {
  return __atomic_load_n(&from, __ATOMIC_ACQUIRE);
}
template <class T>
void store(volatile T& to, T value) {
  __atomic_store_n(&to, value, __ATOMIC_RELEASE);
}
u32 add(volatile u32& to, u32 value) {
  return __atomic_fetch_add(&to, value, __ATOMIC_SEQ_CST);
}

// ---------------------------------------------------------------------------------------------------------------
// Reports.

extern "C" void exit_guest();

void put(char c) {
  asm volatile("outb %%al, $0xe9" ::"a"(c));
}
void report(const char* name, u64 number) {
  put('@');
  while (*name) put(*name++);
  put(' ');
  for (int shift = 60; shift >= 0; shift -= 4) put("0123456789abcdef"[number >> shift & 15]);
  put('\n');
}

// ---------------------------------------------------------------------------------------------------------------
// Memory, all of it identity-mapped.

constexpr u64 kPageTables = 0x201000;  // long_mode_start.S
constexpr u64 kApicPage = 0xfee0'0000;
constexpr u64 kTrampoline = 0x8000;
constexpr u64 kFree = 0x400000;  // up to 8 MiB: what follows
constexpr u64 kIdt = kFree, kApicDirectory = kFree + 0x1000, kStacks = kFree + 0x10000;
constexpr u64 kStackSize = 0x4000;
constexpr u32 kMostProcessors = 64;
constexpr u64 kWindowTable = kFree + 0x2000;  // a page table for the 2 MiB at kWindow
constexpr u64 kWindow = 0x3000'0000;
constexpr u64 kPageA = 0x900000, kPageB = 0x901000, kCode = 0x902000, kSplit = 0x904000;
constexpr u64 kCells = 0xa00000;

u32 processors, rounds = 1'000'000;
bool xapic;

// ---------------------------------------------------------------------------------------------------------------
// The local APIC, in either mode. Source: SDM Vol. 3A, "Advanced Programmable Interrupt Controller".

constexpr u32 kIdRegister = 0x2, kEoi = 0xb, kLogicalId = 0xd, kFormat = 0xe, kSpurious = 0xf,
              kCommand = 0x30, kCommandHigh = 0x31;
enum Delivery : u32 {
  kFixed = 0,
  kLowestPriority = 1u << 8,
  kNmi = 4u << 8,
  kInit = 5u << 8,
  kStartUp = 6u << 8
};
constexpr u32 kLogical = 1u << 11, kAssert = 1u << 14, kSelf = 1u << 18, kAll = 2u << 18, kOthers = 3u << 18;

volatile u32& apic_register(u32 index) {
  return *reinterpret_cast<volatile u32*>(kApicPage + index * 16);
}
void apic_write(u32 index, u32 value) {
  if (xapic)
    apic_register(index) = value;
  else
    wrmsr(0x800 + index, value);
}
u32 apic_id() {
  return xapic ? apic_register(kIdRegister) >> 24 : static_cast<u32>(rdmsr(0x800 + kIdRegister));
}
u32 logical_id() {
  return xapic ? apic_register(kLogicalId) >> 24 : static_cast<u32>(rdmsr(0x800 + kLogicalId));
}
void send(u32 command, u32 destination = 0) {
  if (xapic) {
    while (apic_register(kCommand) & 1u << 12) pause();
    apic_register(kCommandHigh) = destination << 24;
    apic_register(kCommand) = command | kAssert;
  } else {
    wrmsr(0x800 + kCommand, u64{destination} << 32 | command | kAssert);
  }
}
void enable_apic() {
  constexpr u32 kApicBase = 0x1b;
  wrmsr(kApicBase, (rdmsr(kApicBase) & ~u64{0xc00}) | (xapic ? 0x800 : 0xc00));
  apic_write(kSpurious, 0x1ff);
  if (!xapic) return;
  apic_write(kFormat, 0xffff'ffff);  // flat
  apic_write(kLogicalId, 1u << (24 + (apic_id() & 7)));
}

// ---------------------------------------------------------------------------------------------------------------
// Interrupts: each processor counts its own.

constexpr u32 kVectorCount = 0x40, kVectorLowest = 0x41, kVectorFlush = 0x42, kVectorNmi = 2;

struct alignas(64) PerProcessor {
  volatile u32 counted, lowest, flushed, nmis;
};
PerProcessor per_processor[kMostProcessors];

// Over all processors.
u64 sum(volatile u32 PerProcessor::*field) {
  u64 total = 0;
  for (u32 i = 0; i < processors; ++i) total += load(per_processor[i].*field);
  return total;
}

struct InterruptFrame;

[[gnu::interrupt]] void on_count(InterruptFrame*) {
  add(per_processor[apic_id()].counted, 1);
  apic_write(kEoi, 0);
}
[[gnu::interrupt]] void on_lowest(InterruptFrame*) {
  add(per_processor[apic_id()].lowest, 1);
  apic_write(kEoi, 0);
}
[[gnu::interrupt]] void on_flush(InterruptFrame*) {
  asm volatile("invlpg (%0)" ::"r"(kWindow) : "memory");
  add(per_processor[apic_id()].flushed, 1);
  apic_write(kEoi, 0);
}
[[gnu::interrupt]] void on_nmi(InterruptFrame*) {
  add(per_processor[apic_id()].nmis, 1);
}

void set_gate(u32 vector, void (*handler)(InterruptFrame*)) {
  const u64 at = reinterpret_cast<u64>(handler);
  auto* gate = reinterpret_cast<volatile u64*>(kIdt + vector * 16);
  gate[0] = (at & 0xffff) | u64{0x08} << 16 | u64{0x8e00} << 32 | (at >> 16 & 0xffff) << 48;
  gate[1] = at >> 32;
}
void load_idt() {
  struct [[gnu::packed]] {
    std::uint16_t limit;
    u64 base;
  } pointer{256 * 16 - 1, kIdt};
  asm volatile("lidt %0" ::"m"(pointer));
}

// ---------------------------------------------------------------------------------------------------------------
// Starting all processors.

volatile u32 arrived;
alignas(64) volatile u32 waiting;
alignas(64) volatile u32 generation;

// Every one of the `number` that take part calls it.
void meet(u32 number) {
  const u32 now = load(generation);
  if (add(waiting, 1) == number - 1) {
    store(waiting, 0u);
    store(generation, now + 1);
  } else {
    while (load(generation) == now) pause();
  }
}
void meet() {
  meet(processors);
}

void work(u32 self);

extern "C" void application_processor() {
  load_idt();
  enable_apic();
  const u32 self = apic_id();
  add(arrived, 1);
  work(self);
  while (true) asm volatile("sti; hlt");
}

// 16-bit code that goes to long mode as the first processor has, takes a stack and calls
// application_processor(). Assembled for kTrampoline.
asm(R"(
        .pushsection .text
        .set    BASE, 0x8000
        .code16
trampoline_begin:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   BASE + trampoline_gdt_pointer - trampoline_begin
        movl    $0x20, %eax
        movl    %eax, %cr4
        movl    $0x201000, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    $0x80000011, %eax
        movl    %eax, %cr0
        ljmpl   $0x08, $(BASE + trampoline_long - trampoline_begin)
        .balign 8
trampoline_gdt:
        .quad   0, 0x00af9b000000ffff
trampoline_gdt_pointer:
        .word   15
        .long   BASE + trampoline_gdt - trampoline_begin
trampoline_next:
        .long   0
        .code64
trampoline_long:
        xorl    %eax, %eax
        movl    %eax, %ss
        movl    %eax, %ds
        movl    %eax, %es
        movl    $1, %eax
        lock xaddl %eax, BASE + trampoline_next - trampoline_begin
        incl    %eax
        shll    $14, %eax               # kStackSize
        leal    0x410000(%rax), %esp    # kStacks
        movl    $application_processor, %eax
        call    *%rax
trampoline_end:
        .popsection
)");
extern "C" const u8 trampoline_begin[], trampoline_end[];

void wait_ticks(u64 ticks) {
  const u64 begin = rdtsc();
  while (rdtsc() - begin < ticks) pause();
}

void start_others() {
  auto* to = reinterpret_cast<volatile u8*>(kTrampoline);
  for (const u8* from = trampoline_begin; from != trampoline_end; ++from) *to++ = *from;
  send(kInit | kOthers);
  wait_ticks(1'000'000);
  send(kStartUp | kOthers | kTrampoline >> 12);
  send(kStartUp | kOthers | kTrampoline >> 12);  // the second finds nobody
  while (load(arrived) != processors) pause();
}

// ---------------------------------------------------------------------------------------------------------------
// Locks and counters.

alignas(64) volatile u32 lock;
alignas(64) volatile u32 plain_low, plain_high;  // equal whenever the lock is free
volatile u32 torn;
alignas(64) volatile u32 counters[4];
alignas(16) volatile u64 wide[2];

void acquire() {
  while (__atomic_exchange_n(&lock, 1u, __ATOMIC_ACQUIRE)) pause();
}
void release() {
  store(lock, 0u);
}

void spinlock(u32 number) {
  for (u32 i = 0; i < number; ++i) {
    acquire();
    if (plain_low != plain_high) torn = torn + 1;
    plain_low = plain_low + 1;
    plain_high = plain_high + 1;
    release();
  }
}

void count(u32 self, u32 number) {
  for (u32 i = 0; i < number; ++i) {
    asm volatile("lock incl %0" : "+m"(counters[0]));
    add(counters[1], 3);
    u32 seen = counters[2];
    while (!__atomic_compare_exchange_n(&counters[2], &seen, seen + 1, false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST)) {
    }
    // Each processor has a bit that only it changes: a lost update would show as the old value.
    bool was;
    asm volatile("lock btcq %2, %0; setc %1" : "+m"(wide[1]), "=q"(was) : "r"(u64{self & 63}) : "cc");
    if (was != static_cast<bool>(i & 1)) torn = torn + 1;
    u64 low = wide[0], high = wide[1];
    bool done = false;
    while (!done)
      asm volatile("lock cmpxchg16b %1"
                   : "=@ccz"(done), "+m"(wide), "+a"(low), "+d"(high)
                   : "b"(low + 1), "c"(high)
                   : "memory");
  }
}

// Locked operations whose bytes lie in two cache lines, and in two pages.
void count_split(u32 number) {
  auto* lines = reinterpret_cast<volatile u32*>(kSplit + 62);
  auto* pages = reinterpret_cast<volatile u32*>(kSplit + 0xffe);
  auto* inside = reinterpret_cast<volatile std::uint16_t*>(kSplit + 0x1000);  // the upper half of `pages`
  for (u32 i = 0; i < number; ++i) {
    asm volatile("lock addl $1, %0" : "+m"(*lines));
    asm volatile("lock addl $1, %0" : "+m"(*pages));
    if (i % 16 == 0) asm volatile("lock addw $1, %0" : "+m"(*inside));
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Litmus tests. A round uses one cell; all take a batch of cells, begin each together if they run at the same
// time, and compare afterwards. What x86-TSO allows: Owens, Sarkar, Sewell, "A better x86 memory model:
// x86-TSO"; SDM Vol. 3A, "Memory Ordering".

struct Cell {
  alignas(64) volatile u32 x;
  alignas(64) volatile u32 y;
  alignas(64) volatile u32 seen[4];
};
constexpr u32 kBatch = 512;

enum Test : u32 { kMp, kSb, kSbFenced, kSbLocked, kLb, kIriw, kCoRr, k2Plus2W, kTests };
constexpr const char* kNames[kTests] = {"mp", "sb", "sb-fenced", "sb-locked", "lb", "iriw", "corr", "2+2w"};
constexpr u32 kThreads[kTests] = {2, 2, 2, 2, 2, 4, 2, 2};

u32 read(volatile u32& from) {
  u32 value;
  asm volatile("movl %1, %0" : "=r"(value) : "m"(from) : "memory");
  return value;
}
void write(volatile u32& to, u32 value) {
  asm volatile("movl %1, %0" : "=m"(to) : "r"(value) : "memory");
}

// Two reads in this order; what they saw is kept from seen[at] on.
[[gnu::always_inline]] inline void read_both(Cell& cell, u32 at, volatile u32& first, volatile u32& second) {
  const u32 a = read(first), b = read(second);
  cell.seen[at] = a;
  cell.seen[at + 1] = b;
}

[[gnu::always_inline]] inline void round(Test test, u32 thread, Cell& cell) {
  switch (test) {
    case kMp:
      if (thread == 0) {
        write(cell.x, 1), write(cell.y, 1);
      } else {
        read_both(cell, 0, cell.y, cell.x);
      }
      break;
    case kSb:
    case kSbFenced:
    case kSbLocked: {
      volatile u32& mine = thread ? cell.y : cell.x;
      volatile u32& other = thread ? cell.x : cell.y;
      if (test == kSbLocked) {
        u32 one = 1;
        asm volatile("xchgl %0, %1" : "+r"(one), "+m"(mine)::"memory");
      } else {
        write(mine, 1);
      }
      if (test == kSbFenced) asm volatile("mfence" ::: "memory");
      cell.seen[thread] = read(other);
      break;
    }
    case kLb: {
      const u32 seen = read(thread ? cell.y : cell.x);
      write(thread ? cell.x : cell.y, 1);
      cell.seen[thread] = seen;
      break;
    }
    case kIriw:
      if (thread < 2)
        write(thread ? cell.y : cell.x, 1);
      else if (thread == 2)
        read_both(cell, 0, cell.x, cell.y);
      else
        read_both(cell, 2, cell.y, cell.x);
      break;
    case kCoRr:
      if (thread == 0) {
        write(cell.x, 1), write(cell.x, 2);
      } else {
        read_both(cell, 0, cell.x, cell.x);
      }
      break;
    case k2Plus2W:
      if (thread == 0) {
        write(cell.x, 1), write(cell.y, 2);
      } else {
        write(cell.y, 1), write(cell.x, 2);
      }
      break;
    case kTests:
      break;
  }
}

bool forbidden(Test test, const Cell& c) {
  switch (test) {
    case kMp:
      return c.seen[0] == 1 && c.seen[1] == 0;
    case kSb:  // allowed; counted to see that processors really run at the same time
    case kSbFenced:
    case kSbLocked:
      return c.seen[0] == 0 && c.seen[1] == 0;
    case kLb:
      return c.seen[0] == 1 && c.seen[1] == 1;
    case kIriw:
      return c.seen[0] == 1 && c.seen[1] == 0 && c.seen[2] == 1 && c.seen[3] == 0;
    case kCoRr:
      return c.seen[0] > c.seen[1];
    case k2Plus2W:
      return c.x == 1 && c.y == 1;
    case kTests:
      break;
  }
  return false;
}

// How many cells of this batch each has begun.
struct alignas(64) Progress {
  volatile u32 cells;
};
Progress progress[4];

// Waits until all have come to the cell, but not for those that do not run now: for long at the first cell
// only. Then for a time that is different each round, as whoever came last knows first.
[[gnu::always_inline]] inline void begin_together(u32 self, u32 threads, u32 cell) {
  constexpr u32 kOffsets = 16, kStep = 16;
  const u32 patience = cell == 0 ? 100'000 : 64;
  store(progress[self].cells, cell + 1);
  for (u32 other = 0; other < threads; ++other)
    for (u32 i = 0; i < patience && load(progress[other].cells) <= cell; ++i) {
    }
  const u32 offset = (self ? cell / kOffsets : cell) % kOffsets;
  for (u32 i = 0; i < offset * kStep; ++i) asm volatile("");
}

volatile u32 enough[kTests];

template <Test kTest>
void litmus(u32 self) {
  constexpr u32 threads = kThreads[kTest];
  if (processors < threads || self >= threads) return;
  auto* cells = reinterpret_cast<Cell*>(kCells);
  u64 found = 0, done = 0;
  while (true) {
    if (self == 0) {
      // On a busy host it may take long until processors run at the same time.
      const bool may_go_on = kTest == kSb && found == 0 && done < u64{rounds} * 10;
      store(enough[kTest], done >= rounds && !may_go_on ? 1u : 0u);
      for (u32 i = 0; i < kBatch; ++i) {
        cells[i].x = 0;
        cells[i].y = 0;
        for (auto& seen : cells[i].seen) seen = 0;
      }
    }
    store(progress[self].cells, 0u);
    meet(threads);
    if (load(enough[kTest])) break;
    for (u32 i = 0; i < kBatch; ++i) {
      begin_together(self, threads, i);
      round(kTest, self, cells[i]);
    }
    meet(threads);
    if (self == 0)
      for (u32 i = 0; i < kBatch; ++i) found += forbidden(kTest, cells[i]);
    done += kBatch;
  }
  if (self == 0) {
    report(kNames[kTest], found);
    report("rounds", done);
  }
}

// Processors that have no part any more leave, and halt.
void all_litmus(u32 self) {
  litmus<kIriw>(self);
  litmus<kMp>(self);
  litmus<kSb>(self);
  litmus<kSbFenced>(self);
  litmus<kSbLocked>(self);
  litmus<kLb>(self);
  litmus<kCoRr>(self);
  litmus<k2Plus2W>(self);
}

// ---------------------------------------------------------------------------------------------------------------
// Interrupts between processors.

void enable_interrupts() {
  asm volatile("sti" ::: "memory");
}
void disable_interrupts() {
  asm volatile("cli" ::: "memory");
}

// Halts until `done`: an interrupt that came before HLT is taken after it has begun, not lost.
template <class F>
void halt_until(F&& done) {
  while (true) {
    disable_interrupts();
    if (done()) break;
    asm volatile("sti; hlt" ::: "memory");
  }
  enable_interrupts();
}

volatile u32 logical_ids[kMostProcessors];

void interrupts(u32 self) {
  const u32 next = (self + 1) % processors;
  constexpr u32 kRing = 200;
  enable_interrupts();
  logical_ids[self] = logical_id();
  meet();
  // Around in a ring: each waits, halted, for its predecessor.
  for (u32 i = 0; i < kRing; ++i) {
    const auto mine_came = [&] { return load(per_processor[self].counted) > i; };
    if (self != 0) halt_until(mine_came);
    send(kFixed | kVectorCount, next);
    if (self == 0) halt_until(mine_came);
  }
  meet();
  if (self == 0) {
    const u64 ring = sum(&PerProcessor::counted);
    report("ring", ring);
    // To all but itself, to all, to itself, and to each by its logical name.
    send(kFixed | kOthers | kVectorCount);
    while (sum(&PerProcessor::counted) != ring + processors - 1) pause();
    report("others", 1);
    for (u32 i = 0; i < processors; ++i) {
      const u32 before = load(per_processor[i].counted);
      send(kFixed | kLogical | kVectorCount, logical_ids[i]);
      while (load(per_processor[i].counted) == before) pause();
    }
    report("logical", processors);
    constexpr u32 kLowest = 100;
    u32 mask = 0;
    for (u32 i = 0; i < processors && (xapic || i < 16); ++i) mask |= logical_ids[i];
    for (u32 i = 0; i < kLowest; ++i) {
      send(kLowestPriority | kLogical | kVectorLowest, mask);
      while (sum(&PerProcessor::lowest) != i + 1) pause();  // one processor got it, and one only
    }
    wait_ticks(1'000'000);
    report("lowest", sum(&PerProcessor::lowest));
    constexpr u32 kNmis = 50;
    for (u32 i = 0; i < kNmis; ++i)
      for (u32 j = 1; j < processors; ++j) {
        send(kNmi, j);
        while (load(per_processor[j].nmis) == i) pause();
      }
    report("nmis", sum(&PerProcessor::nmis));
  }
  meet();
}

// ---------------------------------------------------------------------------------------------------------------
// A page is mapped elsewhere; the others learn of it by an interrupt, and none may see the old page
// afterwards.

volatile u32 stale;

void shoot_down(u32 self) {
  auto& entry = *reinterpret_cast<volatile u64*>(kWindowTable);
  auto& window = *reinterpret_cast<volatile u32*>(kWindow);
  constexpr u32 kTimes = 300;
  for (u32 i = 0; i < kTimes; ++i) {
    const bool b = i & 1;
    if (self == 0) {
      entry = (b ? kPageB : kPageA) | 3;
      asm volatile("invlpg (%0)" ::"r"(kWindow) : "memory");
      if (processors > 1) send(kFixed | kOthers | kVectorFlush);
      for (u32 j = 1; j < processors; ++j)
        while (load(per_processor[j].flushed) == i) pause();
    }
    meet();
    for (u32 j = 0; j < 20; ++j)
      if (window != (b ? 0xbbu : 0xaau)) add(stale, 1);
    meet();
  }
}

// ---------------------------------------------------------------------------------------------------------------
// Code that another processor changes. Source: SDM Vol. 3A, "Handling Self- and Cross-Modifying Code".

alignas(64) volatile u32 version;
volatile u32 old_code;

void modify_code(u32 self) {
  constexpr u32 kTimes = 2000;
  auto* code = reinterpret_cast<volatile u8*>(kCode);
  const auto call = reinterpret_cast<u32 (*)()>(kCode);
  for (u32 i = 1; i <= kTimes; ++i) {
    if (self == 0) {
      code[0] = 0xb8;  // mov eax, i; ret
      *reinterpret_cast<volatile u32*>(kCode + 1) = i;
      code[5] = 0xc3;
      store(version, i);
    } else {
      while (load(version) != i) pause();
    }
    cpuid(0);  // serializes
    for (u32 j = 0; j < 3; ++j)
      if (call() != i) add(old_code, 1);
    meet();
  }
}

// Not by the book, but no processor may go on with the old code for ever: a loop that another one's store
// ends.
void patched_loop(u32 self) {
  auto* code = reinterpret_cast<volatile u8*>(kCode + 0x100);
  if (self == 0) {
    code[0] = 0xeb;
    code[1] = 0xfe;  // jmp to itself
    code[2] = 0xc3;
  }
  meet();
  if (self == 0) {
    wait_ticks(3'000'000);
    code[1] = 0x00;  // jmp to the RET
  } else {
    reinterpret_cast<void (*)()>(kCode + 0x100)();
  }
  meet();
}

// ---------------------------------------------------------------------------------------------------------------
// Time does not go backwards from one processor to the next.

alignas(64) volatile u64 last_time;
volatile u32 backwards;

void compare_time(u32 number) {
  for (u32 i = 0; i < number; ++i) {
    acquire();
    const u64 now = rdtsc();
    if (now < last_time) backwards = backwards + 1;
    last_time = now;
    release();
  }
}

// ---------------------------------------------------------------------------------------------------------------

void work(u32 self) {
  const u32 many = rounds < 100'000 ? rounds : 100'000, few = many / 20;
  meet();
  spinlock(many / processors);
  meet();
  count(self, many / processors);
  meet();
  count_split(few);
  meet();
  if (self == 0) {
    report("locked", plain_low);
    report("counted", counters[0]);
    report("added", counters[1]);
    report("swapped", counters[2]);
    report("wide", wide[0]);
    report("torn", torn);
    report("split-lines", *reinterpret_cast<volatile u32*>(kSplit + 62));
    report("split-pages", *reinterpret_cast<volatile u32*>(kSplit + 0xffe));
  }
  meet();
  interrupts(self);
  shoot_down(self);
  modify_code(self);
  patched_loop(self);
  compare_time(many / processors);
  meet();
  if (self == 0) {
    report("stale", stale);
    report("old-code", old_code);
    report("backwards", backwards);
  }
  disable_interrupts();
  all_litmus(self);
}

void parse(const char* line) {
  for (; *line; ++line) {
    if (line[0] == 'x' && line[1] == 'a') xapic = true;
    if (line[0] != '=') continue;
    rounds = 0;
    for (++line; *line >= '0' && *line <= '9'; ++line) rounds = rounds * 10 + static_cast<u32>(*line - '0');
    --line;
  }
}

// The window of shoot_down(), and the APIC's page.
void map_more() {
  auto* pdpt = reinterpret_cast<volatile u64*>(kPageTables + 0x1000);
  auto* directory = reinterpret_cast<volatile u64*>(kPageTables + 0x2000);
  auto* apic = reinterpret_cast<volatile u64*>(kApicDirectory);
  for (u32 i = 0; i < 512; ++i) apic[i] = 0;
  apic[kApicPage >> 21 & 511] = (kApicPage & ~u64{0x1f'ffff}) | 0x9b;  // uncached, 2 MiB
  pdpt[3] = kApicDirectory | 3;
  directory[kWindow >> 21] = kWindowTable | 3;
  for (u32 i = 0; i < 512; ++i) reinterpret_cast<volatile u64*>(kWindowTable)[i] = 0;
  *reinterpret_cast<volatile u64*>(kWindowTable) = kPageA | 3;
  *reinterpret_cast<volatile u32*>(kPageA) = 0xaa;
  *reinterpret_cast<volatile u32*>(kPageB) = 0xbb;
}

}  // namespace

// `information`: Multiboot's.
extern "C" void guest_main(const u32* information) {
  parse(reinterpret_cast<const char*>(u64{information[4]}));
  map_more();
  for (u32 i = 0; i < 512; ++i) reinterpret_cast<volatile u64*>(kIdt)[i] = 0;
  set_gate(kVectorCount, on_count);
  set_gate(kVectorLowest, on_lowest);
  set_gate(kVectorFlush, on_flush);
  set_gate(kVectorNmi, on_nmi);
  load_idt();
  enable_apic();
  processors = cpuid(0xb, 1).b & 0xffff;
  report("processors", processors);
  store(arrived, 1u);
  if (processors > 1) start_others();
  report("started", load(arrived));
  work(0);
  report("done", 1);
  exit_guest();
}

// Entered by long_mode_start.S.
asm(R"(
        .pushsection .text
        .globl  start64
start64:
        movl    %ebx, %edi
        call    guest_main
        .popsection
)");
