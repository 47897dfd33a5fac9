// Vector instructions of every generation that the processor says it has, on pseudo-random data.
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { kBytes = 1 << 14 };
static _Alignas(64) uint8_t in[kBytes + 64], out[kBytes + 64];
static uint64_t hash;

static void start(void) {
  uint64_t x = 88172645463325252u;
  for (int i = 0; i < kBytes; i += 8) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memcpy(in + i, &x, 8);
  }
  memset(out, 0, sizeof out);
}
static void finish(const char* name) {
  hash = 14695981039346656037u;
  for (int i = 0; i < kBytes; ++i) hash = (hash ^ out[i]) * 1099511628211u;
  printf("%s %016llx\n", name, (unsigned long long)hash);
}

#define WIDE(i) _mm_loadu_si128((const __m128i*)(in + (i)))
#define PUT(i, v) _mm_storeu_si128((__m128i*)(out + (i)), v)

static void sse2(void) {
  start();
  __m128i state = _mm_setzero_si128();
  for (int i = 0; i < kBytes - 16; i += 13) {  // unaligned
    __m128i a = WIDE(i), b = WIDE((i * 7 + 3) % (kBytes - 16));
    state = _mm_add_epi32(_mm_xor_si128(state, a), _mm_madd_epi16(a, b));
    state = _mm_unpacklo_epi8(_mm_adds_epu8(state, b), _mm_subs_epi16(a, state));
    state = _mm_or_si128(_mm_slli_epi64(state, 5), _mm_packs_epi32(_mm_srai_epi32(b, 9), _mm_shuffle_epi32(state, 0x4e)));
    state = _mm_add_epi64(state, _mm_mul_epu32(a, _mm_sad_epu8(a, b)));
    PUT(i, _mm_xor_si128(state, _mm_set1_epi32(_mm_movemask_epi8(_mm_cmpgt_epi8(a, b)))));
  }
  finish("sse2");
  __m128d d = _mm_set_pd(1.5, -2.25);
  __m128 f = _mm_set_ps(1, 2, 3, 4);
  for (int i = 0; i < 1000; ++i) {
    d = _mm_add_pd(_mm_mul_pd(d, _mm_set1_pd(0.999)), _mm_cvtepi32_pd(_mm_set1_epi32(i % 17)));
    d = _mm_sqrt_pd(_mm_andnot_pd(_mm_set1_pd(-0.0), _mm_shuffle_pd(d, d, 1)));
    f = _mm_div_ps(_mm_add_ps(f, _mm_cvtpd_ps(d)), _mm_max_ps(f, _mm_set1_ps(1.5f)));
  }
  printf("%.17g %.17g %.9g\n", _mm_cvtsd_f64(d), _mm_cvtsd_f64(_mm_unpackhi_pd(d, d)), _mm_cvtss_f32(f));
}

__attribute__((target("sse4.2,ssse3,popcnt"))) static void sse4(void) {
  start();
  uint32_t sum = 0;
  for (int i = 0; i < kBytes - 16; i += 11) {
    __m128i a = WIDE(i), b = WIDE((i * 5 + 1) % (kBytes - 16));
    __m128i v = _mm_shuffle_epi8(a, _mm_abs_epi8(b));
    v = _mm_add_epi32(_mm_mullo_epi32(v, b), _mm_minpos_epu16(_mm_blendv_epi8(a, b, v)));
    v = _mm_hadd_epi16(_mm_alignr_epi8(v, a, 5), _mm_mulhrs_epi16(a, b));
    sum = (uint32_t)_mm_crc32_u64(sum, (uint64_t)_mm_extract_epi64(v, 1)) + (uint32_t)_mm_popcnt_u64((uint64_t)_mm_cvtsi128_si64(v));
    sum += (uint32_t)_mm_cmpestri(a, 7, b, 16, _SIDD_UBYTE_OPS | _SIDD_CMP_RANGES) + (uint32_t)_mm_testz_si128(a, v);
    PUT(i, _mm_add_epi32(_mm_mpsadbw_epu8(v, a, 5), _mm_insert_epi32(v, (int)sum, 2)));
  }
  finish("sse4.2");
  printf("%08x\n", sum);
}

