// Disk speed inside a guest: reads and writes a block device past the page cache, sequentially and at random,
// and says "@disk NAME go" and "@disk NAME stop OPERATIONS BYTES SUM" around each part, for bench/disk.py to time
// by the host's clock.
//   disk DEVICE MEGABYTES OPERATIONS
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Several passes, so that it is the disk that is measured and not how soon the engine has translated the kernel.
enum { kLarge = 1 << 20, kSmall = 4096, kThreads = 8, kPasses = 4 };

static const char* device;
static uint64_t megabytes, operations;

static void check(int good, const char* what) {
  if (good) return;
  printf("@disk failed %s: %s\n", what, strerror(errno));
  exit(1);
}

static char* buffer(size_t size) {
  void* memory;
  check(posix_memalign(&memory, 4096, size) == 0, "memory");
  memset(memory, 0x5a, size);
  return memory;
}

static uint64_t next(uint64_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  return *state ^= *state << 17;
}

static int open_device(int flags) {
  const int fd = open(device, flags | O_DIRECT);
  check(fd >= 0, "open");
  return fd;
}

static uint64_t sequential(int writes) {
  char* data = buffer(kLarge);
  uint64_t sum = 0;
  const int fd = open_device(writes ? O_WRONLY : O_RDONLY);
  for (uint64_t i = 0; i < megabytes * kPasses; ++i) {
    const uint64_t at = i % megabytes * kLarge;
    if (writes) memcpy(data, &i, sizeof i);
    const ssize_t done = writes ? pwrite(fd, data, kLarge, at) : pread(fd, data, kLarge, at);
    check(done == kLarge, "sequential");
    sum += (unsigned char)data[0];
  }
  if (writes) check(fsync(fd) == 0, "fsync");
  close(fd);
  free(data);
  return sum;
}

static uint64_t scattered(int writes, uint64_t seed, uint64_t count) {
  char* data = buffer(kSmall);
  uint64_t sum = 0, state = seed;
  const int fd = open_device(writes ? O_WRONLY : O_RDONLY);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t at = next(&state) % (megabytes * 256) * kSmall;
    const ssize_t done = writes ? pwrite(fd, data, kSmall, at) : pread(fd, data, kSmall, at);
    check(done == kSmall, "random");
    sum += (unsigned char)data[0];
  }
  if (writes) check(fsync(fd) == 0, "fsync");
  close(fd);
  free(data);
  return sum;
}

static void* reader(void* seed) {
  return (void*)(uintptr_t)scattered(0, (uint64_t)(uintptr_t)seed, operations / kThreads);
}

static uint64_t many(void) {
  pthread_t threads[kThreads];
  uint64_t sum = 0;
  for (uintptr_t i = 0; i < kThreads; ++i)
    check(pthread_create(&threads[i], NULL, reader, (void*)(i + 1)) == 0, "thread");
  for (int i = 0; i < kThreads; ++i) {
    void* part;
    pthread_join(threads[i], &part);
    sum += (uintptr_t)part;
  }
  return sum;
}

static void part(const char* name, int what) {
  printf("@disk %s go\n", name);
  uint64_t sum = 0, bytes = operations * kSmall, count = operations;
  switch (what) {
    case 0:
    case 1:
      sum = sequential(what);
      count = megabytes * kPasses;
      bytes = count * kLarge;
      break;
    case 2:
    case 3:
      sum = scattered(what == 3, 12345, operations);
      break;
    default:
      sum = many();
  }
  printf("@disk %s stop %llu %llu %llu\n", name, (unsigned long long)count, (unsigned long long)bytes,
         (unsigned long long)sum);
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  device = argv[1];
  megabytes = strtoull(argv[2], NULL, 10);
  operations = strtoull(argv[3], NULL, 10);
  setvbuf(stdout, NULL, _IONBF, 0);
  part("sequential-write", 1);
  part("sequential-read", 0);
  part("random-read", 2);
  part("random-write", 3);
  part("random-read-8", 4);
  printf("@disk done\n");
  return 0;
}
