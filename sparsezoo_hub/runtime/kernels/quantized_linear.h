// An int8 sparse weight times a panel, in whole numbers, whose sums are exact in whatever order. The panel is
// rounded to codes first, [feature][64 tokens] of bytes; a quarter of the floats.
//
// The weight is cut into blocks of input features, and rows are compressed in each, as in sparse_linear.h. Nonzeros
// come in groups of four: `starts` counts groups, and a group has four entries in `inputs` and in `codes`. The two
// weights of a pair (first and second, third and fourth) have the same sign, that of the second; the first may be 0,
// and the second if the first is not negative.
#pragma once
#include "byte_vectors.h"
#include "interface.h"

namespace KERNELS {

// codes = round(input / scale) + zero_point within 0 and 255, as torch.fake_quantize_per_tensor_affine rounds: the
// input is multiplied by 1 / scale, halves go to even. What lies beyond, inf too, is the nearest code. Codes have
// no nan: spoiled[token] is nan if a feature of the token was nan or inf, else 0. Returns whether all were 0.
inline bool to_codes(const Linear& weight, const float* input, int8_t* codes, float* spoiled, int num_tokens) {
  const Vec lowest = splat(float(-weight.zero_point)), highest = splat(float(255 - weight.zero_point));
  const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number, in the last bits
  const IntVec origin = (IntVec)magic + (128 - weight.zero_point);
  Vec all{};
  for (int first = 0; first < TOKENS; first += VECTOR_BYTES) {
    Vec zeros[4] = {};
    for (int k = 0; k < weight.num_inputs; k++) {
      IntVec numbers[4] = {};
      for (int j = 0; j < 4; j++) {
        if (first + j * LANES >= num_tokens) continue;
        const Vec x = load(input + size_t(k) * TOKENS + first + j * LANES);
        zeros[j] += x * 0.f;
        numbers[j] = (IntVec)(min(highest, max(lowest, x * weight.inverse_scale)) + magic) - origin;
      }
      store_codes(numbers, codes + size_t(k) * TOKENS + first);
    }
    for (int j = 0; j < 4; j++) {
      store(spoiled + first + j * LANES, zeros[j]);
      all += zeros[j];
    }
  }
  float sum = 0.f;
  for (int j = 0; j < LANES; j++) sum += all[j];
  return sum == 0.f;
}

// For NUM vectors of bytes from token `offset` on. Between blocks, the output's memory holds the sums so far.
template <int NUM>
inline void quantized_rows(const Linear& weight, const int8_t* codes, float* output, int offset, int num_tokens) {
  constexpr int SUMS = 4 * NUM;
  const int rows = weight.num_outputs, blocks = (weight.num_inputs + weight.block - 1) / weight.block;
  const int vectors = (num_tokens - offset + LANES - 1) / LANES;  // that are written
  for (int b = 0; b < blocks; b++) {
    const int8_t* x = codes + size_t(b) * weight.block * TOKENS + offset;
    const int32_t* starts = weight.starts + size_t(b) * (rows + 1);
    for (int r = 0; r < rows; r++) {
      float* y = output + size_t(r) * TOKENS + offset;
      IntVec sums[SUMS] = {};
      if (b > 0)
        for (int j = 0; j < SUMS; j++) sums[j] = j < vectors ? (IntVec)load(y + j * LANES) : IntVec{};
      const int32_t end = starts[r + 1];
      for (int32_t i = starts[r]; i < end; i++) {
        const uint16_t* inputs = weight.inputs + size_t(i) * 4;
        const int8_t *first = x + size_t(inputs[0]) * TOKENS, *second = x + size_t(inputs[1]) * TOKENS;
        const int8_t *third = x + size_t(inputs[2]) * TOKENS, *fourth = x + size_t(inputs[3]) * TOKENS;
        const FourWeights four = four_weights(weight.codes + size_t(i) * 4);
#pragma GCC unroll 4
        for (int p = 0; p < NUM; p++) {
          const int at = p * VECTOR_BYTES;
          add_products(four, first + at, second + at, third + at, fourth + at, sums + 4 * p);
        }
      }
      const bool is_last = b + 1 == blocks;
      for (int j = 0; j < SUMS; j++) {
        if (j >= vectors) continue;
        const Vec value = __builtin_convertvector(sums[j] + weight.offsets[r], Vec) * weight.scales[r] + weight.bias[r];
        store(y + j * LANES, is_last ? value : (Vec)sums[j]);
      }
    }
  }
}

//   codes, spoiled: scratch, [num_inputs][64 tokens] and [64 tokens]
inline void quantized_linear(const Linear& weight, const float* input, float* output, int8_t* codes, float* spoiled, int num_tokens) {
  constexpr int AT_ONCE = PARTS < 2 ? PARTS : 2;  // as many sums as there are registers for
  const bool is_finite = to_codes(weight, input, codes, spoiled, num_tokens);
  for (int offset = 0; offset < num_tokens; offset += AT_ONCE * VECTOR_BYTES) {
    if (num_tokens - offset > VECTOR_BYTES) quantized_rows<AT_ONCE>(weight, codes, output, offset, num_tokens);
    else quantized_rows<1>(weight, codes, output, offset, num_tokens);
  }
  if (is_finite) return;
  for (int r = 0; r < weight.num_outputs; r++)
    for (int t = 0; t < num_tokens; t += LANES) {
      float* at = output + size_t(r) * TOKENS + t;
      store(at, load(at) + load(spoiled + t));
    }
}

}  // namespace KERNELS
