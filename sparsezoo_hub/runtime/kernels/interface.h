// What Python hands over, in plain C. Everything pointed to stays the caller's, and need not be aligned beyond
// the size of its entries.
#pragma once
#include <cstdint>

extern "C" {

// One linear layer, of one of four forms.
//   dense: `values` is [num_outputs][num_inputs], `starts` is null
//   sparse: the input features are cut into blocks of `block`, and in each block rows are compressed (see
//     sparse_linear.h)
//   bfloat16: `bfloats` is there; likewise, in groups of two (see bfloat_linear.h). Where most are not 0,
//     `dense_bfloats` has them as well, [num_outputs][num_inputs, filled up to a multiple of 2].
//   int8: `scales` is there; likewise, in groups of four (see quantized_linear.h). An output feature is
//     scales * (sum of codes * (code of the input - zero_point)) + bias, where the input has the code
//     round(input * inverse_scale) + zero_point; `sums` are those of the codes of an output feature. Where most codes
//     are not 0, `dense_codes` has them as well, [num_outputs][num_inputs, filled up to a multiple of 4].
struct Linear {
  int32_t num_outputs, num_inputs, block;
  const int32_t* starts;
  const uint16_t* inputs;
  const float* values;
  const float* bias;
  const uint16_t *bfloats, *dense_bfloats;
  const int8_t* codes;
  const float* scales;
  const int32_t* sums;
  const int8_t* dense_codes;
  float inverse_scale;
  int32_t zero_point;
};

// Linear layers of the same inputs; their outputs lie one after the other. More than one only if they round these
// inputs differently.
struct Linears {
  int32_t number;
  const Linear* parts;
};

// Queries, keys and values are one linear layer of three times the hidden size.
struct Layer {
  Linears projections, mixed, up, down;
  const float *attention_gain, *attention_bias, *output_gain, *output_bias;  // of the two LayerNorms
};

// Where `may_round_attention` is 1, the products of attention are those of bfloat16 on processors that have them.
struct Encoder {
  int32_t num_layers, hidden_size, intermediate_size, num_heads, activation, may_round_attention;
  float epsilon;
  const Layer* layers;
};

// The names of the instruction sets that were compiled and that this processor has, the best first, with commas.
const char* sparse_instructions();

// Run an encoder on sequences that lie one after the other: input and output are [num_tokens][hidden_size],
// starts has where each sequence begins, and at the end num_tokens. Returns 0, 1 if there is no such
// instruction set, 2 if there is not enough memory.
int32_t sparse_encode(const char* instructions, const Encoder* encoder, const float* input, float* output, const int32_t* starts, int32_t num_sequences);
}
