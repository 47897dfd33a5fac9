#include "tests/interp/guest_cpu.hpp"

#include <cstring>
#include <mutex>
#include <stdexcept>

#include "core/bus.hpp"
#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/guest_ram.hpp"
#include "core/interrupt_controller.hpp"
#include "core/machine/vcpu_memory.hpp"
#include "jit/dispatch.hpp"
#include "jit/vcpu.hpp"
#ifdef DOPPEL_TRANSLATOR_X64
#include "jit/x64/translator.hpp"
#endif
#include "mmu/physical_memory.hpp"

namespace doppel::tests {
namespace {

using core::CpuState;
using core::SegmentRegister;

// Physical memory below the programs. Without paging linear addresses are physical ones; with it, programs
// lie at their physical addresses and the system in the upper half, as in an operating system.
constexpr u64 kUpperHalf = 0xffff'8000'0000'0000;
constexpr u64 kRealVectors = 0, kGdt = 0x1000, kTss = 0x1800, kHandlers = 0x2000, kIdt64 = 0x3000,
              kIdt32 = 0x9000, kPml4 = 0xa000, kPdpt = 0xb000, kPageDirectory = 0xc000, kPageTable = 0xd000,
              kSystemPdpt = 0xe000, kSystemPageDirectory = 0xf000, kSystemStack = 0x1'1000;
constexpr u64 kRamSize = 0x1010'0000;

// The selectors are those of Linux, so that a program sees the same ones natively.
constexpr u16 kCode32 = 0x08, kCode64 = 0x10, kData = 0x18, kUserCode32 = 0x23, kUserData = 0x2b,
              kUserCode64 = 0x33, kTssSelector = 0x40;

// Enough for REP instructions that step once per element.
constexpr u64 kBudget = 20'000;

class NoInterrupts final : public core::InterruptController {
 public:
  bool interrupt_ready() override { return false; }
  std::optional<u8> acknowledge() override { return {}; }
  u8 cr8() override { return 0; }
  void set_cr8(u8) override {}
  bool read_msr(u32, u64&) override { return false; }
  bool write_msr(u32, u64) override { return false; }
  void set_tsc_offset(u64) override {}
};

constexpr u16 kCodeAttributes =
                  core::kSegCode | core::kSegReadable | core::kSegAccessed | core::kSegS | core::kSegPresent,
              kDataAttributes = core::kSegWritable | core::kSegAccessed | core::kSegS | core::kSegPresent;

SegmentRegister flat_segment(u16 selector, u32 attributes) {
  return {0, 0xffff'ffff, selector, static_cast<u16>(attributes | (selector & 3u) << core::kSegDplShift)};
}

// A descriptor as the GDT holds it; the attributes are at bits 40-47 and 52-55.
u64 descriptor(const SegmentRegister& s) {
  const u64 limit = s.attributes & core::kSegG ? s.limit >> 12 : s.limit;
  return (limit & 0xffff) | (s.base & 0xff'ffff) << 16 | u64{s.attributes} << 40 | (limit & 0xf'0000) << 32 |
         (s.base & 0xff00'0000) << 32;
}

const SegmentRegister kFlatSegments[] = {
    flat_segment(kCode32, kCodeAttributes | core::kSegDb | core::kSegG),
    flat_segment(kCode64, kCodeAttributes | core::kSegL | core::kSegG),
    flat_segment(kData, kDataAttributes | core::kSegDb | core::kSegG),
    flat_segment(kUserCode32, kCodeAttributes | core::kSegDb | core::kSegG),
    flat_segment(kUserData, kDataAttributes | core::kSegDb | core::kSegG),
    flat_segment(kUserCode64, kCodeAttributes | core::kSegL | core::kSegG),
};

const SegmentRegister& flat_segment(u16 selector) {
  for (const SegmentRegister& s : kFlatSegments)
    if (s.selector == selector) return s;
  throw std::logic_error("guest_cpu: no such segment");
}

core::CpuModel parse_model(std::string_view text) {
  auto parsed = core::parse_cpu_model(text);
  if (auto* sentence = std::get_if<std::string>(&parsed)) throw std::invalid_argument(*sentence);
  return std::get<core::CpuModel>(parsed);
}

}  // namespace

struct GuestCpu::Machine {
  Machine(Engine engine, std::string_view model_text);

  void set_up_tables();
  void enter(const Program& program);
  void enter_mode(Mode mode);
  // The vector whose handler's HLT ended just before `rip`; 256 or more if that is none.
  [[nodiscard]] u64 handler_of(u64 rip) const {
    return rip - 1 - kHandlers - (core::long_mode(cpu.state) ? kUpperHalf : 0);
  }
  void take_frame(const Program& program, Outcome& out);
  void save_registers(MachineState& out) const;

  template <class T>
  void put(u64 pa, const T& value) {
    std::memcpy(ram.host(pa), &value, sizeof value);
  }
  template <class T>
  [[nodiscard]] T get(u64 pa) const {
    T value{};
    if (const u8* host = ram.host(pa)) std::memcpy(&value, host, sizeof value);
    return value;
  }

  core::CpuModel model;
  core::Counters counters;
  std::recursive_mutex lock;
  core::GuestRam ram{kRamSize};
  core::Bus mmio{"mmio", counters, lock};
  core::Bus ports{"port", counters, lock};
  mmu::PhysicalMemory memory{ram, mmio};
  NoInterrupts interrupts;
  core::ManualClock clock;
  machine::VcpuMemory cpu_memory{model, memory, ports, interrupts, clock, counters};
  jit::Vcpu& cpu = *cpu_memory;
  jit::Dispatcher dispatcher{cpu};
  std::unique_ptr<jit::Backend> backend;
};

GuestCpu::Machine::Machine(Engine engine, std::string_view model_text) : model(parse_model(model_text)) {
#ifdef DOPPEL_TRANSLATOR_X64
  if (engine != Engine::kInterpreter) {
    const jit::x64::Optimisations optimisations{.hot_runs = 0,
                                                .flag_liveness = engine == Engine::kTranslator,
                                                .long_blocks = engine != Engine::kShortBlocks};
    backend = std::make_unique<jit::x64::Translator>(cpu, dispatcher.blocks(), optimisations);
    dispatcher.set_backend(backend.get());
  }
#else
  if (engine != Engine::kInterpreter) throw std::invalid_argument("this build has no translator");
#endif
  ram.on_code_write([this](u64 pa, u64 size) { dispatcher.blocks().invalidate(pa, size); });
  set_up_tables();
}

void GuestCpu::Machine::set_up_tables() {
  for (const SegmentRegister& s : kFlatSegments) put(kGdt + (s.selector & ~7u), descriptor(s));

  // Page tables: [0, 2 MiB) for the system, and the program's pages.
  constexpr u64 kPresentWritable = 3, kUser = 4, kLargePage = 1 << 7;
  const Layout where = layout(Mode::kUser64);
  put(kPml4, kPdpt | kPresentWritable | kUser);
  put(kPdpt, kPageDirectory | kPresentWritable | kUser);
  put(kPml4 + 256 * 8, kSystemPdpt | kPresentWritable);
  put(kSystemPdpt, kSystemPageDirectory | kPresentWritable);
  put(kSystemPageDirectory, kPresentWritable | kLargePage);
  put(kPageDirectory + (where.code >> 21) * 8, kPageTable | kPresentWritable | kUser);
  const auto map = [&](u64 start, u32 size) {
    for (u64 page = start; page < start + size; page += core::kPageSize)
      put(kPageTable + (page >> 12) % 512 * 8, page | kPresentWritable | kUser);
  };
  map(where.code, kCodeSize);
  map(where.data, kDataSize);

  // Vector i is handled by the HLT at kHandlers + i. User code may raise #BP and #OF itself, as under Linux.
  for (u64 i = 0; i < 256; ++i) {
    const u64 handler = kHandlers + i, dpl = i == 3 || i == 4 ? 3 : 0;
    put(handler, u8{0xf4});
    put(kRealVectors + i * 4, static_cast<u32>(handler));
    const u64 gate = (handler & 0xffff) | (0x8e00 | dpl << 13) << 32;
    put(kIdt32 + i * 8, gate | u64{kCode32} << 16);
    constexpr u64 kIst1 = u64{1} << 32;
    put(kIdt64 + i * 16, gate | u64{kCode64} << 16 | kIst1);
    put(kIdt64 + i * 16 + 8, kUpperHalf >> 32);
  }
  constexpr u64 kTssIst1 = 0x24, kTssIoMap = 0x66;
  put(kTss + kTssIst1, kUpperHalf + kSystemStack);
  put(kTss + kTssIoMap, u16{0xffff});  // no permission bitmap

  CpuState& s = cpu.state;
  s.cr3 = kPml4;
  s.xcr0 = model.xcr0_mask();
}

void GuestCpu::Machine::enter_mode(Mode mode) {
  CpuState& s = cpu.state;
  constexpr u64 kCr0 = core::kCr0Et | core::kCr0Mp | core::kCr0Ne | core::kCr0Wp | core::kCr0Am;
  const bool is_long = mode == Mode::kUser64 || mode == Mode::kUser32 || mode == Mode::kKernel64;
  const bool user = runs_natively(mode);
  s.cr0 = kCr0 | (mode == Mode::kReal16 ? 0 : core::kCr0Pe) | (is_long ? core::kCr0Pg : 0);
  s.cr4 = core::kCr4Osfxsr | core::kCr4Osxmmexcpt | (is_long ? core::kCr4Pae : 0) |
          (model.has(core::Feature::kXsave) ? core::kCr4Osxsave : 0);
  s.efer = is_long ? core::kEferLme | core::kEferLma | core::kEferSce | core::kEferNxe : 0;
  s.cpl = user ? 3 : 0;
  s.code_bits = static_cast<u8>(code_bits(mode));

  if (mode == Mode::kReal16) {
    for (auto& segment : s.segment) segment = {0, 0xffff, 0, kDataAttributes};
    s.idtr = {kRealVectors, 0x3ff};
  } else {
    const bool code64 = code_bits(mode) == 64;
    const u16 code = user ? (code64 ? kUserCode64 : kUserCode32) : (code64 ? kCode64 : kCode32);
    for (auto& segment : s.segment) segment = flat_segment(user ? kUserData : kData);
    s.segment[core::kCs] = flat_segment(code);
    s.segment[core::kFs] = s.segment[core::kGs] = {};
    s.idtr =
        is_long ? core::DescriptorTable{kUpperHalf + kIdt64, 0xfff} : core::DescriptorTable{kIdt32, 0x7ff};
  }
  constexpr u16 kBusyTss = 0x8b, kTssLimit = 0x67;
  const u64 system = is_long ? kUpperHalf : 0;
  s.gdtr = {system + kGdt, 0xff};
  s.tr = {system + kTss, kTssLimit, kTssSelector, kBusyTss};
  s.ldtr = {};
}

void GuestCpu::Machine::enter(const Program& program) {
  const Layout where = layout(program.mode);
  std::vector<u8> code = program.code;
  code.push_back(0xcc);
  // The same program again finds its blocks.
  if (std::memcmp(ram.host(where.code), code.data(), code.size()) != 0 && !ram.write(where.code, code))
    throw std::logic_error("guest_cpu: no room for the program");
  std::memcpy(ram.host(where.data), program.data.data(), kDataSize);

  enter_mode(program.mode);
  CpuState& s = cpu.state;
  const MachineState& from = program.initial;
  for (u32 i = 0; i < 16; ++i) s.gpr[i] = from.gpr[i];
  s.rip = where.code;
  core::set_rflags(s, (from.rflags & kComparedFlags) | core::kIf);
  s.vec = from.vec;
  s.mxcsr = from.mxcsr;
  s.x87 = {};
  s.x87.control = from.fcw;
  s.x87.top = from.fsw >> 11 & 7;
  s.x87.status = from.fsw & ~(7u << 11);
  s.x87.valid = from.ftw;
  for (u32 i = 0; i < 8; ++i) s.x87.physical[(s.x87.top + i) & 7] = from.st[i];

  s.activity = core::Activity::kRunning;
  s.interrupt_shadow = s.nmi_blocked = false;
  s.pending = 0;
  s.fault = {};
  s.debug_hits = 0;
  s.cr2 = 0;
  s.dr[6] = 0xffff'0ff0;
  s.dr[7] = 0x400;
  cpu.mmu.mode_changed();
}

void GuestCpu::Machine::save_registers(MachineState& out) const {
  const CpuState& s = cpu.state;
  for (u32 i = 0; i < 16; ++i) out.gpr[i] = s.gpr[i];
  out.rip = s.rip;
  out.rflags = core::rflags(s);
  out.vec = s.vec;
  out.mxcsr = s.mxcsr;
  for (u32 i = 0; i < 8; ++i) out.st[i] = s.x87.physical[(s.x87.top + i) & 7];
  out.fcw = s.x87.control;
  out.fsw = static_cast<u16>(s.x87.status | s.x87.top << 11);
  out.ftw = s.x87.valid;
}

// Undoes exception delivery: the frame's RIP, RFLAGS and RSP become the state's again.
void GuestCpu::Machine::take_frame(const Program& program, Outcome& out) {
  MachineState& s = out.state;
  const bool is_long = core::long_mode(cpu.state);
  const u64 frame = s.gpr[core::kRsp] - (is_long ? kUpperHalf : 0);
  const auto vector = static_cast<core::Vector>(handler_of(s.rip));
  u32 pushed = 0;
  if (is_long) {
    constexpr u64 kFrameWords = 5;  // SS, RSP, RFLAGS, CS, RIP; the error code below them
    const bool has_error = frame < kSystemStack - kFrameWords * 8;
    const u64 words = frame + (has_error ? 8 : 0);
    out.error = has_error ? static_cast<u32>(get<u64>(frame)) : 0;
    s.rip = get<u64>(words);
    s.rflags = get<u64>(words + 16);
    s.gpr[core::kRsp] = get<u64>(words + 24);
  } else if (program.mode == Mode::kKernel32) {
    const bool has_error = core::has_error_code(vector);
    const u64 words = frame + (has_error ? 4 : 0);
    out.error = has_error ? get<u32>(frame) : 0;
    s.rip = get<u32>(words);
    s.rflags = get<u32>(words + 8);
    pushed = has_error ? 16 : 12;
  } else {
    s.rip = get<u16>(frame & 0xffff);
    s.rflags = get<u16>((frame + 4) & 0xffff);
    pushed = 6;
  }
  // A frame on the program's own stack: what the program itself left there below its stack pointer is lost.
  const Layout where = layout(program.mode);
  for (u64 i = frame; i < frame + pushed; ++i)
    if (i - where.data < kDataSize) out.data[i - where.data] = program.data[i - where.data];
  s.gpr[core::kRsp] += pushed;

  const u64 end = where.code + program.code.size();
  if (vector == core::Vector::kBP && s.rip == end + 1) {
    s.rip = end;
    return;
  }
  out.fault = static_cast<int>(vector);
  if (vector == core::Vector::kPF) out.address = cpu.state.cr2;
}

std::span<const Engine> engines() {
  static constexpr Engine kAll[] = {Engine::kInterpreter, Engine::kTranslator, Engine::kExactFlags,
                                    Engine::kShortBlocks};
#ifdef DOPPEL_TRANSLATOR_X64
  return kAll;
#else
  return std::span(kAll).first(1);
#endif
}

const char* engine_name(Engine engine) {
  switch (engine) {
    case Engine::kInterpreter:
      return "interp";
    case Engine::kTranslator:
      return "jit";
    case Engine::kExactFlags:
      return "jit-exact-flags";
    default:
      return "jit-short-blocks";
  }
}

std::vector<std::string> engine_names() {
  std::vector<std::string> names;
  for (const Engine engine : engines()) names.emplace_back(engine_name(engine));
  return names;
}

u64 stale_flags(Engine engine, const Outcome& outcome) {
  return engine == Engine::kTranslator && outcome.fault != kNoFault ? core::kArithmeticFlags : 0;
}

GuestCpu::GuestCpu(std::string_view model, Engine engine)
    : machine_(std::make_unique<Machine>(engine, model)) {}
GuestCpu::~GuestCpu() = default;

const core::CpuModel& GuestCpu::model() const {
  return machine_->model;
}
u64 GuestCpu::counter(const std::string& name) const {
  return machine_->counters[name];
}

Outcome GuestCpu::run(const Program& program) {
  Machine& m = *machine_;
  m.enter(program);
  const jit::Dispatcher::Exit exit = m.dispatcher.run(kBudget);

  Outcome out;
  m.save_registers(out.state);
  std::memcpy(out.data.data(), m.ram.host(layout(program.mode).data), kDataSize);
  out.stuck = exit != jit::Dispatcher::Exit::kIdle;
  if (!out.stuck && m.handler_of(out.state.rip) < 256) m.take_frame(program, out);
  if (code_bits(program.mode) != 64)
    for (u32 i = 0; i < 8; ++i) out.state.gpr[i] &= 0xffff'ffff;
  return out;
}

}  // namespace doppel::tests
