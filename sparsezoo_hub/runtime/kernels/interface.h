// What Python hands over, in plain C. Everything pointed to stays the caller's, and need not be aligned beyond
// the size of its entries.
#pragma once
#include <cstdint>

extern "C" {

// One linear layer. Sparse if `starts` is there: the input features are cut into blocks of `block`, and in each
// block rows are compressed (see sparse_linear.h). Else `values` is dense, [num_outputs][num_inputs].
struct Linear {
  int32_t num_outputs, num_inputs, block;
  const int32_t* starts;
  const uint16_t* inputs;
  const float* values;
  const float* bias;
};

// Queries, keys and values are one linear layer of three times the hidden size.
struct Layer {
  Linear projections, mixed, up, down;
  const float *attention_gain, *attention_bias, *output_gain, *output_bias;  // of the two LayerNorms
};

struct Encoder {
  int32_t num_layers, hidden_size, intermediate_size, num_heads, activation;
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
