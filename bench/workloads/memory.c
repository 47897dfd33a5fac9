// The C library on memory: `memory copy|sort|strings|chase SIZE`.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 2463534242u;

static uint32_t next_random(void) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed;
}

// Copies of 16 bytes to 1 MiB, aligned and not; about 64 MiB a turn.
static uint64_t copy(int turns) {
  enum { kArea = 8 << 20 };
  uint8_t *from = malloc(kArea), *to = malloc(kArea);
  for (uint32_t i = 0; i < kArea; ++i) from[i] = (uint8_t)(i * 7 + (i >> 8));
  memset(to, 0, kArea);
  uint64_t sum = 0;
  for (int turn = 0; turn < turns; ++turn) {
    for (uint32_t bits = 4; bits <= 20; ++bits) {
      uint32_t length = 1u << bits, count = (1u << 22) / length;
      if (count > 8192) count = 8192;
      for (uint32_t i = 0; i < count; ++i) {
        uint32_t source = next_random() % (kArea - length), target = next_random() % (kArea - length);
        memcpy(to + target, from + source, length);
        sum += to[target] + to[target + length - 1];
      }
    }
    memmove(to + 1, to, kArea - 1);
    memset(to + kArea / 2, turn, kArea / 4);
  }
  for (uint32_t i = 0; i < kArea; i += 61) sum = sum * 31 + to[i];
  return sum;
}

static int compare_ints(const void* a, const void* b) {
  uint32_t x = *(const uint32_t*)a, y = *(const uint32_t*)b;
  return (x > y) - (x < y);
}

static int compare_texts(const void* a, const void* b) {
  return strcmp(*(char* const*)a, *(char* const*)b);
}

static uint64_t sort(int turns) {
  enum { kInts = 200000, kTexts = 50000 };
  static uint32_t ints[kInts];
  static char text[kTexts][16];
  static char* texts[kTexts];
  uint64_t sum = 0;
  for (int turn = 0; turn < turns; ++turn) {
    for (int i = 0; i < kInts; ++i) ints[i] = next_random();
    qsort(ints, kInts, sizeof ints[0], compare_ints);
    for (int i = 0; i < kTexts; ++i) {
      snprintf(text[i], sizeof text[i], "name-%u", next_random() % 100000);
      texts[i] = text[i];
    }
    qsort(texts, kTexts, sizeof texts[0], compare_texts);
    for (int i = 0; i < kInts; i += 97) sum = sum * 31 + ints[i];
    for (int i = 0; i < kTexts; i += 97) sum = sum * 31 + (uint8_t)texts[i][7];
  }
  return sum;
}

static uint64_t strings(int turns) {
  enum { kLength = 1 << 20 };
  char *text = malloc(kLength + 1), *twin = malloc(kLength + 1);
  for (int i = 0; i < kLength; ++i) text[i] = "etaoin shrdlu\n"[next_random() % 14];
  text[kLength] = 0;
  strcpy(twin, text);
  uint64_t sum = 0;
  for (int turn = 0; turn < turns; ++turn) {
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1)
      sum = sum * 31 + (uint64_t)(end - line);
    twin[turn * 997 % kLength] = 'X';
    for (int i = 0; i < 4; ++i)
      sum += strlen(text + i * 7) + (uint64_t)(memcmp(text + i, twin + i, kLength - 4) > 0);
    sum += (uint64_t)((char*)memchr(twin, 'X', kLength) - twin) + (strstr(text, "eeetaoinshr") != 0);
  }
  return sum;
}

// A random cycle through 32 MiB: every step misses the TLB and the caches.
static uint64_t chase(int turns) {
  enum { kNodes = 1 << 22, kSteps = 50000 };
  uint64_t* next = malloc(kNodes * sizeof *next);
  for (uint32_t i = 0; i < kNodes; ++i) next[i] = i;
  for (uint32_t i = 0; i < kSteps * 4; ++i) {
    uint32_t a = next_random() % kNodes, b = next_random() % kNodes;
    uint64_t t = next[a];
    next[a] = next[b];
    next[b] = t;
  }
  uint64_t at = 0, sum = 0;
  for (int turn = 0; turn < turns; ++turn) {
    for (int i = 0; i < kSteps; ++i) at = (next[at] * 2654435761u + (uint64_t)i) % kNodes;
    sum = sum * 31 + at;
  }
  return sum;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    uint64_t (*run)(int);
  } kernels[] = {{"copy", copy}, {"sort", sort}, {"strings", strings}, {"chase", chase}};
  if (argc < 3) return 2;
  for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; ++i)
    if (!strcmp(argv[1], kernels[i].name))
      printf("%s %016" PRIx64 "\n", argv[1], kernels[i].run(atoi(argv[2])));
}
