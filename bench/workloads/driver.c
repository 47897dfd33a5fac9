// Runs workloads and reports on standard output when each begins and ends; the reader takes the times. It is
// /init of the benchmark's guests and an ordinary program in the same tree on the host.
//
//   BENCH=name:size,...      what to run, in order; the names are those of /bench/table.txt
//
// Prints, each on a line of its own:
//   @bench ready                                          user land is up
//   @bench go NAME  ...  @bench stop NAME                  around the workload
//   @bench result NAME STATUS NANOSECONDS HASH LENGTH TEXT  exit status, its own clock, hash and end of its
//   output
//   @bench done
#define _GNU_SOURCE
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { kTail = 48, kLine = 256 };

typedef struct {
  uint64_t hash;
  uint64_t length;
  char tail[kTail];
} Output;

static int64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

// Returns when the line has left the (emulated) UART: what follows is not charged with its transmission.
static void say(const char* line) {
  (void)!write(1, line, strlen(line));
  tcdrain(1);
}

static void mark(const char* event, const char* name) {
  char line[kLine];
  snprintf(line, sizeof line, "@bench %s %s\n", event, name);
  say(line);
}

// FNV-1a over 8-byte words of each read; reads are always full except for the last one.
static void absorb(Output* out, const char* data, size_t length) {
  for (size_t i = 0; i < length; i += 8) {
    uint64_t word = 0;
    memcpy(&word, data + i, length - i < 8 ? length - i : 8);
    out->hash = (out->hash ^ word) * UINT64_C(0x100000001b3);
    out->hash ^= out->hash >> 29;
  }
  size_t keep = length < kTail ? length : kTail;
  memmove(out->tail, out->tail + keep, kTail - keep);
  memcpy(out->tail + kTail - keep, data + length - keep, keep);
  out->length += length;
}

static void drain(int fd, Output* out) {
  static char buffer[1 << 16];
  size_t fill = 0;
  ssize_t got;
  while ((got = read(fd, buffer + fill, sizeof buffer - fill)) > 0) {
    fill += (size_t)got;
    if (fill < sizeof buffer) continue;
    absorb(out, buffer, fill);
    fill = 0;
  }
  absorb(out, buffer, fill);
}

static int run(const char* command, const char* name, const char* size, Output* out) {
  int ends[2], status = 0;
  if (pipe(ends) != 0) return 255;
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1);
    close(ends[0]);
    close(ends[1]);
    execl("/bin/sh", "sh", "-c", command, name, size, (char*)0);
    _exit(127);
  }
  close(ends[1]);
  drain(ends[0], out);
  close(ends[0]);
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The command of `name` in the table, or null.
static const char* find(const char* name) {
  static char line[1024];
  static char found[64];
  const char* command = 0;
  FILE* table = fopen("table.txt", "r");
  while (table && !command && fgets(line, sizeof line, table)) {
    int start = 0;
    if (sscanf(line, "%63s %*s %*s %n", found, &start) == 1 && start > 0 && strcmp(found, name) == 0)
      command = line + start;
  }
  if (table) fclose(table);
  return command;
}

static void benchmark(const char* name, const char* size) {
  const char* command = find(name);
  Output out = {.hash = UINT64_C(0xcbf29ce484222325)};
  int status = 127;
  mark("go", name);
  int64_t start = now();
  if (command) status = run(command, name, size, &out);
  int64_t nanoseconds = now() - start;
  mark("stop", name);

  char text[kTail + 1], line[kLine];
  size_t keep = out.length < kTail ? out.length : kTail;
  for (size_t i = 0; i < keep; ++i) {
    unsigned char c = (unsigned char)out.tail[kTail - keep + i];
    text[i] = isgraph(c) ? (char)c : '.';
  }
  text[keep] = 0;
  snprintf(line, sizeof line, "@bench result %s %d %" PRId64 " %016" PRIx64 " %" PRIu64 " %s\n", name, status,
           nanoseconds, out.hash, out.length, text);
  say(line);
}

int main(void) {
  const int is_init = getpid() == 1;
  if (is_init) {
    mount("dev", "/dev", "devtmpfs", 0, 0);
    mount("proc", "/proc", "proc", 0, 0);
  }
  mount("tmp", "/tmp", "tmpfs", 0,
        0);  // on the host allowed only in a namespace of our own; elsewhere /tmp serves
  // One guest CPU against one host CPU.
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(sched_getcpu(), &one);
  sched_setaffinity(0, sizeof one, &one);
  setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  setenv("PYTHONHASHSEED", "0", 1);
  setenv("HOME", "/tmp", 1);
  say("@bench ready\n");

  char* list = getenv("BENCH");
  if (list && chdir("/bench") == 0) {
    for (char* item = strtok(list, ","); item; item = strtok(0, ",")) {
      char* size = strchr(item, ':');
      if (!size) continue;
      *size++ = 0;
      benchmark(item, size);
    }
  }
  say("@bench done\n");
  if (is_init) reboot(RB_POWER_OFF);
  return 0;
}
