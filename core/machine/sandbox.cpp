#include "core/machine/sandbox.hpp"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <memory>
#include <system_error>

namespace doppel::machine {

namespace {

constexpr rlim_t kMostFiles = 8192;

// Computing, memory, time, threads, and descriptors that are open already. What a call does not exist for on
// this architecture, libseccomp leaves out.
constexpr int kAlways[] = {SCMP_SYS(accept),
                           SCMP_SYS(accept4),
                           SCMP_SYS(access),
                           SCMP_SYS(arch_prctl),
                           SCMP_SYS(brk),
                           SCMP_SYS(clock_getres),
                           SCMP_SYS(clock_gettime),
                           SCMP_SYS(clock_nanosleep),
                           SCMP_SYS(close),
                           SCMP_SYS(copy_file_range),
                           SCMP_SYS(dup),
                           SCMP_SYS(dup2),
                           SCMP_SYS(dup3),
                           SCMP_SYS(epoll_create1),
                           SCMP_SYS(epoll_ctl),
                           SCMP_SYS(epoll_pwait),
                           SCMP_SYS(epoll_wait),
                           SCMP_SYS(eventfd2),
                           SCMP_SYS(exit),
                           SCMP_SYS(exit_group),
                           SCMP_SYS(faccessat),
                           SCMP_SYS(faccessat2),
                           SCMP_SYS(fadvise64),
                           SCMP_SYS(fallocate),
                           SCMP_SYS(fcntl),
                           SCMP_SYS(fdatasync),
                           SCMP_SYS(flock),
                           SCMP_SYS(fstat),
                           SCMP_SYS(fstatfs),
                           SCMP_SYS(fsync),
                           SCMP_SYS(ftruncate),
                           SCMP_SYS(futex),
                           SCMP_SYS(getcwd),
                           SCMP_SYS(getdents64),
                           SCMP_SYS(getegid),
                           SCMP_SYS(geteuid),
                           SCMP_SYS(getgid),
                           SCMP_SYS(getpeername),
                           SCMP_SYS(getpid),
                           SCMP_SYS(getppid),
                           SCMP_SYS(getrandom),
                           SCMP_SYS(getrusage),
                           SCMP_SYS(getsockname),
                           SCMP_SYS(getsockopt),
                           SCMP_SYS(gettid),
                           SCMP_SYS(gettimeofday),
                           SCMP_SYS(getuid),
                           SCMP_SYS(lseek),
                           SCMP_SYS(lstat),
                           SCMP_SYS(madvise),
                           SCMP_SYS(membarrier),
                           SCMP_SYS(memfd_create),
                           SCMP_SYS(mincore),
                           SCMP_SYS(mmap),
                           SCMP_SYS(mprotect),
                           SCMP_SYS(mremap),
                           SCMP_SYS(munmap),
                           SCMP_SYS(nanosleep),
                           SCMP_SYS(newfstatat),
                           SCMP_SYS(pidfd_open),
                           SCMP_SYS(pipe2),
                           SCMP_SYS(poll),
                           SCMP_SYS(ppoll),
                           SCMP_SYS(prctl),
                           SCMP_SYS(pread64),
                           SCMP_SYS(preadv),
                           SCMP_SYS(preadv2),
                           SCMP_SYS(pselect6),
                           SCMP_SYS(pwrite64),
                           SCMP_SYS(pwritev),
                           SCMP_SYS(pwritev2),
                           SCMP_SYS(read),
                           SCMP_SYS(readlink),
                           SCMP_SYS(readlinkat),
                           SCMP_SYS(readv),
                           SCMP_SYS(recvfrom),
                           SCMP_SYS(recvmmsg),
                           SCMP_SYS(recvmsg),
                           SCMP_SYS(restart_syscall),
                           SCMP_SYS(rseq),
                           SCMP_SYS(rt_sigaction),
                           SCMP_SYS(rt_sigprocmask),
                           SCMP_SYS(rt_sigreturn),
                           SCMP_SYS(rt_sigtimedwait),
                           SCMP_SYS(sched_getaffinity),
                           SCMP_SYS(sched_yield),
                           SCMP_SYS(select),
                           SCMP_SYS(sendmmsg),
                           SCMP_SYS(sendmsg),
                           SCMP_SYS(sendto),
                           SCMP_SYS(set_robust_list),
                           SCMP_SYS(setsockopt),
                           SCMP_SYS(shutdown),
                           SCMP_SYS(sigaltstack),
                           SCMP_SYS(stat),
                           SCMP_SYS(statx),
                           SCMP_SYS(sync_file_range),
                           SCMP_SYS(sysinfo),
                           SCMP_SYS(tgkill),
                           SCMP_SYS(time),
                           SCMP_SYS(timerfd_create),
                           SCMP_SYS(timerfd_gettime),
                           SCMP_SYS(timerfd_settime),
                           SCMP_SYS(uname),
                           SCMP_SYS(unlink),
                           SCMP_SYS(wait4),
                           SCMP_SYS(waitid),
                           SCMP_SYS(write),
                           SCMP_SYS(writev)};

constexpr int kNetwork[] = {SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(listen)};

constexpr int kFiles[] = {SCMP_SYS(creat), SCMP_SYS(open), SCMP_SYS(openat), SCMP_SYS(openat2)};

constexpr int kFolders[] = {SCMP_SYS(chmod),    SCMP_SYS(fchmod),   SCMP_SYS(fchmodat),  SCMP_SYS(linkat),
                            SCMP_SYS(mkdirat),  SCMP_SYS(renameat), SCMP_SYS(renameat2), SCMP_SYS(symlinkat),
                            SCMP_SYS(truncate), SCMP_SYS(unlinkat), SCMP_SYS(utimensat)};

constexpr int kDirectExecution[] = {SCMP_SYS(close_range),       SCMP_SYS(kill),   SCMP_SYS(process_vm_readv),
                                    SCMP_SYS(process_vm_writev), SCMP_SYS(ptrace), SCMP_SYS(seccomp),
                                    SCMP_SYS(setpgid),           SCMP_SYS(setsid), SCMP_SYS(vfork)};

void must(int error, const char* what) {
  if (error != 0) throw std::system_error(-error, std::generic_category(), what);
}

// The kernel's numbers of calls, or their arguments, that go through.
class Filter {
 public:
  Filter() : context_(::seccomp_init(SCMP_ACT_ERRNO(EPERM)), ::seccomp_release) {
    if (!context_) throw std::system_error(ENOMEM, std::generic_category(), "system-call filter");
    // Threads that run already, too. Calls of another architecture fail as the others do.
    must(::seccomp_attr_set(get(), SCMP_FLTATR_CTL_TSYNC, 1), "system-call filter");
    must(::seccomp_attr_set(get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(EPERM)), "system-call filter");
    // A tree of numbers instead of a list: a call costs a few comparisons.
    must(::seccomp_attr_set(get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "system-call filter");
  }
  template <class Calls>
  void allow(const Calls& calls) {
    for (const int call : calls) allow_if(call, {});
  }
  // All conditions hold.
  void allow_if(int call, std::initializer_list<scmp_arg_cmp> conditions, u_int32_t action = SCMP_ACT_ALLOW) {
    must(::seccomp_rule_add_array(get(), action, call, static_cast<unsigned>(conditions.size()),
                                  conditions.begin()),
         "system-call filter");
  }
  void load() { must(::seccomp_load(get()), "system-call filter"); }

 private:
  [[nodiscard]] scmp_filter_ctx get() const { return context_.get(); }
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context_;
};

void limit_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max = std::min(limit.rlim_max, kMostFiles);
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

void enter_sandbox(const SandboxConfig& config) {
  limit_files();
  Filter filter;
  filter.allow(kAlways);
  // Typing into the terminal on the user's behalf is not for us.
  filter.allow_if(SCMP_SYS(ioctl), {SCMP_A1(SCMP_CMP_NE, TIOCSTI)});
  filter.allow_if(SCMP_SYS(prlimit64), {SCMP_A2(SCMP_CMP_EQ, 0)});  // reading limits
  filter.allow_if(SCMP_SYS(getrlimit), {});
  filter.allow_if(SCMP_SYS(kill), {SCMP_A1(SCMP_CMP_EQ, SIGKILL)});  // of a storage server that does not end
  // Threads, no processes. Flags of clone3 lie in memory, where a filter cannot look: libc then uses clone.
  filter.allow_if(SCMP_SYS(clone), {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)});
  filter.allow_if(SCMP_SYS(clone3), {}, SCMP_ACT_ERRNO(ENOSYS));
  if (config.network) {
    filter.allow(kNetwork);
    for (const int domain : {AF_INET, AF_INET6, AF_UNIX})
      filter.allow_if(SCMP_SYS(socket), {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(domain))});
  }
  if (config.files || config.folders) {
    filter.allow(kFiles);
  } else {
    constexpr scmp_datum_t kChanges = O_ACCMODE | O_CREAT | O_TRUNC;
    filter.allow_if(SCMP_SYS(open), {SCMP_A1(SCMP_CMP_MASKED_EQ, kChanges, O_RDONLY)});
    filter.allow_if(SCMP_SYS(openat), {SCMP_A2(SCMP_CMP_MASKED_EQ, kChanges, O_RDONLY)});
  }
  if (config.folders) filter.allow(kFolders);
  if (config.direct_execution) {
    filter.allow(kDirectExecution);
    // The program of a stub process has no name.
    filter.allow_if(SCMP_SYS(execveat), {SCMP_A4(SCMP_CMP_EQ, AT_EMPTY_PATH)});
  }
  filter.load();
}

}  // namespace doppel::machine
