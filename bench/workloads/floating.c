// Floating point: `floating scalar|vector|x87 ROUNDS`. Only operations that IEEE 754 defines to the last bit,
// so every correct machine prints the same.
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODIES 5

#define DEFINE_PLANETS(name, Real, root)                                              \
  static Real name(int steps) {                                                       \
    Real x[BODIES][3], v[BODIES][3] = {{0}}, mass[BODIES], energy = 0;                \
    for (int i = 0; i < BODIES; ++i) {                                                \
      mass[i] = (Real)1 / (Real)(i + 1);                                              \
      for (int k = 0; k < 3; ++k) x[i][k] = (Real)((i * 7 + k * 3) % 11) - (Real)4.5; \
    }                                                                                 \
    for (int step = 0; step < steps; ++step) {                                        \
      for (int i = 0; i < BODIES; ++i) {                                              \
        for (int j = i + 1; j < BODIES; ++j) {                                        \
          Real d[3], square = (Real)0.01;                                             \
          for (int k = 0; k < 3; ++k) {                                               \
            d[k] = x[i][k] - x[j][k];                                                 \
            square += d[k] * d[k];                                                    \
          }                                                                           \
          Real pull = (Real)0.001 / (square * root(square));                          \
          for (int k = 0; k < 3; ++k) {                                               \
            v[i][k] -= d[k] * mass[j] * pull;                                         \
            v[j][k] += d[k] * mass[i] * pull;                                         \
          }                                                                           \
        }                                                                             \
      }                                                                               \
      for (int i = 0; i < BODIES; ++i)                                                \
        for (int k = 0; k < 3; ++k) x[i][k] += v[i][k] * (Real)0.001;                 \
    }                                                                                 \
    for (int i = 0; i < BODIES; ++i)                                                  \
      for (int k = 0; k < 3; ++k) energy += mass[i] * v[i][k] * v[i][k];              \
    return energy;                                                                    \
  }

#define DEFINE_SERIES(name, Real)                             \
  static Real name(int terms) {                               \
    Real pi = 0, e = 1;                                       \
    for (int i = terms; i > 0; --i) {                         \
      pi += (i & 1 ? (Real)4 : (Real)-4) / (Real)(2 * i - 1); \
      e = 1 + e / (Real)i;                                    \
    }                                                         \
    return pi * e;                                            \
  }

#define DEFINE_FRACTAL(name, Real)                         \
  static int name(int side) {                              \
    int inside = 0;                                        \
    for (int row = 0; row < side; ++row) {                 \
      for (int column = 0; column < side; ++column) {      \
        Real cr = (Real)3 * (Real)column / (Real)side - 2; \
        Real ci = (Real)2 * (Real)row / (Real)side - 1;    \
        Real zr = 0, zi = 0;                               \
        int i = 0;                                         \
        for (; i < 100 && zr * zr + zi * zi < 4; ++i) {    \
          Real t = zr * zr - zi * zi + cr;                 \
          zi = 2 * zr * zi + ci;                           \
          zr = t;                                          \
        }                                                  \
        inside += i;                                       \
      }                                                    \
    }                                                      \
    return inside;                                         \
  }

DEFINE_PLANETS(planets, double, sqrt)
DEFINE_SERIES(series, double)
DEFINE_FRACTAL(fractal, double)
DEFINE_PLANETS(planets_x87, long double, sqrtl)
DEFINE_SERIES(series_x87, long double)
DEFINE_FRACTAL(fractal_x87, long double)

static double scalar(void) {
  return planets(10000) + series(100000) + fractal(120) + (double)fminf(sqrtf(2.0f), 1.5f);
}

static double x87(void) {
  long double sum = planets_x87(4000) + series_x87(50000) + fractal_x87(80);
  uint64_t mantissa;
  memcpy(&mantissa, &sum, sizeof mantissa);
  return (double)(mantissa & 0xffffffffffff);
}

typedef float Floats __attribute__((vector_size(16)));
typedef double Doubles __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(16)));

enum { kSide = 96 };

static float multiply(void) {
  static Floats a[kSide][kSide / 4], b[kSide][kSide / 4], c[kSide][kSide / 4];
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide / 4; ++j) {
      a[i][j] = (Floats){(float)(i % 7), (float)(j % 5), 0.5f, (float)((i + j) % 3)};
      b[i][j] = (Floats){1.25f, (float)(j % 9), (float)(i % 4), -0.75f};
    }
  }
  for (int i = 0; i < kSide; ++i) {
    for (int j = 0; j < kSide / 4; ++j) c[i][j] = (Floats){0};
    for (int k = 0; k < kSide; ++k) {
      float factor = a[i][k / 4][k % 4];
      for (int j = 0; j < kSide / 4; ++j) c[i][j] += b[k][j] * factor;
    }
  }
  Floats sum = {0};
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide / 4; ++j) sum += c[i][j];
  return sum[0] + sum[1] + sum[2] + sum[3];
}

static double stencil(void) {
  enum { kCells = 4096 };
  static Doubles cells[kCells + 2], next[kCells + 2];
  for (int i = 0; i < kCells + 2; ++i) cells[i] = (Doubles){i % 17, i % 23};
  for (int step = 0; step < 60; ++step) {
    for (int i = 1; i <= kCells; ++i) next[i] = (cells[i - 1] + cells[i + 1]) * 0.25 + cells[i] * 0.5;
    memcpy(cells + 1, next + 1, sizeof(Doubles) * kCells);
  }
  Doubles sum = {0};
  for (int i = 0; i < kCells; ++i) sum += cells[i] / (cells[i + 1] + 1);
  return sum[0] + sum[1];
}

// Saturating blends and shuffles of pixels: what SSE2 integer code does all day.
static uint32_t pixels(void) {
  enum { kPixels = 1 << 16 };
  static Ints image[kPixels / 4];
  Ints seed = {1, 2, 3, 4}, sum = {0};
  for (int i = 0; i < kPixels / 4; ++i) image[i] = seed = seed * 1664525 + 1013904223;
  for (int turn = 0; turn < 4; ++turn) {
    for (int i = 0; i < kPixels / 4; ++i) {
      Ints low = image[i] & 0xff00ff, high = (image[i] >> 8) & 0xff00ff;
      Ints mixed = ((low * 3 + high) >> 2 & 0xff00ff) | ((high * 5) >> 1 & 0xff00ff) << 8;
      Ints brighter = mixed > image[i];
      image[i] = (mixed & brighter) | (__builtin_shuffle(image[i], (Ints){1, 0, 3, 2}) & ~brighter);
      sum += image[i];
    }
  }
  return (uint32_t)(sum[0] ^ sum[1] ^ sum[2] ^ sum[3]);
}

static double vector(void) {
  double sum = 0;
  for (int i = 0; i < 4; ++i) sum += (double)multiply() + stencil() + pixels();
  return sum;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  double (*kernel)(void) = !strcmp(argv[1], "vector") ? vector : !strcmp(argv[1], "x87") ? x87 : scalar;
  double sum = 0;
  for (int rounds = atoi(argv[2]); rounds > 0; --rounds) sum = sum * 0.5 + kernel();
  printf("%s %a\n", argv[1], sum);
}
