// Vectors of floats in the compiler's own extension: the same source becomes SSE, AVX2, AVX-512 or NEON code.
// Each instruction set compiles everything below into a namespace of its own (KERNELS), so that no inline
// function of one is taken for that of another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace KERNELS {

constexpr int LANES = VECTOR_BYTES / 4;
constexpr int TOKENS = 64;               // of a panel
constexpr int VECTORS = TOKENS / LANES;  // of a panel's row

typedef float Vec __attribute__((vector_size(VECTOR_BYTES), may_alias));
typedef int32_t IntVec __attribute__((vector_size(VECTOR_BYTES), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const Vec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<Vec*>(to) = value; }
inline Vec splat(float value) { return Vec{} + value; }

// nan stays nan in the second argument, as in torch.maximum it does in both; the callers put data there.
inline Vec max(Vec bound, Vec value) { return bound > value ? bound : value; }
inline Vec min(Vec bound, Vec value) { return bound < value ? bound : value; }

// exp with a relative error of 2e-7; 0 below -87.3, inf above 88.7, nan for nan.
inline Vec exp(Vec x) {
  const Vec clamped = min(splat(89.f), max(splat(-88.f), x));
  const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number
  const Vec n = (clamped * 1.44269504f + magic) - magic;
  Vec r = clamped - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Vec p = splat(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.f;
  // 2^n in two factors, so that neither leaves the range of floats.
  const IntVec whole = __builtin_convertvector(n, IntVec), half = whole >> 1;
  const IntVec low = (half + 127) << 23, high = (whole - half + 127) << 23;
  return p * (Vec)low * (Vec)high;
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
  return c * p / q;
}

}  // namespace KERNELS
