// A sparse weight times a panel. The weight is cut into blocks of input features that fit the cache together
// with a panel; in each block, rows are compressed: where they begin, and for each nonzero its input feature
// within the block (16 bits) and its value.
#pragma once
#include "forms.h"

namespace KERNELS {

inline float value_of(float value) { return value; }

inline float value_of(uint16_t bfloat) {
  const uint32_t bits = uint32_t(bfloat) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

// output[row] = bias[row] + sum of values * input[feature], for VECS vectors of tokens from `offset` on. `starts` counts
// groups of GROUP values, which are floats or bfloat16. Between blocks, `sums` ([num_outputs][64 tokens]) holds the sums
// so far.
template <int VECS, int GROUP, class Value>
inline void sparse_rows(const Linear& weight, const Value* all_values, const float* input, float* sums, const Output& output, int offset) {
  const int rows = weight.num_outputs;
  const int blocks = (weight.num_inputs + weight.block - 1) / weight.block;
  for (int b = 0; b < blocks; b++) {
    const float* x = input + size_t(b) * weight.block * TOKENS + offset;
    const int32_t* starts = weight.starts + size_t(b) * (rows + 1);
    for (int r = 0; r < rows; r++) {
      float* so_far = sums + size_t(r) * TOKENS + offset;
      Values<VECS> sum;
      for (int j = 0; j < VECS; j++) sum.at[j] = b == 0 ? splat(weight.bias[r]) : load(so_far + j * LANES);
      const size_t begin = size_t(starts[r]) * GROUP;
      const uint16_t* inputs = weight.inputs + begin;
      const Value *values = all_values + begin, *end = all_values + size_t(starts[r + 1]) * GROUP;
      for (; values < end; values++, inputs++) {
        const float* column = x + size_t(*inputs) * TOKENS;
        const Vec value = splat(value_of(*values));
#pragma GCC unroll 8
        for (int j = 0; j < VECS; j++) sum.at[j] += value * load(column + j * LANES);
      }
      if (b + 1 == blocks) {
        write_output(output, r, offset, sum, VECS);
        continue;
      }
      for (int j = 0; j < VECS; j++) store(so_far + j * LANES, sum.at[j]);
    }
  }
}

// Vectors of tokens beyond the last that counts are left out.
template <int GROUP, class Value>
inline void sparse_linear(const Linear& weight, const Value* values, const float* input, float* sums, const Output& output, int num_tokens) {
  constexpr int AT_ONCE = VECTORS < 8 ? VECTORS : 8;  // as many sums as there are registers for
  const int vectors = (num_tokens + LANES - 1) / LANES;
  for (int first = 0; first < vectors; first += AT_ONCE) {
    const int left = vectors - first, offset = first * LANES;
    if (left > AT_ONCE / 2) sparse_rows<AT_ONCE, GROUP>(weight, values, input, sums, output, offset);
    else if (left > AT_ONCE / 4) sparse_rows<AT_ONCE / 2, GROUP>(weight, values, input, sums, output, offset);
    else sparse_rows<AT_ONCE / 4, GROUP>(weight, values, input, sums, output, offset);
  }
}

}  // namespace KERNELS
