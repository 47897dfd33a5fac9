#include "tests/jit/translator_machine.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "core/bus.hpp"
#include "core/machine/vcpu_memory.hpp"
#include "jit/direct/direct_runner.hpp"
#include "jit/dispatch.hpp"
#include "mmu/physical_memory.hpp"

namespace doppel::tests::translator {

extern const unsigned char kKernelImage[];
extern const std::size_t kKernelImageSize;

namespace {

using core::CpuState;
using core::SegmentRegister;

constexpr u16 kKernelCs = 0x10, kKernelSs = 0x18, kUserSs = 0x2b, kUserCs = 0x33, kTssSelector = 0x40;

// Interrupts whenever the watchdog's timer says so.
class TimerInterrupts final : public core::InterruptController {
 public:
  bool interrupt_ready() override { return raised_; }
  std::optional<u8> acknowledge() override {
    if (!raised_) return {};
    raised_ = false;
    return kInterruptVector;
  }
  u8 cr8() override { return 0; }
  void set_cr8(u8) override {}
  bool read_msr(u32, u64&) override { return false; }
  bool write_msr(u32, u64) override { return false; }
  void set_tsc_offset(u64) override {}

  void raise() { raised_ = true; }

 private:
  std::atomic<bool> raised_{false};
};

// --- The timer. One vCPU at a time runs under it.
std::atomic<CpuState*> running = nullptr;
std::atomic<TimerInterrupts*> interrupting = nullptr;
std::atomic<u64> started = 0;
bool quiet = false;
char description[256];
timer_t timer;
constexpr u64 kStopAfter = 4'000'000'000, kAbortAfter = 12'000'000'000;

u64 now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_nsec);
}

void say_where(const char* what) {
  if (quiet) return;
  for (const char* text : {what, ": ", static_cast<const char*>(description), "\n"})
    if (::write(2, text, std::strlen(text)) < 0) return;
}

// Runs on the vCPU's thread, at any instruction of translated code too.
void on_timer(int) {
  CpuState* state = running;
  if (state == nullptr) return;
  const u64 elapsed = now() - started;
  if (elapsed > kAbortAfter) {
    say_where("a program that cannot be stopped");
    ::_exit(3);
  }
  if (elapsed > kStopAfter) state->notify(core::kPendingStop);
  if (TimerInterrupts* controller = interrupting) {
    controller->raise();
    state->notify(core::kPendingIntr);
  }
}

void on_crash(int signal_number) {
  say_where("crashed in");
  ::signal(signal_number, SIG_DFL);
  ::raise(signal_number);
}

