// A dense product with a panel: output[row][token] (+)= sum over k of a(row, k) * input[k][token], where a lies
// at a[row * row_stride + k * k_stride]. Dense weights, scores of attention and its mix of values are all this.
#pragma once
#include "vectors.h"

namespace KERNELS {

template <int ROWS, int VECS>
inline void product_tile(const float* a, ptrdiff_t row_stride, ptrdiff_t k_stride, const float* input, float* output, int num_k, bool add) {
  Vec sum[ROWS][VECS];
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) sum[i][j] = add ? load(output + size_t(i) * TOKENS + j * LANES) : Vec{};
  for (int k = 0; k < num_k; k++) {
    Vec x[VECS];
    for (int j = 0; j < VECS; j++) x[j] = load(input + size_t(k) * TOKENS + j * LANES);
    const float* column = a + k * k_stride;
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; i++) {
      const Vec value = splat(column[i * row_stride]);
#pragma GCC unroll 4
      for (int j = 0; j < VECS; j++) sum[i][j] += value * x[j];
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) store(output + size_t(i) * TOKENS + j * LANES, sum[i][j]);
}

template <int VECS>
inline void product_columns(const float* a, ptrdiff_t row_stride, ptrdiff_t k_stride, const float* input, float* output, int num_rows, int num_k, bool add) {
  constexpr int ROWS = VECTOR_BYTES == 64 ? 6 : VECS == 2 ? 6 : 4;
  int row = 0;
  for (; row + ROWS <= num_rows; row += ROWS)
    product_tile<ROWS, VECS>(a + row * row_stride, row_stride, k_stride, input, output + size_t(row) * TOKENS, num_k, add);
  for (; row < num_rows; row++)
    product_tile<1, VECS>(a + row * row_stride, row_stride, k_stride, input, output + size_t(row) * TOKENS, num_k, add);
}

inline void panel_product(const float* a, ptrdiff_t row_stride, ptrdiff_t k_stride, const float* input, float* output, int num_rows, int num_k, bool add, int num_tokens) {
  constexpr int VECS = VECTOR_BYTES == 64 ? 4 : 2;
  for (int first = 0; first * LANES < num_tokens; first += VECS)
    product_columns<VECS>(a, row_stride, k_stride, input + first * LANES, output + first * LANES, num_rows, num_k, add);
}

}  // namespace KERNELS
