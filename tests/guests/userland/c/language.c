// What compilers make of C: wide integers, bit fields, jump tables, computed jumps, recursion, variable arguments,
// long jumps, string functions, sorting, structures by value.
#define _GNU_SOURCE
#include <ctype.h>
#include <search.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static uint64_t state = 88172645463325252u;
static uint64_t next(void) { return state ^= state << 13, state ^= state >> 7, state ^= state << 17; }

typedef unsigned __int128 u128;
typedef struct {
  unsigned a : 3;
  int b : 11;
  uint64_t c : 45;
  _Bool d : 1;
} Bits;
typedef struct {
  double x;
  long n;
  char text[24];
} Value;

static Value twice(Value v) {
  v.x *= 2, v.n <<= 1, strcat(v.text, "!");
  return v;
}

static void integers(void) {
  u128 product = 1;
  int64_t sum = 0;
  uint32_t rotated = 1;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t a = next(), b = next() | 1;
    product = product * a + (u128)b * b / (a >> 40 | 1) % 1000003;
    sum += (int64_t)a / (int32_t)(b | 1) + (int64_t)a % (int16_t)(b | 1) + (int8_t)a * (int8_t)b;
    rotated = (rotated << (a % 31 + 1) | rotated >> (31 - a % 31)) + (uint32_t)__builtin_bswap64(b);
    sum += __builtin_popcountll(a) + __builtin_clzll(b) + __builtin_ctz((unsigned)b) + (a >> 63 ? 3 : -5);
    int64_t out;
    sum += __builtin_mul_overflow((int64_t)a, (int64_t)(b >> 50), &out) + __builtin_add_overflow((int64_t)a, (int64_t)b, &out);
    Bits bits = {(unsigned)a & 7, (int)(b & 1023) - 512, a >> 19, b >> 1 & 1};
    bits.b -= bits.a, bits.c += (uint64_t)bits.b & 0xffff;
    sum += bits.b + (int64_t)bits.c + bits.d;
  }
  printf("%016llx%016llx %lld %08x\n", (unsigned long long)(product >> 64), (unsigned long long)product, (long long)sum, rotated);
}

static int machine(const char* program) {
  static const void* const kOps[] = {&&add, &&subtract, &&square, &&loop, &&stop};
  int value = 1, count = 0;
  const char* at = program;
#define NEXT goto* kOps[*at++ - 'a']
  NEXT;
add:
  value += 7;
  NEXT;
subtract:
  value -= 3;
  NEXT;
square:
  value = (int)((unsigned)value * (unsigned)value % 1000033);
  NEXT;
loop:
  if (++count < 10000) at = program;
  NEXT;
stop:
  return value;
}

static long ackermann(long m, long n) {
  return m == 0 ? n + 1 : ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

static int collect(const char* kinds, ...) {
  va_list list;
  double sum = 0;
  va_start(list, kinds);
  for (; *kinds; ++kinds) switch (*kinds) {
      case 'i': sum += va_arg(list, int); break;
      case 'd': sum += va_arg(list, double); break;
      case 'l': sum += (double)va_arg(list, long double); break;
      case 's': sum += (double)strlen(va_arg(list, char*)); break;
      case 'v': sum += va_arg(list, Value).x; break;
      default: sum -= 1;
    }
  va_end(list);
  return (int)(sum * 100);
}

static jmp_buf buffer;
static void thrower(int n) {
  if (n == 0) longjmp(buffer, 1);
  thrower(n - 1);
}

static int by_value(const void* a, const void* b) {
  const uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
  return (x > y) - (x < y);
}

static void strings(void) {
  static char text[5000], copy[5100];
  uint64_t sum = 0;
  for (int i = 0; i < 4990; ++i) text[i] = (char)(' ' + next() % 90);
  for (int i = 0; i < 3000; ++i) {
    const size_t from = next() % 4000, size = next() % 900, to = next() % 4000;
    memmove(text + to, text + from, size);
    memset(text + from, (int)(33 + i % 90), size / 9);
    memcpy(copy + i % 64, text + from, size);
    sum = sum * 31 + strlen(text + from) + (uint64_t)(memcmp(copy + i % 64, text + to, size) > 0);
    const char* found = strchr(text + from, 'q');
    sum += found ? (uint64_t)(found - text) : 7;
    found = memmem(text, 4900, text + from, 5);
    sum += found ? (uint64_t)(found - text) : 11;
    sum += strspn(text + from, "abcdefghijklmnop !\"#") + (strcasecmp(text + from, text + to) > 0) + strnlen(copy, size);
  }
  printf("strings %llu\n", (unsigned long long)sum);
  wchar_t wide[64];
  swprintf(wide, 64, L"%ls %d %.3f", L"wide", -12, 2.5);
  printf("%ls %zu\n", wide, wcslen(wide));
}

int main(void) {
  integers();
  printf("machine %d\n", machine("acbacabde"));
  printf("ackermann %ld\n", ackermann(2, 300));
  const Value v = twice(twice((Value){1.25, 3, "value"}));
  printf("%g %ld %s %d\n", v.x, v.n, v.text, collect("idlsvids?", 3, 2.5, 1.25L, "four", v, 9, 0.75, "eleven"));
  volatile int thrown = 0;
  for (volatile int i = 0; i < 1000; ++i)
    if (setjmp(buffer) == 0)
      thrower(i % 50);
    else
      ++thrown;
  printf("thrown %d\n", thrown);
  static uint64_t numbers[20000];
  for (int i = 0; i < 20000; ++i) numbers[i] = next() >> 20;
  qsort(numbers, 20000, 8, by_value);
  printf("sorted %llu %llu\n", (unsigned long long)numbers[0], (unsigned long long)numbers[12345]);
  void* root = NULL;
  for (int i = 0; i < 5000; ++i) tsearch(&numbers[(i * 37) % 20000], &root, by_value);
  printf("tree %d\n", tfind(&numbers[37], &root, by_value) != NULL);
  strings();
}
