#include "jit/direct/stub_process.hpp"

#include <asmjit/x86.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "core/guest_ram.hpp"

namespace doppel::jit::direct {

using core::kPageSize;

namespace {

// Descriptors in the stub.
constexpr int kRam = 3, kPatched = 4, kRelocated = 5, kList = 6, kProgram = 7;
constexpr u64 kListSize = StubProcess::kGateSize - kPageSize;
constexpr int kInterruptSignal = SIGUSR1;
constexpr int kSystemCallStop = SIGTRAP | 0x80;  // with PTRACE_O_TRACESYSGOOD
constexpr u64 kSystemCallLength = 2;             // SYSCALL, INT 80h
constexpr u64 kTrapFlag = 1u << 8;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// The program of the stub: an ELF file of one page that is mapped at the gate.
struct Program {
  std::vector<u8> file;
  u64 single_call, call_list, read_time;  // offsets of code
};

Program make_program(u64 gate) {
  struct Headers {
    Elf64_Ehdr elf;
    Elf64_Phdr load, stack;
  };
  asmjit::CodeHolder code;
  code.init(asmjit::Environment::host());
  asmjit::x86::Assembler a(&code);
  using namespace asmjit::x86;
  Program program;

  // One call, arguments in their registers.
  program.single_call = sizeof(Headers) + a.offset();
  a.syscall();
  a.int3();

  // for (Call* call = r15; call->number != kEndOfCalls; ++call)
  //   if (rax = system_call(call); rax >= -4096) break;
  program.call_list = sizeof(Headers) + a.offset();
  const asmjit::Label next = a.newLabel(), done = a.newLabel();
  a.bind(next);
  a.mov(rax, ptr(r15));
  a.cmp(rax, -1);
  a.je(done);
  a.mov(rdi, ptr(r15, 8));
  a.mov(rsi, ptr(r15, 16));
  a.mov(rdx, ptr(r15, 24));
  a.mov(r10, ptr(r15, 32));
  a.mov(r8, ptr(r15, 40));
  a.mov(r9, ptr(r15, 48));
  a.syscall();
  a.add(r15, 56);
  a.cmp(rax, -4096);
  a.jb(next);
  a.bind(done);
  a.int3();

  program.read_time = sizeof(Headers) + a.offset();
  a.rdtsc();
  a.int3();

  Headers headers{};
  std::memcpy(headers.elf.e_ident, ELFMAG, SELFMAG);
  headers.elf.e_ident[EI_CLASS] = ELFCLASS64;
  headers.elf.e_ident[EI_DATA] = ELFDATA2LSB;
  headers.elf.e_ident[EI_VERSION] = EV_CURRENT;
  headers.elf.e_type = ET_EXEC;
  headers.elf.e_machine = EM_X86_64;
  headers.elf.e_version = EV_CURRENT;
  headers.elf.e_entry = gate + program.single_call;
  headers.elf.e_phoff = offsetof(Headers, load);
  headers.elf.e_ehsize = sizeof(Elf64_Ehdr);
  headers.elf.e_phentsize = sizeof(Elf64_Phdr);
  headers.elf.e_phnum = 2;
  headers.load = {.p_type = PT_LOAD,
                  .p_flags = PF_R | PF_X,
                  .p_offset = 0,
                  .p_vaddr = gate,
                  .p_paddr = gate,
                  .p_filesz = kPageSize,
                  .p_memsz = kPageSize,
                  .p_align = kPageSize};
  // Without it, what may be read may be executed.
  headers.stack.p_type = PT_GNU_STACK;
  headers.stack.p_flags = PF_R | PF_W;

  const auto& text = code.textSection()->buffer();
  program.file.resize(kPageSize);
  std::memcpy(program.file.data(), &headers, sizeof headers);
  std::copy_n(text.data(), text.size(), program.file.data() + sizeof headers);
  return program;
}

// mmap and munmap, by their x86-64 numbers; all else is a signal.
constexpr sock_filter kFilter[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 2, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

// Between vfork() and execve(): shares our memory, so it only makes system calls.
[[noreturn]] void become_stub(const StubProcess::Files& files, int list, int program) {
  char name[] = "doppel-guest-code";
  char* const arguments[] = {name, nullptr};
  char* const environment[] = {nullptr};
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::setsid();  // the terminal's signals are for Doppel
  // They may lie where others go: out of the way first.
  constexpr int kFree = 16;
  const int from[] = {files.ram, files.patched, files.relocated, list, program};
  constexpr int to[] = {kRam, kPatched, kRelocated, kList, kProgram};
  int high[std::size(from)];
  for (std::size_t i = 0; i < std::size(from); ++i) high[i] = ::fcntl(from[i], F_DUPFD, kFree);
  for (std::size_t i = 0; i < std::size(from); ++i) ::dup3(high[i], to[i], to[i] == kProgram ? O_CLOEXEC : 0);
  ::close_range(kProgram + 1, ~0u, 0);
  ::close_range(0, kRam - 1, 0);
  ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
  ::syscall(SYS_execveat, kProgram, "", arguments, environment, AT_EMPTY_PATH);
  ::_exit(127);
}

}  // namespace

StubProcess::StubProcess(const Files& files, u64 gate) : gate_(gate) {
  try {
    start(files);
    prepare();
  } catch (...) {
    kill();
    throw;
  }
}

StubProcess::~StubProcess() {
  kill();
}

void StubProcess::kill() {
  if (!calls_.empty()) ::munmap(calls_.data(), kListSize);
  calls_ = {};
  if (pid_ < 0) return;
  ::kill(pid_, SIGKILL);
  int status;
  while (::waitpid(pid_, &status, __WALL) == pid_ && !WIFEXITED(status) && !WIFSIGNALED(status)) {
  }
  pid_ = -1;
}

void StubProcess::start(const Files& files) {
  const Program program = make_program(gate_);
  single_call_ = gate_ + program.single_call;
  call_list_ = gate_ + program.call_list;
  read_time_ = gate_ + program.read_time;
  const FileDescriptor file(::memfd_create("doppel-guest-code", MFD_CLOEXEC));
  const FileDescriptor list(::memfd_create("doppel-gate", MFD_CLOEXEC));
  if (file.get() < 0 || list.get() < 0) fail("memory for a stub process");
  if (::write(file.get(), program.file.data(), program.file.size()) !=
          static_cast<ssize_t>(program.file.size()) ||
      ::ftruncate(list.get(), static_cast<off_t>(kListSize)) != 0)
    fail("memory for a stub process");
  void* mapping = ::mmap(nullptr, kListSize, PROT_READ | PROT_WRITE, MAP_SHARED, list.get(), 0);
  if (mapping == MAP_FAILED) fail("memory for a stub process");
  calls_ = {static_cast<Call*>(mapping), kListSize / sizeof(Call)};

  // vfork: a copy of our page tables would take milliseconds, and stall every thread that writes afterwards.
  pid_ = ::vfork();
  if (pid_ == 0) become_stub(files, list.get(), file.get());
  if (pid_ < 0) fail("stub process");
  const int status = wait();  // stops in execve
  if (!WIFSTOPPED(status)) {
    pid_ = -1;
    errno = EPERM;
    fail("stub process");
  }
  constexpr long kOptions = PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD;
  if (::ptrace(PTRACE_SETOPTIONS, pid_, nullptr, kOptions) != 0 ||
      ::ptrace(PTRACE_GETREGS, pid_, nullptr, &initial_) != 0)
    fail("tracing a stub process");
}

// Nothing stays in its address space but the gate; then it loses all other rights.
void StubProcess::prepare() {
  const u64 list = gate_ + kPageSize, end = gate_ + kGateSize;
  const auto must = [](u64 result, const char* what) {
    if (result < static_cast<u64>(-4096)) return;
    errno = static_cast<int>(-static_cast<i64>(result));
    fail(what);
  };
  must(system_call(SYS_munmap, 0, gate_), "emptying a stub process");
  must(system_call(SYS_munmap, gate_ + kPageSize, kAddressEnd - gate_ - kPageSize),
       "emptying a stub process");
  must(system_call(SYS_mmap, list, end - list, PROT_READ, MAP_SHARED | MAP_FIXED, kList, 0),
       "the gate of a stub process");
  // RDTSC would tell the host's time.
  must(system_call(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV), "hiding the time from a stub process");
  hides_time_ = !run_gate(read_time_, 0, initial_);
  must(system_call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1), "confining a stub process");
  struct Filter {
    sock_fprog program;
    sock_filter instructions[std::size(kFilter)];
  } filter{};
  filter.program.len = std::size(kFilter);
  std::copy(std::begin(kFilter), std::end(kFilter), filter.instructions);
  const u64 instructions = list + offsetof(Filter, instructions);
  std::memcpy(&filter.program.filter, &instructions, sizeof instructions);  // an address in the stub
  std::memcpy(static_cast<void*>(calls_.data()), &filter, sizeof filter);
  must(system_call(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, list), "confining a stub process");
}

void StubProcess::gone(const char* what) const {
  throw std::runtime_error(std::string("the process that ran guest code directly is gone (") + what +
                           "); --direct off runs without it");
}

int StubProcess::wait() const {
  int status = 0;
  while (::waitpid(pid_, &status, __WALL) < 0)
    if (errno != EINTR) gone("waitpid");
  return status;
}

// Runs the gate's code at `rip` until its INT3, or a fault.
bool StubProcess::run_gate(u64 rip, u64 list, const user_regs_struct& arguments) {
  user_regs_struct gate_registers = arguments;
  gate_registers.rip = rip;
  gate_registers.r15 = list;
  gate_registers.orig_rax = ~u64{0};  // no system call to be restarted
  gate_registers.eflags &= ~kTrapFlag;
  if (::ptrace(PTRACE_SETREGS, pid_, nullptr, &gate_registers) != 0) gone("registers");
  while (true) {
    if (::ptrace(PTRACE_CONT, pid_, nullptr, nullptr) != 0) gone("continue");
    const int status = wait();
    if (!WIFSTOPPED(status)) gone("ended");
    if (WSTOPSIG(status) == SIGTRAP) return true;
    if (WSTOPSIG(status) == SIGSEGV) return false;
    if (WSTOPSIG(status) == kInterruptSignal)
      interrupted_ = true;
    else if (WSTOPSIG(status) == SIGSYS)
      gone("gate");
  }
}

u64 StubProcess::system_call(long number, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5, u64 a6) {
  user_regs_struct call = initial_;
  call.rax = static_cast<u64>(number);
  call.rdi = a1;
  call.rsi = a2;
  call.rdx = a3;
  call.r10 = a4;
  call.r8 = a5;
  call.r9 = a6;
  if (!run_gate(single_call_, 0, call)) gone("gate");
  if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &call) != 0) gone("registers");
  return call.rax;
}

