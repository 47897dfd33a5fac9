#include "core/machine/sandbox.hpp"

#include <doctest.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <thread>

using namespace doppel::machine;

namespace {

// What `check` returns in a confined process.
int confined(const SandboxConfig& config, const std::function<int()>& check) {
  const pid_t child = ::fork();
  if (child == 0) {
    enter_sandbox(config);
    ::_exit(check());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// 0: the call was refused.
int refused(long result) {
  return result == -1 && errno == EPERM ? 0 : 1;
}

int run_a_program() {
  char* const arguments[] = {const_cast<char*>("true"), nullptr};
  return refused(::execve("/bin/true", arguments, arguments));
}

}  // namespace

TEST_CASE("the filter refuses what no machine needs, whatever it was allowed") {
  for (const SandboxConfig& config : {SandboxConfig{}, SandboxConfig{true, true, true, true}}) {
    CHECK(confined(config, run_a_program) == 0);
    CHECK(confined(config, [] { return refused(::chroot("/")); }) == 0);
    CHECK(confined(config, [] { return refused(::unshare(CLONE_NEWUSER)); }) == 0);
    CHECK(confined(config, [] { return refused(::socket(AF_PACKET, SOCK_RAW, 0)); }) == 0);
    CHECK(confined(config, [] { return refused(::setuid(0)); }) == 0);
  }
}

TEST_CASE("the filter refuses what this machine does not need") {
  const auto connects = [] { return refused(::socket(AF_INET, SOCK_STREAM, 0)); };
  const auto writes = [] { return refused(::open("/dev/null", O_WRONLY)); };
  const auto makes_folders = [] { return refused(::mkdirat(AT_FDCWD, "/proc/doppel", 0700)); };
  CHECK(confined({}, connects) == 0);
  CHECK(confined({.network = true}, connects) == 1);
  CHECK(confined({}, writes) == 0);
  CHECK(confined({.files = true}, writes) == 1);
  CHECK(confined({.files = true}, makes_folders) == 0);
  CHECK(confined({.folders = true}, makes_folders) == 1);
  CHECK(confined({}, [] { return refused(::fork()); }) == 0);
}

TEST_CASE("what a machine needs goes on: threads, memory, code, files that are read") {
  CHECK(confined({}, [] {
          bool ran = false;
          std::thread([&ran] { ran = true; }).join();
          void* code = ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
          return ran && code != MAP_FAILED && file >= 0 ? 0 : 1;
        }) == 0);
}

TEST_CASE("threads that ran before are confined too") {
  CHECK(confined({}, [] { return 0; }) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::atomic<bool> entered{false};
    int result = 1;
    std::thread thread([&] {
      entered.wait(false);
      result = run_a_program();
    });
    enter_sandbox({});
    entered = true;
    entered.notify_one();
    thread.join();
    ::_exit(result);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}
