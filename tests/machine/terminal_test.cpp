#include "core/machine/terminal.hpp"

#include <doctest.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <string>

namespace doppel::machine {
namespace {

// A terminal of the test's own.
struct Pty {
  Pty() : master(::posix_openpt(O_RDWR | O_NOCTTY)) {
    REQUIRE(master >= 0);
    REQUIRE(::grantpt(master) == 0);
    REQUIRE(::unlockpt(master) == 0);
    terminal = ::open(::ptsname(master), O_RDWR | O_NOCTTY);
    REQUIRE(terminal >= 0);
  }
  ~Pty() {
    ::close(terminal);
    ::close(master);
  }
  Pty(const Pty&) = delete;
  Pty& operator=(const Pty&) = delete;

  [[nodiscard]] termios settings() const {
    termios now{};
    REQUIRE(::tcgetattr(terminal, &now) == 0);
    return now;
  }
  [[nodiscard]] bool is_raw() const { return (settings().c_lflag & (ICANON | ECHO | ISIG)) == 0; }

  int master, terminal = -1;
};

bool equal(const termios& a, const termios& b) {
  return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag &&
         a.c_lflag == b.c_lflag && std::memcmp(a.c_cc, b.c_cc, sizeof a.c_cc) == 0;
}

}  // namespace

TEST_CASE("the terminal is raw while one lives and as it was afterwards") {
  const Pty pty;
  const termios before = pty.settings();
  REQUIRE_FALSE(pty.is_raw());
  {
    const RawTerminal raw(pty.terminal);
    CHECK(pty.is_raw());
    CHECK((pty.settings().c_oflag & OPOST) != 0);
    {
      const Pty other;
      const RawTerminal second(other.terminal);  // one at a time
      CHECK_FALSE(other.is_raw());
    }
  }
  CHECK(equal(pty.settings(), before));
}

TEST_CASE("what is no terminal is left alone") {
  int pipe[2];
  REQUIRE(::pipe(pipe) == 0);
  { const RawTerminal raw(pipe[0]); }
  { const RawTerminal raw(-1); }
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("whatever ends the process, the terminal is restored") {
  struct Case {
    const char* how;
    void (*end)();
    int signal;  // 0: it exits
  };
  for (const Case& c :
       {Case{"exit", [] { std::exit(0); }, 0}, Case{"SIGSEGV", [] { std::raise(SIGSEGV); }, SIGSEGV},
        Case{"SIGBUS", [] { std::raise(SIGBUS); }, SIGBUS},
        Case{"SIGILL", [] { std::raise(SIGILL); }, SIGILL},
        Case{"SIGFPE", [] { std::raise(SIGFPE); }, SIGFPE},
        Case{"SIGQUIT", [] { std::raise(SIGQUIT); }, SIGQUIT},
        Case{"abort", [] { std::abort(); }, SIGABRT}}) {
    CAPTURE(std::string(c.how));
    const Pty pty;
    const termios before = pty.settings();
    std::fflush(nullptr);  // or the child writes it too
    const pid_t child = ::fork();
    if (child == 0) {
      const rlimit no_core{0, 0};
      ::setrlimit(RLIMIT_CORE, &no_core);
      const RawTerminal raw(pty.terminal);
      if (!pty.is_raw()) ::_exit(9);
      c.end();
      ::_exit(9);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    if (c.signal == 0)
      CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
    else
      CHECK((WIFSIGNALED(status) && WTERMSIG(status) == c.signal));
    CHECK(equal(pty.settings(), before));
  }
}

}  // namespace doppel::machine
