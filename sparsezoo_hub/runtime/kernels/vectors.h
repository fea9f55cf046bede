// Vectors of floats in the compiler's own extension: the same source becomes SSE, AVX2, AVX-512 or NEON code.
// Each instruction set compiles everything below into a namespace of its own (KERNELS), so that no inline
// function of one is taken for that of another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if VECTOR_BYTES > 16
#include <immintrin.h>
#endif

#ifdef __AVX512BF16__
#define HAS_BFLOATS 1
#else
#define HAS_BFLOATS 0
#endif

namespace KERNELS {

constexpr int LANES = VECTOR_BYTES / 4;
constexpr int TOKENS = 64;               // of a panel
constexpr int VECTORS = TOKENS / LANES;  // of a panel's row

typedef float Vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t IntVec __attribute__((vector_size(VECTOR_BYTES), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }
// Less 0, not plus: that is nothing to compute, for -0 - 0 is -0.
inline Vec splat(float value) { return value - Vec{}; }

// nan stays nan in the second argument, as in torch.maximum it does in both; the callers put data there.
inline Vec max(Vec bound, Vec value) { return bound > value ? bound : value; }
inline Vec min(Vec bound, Vec value) { return bound < value ? bound : value; }

// value * 2^n, for whole n from -150 to 129.
inline Vec scaled(Vec value, Vec n) {
#if VECTOR_BYTES == 64
  return (Vec)_mm512_scalef_ps((__m512)value, (__m512)n);
#else
  // In two factors, so that neither leaves the range of floats.
  const IntVec whole = __builtin_convertvector(n, IntVec), half = whole >> 1;
  const IntVec low = (half + 127) << 23, high = (whole - half + 127) << 23;
  return value * (Vec)low * (Vec)high;
#endif
}

// 2^x with a relative error of 2e-7; 0 below -150, inf above 128, nan for nan. The polynomial was fitted to the least
// largest relative error.
inline Vec exp2(Vec x) {
  const Vec clamped = min(splat(129.f), max(splat(-150.f), x));
  const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number
  const Vec n = (clamped + magic) - magic, r = clamped - n;
  Vec p = splat(1.327640761e-03f);
  p = p * r + 9.675540676e-03f;
  p = p * r + 5.550713437e-02f;
  p = p * r + 2.402211975e-01f;
  p = p * r + 6.931469670e-01f;
  p = p * r + 1.000000072e+00f;
  return scaled(p, n);
}

// For large x as exact as x / ln 2 is in floats.
inline Vec exp(Vec x) { return exp2(x * 1.44269504f); }

// 1 / x within two of the last bit, for x that is neither 0 nor tiny nor huge.
inline Vec reciprocal(Vec x) {
#if VECTOR_BYTES == 64
  // An estimate of 14 bits and a step of Newton's take a fraction of a division's time.
  const Vec estimate = (Vec)_mm512_rcp14_ps((__m512)x);
  return estimate * (2.f - x * estimate);
#else
  return 1.f / x;
#endif
}

// erf as a rational function (that of Eigen), with an absolute error of 2e-7.
inline Vec erf(Vec x) {
  const Vec c = min(splat(4.f), max(splat(-4.f), x)), u = c * c;
  Vec p = splat(-2.72614225801306e-10f);
  p = p * u + 2.77068142495902e-08f;
  p = p * u + -2.10102402082508e-06f;
  p = p * u + -5.69250639462346e-05f;
  p = p * u + -7.34990630326855e-04f;
  p = p * u + -2.95459980854025e-03f;
  p = p * u + -1.60960333262415e-02f;
  Vec q = splat(-1.45660718464996e-05f);
  q = q * u + -2.13374055278905e-04f;
  q = q * u + -1.68282697438203e-03f;
  q = q * u + -7.37332916720468e-03f;
  q = q * u + -1.42647390514189e-02f;
  return c * p * reciprocal(q);
}

}  // namespace KERNELS
