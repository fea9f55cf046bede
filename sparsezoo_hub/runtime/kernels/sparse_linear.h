// A sparse weight times a panel. The weight is cut into blocks of input features that fit the cache together
// with a panel; in each block, rows are compressed: where they begin, and for each nonzero its input feature
// within the block (16 bits) and its value.
#pragma once
#include "interface.h"
#include "vectors.h"

namespace KERNELS {

// output[row] = bias[row] + sum of values * input[feature], for VECS vectors of tokens from `offset` on.
template <int VECS>
inline void sparse_rows(const Linear& weight, const float* input, float* output, int offset) {
  const int rows = weight.num_outputs;
  const int blocks = (weight.num_inputs + weight.block - 1) / weight.block;
  for (int b = 0; b < blocks; b++) {
    const float* x = input + size_t(b) * weight.block * TOKENS + offset;
    const int32_t* starts = weight.starts + size_t(b) * (rows + 1);
    for (int r = 0; r < rows; r++) {
      float* y = output + size_t(r) * TOKENS + offset;
      Vec sum[VECS];
      for (int j = 0; j < VECS; j++) sum[j] = b == 0 ? splat(weight.bias[r]) : load(y + j * LANES);
      const int32_t end = starts[r + 1];
      for (int32_t i = starts[r]; i < end; i++) {
        const float* column = x + size_t(weight.inputs[i]) * TOKENS;
        const Vec value = splat(weight.values[i]);
#pragma GCC unroll 8
        for (int j = 0; j < VECS; j++) sum[j] += value * load(column + j * LANES);
      }
      for (int j = 0; j < VECS; j++) store(y + j * LANES, sum[j]);
    }
  }
}

// Vectors of tokens beyond the last that counts are left out.
inline void sparse_linear(const Linear& weight, const float* input, float* output, int num_tokens) {
  constexpr int AT_ONCE = VECTORS < 8 ? VECTORS : 8;  // as many sums as there are registers for
  const int vectors = (num_tokens + LANES - 1) / LANES;
  for (int first = 0; first < vectors; first += AT_ONCE) {
    const int left = vectors - first, offset = first * LANES;
    if (left > AT_ONCE / 2) sparse_rows<AT_ONCE>(weight, input, output, offset);
    else if (left > AT_ONCE / 4) sparse_rows<AT_ONCE / 2>(weight, input, output, offset);
    else sparse_rows<AT_ONCE / 4>(weight, input, output, offset);
  }
}

}  // namespace KERNELS
