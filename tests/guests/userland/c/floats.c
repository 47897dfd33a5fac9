// Scalar floating point: SSE and x87, rounding modes, exception flags, denormals, conversions, long double.
#define _GNU_SOURCE
#include <complex.h>
#include <fenv.h>
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile double one = 1, three = 3, huge = 1e308, tiny = 5e-324, zero = 0;
static volatile long double lone = 1, lthree = 3, lhuge = 1e4932L;
static volatile float fthree = 3, ftiny = 1e-45f;

static uint64_t hash = 14695981039346656037u;
static void mix(const void* data, size_t size) {
  for (const unsigned char* p = data; size--; ++p) hash = (hash ^ *p) * 1099511628211u;
}

static void flags(const char* what) {
  const int raised = fetestexcept(FE_ALL_EXCEPT);
  printf("%s:%s%s%s%s%s\n", what, raised & FE_INVALID ? " invalid" : "", raised & FE_DIVBYZERO ? " zero" : "",
         raised & FE_OVERFLOW ? " overflow" : "", raised & FE_UNDERFLOW ? " underflow" : "",
         raised & FE_INEXACT ? " inexact" : "");
  feclearexcept(FE_ALL_EXCEPT);
}

static void modes(void) {
  static const int all[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  for (int i = 0; i < 4; ++i) {
    fesetround(all[i]);
    const double d = one / three;
    const float f = 1 / fthree;
    const long double l = lone / lthree;
    printf("mode %d: %a %a %La %a %.0f %ld %lld\n", i, d, f, l, -d, rint(2.5 * one), lrint(-1.5 * one),
           llrintl(2.5L * lone));
    printf("  %a %La %a\n", sqrt(2 * one), sqrtl(2 * lone), (double)(float)(0.1 * one));
  }
  fesetround(FE_TONEAREST);
}

static void exceptions(void) {
  feclearexcept(FE_ALL_EXCEPT);
  volatile double d;
  volatile long double l;
  volatile int n;
  d = one / zero, flags("division");
  d = huge * 10, flags("overflow");
  d = tiny / 2, flags("underflow");
  d = zero / zero, flags("invalid");
  d = one / three, flags("inexact");
  l = lhuge * lhuge, flags("long overflow");
  l = lone / (long double)zero, flags("long division");
  n = (int)(huge * one), flags("conversion");
  printf("%d %d\n", n, (int)lrintl(-lhuge) == (int)0x80000000);
  d = sqrt(-one), flags("root");
  d = (float)tiny * ftiny, flags("small float");
  (void)d, (void)l;
}

static void series(void) {
  uint64_t x = 88172645463325252u;
  for (int i = 0; i < 60000; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    double d;
    memcpy(&d, &x, 8);
    if (d != d) continue;  // which quiet NaN comes out is the compiler's choice
    float f = (float)d;
    long double l = (long double)d * 3 + (long double)(int64_t)x;
    const double from_long = (double)l;
    const int64_t whole = fabs(d) < 9e18 ? (int64_t)d : 0;
    const uint64_t natural = d > 0 && d < 1.8e19 ? (uint64_t)d : 0;
    mix(&f, 4), mix(&l, 10), mix(&from_long, 8), mix(&whole, 8), mix(&natural, 8);
    int exponent;
    const double parts[] = {frexp(d, &exponent), ldexp(fmod(d, 1e3), 3), nextafter(d, 0), trunc(d), floor(f), fma(f, 3, 1)};
    for (int k = 0; k < 6; ++k)
      if (parts[k] == parts[k]) mix(&parts[k], 8);
    mix(&exponent, 4);
    const int order = (d < f) | (d <= from_long) << 1 | (l > d) << 2 | isunordered(d, f) << 3 | (signbit(d) != 0) << 4;
    mix(&order, 4);
  }
  printf("series %016llx\n", (unsigned long long)hash);
}

static void functions(void) {
  for (double v = -3.3; v < 4; v += 1.1)
    printf("%.13g %.13g %.13g %.13g %.13g %.13g\n", sin(v), exp(v), atan(v), tgamma(v), erf(v), cbrt(v));
  for (long double v = -2.7L; v < 3; v += 1.3L)
    printf("%.17Lg %.17Lg %.17Lg %.17Lg %.17Lg\n", sinl(v), tanl(v), expl(v), logl(fabsl(v)), atan2l(v, 2));
  const double complex z = cexp(I * one) * csqrt(-2 + I * three);
  printf("%.13g %.13g %.13g\n", creal(z), cimag(z), cabs(z));
  printf("%.36Lf %Lg %Lg %a\n", 1 / lthree, LDBL_MIN, LDBL_MAX, strtod("0x1.fffffffffffff8p1", NULL));
  printf("%.20g %s\n", strtod("2.2250738585072011e-308", NULL), strtold("1e-4950", NULL) > 0 ? "denormal" : "zero");
}

int main(void) {
  modes();
  exceptions();
  series();
  functions();
}
