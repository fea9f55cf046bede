// Compiled once for each instruction set, see encoder.h.
#include "encoder.h"

#include <omp.h>

#include <cstdlib>

#include "attention.h"
#include "panels.h"
#include "quantized_linear.h"
#include "sparse_linear.h"

// Nothing of the standard library's templates is used here: the linker keeps one copy of each, which might be
// that of an instruction set that this processor does not have.

namespace KERNELS {
namespace {

// Memory that is given back at the end of the block; null if there was not enough. Aligned for every vector.
template <class T>
struct Buffer {
  T* at;
  explicit Buffer(size_t number) : at(static_cast<T*>(std::aligned_alloc(64, (number * sizeof(T) + 63) / 64 * 64 + 64))) {}
  ~Buffer() { std::free(at); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
};

// What a thread needs for itself.
struct Scratch {
  float *scores, *inner, *middle, *spoiled;
  int8_t* codes;
};

void one_linear(const Linear& weight, const float* input, float* output, const Scratch& scratch, int num_tokens) {
  if (weight.scales != nullptr) {
    quantized_linear(weight, input, output, scratch.codes, scratch.spoiled, num_tokens);
    return;
  }
  if (weight.starts != nullptr) {
    sparse_linear(weight, input, output, num_tokens);
    return;
  }
  for (int r = 0; r < weight.num_outputs; r++)
    for (int t = 0; t < num_tokens; t += LANES) store(output + size_t(r) * TOKENS + t, splat(weight.bias[r]));
  panel_product(weight.values, weight.num_inputs, 1, input, output, weight.num_outputs, weight.num_inputs, true, num_tokens);
}

void linear(const Linears& weights, const float* input, float* output, const Scratch& scratch, int num_tokens) {
  for (int i = 0; i < weights.number; i++) {
    one_linear(weights.parts[i], input, output, scratch, num_tokens);
    output += size_t(weights.parts[i].num_outputs) * TOKENS;
  }
}

// Which tokens each token attends to: those of its sequence. Tokens beyond the last are as the last one.
struct Sequences {
  int num_tokens, num_panels;
  const int32_t *begins, *ends;

