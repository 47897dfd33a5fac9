// The kernel's side: `system exec|syscalls|pipe|switches|faults|files SIZE`.
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int good, const char* what) {
  if (good) return;
  perror(what);
  exit(1);
}

// Each child becomes a dynamically linked program.
static uint64_t exec(long count) {
  uint64_t sum = 0;
  for (long i = 0; i < count; ++i) {
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
      execl("/bin/true", "true", (char*)0);
      _exit(127);
    }
    int status;
    check(waitpid(child, &status, 0) == child, "waitpid");
    sum += (uint64_t)(status == 0);
  }
  return sum;
}

static uint64_t syscalls(long thousands) {
  uint64_t sum = 0;
  for (long i = 0; i < thousands * 1000; ++i) sum += (uint64_t)(syscall(SYS_getppid) >= 0);
  return sum;
}

static uint64_t transfer(long megabytes) {
  enum { kChunk = 65536 };
  static uint8_t buffer[kChunk];
  int ends[2];
  check(pipe(ends) == 0, "pipe");
  long total = megabytes << 20;
  pid_t child = fork();
  check(child >= 0, "fork");
  if (child == 0) {
    for (long sent = 0; sent < total; sent += kChunk) {
      buffer[0] = (uint8_t)(sent >> 16);
      check(write(ends[1], buffer, kChunk) == kChunk, "write");
    }
    _exit(0);
  }
  close(ends[1]);
  uint64_t sum = 0;
  long received = 0;
  for (ssize_t got; (got = read(ends[0], buffer, kChunk)) > 0; received += got)
    if (received % kChunk == 0) sum = sum * 31 + buffer[0];
  check(waitpid(child, 0, 0) == child, "waitpid");
  return sum + (uint64_t)received;
}

// A byte back and forth between two processes on one CPU: two switches each time.
static uint64_t switches(long thousands) {
  int there[2], back[2];
  uint8_t byte = 1;
  check(pipe(there) == 0 && pipe(back) == 0, "pipe");
  pid_t child = fork();
  check(child >= 0, "fork");
  if (child == 0) {
    close(there[1]);
    while (read(there[0], &byte, 1) == 1) {
      byte = (uint8_t)(byte * 5 + 1);
      check(write(back[1], &byte, 1) == 1, "write");
    }
    _exit(0);
  }
  uint64_t sum = 0;
  for (long i = 0; i < thousands * 1000; ++i) {
    check(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "pipe");
    sum = sum * 31 + byte;
  }
  close(there[1]);
  check(waitpid(child, 0, 0) == child, "waitpid");
  return sum;
}

// Map, touch, protect, touch through a fork (copy on write), unmap: page faults of each kind.
static uint64_t faults(long turns) {
  enum { kPage = 4096, kPages = 8192 };
  uint64_t sum = 0;
  for (long turn = 0; turn < turns; ++turn) {
    uint8_t* area =
        mmap(0, (size_t)kPages * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(area != MAP_FAILED, "mmap");
    madvise(area, (size_t)kPages * kPage, MADV_NOHUGEPAGE);
    for (long i = 0; i < kPages; ++i) area[i * kPage] = (uint8_t)(i + turn);
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
      for (long i = 0; i < kPages; i += 4) ++area[i * kPage];
      _exit(area[kPage * 4]);
    }
    int status;
    check(waitpid(child, &status, 0) == child, "waitpid");
    check(mprotect(area, (size_t)kPages * kPage, PROT_READ) == 0, "mprotect");
    for (long i = 0; i < kPages; ++i) sum = sum * 31 + area[i * kPage];
    sum += (uint64_t)WEXITSTATUS(status);
    munmap(area, (size_t)kPages * kPage);
    for (int i = 0; i < 500; ++i) {
      uint8_t* page = mmap(0, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      check(page != MAP_FAILED, "mmap");
      *page = (uint8_t)i;
      sum += *page;
      munmap(page, kPage);
    }
  }
  return sum;
}

// 500 small files a turn: create, write, stat, read back, delete.
static uint64_t files(long turns) {
  char directory[] = "/tmp/filesXXXXXX", name[64];
  static char data[6000];
  uint64_t sum = 0;
  check(mkdtemp(directory) != 0 && chdir(directory) == 0, "mkdtemp");
  for (long turn = 0; turn < turns; ++turn) {
    for (int i = 0; i < 500; ++i) {
      snprintf(name, sizeof name, "file-%d", i);
      memset(data, i, sizeof data);
      int file = open(name, O_CREAT | O_RDWR, 0600);
      check(file >= 0, "open");
      check(write(file, data, sizeof data - (size_t)i) == (ssize_t)sizeof data - i, "write");
      close(file);
    }
    for (int i = 0; i < 500; ++i) {
      struct stat status;
      snprintf(name, sizeof name, "file-%d", i);
      check(stat(name, &status) == 0, "stat");
      int file = open(name, O_RDONLY);
      check(file >= 0 && read(file, data, sizeof data) == status.st_size, "read");
      close(file);
      sum = sum * 31 + (uint64_t)status.st_size + (uint8_t)data[100];
      check(unlink(name) == 0, "unlink");
    }
  }
  check(chdir("/") == 0 && rmdir(directory) == 0, "rmdir");
  return sum;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    uint64_t (*run)(long);
  } kernels[] = {{"exec", exec},         {"syscalls", syscalls}, {"pipe", transfer},
                 {"switches", switches}, {"faults", faults},     {"files", files}};
  if (argc < 3) return 2;
  for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; ++i)
    if (!strcmp(argv[1], kernels[i].name))
      printf("%s %016" PRIx64 "\n", argv[1], kernels[i].run(atol(argv[2])));
}
