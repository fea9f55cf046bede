// A dense product with a panel: output[row][token] (+)= sum over k of a(row, k) * input[k][token], where a lies
// at a[row * row_stride + k * k_stride]. Dense weights, scores of attention and its mix of values are all this. What
// lies at a k is a float, or as many bytes of two bfloat16 or four codes; sums of codes are whole numbers.
#pragma once
#include "vectors.h"

namespace KERNELS {

struct OfFloats {
  static Vec add(Vec sum, Vec a, Vec x) { return sum + a * x; }
};

#if HAS_BFLOATS
struct OfBfloats {
  static Vec add(Vec sum, Vec a, Vec x) { return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)x); }
};
#endif

#ifdef __AVX512VNNI__
struct OfCodes {
  static Vec add(Vec sum, Vec a, Vec x) { return (Vec)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)x, (__m512i)a); }
};
#endif

template <class Product, int ROWS, int VECS>
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
      for (int j = 0; j < VECS; j++) sum[i][j] = Product::add(sum[i][j], value, x[j]);
    }
  }
  for (int i = 0; i < ROWS; i++)
    for (int j = 0; j < VECS; j++) store(output + size_t(i) * TOKENS + j * LANES, sum[i][j]);
}

template <class Product, int VECS>
inline void product_columns(const float* a, ptrdiff_t row_stride, ptrdiff_t k_stride, const float* input, float* output, int num_rows, int num_k, bool add) {
  constexpr int ROWS = 6;
  int row = 0;
  for (; row + ROWS <= num_rows; row += ROWS)
    product_tile<Product, ROWS, VECS>(a + row * row_stride, row_stride, k_stride, input, output + size_t(row) * TOKENS, num_k, add);
  for (; row + 4 <= num_rows; row += 4)
    product_tile<Product, 4, VECS>(a + row * row_stride, row_stride, k_stride, input, output + size_t(row) * TOKENS, num_k, add);
  for (; row < num_rows; row++)
    product_tile<Product, 1, VECS>(a + row * row_stride, row_stride, k_stride, input, output + size_t(row) * TOKENS, num_k, add);
}

template <class Product>
inline void panel_product(const float* a, ptrdiff_t row_stride, ptrdiff_t k_stride, const float* input, float* output, int num_rows, int num_k, bool add, int num_tokens) {
  constexpr int VECS = VECTOR_BYTES == 64 ? 4 : 2;
  for (int first = 0; first * LANES < num_tokens; first += VECS)
    product_columns<Product, VECS>(a, row_stride, k_stride, input + first * LANES, output + first * LANES, num_rows, num_k, add);
}

}  // namespace KERNELS