bool StubProcess::apply(std::span<const Change> changes) {
  while (!changes.empty()) {
    const auto batch = changes.first(std::min(changes.size(), calls_.size() - 1));
    changes = changes.subspan(batch.size());
    Call* call = calls_.data();
    for (const Change& change : batch) {
      const u64 file = change.show == Show::kRam       ? kRam
                       : change.show == Show::kPatched ? kPatched
                                                       : kRelocated;
      // What will not be used soon, of a file of its own, is not worth the time.
      const u64 populate = change.show == Show::kRelocated ? 0 : MAP_POPULATE;
      if (change.show == Show::kNothing)
        *call++ = {SYS_munmap, {change.address, change.size}};
      else
        *call++ = {SYS_mmap,
                   {change.address, change.size, static_cast<u64>(change.protection),
                    MAP_SHARED | MAP_FIXED | populate, file, change.offset}};
    }
    call->number = kEndOfCalls;
    if (!run_gate(call_list_, gate_ + kPageSize, initial_)) gone("gate");
    user_regs_struct after;
    if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &after) != 0) gone("registers");
    if (after.rax != kEndOfCalls || after.r15 != gate_ + kPageSize + batch.size() * sizeof(Call))
      return false;
  }
  return true;
}

void StubProcess::interrupt() const {
  ::kill(pid_, kInterruptSignal);
}

