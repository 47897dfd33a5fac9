// Processor exceptions as a program sees them: signal, code, address, registers; jumps out of handlers; alternate stack.
#define _GNU_SOURCE
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

static sigjmp_buf back;
static volatile sig_atomic_t number, code, trap, error, ticks, skip;
static void* volatile address;
static char* page;

static void caught(int signal_number, siginfo_t* info, void* context) {
  __asm__ volatile("pushfq; andq $~0x40000, (%%rsp); popfq" : : : "memory", "cc");  // AC stays set in handlers
  ucontext_t* at = context;
  number = signal_number, code = info->si_code, address = info->si_addr;
  trap = (int)at->uc_mcontext.gregs[REG_TRAPNO], error = (int)at->uc_mcontext.gregs[REG_ERR];
  if (skip) {
    at->uc_mcontext.gregs[REG_RIP] += skip;
    at->uc_mcontext.gregs[REG_RCX] = 77;
    at->uc_mcontext.gregs[REG_EFL] &= ~0x40000ll;
    return;
  }
  siglongjmp(back, 1);
}

#define CATCH(name, ...)                                                                                      \
  do {                                                                                                        \
    number = 0;                                                                                               \
    if (!sigsetjmp(back, 1)) { __VA_ARGS__; }                                                                 \
    printf("%s: signal %d code %d trap %d error %x", name, number, code, (int)trap, (unsigned)error);         \
    if (number == SIGSEGV && trap == 14) printf(" page%+ld", (long)((char*)address - page));                  \
    puts("");                                                                                                 \
  } while (0)

static volatile int zero, smallest = -2147483647 - 1, minus_one = -1;
static volatile double dzero;
static volatile long double lzero;

static void tick(int signal_number) { (void)signal_number, ++ticks; }

static int deep(int n) {
  volatile char room[512];
  room[0] = (char)n;
  return n == 0 ? 0 : deep(n - 1) + room[0];
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  static char stack[1 << 16];
  sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  struct sigaction action = {.sa_sigaction = caught, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  const int all[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGTRAP};
  for (int i = 0; i < 5; ++i) sigaction(all[i], &action, NULL);
  page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(page + 4096, 4096, PROT_READ);
  munmap(page + 8192, 4096);

  volatile int n;
  CATCH("integer division", n = 10 / zero);
  CATCH("integer overflow", n = smallest / minus_one);
  (void)n;
  CATCH("write to read-only", page[4096 + 12] = 1);
  CATCH("read of nothing", n = ((volatile char*)page)[8192 + 4]);
  CATCH("across the end", *(volatile uint64_t*)(page + 8192 - 3) += 1);
  CATCH("execute data", ((void (*)(void))(uintptr_t)(page + 16))());
  CATCH("not canonical", __asm__ volatile("movb $1, (%0)" : : "r"(0x8000000000000000u) : "memory"));
  CATCH("privileged", __asm__ volatile("hlt"));
  CATCH("port", __asm__ volatile("outb %%al, $0x80" : : "a"(0)));
  CATCH("undefined", __asm__ volatile("ud2"));
  CATCH("breakpoint", __asm__ volatile("int3"));
  CATCH("vector misaligned", __asm__ volatile("movaps 8(%0), %%xmm0" : : "r"((uintptr_t)page & ~15ull) : "xmm0"));
  const int traps = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW;  // handlers start, and jump back, with all masked
  CATCH("double division", feenableexcept(traps); dzero = 1 / dzero);
  dzero = 0;
  CATCH("double invalid", feenableexcept(traps); dzero = dzero / dzero);
  CATCH("long double division", feenableexcept(traps); lzero = 1 / lzero; __asm__ volatile("fwait"));
  __asm__ volatile("fninit");
  feclearexcept(FE_ALL_EXCEPT), fedisableexcept(FE_ALL_EXCEPT);
  CATCH("single step", __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" : : : "memory", "cc"));
  CATCH("alignment check",
        __asm__ volatile("pushfq; orq $0x40000, (%%rsp); popfq; movl 1(%0), %%eax; nop" : : "r"(page) : "eax", "memory", "cc"));

  // A handler that repairs: skips the instruction and sets a register; flags and the rest stay.
  skip = 2;
  uint64_t rcx = 5, kept = 9, flags;
  __asm__ volatile("stc; ud2; pushfq; popq %1" : "+c"(rcx), "=r"(flags), "+S"(kept) : : "cc");
  printf("repaired: rcx %d rsi %d carry %d\n", (int)rcx, (int)kept, (int)(flags & 1));
  skip = 0;

  // Stack overflow, on the alternate stack.
  const pid_t child = fork();
  if (child == 0) {
    number = 0;
    if (!sigsetjmp(back, 1)) deep(1 << 30);
    _exit(number == SIGSEGV ? 42 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  printf("stack overflow: %d\n", WEXITSTATUS(status));

  // Memory that a handler makes writable, page by page.
  char* area = mmap(NULL, 64 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  volatile int faults = 0;
  for (volatile int i = 0; i < 64 * 4096; i += 512) {
    if (sigsetjmp(back, 1)) {
      ++faults;
      mprotect((char*)((uintptr_t)address & ~4095ull), 4096, PROT_READ | PROT_WRITE);
    }
    area[i] = (char)i;
  }
  printf("pages: %d\n", faults);

  // Interrupts of a loop.
  signal(SIGALRM, tick);
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 2000}, {0, 2000}}, NULL);
  volatile double v = 1;
  while (ticks < 20) v = v * 1.0000001 + 1e-9;
  setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
  printf("ticks: %d\n", ticks >= 20);
}
