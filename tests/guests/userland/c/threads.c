// Threads, locks, conditions, atomics, thread-local storage, barriers, pipes between processes.
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kThreads = 8, kRounds = 20000 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static long plain;
static _Atomic long counted;
static _Atomic uint32_t spin;
static _Thread_local long mine;
static int turn;

typedef struct {
  _Alignas(16) unsigned __int128 value;
} Wide;
static Wide wide;

__attribute__((target("cx16"))) static void add_wide(void) {
  uint64_t low = (uint64_t)wide.value, high = (uint64_t)(wide.value >> 64);
  unsigned char done;
  do {
    const unsigned __int128 next = ((unsigned __int128)high << 64 | low) + ((unsigned __int128)3 << 63) + 1;
    __asm__ volatile("lock cmpxchg16b %1; setz %0"
                     : "=q"(done), "+m"(wide.value), "+a"(low), "+d"(high)
                     : "b"((uint64_t)next), "c"((uint64_t)(next >> 64))
                     : "cc", "memory");
  } while (!done);
}

static void* work(void* argument) {
  const long id = (long)argument;
  for (int i = 0; i < kRounds; ++i) {
    pthread_mutex_lock(&lock);
    ++plain;
    pthread_mutex_unlock(&lock);
    atomic_fetch_add(&counted, id);
    if (i % 16 == 0) {
      while (atomic_exchange(&spin, 1)) sched_yield();
      mine += wide.value != 0;
      atomic_store(&spin, 0);
    }
    if (i % 8 == 0) add_wide();
    mine += i;
  }
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < 200; ++i) {
    pthread_mutex_lock(&lock);
    while (turn % kThreads != id) pthread_cond_wait(&changed, &lock);
    ++turn;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
  }
  return (void*)(mine > 0 ? id : -1000);
}

int main(void) {
  pthread_t threads[kThreads];
  pthread_barrier_init(&barrier, NULL, kThreads);
  for (long i = 0; i < kThreads; ++i) pthread_create(&threads[i], NULL, work, (void*)i);
  long sum = 0;
  for (int i = 0; i < kThreads; ++i) {
    void* result;
    pthread_join(threads[i], &result);
    sum += (long)result;
  }
  printf("%ld %ld %ld %d\n", plain, (long)counted, sum, turn);
  printf("%016llx %016llx\n", (unsigned long long)(wide.value >> 64), (unsigned long long)wide.value);

  // Processes that share memory and pipes.
  sem_t* semaphore = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  long* shared = (long*)(semaphore + 1);
  sem_init(semaphore, 1, 1);
  int ends[2];
  if (pipe(ends)) return 1;
  for (int i = 0; i < 6; ++i)
    if (fork() == 0) {
      for (int k = 0; k < 1000; ++k) {
        sem_wait(semaphore);
        *shared += k % 7;
        sem_post(semaphore);
      }
      const char byte = (char)('a' + i);
      _exit(write(ends[1], &byte, 1) != 1);
    }
  int failed = 0, status;
  while (wait(&status) > 0) failed += status != 0;
  char bytes[6];
  long total = 0;
  for (ssize_t got = read(ends[0], bytes, 6); got > 0; --got) total += bytes[got - 1];
  printf("%ld %d %ld\n", *shared, failed, total);
}
