// LayerNorm over the features of each token of a panel.
#pragma once
#include "forms.h"

namespace KERNELS {

// For VECS vectors of tokens from `offset` on.
template <int VECS>
inline void normalize_columns(float* panel, const float* residual, const float* gain, const float* bias, float epsilon, int num_features, const Operand& copy, int offset) {
  Vec mean[VECS] = {}, scale[VECS] = {};
  for (int k = 0; k < num_features; k++)
    for (int j = 0; j < VECS; j++) {
      const size_t at = size_t(k) * TOKENS + offset + j * LANES;
      const Vec x = load(panel + at) + load(residual + at);
      store(panel + at, x);
      mean[j] += x;
    }
  for (int j = 0; j < VECS; j++) mean[j] /= float(num_features);
  for (int k = 0; k < num_features; k++)
    for (int j = 0; j < VECS; j++) {
      const Vec d = load(panel + size_t(k) * TOKENS + offset + j * LANES) - mean[j];
      scale[j] += d * d;
    }
  for (int j = 0; j < VECS; j++) {
    const Vec variance = scale[j] / float(num_features) + epsilon;
    for (int i = 0; i < LANES; i++) scale[j][i] = 1.f / __builtin_sqrtf(variance[i]);
  }
  for (int k = 0; k < num_features; k++) {
    Vec values[VECS];
    for (int j = 0; j < VECS; j++) {
      float* at = panel + size_t(k) * TOKENS + offset + j * LANES;
      values[j] = (load(at) - mean[j]) * scale[j] * gain[k] + bias[k];
      store(at, values[j]);
    }
    if (copy.form != Form::FLOATS) write_row(copy, k, offset, values, VECS);
  }
}

// panel = LayerNorm(panel + residual); and a copy of it in the form of `copy`, unless that is floats.
inline void add_and_normalize(float* panel, const float* residual, const float* gain, const float* bias, float epsilon, int num_features, const Operand& copy, int num_tokens) {
  begin(copy);
  const int vectors = (num_tokens + LANES - 1) / LANES;
  for (int first = 0; first < vectors; first += 4) {
    constexpr decltype(&normalize_columns<4>) by_number[] = {normalize_columns<1>, normalize_columns<2>, normalize_columns<3>, normalize_columns<4>};
    by_number[vectors - first < 4 ? vectors - first - 1 : 3](panel, residual, gain, bias, epsilon, num_features, copy, first * LANES);
  }
}

}  // namespace KERNELS
