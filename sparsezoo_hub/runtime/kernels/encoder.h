// The encoder: layers of attention and feed-forward networks with LayerNorm after each (BERT, RoBERTa,
// DistilBERT). A panel goes through everything between two attentions before the next one starts, so that it
// stays in the cache.
#pragma once
#include "interface.h"

namespace KERNELS {

// As sparse_encode in interface.h; false, before anything is computed, if there is not enough memory.
bool run_encoder(const Encoder& encoder, const float* input, float* output, const int32_t* starts, int32_t num_sequences);

}  // namespace KERNELS
