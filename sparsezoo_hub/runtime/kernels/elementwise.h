// What is done to each entry of a panel: activation functions.
#pragma once
#include "vectors.h"

namespace KERNELS {

enum Activation : int32_t { NONE = -1, GELU = 0, GELU_TANH = 1, RELU = 2, SILU = 3 };

inline Vec activated(Vec x, int32_t kind) {
  if (kind == GELU) return 0.5f * x * (1.f + erf(x * 0.70710678118f));
  if (kind == RELU) return max(Vec{}, x);
  const Vec z = kind == SILU ? x : 1.5957691216f * (x + 0.044715f * x * x * x);  // 2 * sqrt(2 / pi)
  return x / (1.f + exp(-z));
}

}  // namespace KERNELS
