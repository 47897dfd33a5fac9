#include "tests/interp/native_cpu.hpp"

#include <fmt/format.h>

#include <cstring>
#include <stdexcept>

#if defined(__linux__) && defined(__x86_64__)

#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

namespace doppel::tests {
namespace {

// Selectors of Linux (arch/x86/include/asm/segment.h: __USER32_CS, __USER_CS, __USER_DS).
constexpr u64 kUser32Cs = 0x23, kUser64Cs = 0x33;
constexpr u32 kUserDs = 0x2b;

// Places in the XSAVE area that a signal frame holds (SDM Vol. 1, "XSAVE Area").
constexpr u32 kFxsaveMxcsr = 24, kFxsaveSt = 32, kFxsaveXmm = 160, kXsaveHeader = 512, kXsaveYmm = 576;
constexpr u64 kXstateX87SseAvx = 7;
// The kernel says in the frame's software-reserved bytes which features it saved (arch/x86/include/uapi).
constexpr u32 kSoftwareBytes = 464;
constexpr u32 kMagic1 = 0x46505853;

// Traps that carry an error code worth comparing, by their number in uc_mcontext.
constexpr u64 kTrapInt3 = 3, kTrapPageFault = 14;

constexpr u32 kStackBytes = 256 * 1024;
constexpr long kBatchSeconds = 20, kAgainMicroseconds = 500'000;

// Shared with the parent: how far the child came, then the outcomes.
struct Shared {
  volatile u32 finished;
  Outcome outcomes[1];
};

// The child's state. It is a process of its own with one thread, so plain globals will do.
const Program* programs;
u32 program_count;
u32 current;
bool running = false;
Shared* shared;

template <class T>
void put(u8* area, u32 offset, const T& value) {
  std::memcpy(area + offset, &value, sizeof value);
}
template <class T>
void get(const u8* area, u32 offset, T& value) {
  std::memcpy(&value, area + offset, sizeof value);
}

// Registers in the order of MachineState::gpr.
constexpr int kGregs[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                            REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

bool frame_has_avx(const u8* area) {
  u32 magic;
  u64 features;
  get(area, kSoftwareBytes, magic);
  get(area, kSoftwareBytes + 8, features);
  return magic == kMagic1 && (features & 4);
}

void load(const Program& program, ucontext_t& context) {
  const MachineState& s = program.initial;
  const Layout where = layout(program.mode);
  auto* code = reinterpret_cast<u8*>(where.code);  // mapped by run_child
  std::memcpy(code, program.code.data(), program.code.size());
  code[program.code.size()] = 0xcc;
  std::memcpy(reinterpret_cast<void*>(where.data), program.data.data(), kDataSize);

  greg_t* gregs = context.uc_mcontext.gregs;
  for (u32 i = 0; i < 16; ++i) gregs[kGregs[i]] = static_cast<greg_t>(s.gpr[i]);
  gregs[REG_RIP] = static_cast<greg_t>(where.code);
  gregs[REG_EFL] = static_cast<greg_t>((s.rflags & kComparedFlags) | core::kFlagsFixed | core::kIf);
  const u64 selectors = static_cast<u64>(gregs[REG_CSGSFS]) & ~u64{0xffff};
  gregs[REG_CSGSFS] =
      static_cast<greg_t>(selectors | (program.mode == Mode::kUser32 ? kUser32Cs : kUser64Cs));

  auto* area = reinterpret_cast<u8*>(context.uc_mcontext.fpregs);
  put(area, 0, s.fcw);
  put(area, 2, s.fsw);
  put(area, 4, s.ftw);
  put(area, kFxsaveMxcsr, s.mxcsr);
  for (u32 i = 0; i < 8; ++i) {
    put(area, kFxsaveSt + 16 * i, s.st[i].significand);
    put(area, kFxsaveSt + 16 * i + 8, s.st[i].sign_exponent);
  }
  for (u32 i = 0; i < 16; ++i) std::memcpy(area + kFxsaveXmm + 16 * i, s.vec[i].q, 16);
  if (!frame_has_avx(area)) return;
  for (u32 i = 0; i < 16; ++i) std::memcpy(area + kXsaveYmm + 16 * i, s.vec[i].q + 2, 16);
  u64 present;
  get(area, kXsaveHeader, present);
  put(area, kXsaveHeader, present | kXstateX87SseAvx);
}

void save(const Program& program, const ucontext_t& context, int signal, Outcome& out) {
  MachineState& s = out.state;
  const greg_t* gregs = context.uc_mcontext.gregs;
  for (u32 i = 0; i < 16; ++i) s.gpr[i] = static_cast<u64>(gregs[kGregs[i]]);
  if (program.mode == Mode::kUser32)
    for (u32 i = 0; i < 8; ++i) s.gpr[i] &= 0xffff'ffff;  // upper halves are undefined outside 64-bit code
  s.rip = static_cast<u64>(gregs[REG_RIP]);
  s.rflags = static_cast<u64>(gregs[REG_EFL]);
  const auto* area = reinterpret_cast<const u8*>(context.uc_mcontext.fpregs);
  get(area, 0, s.fcw);
  get(area, 2, s.fsw);
  get(area, 4, s.ftw);
  get(area, kFxsaveMxcsr, s.mxcsr);
  for (u32 i = 0; i < 8; ++i) {
    get(area, kFxsaveSt + 16 * i, s.st[i].significand);
    get(area, kFxsaveSt + 16 * i + 8, s.st[i].sign_exponent);
  }
  for (u32 i = 0; i < 16; ++i) std::memcpy(s.vec[i].q, area + kFxsaveXmm + 16 * i, 16);
  u64 present = 0;
  if (frame_has_avx(area)) get(area, kXsaveHeader, present);
  for (u32 i = 0; i < 16; ++i) {
    if (present & 4)
      std::memcpy(s.vec[i].q + 2, area + kXsaveYmm + 16 * i, 16);
    else
      s.vec[i].q[2] = s.vec[i].q[3] = 0;
  }
  const Layout where = layout(program.mode);
  std::memcpy(out.data.data(), reinterpret_cast<const void*>(where.data), kDataSize);

  const auto trap = static_cast<u64>(gregs[REG_TRAPNO]);
  const u64 end = where.code + program.code.size();
  out.stuck = signal == SIGALRM;
  if (out.stuck || (trap == kTrapInt3 && s.rip == end + 1)) {
    if (!out.stuck) s.rip = end;
    return;
  }
  out.fault = static_cast<int>(trap);
  if (core::has_error_code(static_cast<core::Vector>(trap))) out.error = static_cast<u32>(gregs[REG_ERR]);
  if (trap == kTrapPageFault) out.address = static_cast<u64>(gregs[REG_CR2]);
  // For addresses of its own half Linux always says "present".
  if (out.address >> 63) out.error &= ~core::kPfPresent;
}

extern "C" [[gnu::used]] void doppel_native_handle(int signal, siginfo_t*, void* raw) {
  auto& context = *static_cast<ucontext_t*>(raw);
  if (running) {
    save(programs[current], context, signal, shared->outcomes[current]);
    shared->finished = ++current;
  }
  running = true;
  if (current == program_count) _exit(0);
  load(programs[current], context);
}

// Where signals arrive: the program's EFLAGS.AC must not check the handler's own accesses.
__asm__(
    ".local doppel_native_entry\n"
    "doppel_native_entry:\n"
    "  pushfq\n"
    "  andl $0xfffbffff, (%rsp)\n"
    "  popfq\n"
    "  jmp doppel_native_handle\n");
extern "C" void doppel_native_entry(int signal, siginfo_t*, void* context);

bool map_fixed(u64 address, u32 size, int protection) {
  return mmap(reinterpret_cast<void*>(address), size, protection,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == reinterpret_cast<void*>(address);
}

[[noreturn]] void run_child() {
  const Layout where = layout(Mode::kUser64);
  if (!map_fixed(where.code, kCodeSize, PROT_READ | PROT_WRITE | PROT_EXEC) ||
      !map_fixed(where.data, kDataSize, PROT_READ | PROT_WRITE))
    _exit(2);
  void* stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const stack_t alternate{.ss_sp = stack, .ss_flags = 0, .ss_size = kStackBytes};
  sigaltstack(&alternate, nullptr);

  struct sigaction action {};
  action.sa_sigaction = doppel_native_entry;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGALRM, SIGUSR1})
    sigaction(signal, &action, nullptr);
  // Data segments as the guest has them; a 64-bit process starts with null selectors.
  __asm__ volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(kUserDs));
  // A program that loops is ended by this timer, which also ends a batch that takes too long.
  const itimerval limit{.it_interval = {0, kAgainMicroseconds}, .it_value = {kBatchSeconds, 0}};
  setitimer(ITIMER_REAL, &limit, nullptr);
  raise(SIGUSR1);
  _exit(3);
}

}  // namespace

