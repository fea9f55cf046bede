// A sparse bfloat16 weight times a panel. The weight is cut into blocks of input features, and rows are compressed in
// each, as in sparse_linear.h. Nonzeros come in groups of two: `starts` counts groups, and a group has two entries in
// `inputs` and in `bfloats`; the second may be 0. Where the processor multiplies bfloat16, the panel is rounded to it;
// elsewhere weights are widened.
#pragma once
#include "bfloat_pairs.h"
#include "panel_product.h"
#include "sparse_linear.h"

namespace KERNELS {

#if HAS_BFLOATS

// For 32 * HALVES tokens. Between blocks, `so_far` ([num_outputs][64 tokens]) holds the sums.
template <int HALVES>
inline void bfloat_rows(const Linear& weight, const Operand& input, float* so_far, const Output& output, int vectors) {
  constexpr int SUMS = 2 * HALVES;
  const int rows = weight.num_outputs, blocks = (weight.num_inputs + weight.block - 1) / weight.block;
  for (int b = 0; b < blocks; b++) {
    const uint16_t* x = input.bfloats() + size_t(b) * weight.block * TOKENS;
    const int32_t* starts = weight.starts + size_t(b) * (rows + 1);
    for (int r = 0; r < rows; r++) {
      float* kept = so_far + size_t(r) * TOKENS;
      Values<SUMS> sums;
      for (int j = 0; j < SUMS; j++) sums.at[j] = b == 0 ? splat(weight.bias[r]) : load(kept + j * LANES);
      const int32_t end = starts[r + 1];
      for (int32_t n = starts[r]; n < end; n++) {
        const uint16_t* inputs = weight.inputs + size_t(n) * 2;
        const uint16_t *first = x + size_t(inputs[0]) * TOKENS, *second = x + size_t(inputs[1]) * TOKENS;
        int32_t two;
        std::memcpy(&two, weight.bfloats + size_t(n) * 2, 4);
        const __m512bh values = (__m512bh)_mm512_set1_epi32(two);
        for (int h = 0; h < HALVES; h++) {
          const __m512i a = _mm512_load_si512(first + h * 32), c = _mm512_load_si512(second + h * 32);
          sums.at[2 * h] = (Vec)_mm512_dpbf16_ps((__m512)sums.at[2 * h], (__m512bh)_mm512_unpacklo_epi16(a, c), values);
          sums.at[2 * h + 1] = (Vec)_mm512_dpbf16_ps((__m512)sums.at[2 * h + 1], (__m512bh)_mm512_unpackhi_epi16(a, c), values);
        }
      }
      if (b + 1 == blocks) {
        write_output(output, r, 0, sums, vectors);
        continue;
      }
      for (int j = 0; j < SUMS; j++) store(kept + j * LANES, sums.at[j]);
    }
  }
}

// Where most weights are not 0.
inline void dense_bfloat_linear(const Linear& weight, const Operand& input, float* sums, float* pairs, const Output& output, int vectors) {
  const int num_pairs = (weight.num_inputs + 1) / 2;
  pair_rows(input.bfloats(), weight.num_inputs, pairs);
  panel_product<OfBfloats>(reinterpret_cast<const float*>(weight.dense_bfloats), num_pairs, 1, pairs, sums, weight.num_outputs, num_pairs, false, vectors * LANES);
  for (int r = 0; r < weight.num_outputs; r++) {
    Values<VECTORS> values;
    for (int j = 0; j < VECTORS; j++) values.at[j] = load(sums + size_t(r) * TOKENS + j * LANES) + weight.bias[r];
    write_output(output, r, 0, values, vectors);
  }
}

//   sums: scratch, [num_outputs][64]; pairs: scratch, [(num_inputs + 1) / 2][64]
inline void bfloat_linear(const Linear& weight, const Operand& input, float* sums, float* pairs, const Output& output, int num_tokens) {
  const int vectors = (num_tokens + LANES - 1) / LANES;
  if (weight.dense_bfloats != nullptr) dense_bfloat_linear(weight, input, sums, pairs, output, vectors);
  else if (vectors > 2) bfloat_rows<2>(weight, input, sums, output, vectors);
  else bfloat_rows<1>(weight, input, sums, output, vectors);
}

#else

inline void bfloat_linear(const Linear& weight, const Operand& input, float* sums, float*, const Output& output, int num_tokens) {
  sparse_linear<2>(weight, weight.bfloats, input.floats(), sums, output, num_tokens);
}

#endif

}  // namespace KERNELS