  int tokens_of(int panel) const { return num_tokens - panel * TOKENS < TOKENS ? num_tokens - panel * TOKENS : TOKENS; }
  int first_panel(int panel) const { return begins[size_t(panel) * TOKENS] / TOKENS; }
  int end_panel(int panel) const { return (ends[size_t(panel) * TOKENS + TOKENS - 1] + TOKENS - 1) / TOKENS; }
  // The most panels that the keys of one panel's queries lie in.
  int most_panels() const {
    int most = 0;
    for (int p = 0; p < num_panels; p++) most = end_panel(p) - first_panel(p) > most ? end_panel(p) - first_panel(p) : most;
    return most;
  }
};

void find_sequences(const int32_t* starts, int num_sequences, int num_panels, int32_t* begins, int32_t* ends) {
  for (int s = 0; s < num_sequences; s++)
    for (int t = starts[s]; t < starts[s + 1]; t++) begins[t] = starts[s], ends[t] = starts[s + 1];
  const int num_tokens = starts[num_sequences];
  for (int t = num_tokens; t < num_panels * TOKENS; t++) begins[t] = begins[num_tokens - 1], ends[t] = num_tokens;
}

// One head of one panel.
void attend_head(const Encoder& encoder, const Sequences& sequences, int panel, int head, const float* projections, float* scores, float* mixed) {
  const int size = encoder.hidden_size / encoder.num_heads;
  const size_t third = size_t(encoder.hidden_size) * TOKENS, start = size_t(head) * size * TOKENS;
  const int from = sequences.first_panel(panel), to = sequences.end_panel(panel);
  int32_t first[TOKENS], last[TOKENS];
  for (int t = 0; t < TOKENS; t++) {
    first[t] = sequences.begins[size_t(panel) * TOKENS + t] - from * TOKENS;
    last[t] = sequences.ends[size_t(panel) * TOKENS + t] - from * TOKENS;
  }
  const float *query = projections + panel * third * 3 + start, *keys = projections + from * third * 3 + third + start;
  attend(query, keys, keys + third, third * 3, to - from, first, last, size, 1.f / __builtin_sqrtf(float(size)), scores, mixed + panel * third + start, sequences.tokens_of(panel));
}

// From the mixed values of attention to the layer's output, which takes the place of its input.
void feed_forward(const Encoder& encoder, const Layer& layer, const float* mixed, float* state, const Scratch& scratch, int num_tokens) {
  linear(layer.mixed, mixed, scratch.middle, scratch, num_tokens);
  add_and_normalize(scratch.middle, state, layer.attention_gain, layer.attention_bias, encoder.epsilon, encoder.hidden_size, num_tokens);
  linear(layer.up, scratch.middle, scratch.inner, scratch, num_tokens);
  activate(scratch.inner, encoder.intermediate_size, encoder.activation, num_tokens);
  linear(layer.down, scratch.inner, state, scratch, num_tokens);
  add_and_normalize(state, scratch.middle, layer.output_gain, layer.output_bias, encoder.epsilon, encoder.hidden_size, num_tokens);
}

}  // namespace

bool run_encoder(const Encoder& encoder, const float* input, float* output, const int32_t* starts, int32_t num_sequences) {
  const int num_tokens = num_sequences == 0 ? 0 : starts[num_sequences];
  if (num_tokens == 0) return true;
  const int hidden = encoder.hidden_size, num_panels = (num_tokens + TOKENS - 1) / TOKENS, num_threads = omp_get_max_threads();
  const size_t panel = size_t(hidden) * TOKENS;
  Buffer<int32_t> begins(size_t(num_panels) * TOKENS), ends(size_t(num_panels) * TOKENS);
  if (begins.at == nullptr || ends.at == nullptr) return false;
  find_sequences(starts, num_sequences, num_panels, begins.at, ends.at);
  const Sequences sequences{num_tokens, num_panels, begins.at, ends.at};
  const size_t num_scores = size_t(sequences.most_panels()) * TOKENS * TOKENS, num_inner = size_t(encoder.intermediate_size) * TOKENS;
  const size_t num_codes = num_inner > panel ? num_inner : panel;  // one byte each
  const size_t scratch_size = num_scores + num_inner + panel + TOKENS + num_codes / sizeof(float);
  Buffer<float> states(num_panels * panel), mixed(num_panels * panel), projections(num_panels * panel * 3), scratches(num_threads * scratch_size);
  if (states.at == nullptr || mixed.at == nullptr || projections.at == nullptr || scratches.at == nullptr) return false;

#pragma omp parallel num_threads(num_threads)
  {
    float* own = scratches.at + omp_get_thread_num() * scratch_size;
    float *inner = own + num_scores, *middle = inner + num_inner, *spoiled = middle + panel;
    const Scratch scratch{own, inner, middle, spoiled, reinterpret_cast<int8_t*>(spoiled + TOKENS)};
#pragma omp for schedule(dynamic, 1)
    for (int p = 0; p < num_panels; p++) {
      float *state = states.at + p * panel, *projected = projections.at + p * panel * 3;
      const int tokens = sequences.tokens_of(p);
      to_panel(input + size_t(p) * TOKENS * hidden, state, tokens, hidden);
      // Beyond the last token nothing is computed, but attention multiplies it by 0: it must be finite.
      if (tokens < TOKENS) {
        std::memset(projected, 0, panel * 3 * sizeof(float));
        std::memset(mixed.at + p * panel, 0, panel * sizeof(float));
      }
      linear(encoder.layers[0].projections, state, projected, scratch, tokens);
    }
    for (int l = 0; l < encoder.num_layers; l++) {
#pragma omp for schedule(dynamic, 2)
      for (int item = 0; item < num_panels * encoder.num_heads; item++)
        attend_head(encoder, sequences, item / encoder.num_heads, item % encoder.num_heads, projections.at, scratch.scores, mixed.at);
#pragma omp for schedule(dynamic, 1)
      for (int p = 0; p < num_panels; p++) {
        float* state = states.at + p * panel;
        const int tokens = sequences.tokens_of(p);
        feed_forward(encoder, encoder.layers[l], mixed.at + p * panel, state, scratch, tokens);
        if (l + 1 < encoder.num_layers) linear(encoder.layers[l + 1].projections, state, projections.at + p * panel * 3, scratch, tokens);
        else from_panel(state, output + size_t(p) * TOKENS * hidden, tokens, hidden);
      }
    }
  }
  return true;
}

}  // namespace KERNELS
