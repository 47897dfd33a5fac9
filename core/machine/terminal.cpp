#include "core/machine/terminal.hpp"

#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <initializer_list>

namespace doppel::machine {
namespace {

// Read by signal handlers, so plain statics; written only while no guest runs.
termios saved_settings;
volatile std::sig_atomic_t raw_fd = -1;

// tcsetattr is async-signal-safe (POSIX.1-2017, 2.4.3).
void restore() {
  if (raw_fd < 0) return;
  tcsetattr(raw_fd, TCSAFLUSH, &saved_settings);
  raw_fd = -1;
}

void restore_and_die(int signal) {
  restore();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

}  // namespace

RawTerminal::RawTerminal(int fd) {
  if (raw_fd >= 0 || !isatty(fd) || tcgetattr(fd, &saved_settings) != 0) return;
  static const int at_exit = std::atexit(restore);
  static_cast<void>(at_exit);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT})
    std::signal(signal, restore_and_die);
  termios raw = saved_settings;
  cfmakeraw(&raw);
  raw.c_oflag |= OPOST;  // messages of ours still end their lines properly; guests send CR LF themselves
  raw_fd = fd;
  tcsetattr(fd, TCSANOW, &raw);
}

RawTerminal::~RawTerminal() {
  restore();
}

}  // namespace doppel::machine
