// Integer code of the kinds CoreMark made popular, and a few it lacks: linked lists, small matrices, a state
// machine, CRC, a prime sieve, 64-bit multiplication and division, bit counting. `integer ROUNDS`.
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 88172645463325252u;

static uint32_t next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 32);
}

enum { kSieve = 1 << 19 };

static uint32_t sieve(void) {
  static uint8_t composite[kSieve];
  uint32_t count = 0;
  memset(composite, 0, sizeof composite);
  for (uint32_t i = 2; i < kSieve; ++i) {
    if (composite[i]) continue;
    ++count;
    for (uint64_t j = (uint64_t)i * i; j < kSieve; j += i) composite[j] = 1;
  }
  return count;
}

static uint32_t crc32(const uint8_t* data, size_t length) {
  static uint32_t table[256];
  if (!table[1]) {
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t c = i;
      for (int k = 0; k < 8; ++k) c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
      table[i] = c;
    }
  }
  uint32_t crc = ~0u;
  for (size_t i = 0; i < length; ++i) crc = crc >> 8 ^ table[(crc ^ data[i]) & 255];
  return ~crc;
}

static uint32_t checksums(void) {
  static uint8_t data[1 << 18];
  for (size_t i = 0; i < sizeof data; ++i) data[i] = (uint8_t)next_random();
  return crc32(data, sizeof data);
}

typedef struct Node {
  struct Node* next;
  uint32_t key, value;
} Node;

static Node* merge(Node* a, Node* b) {
  Node head, *tail = &head;
  while (a && b) {
    Node** least = a->key <= b->key ? &a : &b;
    tail->next = *least;
    tail = *least;
    *least = (*least)->next;
  }
  tail->next = a ? a : b;
  return head.next;
}

static Node* sort(Node* list, size_t length) {
  if (length < 2) {
    if (list) list->next = 0;
    return list;
  }
  Node* middle = list;
  for (size_t i = 0; i < length / 2; ++i) middle = middle->next;
  Node* right = sort(middle, length - length / 2);
  return merge(sort(list, length / 2), right);
}

static uint32_t lists(void) {
  enum { kNodes = 4000 };
  static Node nodes[kNodes];
  Node* list = 0;
  for (uint32_t i = 0; i < kNodes; ++i) {
    nodes[i] = (Node){list, next_random() & 0xffff, i};
    list = &nodes[i];
  }
  list = sort(list, kNodes);
  uint32_t sum = 0, position = 0;
  for (int turn = 0; turn < 10; ++turn) {
    Node* reversed = 0;
    while (list) {
      Node* next = list->next;
      list->next = reversed;
      reversed = list;
      list = next;
    }
    list = reversed;
    for (Node* node = list; node; node = node->next) sum += node->value * ++position ^ node->key;
  }
  return sum;
}

static uint32_t matrices(void) {
  enum { kSide = 72 };
  static int16_t a[kSide][kSide], b[kSide][kSide];
  static int32_t c[kSide][kSide];
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide; ++j) {
      a[i][j] = (int16_t)next_random();
      b[i][j] = (int16_t)next_random();
    }
  }
  uint32_t sum = 0;
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide; ++j) {
      int64_t dot = 0;
      for (int k = 0; k < kSide; ++k) dot += (int32_t)a[i][k] * b[k][j] >> (k & 3);
      c[i][j] = (int32_t)dot;
      sum = sum * 31 + (uint32_t)c[i][j];
    }
  }
  return sum;
}

typedef enum { kStart, kSign, kInteger, kPoint, kFraction, kExponent, kInvalid, kStates } State;

static State step(State state, char c) {
  switch (state) {
    case kStart:
      return c == '+' || c == '-' ? kSign : c >= '0' && c <= '9' ? kInteger : c == '.' ? kPoint : kInvalid;
    case kSign:
      return c >= '0' && c <= '9' ? kInteger : c == '.' ? kPoint : kInvalid;
    case kInteger:
      return c >= '0' && c <= '9' ? kInteger : c == '.' ? kPoint : c == 'e' ? kExponent : kInvalid;
    case kPoint:
    case kFraction:
      return c >= '0' && c <= '9' ? kFraction : c == 'e' ? kExponent : kInvalid;
    case kExponent:
      return (c >= '0' && c <= '9') || c == '-' ? kExponent : kInvalid;
    default:
      return kInvalid;
  }
}

static uint32_t state_machine(void) {
  static const char alphabet[] = "0123456789012345678901234567+-.ee,,,,";
  static uint32_t ends[kStates];
  State state = kStart;
  uint32_t sum = 0;
  for (int i = 0; i < 200000; ++i) {
    char c = alphabet[next_random() % (sizeof alphabet - 1)];
    if (c == ',') {
      ++ends[state];
      state = kStart;
    } else {
      state = step(state, c);
    }
  }
  for (int i = 0; i < kStates; ++i) sum = sum * 31 + ends[i];
  return sum;
}

static uint64_t power(uint64_t base, uint64_t exponent, uint64_t modulus) {
  uint64_t result = 1;
  for (; exponent; exponent >>= 1, base = base * base % modulus)
    if (exponent & 1) result = result * base % modulus;
  return result;
}

static uint64_t arithmetic(void) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < 1500; ++i) sum += power(next_random(), next_random(), next_random() | 1);
  for (uint32_t i = 0; i < 100000; ++i) {
    unsigned __int128 wide = (unsigned __int128)(random_state ^ sum) * 0x9e3779b97f4a7c15u;
    sum = (uint64_t)(wide >> 64) ^ (sum << 11 | sum >> 53) ^ (uint64_t)__builtin_popcountll((uint64_t)wide);
    sum += (uint64_t)__builtin_ctzll(sum | 1ull << 63) - (uint64_t)__builtin_clzll(sum | 1);
  }
  return sum;
}

int main(int argc, char** argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 1;
  uint64_t sum = 0;
  for (int i = 0; i < rounds; ++i) {
    sum = sum * 31 + sieve();
    sum = sum * 31 + checksums();
    sum = sum * 31 + lists();
    sum = sum * 31 + matrices();
    sum = sum * 31 + state_machine();
    sum = sum * 31 + arithmetic();
  }
  printf("integer %016" PRIx64 "\n", sum);
}
