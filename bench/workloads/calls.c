// Control flow that costs a translator most: deep recursion, calls through pointers to changing targets, and
// a bytecode interpreter's indirect jumps. `calls ROUNDS`.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) static uint32_t fibonacci(uint32_t n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

#define OPERATIONS(X)                                                                                        \
  X(add, a + b)                                                                                              \
  X(sub, a - b) X(mul, a*(b | 1)) X(and, a&(b | 0xff00ff)) X(or, a | (b & 0xff)) X(xor, a ^ b)               \
      X(left, a << (b & 15) | a >> (32 - (b & 15)) % 32) X(right, a >> (b & 7)) X(not, ~a + b) X(neg, b - a) \
          X(odd, a & 1 ? a * 3 + 1 : a + b) X(less, a < b ? b : a + 7) X(swap, __builtin_bswap32(a) + b)     \
              X(mix, (a ^ a >> 15) * 0x2c1b3c6du + b) X(div, a / (b | 1) + a) X(rem, a % (b | 1) + (a << 3))

typedef uint32_t (*Operation)(uint32_t, uint32_t);

#define DEFINE(name, expression)                                                \
  __attribute__((noinline)) static uint32_t op_##name(uint32_t a, uint32_t b) { \
    return expression;                                                          \
  }
OPERATIONS(DEFINE)
#define POINTER(name, expression) op_##name,
static const Operation operations[16] = {OPERATIONS(POINTER)};

static uint32_t indirect_calls(uint32_t count) {
  uint32_t a = 1, selector = 12345;
  for (uint32_t i = 0; i < count; ++i) {
    selector = selector * 1103515245u + 12345;
    a = operations[selector >> 16 & 15](a, i);
  }
  return a;
}

#define LABEL(name, expression) &&do_##name,
#define CASE(name, expression) \
  do_##name : b += 0x9e37;     \
  a = expression;              \
  goto* labels[program[++at & 1023]];

static uint32_t bytecode(uint32_t count) {
  static const void* const labels[] = {OPERATIONS(LABEL) && finish};
  static uint8_t program[1024];
  uint32_t seed = 99;
  for (int i = 0; i < 1023; ++i) {
    seed = seed * 1664525u + 1013904223u;
    program[i] = seed >> 24 & 15;
  }
  program[1023] = 16;
  uint32_t a = 1, b = 2, at = 0;
  goto* labels[program[0]];
  OPERATIONS(CASE)
finish:
  if (--count == 0) return a;
  at = 0;
  goto* labels[program[0]];
}

int main(int argc, char** argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 1;
  uint64_t sum = 0;
  for (int i = 0; i < rounds; ++i) {
    sum = sum * 31 + fibonacci(27);
    sum = sum * 31 + indirect_calls(1000000);
    sum = sum * 31 + bytecode(3000);
  }
  printf("calls %016" PRIx64 "\n", sum);
}
