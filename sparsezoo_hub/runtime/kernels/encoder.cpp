// Compiled once for each instruction set, see encoder.h.
#include "encoder.h"

#include <omp.h>

#include <cstdlib>

#include "bfloat_attention.h"
#include "bfloat_linear.h"
#include "layer_norm.h"
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

// Memory that a thread keeps for its next call, unless it is much, so that the system need not clear it again.
struct KeptBuffer {
  static constexpr size_t MOST = size_t(64) << 20;  // bytes
  float* at = nullptr;
  size_t number = 0;

  ~KeptBuffer() { std::free(at); }
  // Null if there was not enough.
  float* of(size_t wanted) {
    if (wanted > number) {
      give_back();
      at = static_cast<float*>(std::aligned_alloc(64, (wanted * sizeof(float) + 63) / 64 * 64));
      number = at == nullptr ? 0 : wanted;
    }
    return at;
  }
  void give_back() {
    std::free(at);
    at = nullptr;
    number = 0;
  }
};

thread_local KeptBuffer kept;

// What a thread needs for itself.
//   scores, pairs: of attention
//   inner, middle: panels in whatever form
//   converted: likewise, the input of a layer that reads another form than it is given
//   sums, groups: of linear layers
//   spoiled: three times 64, for each of the three panels
struct Scratch {
  float *scores, *pairs, *inner, *middle, *converted, *sums, *groups, *spoiled;
};

void one_linear(const Linear& weight, const Operand& input, const Output& output, const Scratch& scratch, int num_tokens) {
  Operand read = operand_of(weight, scratch.converted, scratch.spoiled);
  if (read.form == Form::FLOATS || input.form != Form::FLOATS) read = input;
  else convert(input.floats(), read, weight.num_inputs, num_tokens);
  if (read.form == Form::CODES) {
    quantized_linear(weight, read, scratch.sums, scratch.groups, output, num_tokens);
    return;
  }
  if (weight.bfloats != nullptr) {
    bfloat_linear(weight, read, scratch.sums, scratch.groups, output, num_tokens);
    return;
  }
  if (weight.starts != nullptr) {
    sparse_linear<1>(weight, weight.values, read.floats(), scratch.sums, output, num_tokens);
    return;
  }
  for (int r = 0; r < weight.num_outputs; r++)
    for (int t = 0; t < num_tokens; t += LANES) store(scratch.sums + size_t(r) * TOKENS + t, splat(weight.bias[r]));
  panel_product<OfFloats>(weight.values, weight.num_inputs, 1, read.floats(), scratch.sums, weight.num_outputs, weight.num_inputs, true, num_tokens);
  for (int r = 0; r < weight.num_outputs; r++)
    for (int t = 0; t < num_tokens; t += 4 * LANES) {
      const int left = (num_tokens - t + LANES - 1) / LANES, number = left < 4 ? left : 4;
      Values<4> values;
      for (int j = 0; j < 4; j++) values.at[j] = load(scratch.sums + size_t(r) * TOKENS + t + j * LANES);
      write_output(output, r, t, values, number);
    }
}

void linear(const Linears& weights, const Operand& input, const Output& output, const Scratch& scratch, int num_tokens) {
  begin(output.panel);
  for (int i = 0, feature = 0; i < weights.number; feature += weights.parts[i++].num_outputs)
    one_linear(weights.parts[i], input, {from_feature(output.panel, feature), output.activation}, scratch, num_tokens);
}

// The panel that layers read, in the form that they do: floats if there are several, which may differ.
Operand read_by(const Linears& weights, float* at, float* spoiled) {
  return weights.number == 1 ? operand_of(weights.parts[0], at, spoiled) : of_floats(at);
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

// Queries, keys and values of all panels, in floats or bfloat16.
struct Projections {
  float* at;
  bool are_rounded;
  size_t panel;  // entries

  Operand of_panel(int number) const {
    if (are_rounded) return {Form::BFLOATS, reinterpret_cast<uint16_t*>(at) + number * panel, 0.f, 0, nullptr};
    return of_floats(at + number * panel);
  }
};

// One head of one panel.
void attend_head(const Encoder& encoder, const Sequences& sequences, int panel, int head, const Projections& projections, const Scratch& scratch, float* mixed) {
  const int size = encoder.hidden_size / encoder.num_heads;
  const size_t third = size_t(encoder.hidden_size) * TOKENS, start = size_t(head) * size * TOKENS;
  const int from = sequences.first_panel(panel), num_panels = sequences.end_panel(panel) - from;
  const OwnKeys own(sequences.begins + size_t(panel) * TOKENS, sequences.ends + size_t(panel) * TOKENS, from * TOKENS);
  const float scale = 1.f / __builtin_sqrtf(float(size));
  const int num_queries = sequences.tokens_of(panel);
  float* output = mixed + panel * third + start;
#if HAS_BFLOATS
  if (projections.are_rounded) {
    const uint16_t *query = projections.of_panel(panel).bfloats() + start, *keys = projections.of_panel(from).bfloats() + third + start;
    attend_bfloats(query, keys, keys + third, projections.panel, num_panels, own, size, scale, scratch.scores, scratch.pairs, output, num_queries);
    return;
  }
#endif
  const float *query = projections.of_panel(panel).floats() + start, *keys = projections.of_panel(from).floats() + third + start;
  attend(query, keys, keys + third, projections.panel, num_panels, own, size, scale, scratch.scores, output, num_queries);
}

// From the mixed values of attention to the layer's output, which takes the place of its input; and a copy of it in
// the form of `copy`.
void feed_forward(const Encoder& encoder, const Layer& layer, float* mixed, float* state, const Operand& copy, const Scratch& scratch, int num_tokens) {
  const Operand middle = read_by(layer.up, scratch.converted, scratch.spoiled + TOKENS), inner = read_by(layer.down, scratch.inner, scratch.spoiled + 2 * TOKENS);
  linear(layer.mixed, of_floats(mixed), {of_floats(scratch.middle), NONE}, scratch, num_tokens);
  add_and_normalize(scratch.middle, state, layer.attention_gain, layer.attention_bias, encoder.epsilon, encoder.hidden_size, middle, num_tokens);
  linear(layer.up, middle.form == Form::FLOATS ? of_floats(scratch.middle) : middle, {inner, encoder.activation}, scratch, num_tokens);
  linear(layer.down, inner, {of_floats(state), NONE}, scratch, num_tokens);
  add_and_normalize(state, scratch.middle, layer.output_gain, layer.output_bias, encoder.epsilon, encoder.hidden_size, copy, num_tokens);
}

}  // namespace

