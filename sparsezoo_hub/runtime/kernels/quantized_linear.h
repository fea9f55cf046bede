// An int8 sparse weight times a panel of codes, in whole numbers, whose sums are exact in whatever order.
//
// The weight is cut into blocks of input features, and rows are compressed in each, as in sparse_linear.h. Nonzeros
// come in groups of four: `starts` counts groups, and a group has four entries in `inputs` and in `codes`. The two
// weights of a pair (first and second, third and fourth) have the same sign, that of the second; the first may be 0,
// and the second if the first is not negative.
#pragma once
#include "forms.h"
#include "panel_product.h"

namespace KERNELS {

// Sums of codes of an output feature, for NUM vectors of tokens from `offset` on, become values. The first `number`
// are written.
template <int NUM>
inline void write_sums(const Linear& weight, const Operand& input, const Output& output, int row, int offset, Sums<NUM> sums, int number) {
  const IntVec zeros = IntVec{} + (MIDDLE - weight.zero_point) * weight.sums[row];  // what inputs of 0 add up to
  Values<NUM> values;
  for (int j = 0; j < NUM; j++)
    values.at[j] = __builtin_convertvector(sums.at[j] + zeros, Vec) * weight.scales[row] + (load(input.spoiled + offset + j * LANES) + weight.bias[row]);
  write_output(output, row, offset, values, number);
}

// For NUM vectors of bytes from token `offset` on. Between blocks, `so_far` ([num_outputs][64 tokens]) holds the sums.
template <int NUM>
inline void quantized_rows(const Linear& weight, const Operand& input, int32_t* so_far, const Output& output, int offset, int num_tokens) {
  constexpr int SUMS = 4 * NUM;
  const int rows = weight.num_outputs, blocks = (weight.num_inputs + weight.block - 1) / weight.block;
  const int left = (num_tokens - offset + LANES - 1) / LANES, vectors = left < SUMS ? left : SUMS;  // that are written
  for (int b = 0; b < blocks; b++) {
    const int8_t* x = input.codes() + size_t(b) * weight.block * TOKENS + offset;
    const int32_t* starts = weight.starts + size_t(b) * (rows + 1);
    for (int r = 0; r < rows; r++) {
      IntVec* const kept = reinterpret_cast<IntVec*>(so_far + size_t(r) * TOKENS + offset);
      Sums<SUMS> sums = {};
      if (b > 0)
        for (int j = 0; j < SUMS; j++) sums.at[j] = kept[j];
      const uint16_t* inputs = weight.inputs + size_t(starts[r]) * 4;
      const int8_t *codes = weight.codes + size_t(starts[r]) * 4, *end = weight.codes + size_t(starts[r + 1]) * 4;
      for (; codes < end; codes += 4, inputs += 4) {
        const int8_t *first = x + size_t(inputs[0]) * TOKENS, *second = x + size_t(inputs[1]) * TOKENS;
        const int8_t *third = x + size_t(inputs[2]) * TOKENS, *fourth = x + size_t(inputs[3]) * TOKENS;
        const FourWeights four = four_weights(codes);
#pragma GCC unroll 4
        for (int p = 0; p < NUM; p++) {
          const int at = p * VECTOR_BYTES;
          add_products(four, first + at, second + at, third + at, fourth + at, sums.at + 4 * p);
        }
      }
      if (b + 1 < blocks) {
        for (int j = 0; j < SUMS; j++) kept[j] = sums.at[j];
        continue;
      }
      write_sums(weight, input, output, r, offset, sums, vectors);
    }
  }
}

#ifdef __AVX512VNNI__
// Where most codes are not 0: fours of input features are interleaved once, at `fours` ([num_inputs / 4][64 tokens]).
inline void dense_quantized_linear(const Linear& weight, const Operand& input, float* sums, float* fours, const Output& output, int num_tokens) {
  const int num_fours = (weight.num_inputs + 3) / 4, last = weight.num_inputs - 1;
  for (int k = 0; k < num_fours; k++) {
    // What fills up the last four is multiplied by 0.
    const auto row = [&](int i) { return input.codes() + size_t(4 * k + i < last ? 4 * k + i : last) * TOKENS; };
    interleave(row(0), row(1), row(2), row(3), reinterpret_cast<Bytes*>(fours + size_t(k) * TOKENS));
  }
  panel_product<OfCodes>(reinterpret_cast<const float*>(weight.dense_codes), num_fours, 1, fours, sums, weight.num_outputs, num_fours, false, num_tokens);
  for (int r = 0; r < weight.num_outputs; r++) {
    Sums<VECTORS> row;
    for (int j = 0; j < VECTORS; j++) row.at[j] = (IntVec)load(sums + size_t(r) * TOKENS + j * LANES);
    write_sums(weight, input, output, r, 0, row, (num_tokens + LANES - 1) / LANES);
  }
}
#endif

//   sums: scratch, [num_outputs][64]; fours: scratch, [num_inputs / 4][64]
inline void quantized_linear(const Linear& weight, const Operand& input, float* sums, float* fours, const Output& output, int num_tokens) {
#ifdef __AVX512VNNI__
  if (weight.dense_codes != nullptr) {
    dense_quantized_linear(weight, input, sums, fours, output, num_tokens);
    return;
  }
#else
  (void)fours;
#endif
  constexpr int AT_ONCE = PARTS < 2 ? PARTS : 2;  // as many sums as there are registers for
  int32_t* const so_far = reinterpret_cast<int32_t*>(sums);
  for (int offset = 0; offset < num_tokens; offset += AT_ONCE * VECTOR_BYTES) {
    if (num_tokens - offset > VECTOR_BYTES) quantized_rows<AT_ONCE>(weight, input, so_far, output, offset, num_tokens);
    else quantized_rows<1>(weight, input, so_far, output, offset, num_tokens);
  }
}

}  // namespace KERNELS
