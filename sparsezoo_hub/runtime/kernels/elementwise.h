// What is done to each entry of a panel, or to each token's features: activation functions, LayerNorm.
#pragma once
#include "vectors.h"

namespace KERNELS {

enum Activation : int32_t { GELU = 0, GELU_TANH = 1, RELU = 2, SILU = 3 };

inline Vec activated(Vec x, int32_t kind) {
  if (kind == GELU) return 0.5f * x * (1.f + erf(x * 0.70710678118f));
  if (kind == RELU) return max(Vec{}, x);
  const Vec z = kind == SILU ? x : 1.5957691216f * (x + 0.044715f * x * x * x);  // 2 * sqrt(2 / pi)
  return x / (1.f + exp(-z));
}

inline void activate(float* panel, int num_features, int32_t kind, int num_tokens) {
  for (int k = 0; k < num_features; k++)
    for (int t = 0; t < num_tokens; t += LANES) {
      float* at = panel + size_t(k) * TOKENS + t;
      store(at, activated(load(at), kind));
    }
}

// panel = LayerNorm(panel + residual) over the features of each token.
inline void add_and_normalize(float* panel, const float* residual, const float* gain, const float* bias, float epsilon, int num_features, int num_tokens) {
  for (int t = 0; t < num_tokens; t += LANES) {
    Vec sum{};
    for (int k = 0; k < num_features; k++) {
      float* at = panel + size_t(k) * TOKENS + t;
      const Vec x = load(at) + load(residual + size_t(k) * TOKENS + t);
      store(at, x);
      sum += x;
    }
    const Vec mean = sum / float(num_features);
    Vec squares{};
    for (int k = 0; k < num_features; k++) {
      const Vec d = load(panel + size_t(k) * TOKENS + t) - mean;
      squares += d * d;
    }
    const Vec variance = squares / float(num_features) + epsilon;
    Vec scale;
    for (int j = 0; j < LANES; j++) scale[j] = 1.f / __builtin_sqrtf(variance[j]);
    for (int k = 0; k < num_features; k++) {
      float* at = panel + size_t(k) * TOKENS + t;
      store(at, (load(at) - mean) * scale * gain[k] + bias[k]);
    }
  }
}

}  // namespace KERNELS