StubProcess::Stop StubProcess::resume() {
  return go_on(false);
}

StubProcess::Stop StubProcess::step() {
  return go_on(true);
}

StubProcess::Stop StubProcess::go_on(bool one_instruction) {
  if (std::exchange(interrupted_, false)) return {Stop::Reason::kInterrupted, 0};
  registers.orig_rax = ~u64{0};
  if (::ptrace(PTRACE_SETREGS, pid_, nullptr, &registers) != 0) {
    // User code can give itself segment bases and selectors that ptrace does not take.
    if (errno != EIO) gone("registers");
    return {Stop::Reason::kException, 0};
  }
  if (::ptrace(one_instruction ? PTRACE_SYSEMU_SINGLESTEP : PTRACE_SYSEMU, pid_, nullptr, nullptr) != 0)
    gone("continue");
  const int status = wait();
  if (!WIFSTOPPED(status)) gone(WIFSIGNALED(status) ? ::strsignal(WTERMSIG(status)) : "ended");
  if (::ptrace(PTRACE_GETREGS, pid_, nullptr, &registers) != 0) gone("registers");
  switch (WSTOPSIG(status)) {
    case kSystemCallStop:
      registers.rip -= kSystemCallLength;
      registers.rax = registers.orig_rax;
      return {Stop::Reason::kSystemCall, 0};
    case SIGSEGV:
    case SIGBUS: {
      siginfo_t info{};
      if (::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) != 0) gone("signal");
      const bool paging =
          info.si_code == SEGV_MAPERR || info.si_code == SEGV_ACCERR || info.si_code == SEGV_PKUERR;
      return {Stop::Reason::kFault, paging ? reinterpret_cast<u64>(info.si_addr) : 0};
    }
    case SIGTRAP: {
      siginfo_t info{};
      if (::ptrace(PTRACE_GETSIGINFO, pid_, nullptr, &info) != 0) gone("signal");
      return {info.si_code == TRAP_TRACE ? Stop::Reason::kStepped : Stop::Reason::kTrap, 0};
    }
    case SIGILL:
    case SIGFPE:
    case SIGSYS:
      return {Stop::Reason::kException, 0};
    default:
      return {Stop::Reason::kInterrupted, 0};
  }
}

void StubProcess::read_vectors(std::vector<u8>& image) const {
  if (image.empty()) image.resize(64 << 10);  // larger than any: the first read tells the size
  iovec vector{image.data(), image.size()};
  if (::ptrace(PTRACE_GETREGSET, pid_, NT_X86_XSTATE, &vector) != 0) gone("vector registers");
  image.resize(vector.iov_len);
}

bool StubProcess::write_vectors(std::vector<u8>& image) {
  iovec vector{image.data(), image.size()};
  return ::ptrace(PTRACE_SETREGSET, pid_, NT_X86_XSTATE, &vector) == 0;
}

}  // namespace doppel::jit::direct