bool run_encoder(const Encoder& encoder, const float* input, float* output, const int32_t* starts, int32_t num_sequences) {
  const int num_tokens = num_sequences == 0 ? 0 : starts[num_sequences];
  if (num_tokens == 0) return true;
  const int hidden = encoder.hidden_size, num_panels = (num_tokens + TOKENS - 1) / TOKENS, num_threads = omp_get_max_threads();
  const size_t panel = size_t(hidden) * TOKENS, inner_panel = size_t(encoder.intermediate_size > hidden ? encoder.intermediate_size : hidden) * TOKENS;
  const size_t largest = inner_panel > 3 * panel ? inner_panel : 3 * panel;
  Buffer<int32_t> begins(size_t(num_panels) * TOKENS), ends(size_t(num_panels) * TOKENS);
  if (begins.at == nullptr || ends.at == nullptr) return false;
  find_sequences(starts, num_sequences, num_panels, begins.at, ends.at);
  const Sequences sequences{num_tokens, num_panels, begins.at, ends.at};
  const size_t num_scores = size_t(sequences.most_panels()) * TOKENS * TOKENS, num_pairs = (2 * size_t(hidden / encoder.num_heads) + 34) * TOKENS;
  const size_t num_groups = (largest / TOKENS + 1) / 2 * TOKENS;
  const size_t scratch_size = num_scores + num_pairs + inner_panel + panel + largest + largest + num_groups + 3 * TOKENS;
  const size_t all_panels = num_panels * panel;
  float* const states = kept.of(5 * all_panels + num_threads * scratch_size);
  if (states == nullptr) return false;
  float *const mixed = states + all_panels, *const projected = mixed + all_panels, *const scratches = projected + 3 * all_panels;
  const Projections projections{projected, HAS_BFLOATS && encoder.may_round_attention, panel * 3};

#pragma omp parallel num_threads(num_threads)
  {
    float* own = scratches + omp_get_thread_num() * scratch_size;
    float *pairs = own + num_scores, *inner = pairs + num_pairs, *middle = inner + inner_panel, *converted = middle + panel, *sums = converted + largest;
    const Scratch scratch{own, pairs, inner, middle, converted, sums, sums + largest, sums + largest + num_groups};
#pragma omp for schedule(dynamic, 1)
    for (int p = 0; p < num_panels; p++) {
      float* state = states + p * panel;
      const int tokens = sequences.tokens_of(p);
      to_panel(input + size_t(p) * TOKENS * hidden, state, tokens, hidden);
      // Beyond the last token nothing is computed, but attention multiplies it by 0: it must be finite.
      if (tokens < TOKENS) {
        std::memset(projections.of_panel(p).at, 0, panel * 3 * (projections.are_rounded ? sizeof(uint16_t) : sizeof(float)));
        std::memset(mixed + p * panel, 0, panel * sizeof(float));
      }
      linear(encoder.layers[0].projections, of_floats(state), {projections.of_panel(p), NONE}, scratch, tokens);
    }
    for (int l = 0; l < encoder.num_layers; l++) {
#pragma omp for schedule(dynamic, 2)
      for (int item = 0; item < num_panels * encoder.num_heads; item++)
        attend_head(encoder, sequences, item / encoder.num_heads, item % encoder.num_heads, projections, scratch, mixed);
      const Linears* next = l + 1 < encoder.num_layers ? &encoder.layers[l + 1].projections : nullptr;
#pragma omp for schedule(dynamic, 1)
      for (int p = 0; p < num_panels; p++) {
        float* state = states + p * panel;
        const int tokens = sequences.tokens_of(p);
        const Operand copy = next != nullptr ? read_by(*next, scratch.inner, scratch.spoiled + 2 * TOKENS) : of_floats(state);
        feed_forward(encoder, encoder.layers[l], mixed + p * panel, state, copy, scratch, tokens);
        if (next != nullptr) linear(*next, copy.form == Form::FLOATS ? of_floats(state) : copy, {projections.of_panel(p), NONE}, scratch, tokens);
        else from_panel(state, output + size_t(p) * TOKENS * hidden, tokens, hidden);
      }
    }
  }
  if (kept.number * sizeof(float) > KeptBuffer::MOST) kept.give_back();
  return true;
}

}  // namespace KERNELS