void set_timer(u64 interval_ns) {
  const auto seconds = static_cast<time_t>(interval_ns / 1'000'000'000);
  const auto rest = static_cast<long>(interval_ns % 1'000'000'000);
  const itimerspec spec{{seconds, rest}, {seconds, rest}};
  ::timer_settime(timer, 0, &spec, nullptr);
}
constexpr u64 kSlow = 1'000'000'000;

SegmentRegister segment(u16 selector, u32 attributes) {
  return {0, 0xffff'ffff, selector,
          static_cast<u16>(attributes | core::kSegS | core::kSegPresent | core::kSegAccessed | core::kSegG |
                           (selector & 3u) << core::kSegDplShift)};
}
SegmentRegister small_segment(u16 selector, u64 base, u32 attributes) {
  SegmentRegister out = segment(selector, attributes);
  out.base = base;
  out.limit = 0xffff;
  out.attributes &= static_cast<u16>(~core::kSegG);
  return out;
}
const SegmentRegister kSegments[] = {
    segment(kKernelCs, core::kSegCode | core::kSegReadable | core::kSegL),
    segment(kKernelSs, core::kSegWritable | core::kSegDb),
    segment(kUserSs, core::kSegWritable | core::kSegDb),
    segment(kUserCs, core::kSegCode | core::kSegReadable | core::kSegL),
    segment(kCs32, core::kSegCode | core::kSegReadable | core::kSegDb),
    small_segment(kCs16, kCode, core::kSegCode | core::kSegReadable),
    small_segment(kDs16, kData, core::kSegWritable),
    // 32-bit: IRET to a 16-bit stack would let the kernel's stack pointer show.
    small_segment(kSs16, kStack, core::kSegWritable | core::kSegDb),
    small_segment(kCodeData16, kCode, core::kSegWritable),
};

const SegmentRegister& segment_of(u16 selector) {
  for (const SegmentRegister& s : kSegments)
    if (s.selector == selector) return s;
  throw std::logic_error("no such segment");
}

u64 descriptor(const SegmentRegister& s) {
  const u64 high_limit = s.attributes & core::kSegG ? 0xf : 0;
  return 0xffff | (s.base & 0xff'ffff) << 16 | u64{s.attributes} << 40 | high_limit << 48 |
         (s.base & 0xff00'0000) << 32;
}

core::CpuModel max_model() {
  return std::get<core::CpuModel>(core::parse_cpu_model("max"));
}

}  // namespace

struct Machine::Parts {
  explicit Parts(const Engine& from);

  void set_up_kernel();
  void map_program(const Program& program);

  // Programs in kernel mode may have written anywhere.
  void restore_kernel() {
    for (u64 page = 0; page < kRamSize; page += kPageSize)
      if (std::memcmp(ram.host(page), at_first.data() + page, kPageSize) != 0)
        put(page, std::span(at_first).subspan(page, kPageSize));
  }

  void put(u64 pa, std::span<const u8> bytes) {
    if (!ram.write(pa, bytes)) throw std::logic_error("outside RAM");
  }
  void put64(u64 pa, u64 value) { put(pa, {reinterpret_cast<const u8*>(&value), sizeof value}); }
  template <class T>
  [[nodiscard]] T get(u64 pa) const {
    T value;
    std::memcpy(&value, ram.host(pa), sizeof value);
    return value;
  }

  Engine engine;
  core::CpuModel model = max_model();
  core::Counters counters;
  std::recursive_mutex lock;
  core::GuestRam ram{kRamSize};
  core::Bus mmio{"mmio", counters, lock};
  core::Bus ports{"port", counters, lock};
  mmu::PhysicalMemory memory{ram, mmio};
  TimerInterrupts interrupts;
  core::ManualClock clock;
  machine::VcpuMemory vcpu{model, memory, ports, interrupts, clock, counters};
  jit::Vcpu& cpu{*vcpu};
  jit::Dispatcher dispatcher{cpu};
  std::unique_ptr<jit::Backend> backend;
  jit::direct::DirectRunner* direct = nullptr;
  bool code_written = false;
  std::vector<u8> at_first;  // RAM before any program
};

Machine::Parts::Parts(const Engine& from) : engine(from) {
  ram.on_code_write([this](u64 pa, u64 size) {
    code_written = true;
    if (!engine.stepped) dispatcher.blocks().invalidate(pa, size);  // single instructions are not cached
  });
  if (engine.translates) {
    backend = std::make_unique<jit::x64::Translator>(cpu, dispatcher.blocks(), engine.optimisations,
                                                     engine.cache_size);
    if (engine.user != Engine::User::kTranslated) {
      auto made = std::make_unique<jit::direct::DirectRunner>(cpu, dispatcher.blocks(), std::move(backend));
      direct = made.get();
      backend = std::move(made);
      if (engine.user == Engine::User::kRelocated) direct->relocate_all();
    }
    dispatcher.set_backend(backend.get());
  }
  set_up_kernel();
  at_first.assign(ram.host(0), ram.host(0) + kRamSize);
}

void Machine::Parts::set_up_kernel() {
  put(kKernelCode, {kKernelImage, kKernelImageSize});
  for (const SegmentRegister& s : kSegments) put64(kGdt + (s.selector & ~7u), descriptor(s));

  const u64 stubs = get<u64>(kKernelCode), interrupt = get<u64>(kKernelCode + 8);
  for (u64 vector = 0; vector < 256; ++vector) {
    const bool is_interrupt = vector == kInterruptVector;
    const u64 handler = is_interrupt ? interrupt : stubs + 16 * vector;
    const u64 stack = is_interrupt ? 2 : 1,
              dpl = vector == 3 || vector == 4 || vector >= kServiceVector ? 3 : 0;
    put64(kIdt + vector * 16, (handler & 0xffff) | u64{kKernelCs} << 16 | stack << 32 |
                                  (0x8e00 | dpl << 13) << 32 | (handler >> 16 & 0xffff) << 48);
    put64(kIdt + vector * 16 + 8, handler >> 32);
  }
  constexpr u64 kTssIst1 = 0x24;
  put64(kTss + kTssIst1, kKernel + kTrapStack);
  put64(kTss + kTssIst1 + 8, kKernel + kInterruptStack);

  for (const u64 space : {kSpaceA, kSpaceB}) {
    constexpr u64 kAll = kPresent | kWritable | kUser;
    put64(space, (space + 0x1000) | kAll);
    put64(space + 256 * 8, kKernelPdpt | kPresent | kWritable);
    put64(space + 0x1000, (space + 0x2000) | kAll);
    put64(space + 0x1000 + (kFourGiB >> 30) * 8, (space + 0x2000) | kAll);
    put64(space + 0x2000 + (kCode >> 21) * 8, (space + 0x3000) | kAll);
  }
  put64(kKernelPdpt, kKernelDirectory | kPresent | kWritable);
  put64(kKernelDirectory, kPresent | kWritable | kLargePage);
}

void Machine::Parts::map_program(const Program& program) {
  for (const u64 space : {kSpaceA, kSpaceB}) {
    std::array<u64, 512> table{};
    const auto map = [&](u64 linear, u64 physical, u64 bits) {
      for (const u64 la : {linear, linear + kAlias}) table[la >> 12 & 511] = physical | bits;
    };
    constexpr u64 kAll = kPresent | kWritable | kUser;
    for (u32 i = 0; i < kCodePages; ++i) {
      const bool other = i == kOverlayPage && space == kSpaceB;
      map(kCode + i * kPageSize, kProgram + (i + other) * kPageSize, kAll);
    }
    for (u32 i = 0; i < kDataPages; ++i)
      map(kData + i * kPageSize, kProgramData + i * kPageSize, program.data_page[i]);
    for (u32 i = 0; i < kStackPages; ++i) map(kStack + i * kPageSize, kProgramStack + i * kPageSize, kAll);
    put(space + 0x3000, {reinterpret_cast<const u8*>(table.data()), sizeof table});
  }
}

Machine::Machine(const Engine& engine) : parts_(std::make_unique<Parts>(engine)) {}
Machine::~Machine() = default;

void Machine::load(const Program& program, const Image& image) {
  Parts& m = *parts_;
  m.restore_kernel();
  m.map_program(program);
  m.put(kProgram, image.bytes);
  m.put(kLengths, image.lengths);

  CpuState& s = m.cpu.state;
  const InitialState& from = program.initial;
  s.cr0 =
      core::kCr0Pe | core::kCr0Mp | core::kCr0Et | core::kCr0Ne | core::kCr0Wp | core::kCr0Am | core::kCr0Pg;
  s.cr4 = core::kCr4Pae | core::kCr4Osfxsr | core::kCr4Osxmmexcpt | core::kCr4Osxsave | core::kCr4Fsgsbase |
          (program.smap ? core::kCr4Smap : 0);
  s.efer = core::kEferSce | core::kEferLme | core::kEferLma | core::kEferNxe;
  s.xcr0 = m.model.xcr0_mask();
  s.cr2 = 0;
  s.cr3 = kSpaceA;
  s.cpl = program.user ? 3 : 0;
  s.code_bits = static_cast<u8>(program.bits);
  const bool small = program.bits == 16;
  for (auto& any : s.segment) any = segment_of(small ? kDs16 : program.user ? kUserSs : kKernelSs);
  s.segment[core::kCs] = segment_of(program.bits == 32 ? kCs32
                                    : small            ? kCs16
                                    : program.user     ? kUserCs
                                                       : kKernelCs);
  if (small) s.segment[core::kSs] = segment_of(kSs16);
  // As Linux has it.
  if (program.user && program.bits == 64) s.segment[core::kDs] = s.segment[core::kEs] = SegmentRegister{};
  s.segment[core::kFs] = s.segment[core::kGs] = small ? segment_of(kCodeData16) : SegmentRegister{};
  s.segment[core::kFs].base = from.fs_base;
  s.segment[core::kGs].base = from.gs_base;
  s.kernel_gs_base = kData + kPageSize;
  s.gdtr = {kKernel + kGdt, 0x7f};
  s.idtr = {kKernel + kIdt, 0xfff};
  s.tr = {kKernel + kTss, 0x67, kTssSelector, 0x8b};
  s.ldtr = {};
  s.star = u64{0x23} << 48 | u64{kKernelCs} << 32;
  s.lstar = m.get<u64>(kKernelCode + 16);
  s.sfmask = core::kTf | core::kIf | core::kDf | core::kNt | core::kAc;

  for (u32 i = 0; i < 16; ++i) s.gpr[i] = from.gpr[i];
  s.rip = program.sections[0].start - s.segment[core::kCs].base;
  core::set_rflags(s, from.rflags | core::kIf);
  s.vec = from.vec;
  s.mxcsr = from.mxcsr;
  s.x87 = from.x87;
  s.activity = core::Activity::kRunning;
  s.interrupt_shadow = s.nmi_blocked = false;
  s.pending = 0;
  s.fault = {};
  s.debug_hits = 0;
  s.dr[6] = 0xffff'0ff0;
  s.dr[7] = 0x400;
  m.cpu.mmu.mode_changed();
  m.cpu.mmu.flush_all();
  if (m.engine.stepped)
    for (u64 page = kProgram; page < kProgramData; page += kPageSize)
      if (!m.ram.is_code_page(page)) m.ram.claim_code_page(page);
  m.code_written = false;
  if (m.direct) m.direct->insist();
}

Outcome Machine::run() {
  Parts& m = *parts_;
  const bool timer_changes = m.engine.interrupted;
  started = now();
  if (timer_changes) {
    interrupting = &m.interrupts;
    set_timer(25'000);
  }
  running = &m.cpu.state;
  const jit::Dispatcher::Exit exit = m.dispatcher.run();
  running = nullptr;
  if (timer_changes) {
    interrupting = nullptr;
    set_timer(kSlow);
  }
  Outcome out = outcome();
  out.finished = exit != jit::Dispatcher::Exit::kStopped;
  return out;
}

bool Machine::code_written() {
  return std::exchange(parts_->code_written, false);
}

bool Machine::step() {
  return parts_->dispatcher.step() != jit::Dispatcher::Exit::kBudget;
}

Outcome Machine::outcome() const {
  const Parts& m = *parts_;
  const CpuState& s = m.cpu.state;
  Outcome out;
  out.finished = true;
  for (u32 i = 0; i < 16; ++i) out.gpr[i] = s.gpr[i];
  out.vec = s.vec;
  out.x87 = s.x87;
  out.mxcsr = s.mxcsr;
  out.rip = s.rip;
  out.cr0 = s.cr0;
  out.cr2 = s.cr2;
  out.cr3 = s.cr3;
  out.fs_base = s.segment[core::kFs].base;
  out.gs_base = s.segment[core::kGs].base;
  out.records.resize(record_count());
  if (!out.records.empty())
    std::memcpy(out.records.data(), m.ram.host(kLog), out.records.size() * sizeof(Record));
  out.memory.assign(m.ram.host(kProgram), m.ram.host(kProgram) + (kProgramEnd - kProgram));
  for (const u64 space : {kSpaceA, kSpaceB})
    out.tables.insert(out.tables.end(), m.ram.host(space + 0x3000), m.ram.host(space + 0x3000) + kPageSize);
  // Code that is copied is looked at before it runs, as a processor may do, too.
  out.accessed_bits_count = m.engine.user == Engine::User::kTranslated;
  out.interrupts = m.get<u64>(kVariables + 8);
  return out;
}

u64 Machine::record_count() const {
  return std::min<u64>(parts_->get<u64>(kVariables), kMaxRecords);
}

u64 Machine::stub(core::Vector vector) const {
  return parts_->get<u64>(kKernelCode) + 16 * static_cast<u64>(vector);
}

jit::Vcpu& Machine::cpu() {
  return parts_->cpu;
}
const core::CpuModel& Machine::model() const {
  return parts_->model;
}
std::map<std::string, u64> Machine::counters() const {
  return parts_->counters.values();
}
void Machine::clear() {
  parts_->dispatcher.blocks().clear();
  if (parts_->direct) parts_->direct->drop_all();  // a fork cannot use its parent's processes
}

std::size_t Machine::code_at(u64 linear, std::span<u8> out) const {
  const Parts& m = *parts_;
  std::size_t count = 0;
  for (; count < out.size(); ++count) {
    const u64 la = linear + count;
    if ((la & ~(kFourGiB | 0x1f'ffff)) != kCode) break;
    const u64 table = (m.cpu.state.cr3 & core::kPageMask) + 0x3000;
    if (m.ram.host(table) == nullptr) break;
    const u64 entry = m.get<u64>(table + (la >> 12 & 511) * 8);
    const u8* page = m.ram.host(entry & core::kPageMask);
    if (!(entry & kPresent) || page == nullptr) break;
    out[count] = page[la % kPageSize];
  }
  return count;
}

// -------------------------------------------------------------------------------------------------------------------

namespace {

constexpr u32 kMaxLines = 6;

const char* const kRegisterNames[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
const char* const kRecordNames[] = {"vector", "error", "cr2", "rip", "rflags", "rsp", "cr0", "cr3",
                                    "r15",    "r14",   "r13", "r12", "r11",    "r10", "r9",  "r8",
                                    "rdi",    "rsi",   "rbp", "rbx", "rdx",    "rcx", "rax"};

class Report {
 public:
  template <class T>
  void compare(std::string_view name, T expected, T actual) {
    if (expected != actual) text += fmt::format("  {}: {:#x}, got {:#x}\n", name, expected, actual);
  }
  void compare(std::string_view name, const std::vector<u8>& expected, const std::vector<u8>& actual,
               auto&& where) {
    u32 lines = 0;
    for (std::size_t i = 0; i + 8 <= expected.size() && lines < kMaxLines; i += 8) {
      u64 e, a;
      std::memcpy(&e, &expected[i], 8);
      std::memcpy(&a, &actual[i], 8);
      if (e == a) continue;
      ++lines;
      text += fmt::format("  {} {}: {:#018x}, got {:#018x}\n", name, where(i), e, a);
    }
  }
  std::string text;
};

std::string place(u64 offset) {
  if (offset < kProgramData - kProgram) return fmt::format("code {:#x}", kCode + offset);
  if (offset < kProgramStack - kProgram)
    return fmt::format("data {:#x}", kData + offset - (kProgramData - kProgram));
  return fmt::format("stack {:#x}", kStack + offset - (kProgramStack - kProgram));
}

void compare_records(Report& report, const Outcome& expected, const Outcome& actual,
                     const std::vector<u64>& undefined) {
  report.compare("exceptions", expected.records.size(), actual.records.size());
  const std::size_t count = std::min(expected.records.size(), actual.records.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::array<u64, 24> e, a;
    std::memcpy(e.data(), &expected.records[i], sizeof e);
    std::memcpy(a.data(), &actual.records[i], sizeof a);
    constexpr u32 kRflags = 4;
    const u64 mask = i < undefined.size() ? ~undefined[i] : ~u64{0};
    e[kRflags] &= mask;
    a[kRflags] &= mask;
    bool differs = false;
    for (u32 field = 0; field < std::size(kRecordNames); ++field) {
      differs |= e[field] != a[field];
      report.compare(
          fmt::format("exception {} (vector {}, rip {:#x}) {}", i, e[0], e[3], kRecordNames[field]), e[field],
          a[field]);
    }
    if (differs) return;  // the later ones follow from it
  }
}

}  // namespace

std::string differences(const Outcome& expected, const Outcome& actual, const std::vector<u64>& undefined) {
  if (!actual.finished) return fmt::format("  does not end, rip {:#x}\n", actual.rip);
  Report report;
  compare_records(report, expected, actual, undefined);
  for (u32 i = 0; i < 16; ++i) {
    report.compare(kRegisterNames[i], expected.gpr[i], actual.gpr[i]);
    for (u32 q = 0; q < 4; ++q)
      report.compare(fmt::format("ymm{}[{}]", i, q), expected.vec[i].q[q], actual.vec[i].q[q]);
  }
  for (u32 i = 0; i < 8; ++i) {
    report.compare(fmt::format("R{} significand", i), expected.x87.physical[i].significand,
                   actual.x87.physical[i].significand);
    report.compare(fmt::format("R{} exponent", i), expected.x87.physical[i].sign_exponent,
                   actual.x87.physical[i].sign_exponent);
  }
  report.compare("fcw", expected.x87.control, actual.x87.control);
  report.compare("fsw", expected.x87.status, actual.x87.status);
  report.compare("x87 top", expected.x87.top, actual.x87.top);
  report.compare("x87 tags", expected.x87.valid, actual.x87.valid);
  report.compare("mxcsr", expected.mxcsr, actual.mxcsr);
  report.compare("rip", expected.rip, actual.rip);
  report.compare("cr0", expected.cr0, actual.cr0);
  report.compare("cr2", expected.cr2, actual.cr2);
  report.compare("cr3", expected.cr3, actual.cr3);
  report.compare("fs base", expected.fs_base, actual.fs_base);
  report.compare("gs base", expected.gs_base, actual.gs_base);
  report.compare("memory", expected.memory, actual.memory, place);
  const auto tables = [&](const Outcome& of) {
    std::vector<u8> bytes = of.tables;
    constexpr u8 kAccessed = 0x20;
    if (!actual.accessed_bits_count)
      for (std::size_t i = 0; i < bytes.size(); i += 8) bytes[i] |= kAccessed;
    return bytes;
  };
  report.compare("page-table entry", tables(expected), tables(actual), [](u64 offset) {
    return fmt::format("{} of {:#x}", offset < kPageSize ? "A" : "B", kCode + offset / 8 % 512 * kPageSize);
  });
  return report.text;
}

Watchdog::Watchdog(Crash crash) {
  quiet = crash == Crash::kQuiet;
  struct sigaction action {};
  action.sa_handler = on_timer;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGALRM, &action, nullptr);
  static std::array<u8, 65536> stack;  // a crash may be of the stack
  const stack_t alternative{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
  ::sigaltstack(&alternative, nullptr);
  action.sa_handler = on_crash;
  action.sa_flags = SA_ONSTACK;
  for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) ::sigaction(number, &action, nullptr);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGALRM;
  ::timer_create(CLOCK_MONOTONIC, &event, &timer);
  set_timer(kSlow);
}

Watchdog::~Watchdog() {
  ::timer_delete(timer);
  ::signal(SIGALRM, SIG_IGN);
}

void Watchdog::describe(const std::string& where) {
  std::memcpy(description, where.c_str(), std::min(where.size() + 1, sizeof description - 1));
}

}  // namespace doppel::tests::translator