std::vector<Outcome> run_natively(std::span<const Program> batch) {
  if (batch.empty()) return {};
  const std::size_t size = sizeof(Shared) + sizeof(Outcome) * batch.size();
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("native_cpu: no memory for the outcomes");
  shared = static_cast<Shared*>(memory);
  for (std::size_t i = 0; i < batch.size(); ++i) new (&shared->outcomes[i]) Outcome{};
  programs = batch.data();
  program_count = static_cast<u32>(batch.size());
  current = 0;

  const pid_t child = fork();
  if (child == 0) run_child();
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) throw std::runtime_error("native_cpu: no child");
  std::vector<Outcome> outcomes(shared->outcomes, shared->outcomes + batch.size());
  const u32 finished = shared->finished;
  munmap(memory, size);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    throw std::runtime_error(
        fmt::format("native_cpu: the child died (status {:#x}) at program {}", status, finished));
  return outcomes;
}

namespace {

// Whether the host's kernel gets into such a program at all.
bool runs_nop(Mode mode, u64 stack_pointer) {
  Program nop{.mode = mode, .code = {0x90}, .initial = {}, .data = {}};
  nop.initial.gpr[core::kRsp] = stack_pointer;
  try {
    return run_natively({&nop, 1})[0].fault == kNoFault;
  } catch (const std::runtime_error&) {
    return false;
  }
}

}  // namespace

bool native_available(Mode mode) {
  if (!runs_natively(mode)) return false;
  // Some kernels have no 32-bit code segments.
  static const bool compatibility = runs_nop(Mode::kUser32, 0);
  return mode == Mode::kUser64 || compatibility;
}

bool native_available(const Program& program) {
  if (!native_available(program.mode)) return false;
  // Under some hypervisors the return to the program faults if RSP is not canonical.
  static const bool any_stack_pointer = runs_nop(Mode::kUser64, u64{1} << 63);
  const u64 rsp = program.initial.gpr[core::kRsp];
  return any_stack_pointer || static_cast<u64>(static_cast<i64>(rsp << 16) >> 16) == rsp;
}

}  // namespace doppel::tests

#else

namespace doppel::tests {

bool native_available(Mode) {
  return false;
}
bool native_available(const Program&) {
  return false;
}
std::vector<Outcome> run_natively(std::span<const Program>) {
  throw std::runtime_error("native_cpu: this host cannot run x86-64 programs");
}

}  // namespace doppel::tests

#endif