__attribute__((target("aes,pclmul,sse4.1"))) static void crypto(void) {
  start();
  __m128i s = WIDE(0);
  for (int i = 0; i < kBytes - 16; i += 16) {
    s = _mm_aesenc_si128(s, WIDE(i));
    s = _mm_xor_si128(_mm_aesdeclast_si128(s, _mm_aesimc_si128(WIDE(i))), _mm_clmulepi64_si128(s, WIDE(i), 0x10));
    PUT(i, _mm_xor_si128(s, _mm_aeskeygenassist_si128(s, 0x1b)));
  }
  finish("aes, pclmul");
}

__attribute__((target("sha,sse4.1"))) static void sha(void) {
  start();
  __m128i a = WIDE(0), b = WIDE(16);
  for (int i = 0; i < kBytes - 16; i += 16) {
    const __m128i c = _mm_sha256rnds2_epu32(a, b, WIDE(i));
    b = _mm_sha1rnds4_epu32(_mm_sha256msg1_epu32(a, b), _mm_sha1nexte_epu32(c, b), 2);
    a = _mm_sha256msg2_epu32(c, _mm_sha1msg1_epu32(b, a));
    PUT(i, a);
  }
  finish("sha");
}

__attribute__((target("avx2,fma,f16c,bmi,bmi2,lzcnt,movbe"))) static void avx2(void) {
  start();
  __m256i s = _mm256_set1_epi8(7);
  uint64_t n = 1;
  for (int i = 0; i < kBytes - 32; i += 19) {
    __m256i a = _mm256_loadu_si256((const __m256i*)(in + i));
    s = _mm256_add_epi32(_mm256_permutevar8x32_epi32(s, a), _mm256_shuffle_epi8(a, s));
    s = _mm256_xor_si256(_mm256_sllv_epi32(s, _mm256_and_si256(a, _mm256_set1_epi32(31))), _mm256_broadcastw_epi16(_mm256_castsi256_si128(a)));
    s = _mm256_blendv_epi8(_mm256_mullo_epi16(s, a), _mm256_i32gather_epi32((const int*)in, _mm256_and_si256(a, _mm256_set1_epi32(4095)), 2), a);
    _mm256_storeu_si256((__m256i*)(out + i), _mm256_permute4x64_epi64(s, 0x39));
    n = _pext_u64(n * 0x9e3779b97f4a7c15u, ~(uint64_t)i) + _pdep_u64(n, 0xf0f0f0f0f0f0f0f0u) + _lzcnt_u64(n) + _tzcnt_u64(n) + _blsr_u64(n) + _bzhi_u64(n, (unsigned)i % 64) + _andn_u64(n, 12345);
  }
  finish("avx2");
  printf("bmi %016llx\n", (unsigned long long)n);
  __m256 f = _mm256_set_ps(1, 2, 3, 4, 5, 6, 7, 8);
  __m256d d = _mm256_set_pd(1, 2, 3, 4);
  for (int i = 0; i < 1000; ++i) {
    f = _mm256_fmadd_ps(f, _mm256_set1_ps(0.875f), _mm256_cvtph_ps(_mm_set1_epi16((short)(0x3c00 + i))));
    d = _mm256_fnmsub_pd(d, _mm256_set1_pd(0.25), _mm256_cvtps_pd(_mm256_extractf128_ps(f, 1)));
    f = _mm256_add_ps(_mm256_round_ps(_mm256_hsub_ps(f, _mm256_permute_ps(f, 0x1b)), 1), _mm256_set_ps(8, 7, 6, 5, 4, 3, 2, 1));
  }
  float fs[8];
  double ds[4];
  _mm256_storeu_ps(fs, f);
  _mm256_storeu_pd(ds, d);
  for (int i = 0; i < 4; ++i) printf("%.9g %.9g %.17g\n", fs[i], fs[i + 4], ds[i]);
  _mm256_maskstore_epi32((int*)out, _mm256_set_epi32(-1, 0, -1, 0, -1, 0, -1, 0), s);
  finish("masked");
}

int main(void) {
  sse2();
  if (__builtin_cpu_supports("sse4.2")) sse4();
  if (__builtin_cpu_supports("aes") && __builtin_cpu_supports("pclmul")) crypto();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) avx2();
  unsigned leaf7_b = 0, ignored_a, ignored_c, ignored_d;
  __asm__("cpuid" : "=a"(ignored_a), "=b"(leaf7_b), "=c"(ignored_c), "=d"(ignored_d) : "a"(7), "c"(0));
  if (leaf7_b >> 29 & 1) sha();
}
