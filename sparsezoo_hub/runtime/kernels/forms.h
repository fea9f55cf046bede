// The forms in which a linear layer reads its input, a panel: floats, bfloat16, or codes for int8. Whatever makes a
// panel's row of values writes it in the form that the next layer reads.
#pragma once
#include "byte_vectors.h"
#include "elementwise.h"
#include "interface.h"

namespace KERNELS {

enum class Form { FLOATS, BFLOATS, CODES };

// A panel in one of these forms: [feature][64 tokens].
//   inverse_scale, zero_point: of codes, see interface.h
//   spoiled: of codes, [64 tokens]: codes have no nan; nan for a token of which some feature was nan or inf, else 0
struct Operand {
  Form form;
  void* at;
  float inverse_scale;
  int32_t zero_point;
  float* spoiled;

  float* floats() const { return static_cast<float*>(at); }
  uint16_t* bfloats() const { return static_cast<uint16_t*>(at); }
  int8_t* codes() const { return static_cast<int8_t*>(at); }
};

inline Operand of_floats(float* panel) { return {Form::FLOATS, panel, 0.f, 0, nullptr}; }

// What a layer reads, at a place that is large enough for floats.
inline Operand operand_of(const Linear& weight, void* at, float* spoiled) {
  const Form form = weight.scales != nullptr ? Form::CODES : HAS_BFLOATS && weight.bfloats != nullptr ? Form::BFLOATS : Form::FLOATS;
  return {form, at, weight.inverse_scale, weight.zero_point, spoiled};
}

// The same panel from a later feature on.
inline Operand from_feature(Operand panel, int feature) {
  const size_t entries = size_t(feature) * TOKENS;
  if (panel.form == Form::FLOATS) panel.at = panel.floats() + entries;
  else if (panel.form == Form::BFLOATS) panel.at = panel.bfloats() + entries;
  else panel.at = panel.codes() + entries;
  return panel;
}

// Before the first row is written.
inline void begin(const Operand& panel) {
  if (panel.form == Form::CODES) std::memset(panel.spoiled, 0, TOKENS * sizeof(float));
}

#if HAS_BFLOATS
// 32 tokens in the order in which unpacking puts them back: within 128 bits, four of the first 16 and four of the
// others.
inline void store_bfloats(uint16_t* to, Vec first, Vec second) {
  const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
  const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  _mm512_store_si512(to, _mm512_permutexvar_epi64(order, rounded));
}
#endif

// Codes are round(value * inverse_scale) + zero_point within 0 and 255, as torch.fake_quantize_per_tensor_affine
// rounds: halves go to even. What lies beyond, inf too, is the nearest code.
inline void write_codes(const Operand& panel, int8_t* to, float* spoiled, const Vec* values, int number) {
  const Vec lowest = splat(float(-panel.zero_point)), highest = splat(float(255 - panel.zero_point));
  const Vec magic = splat(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number, in the last bits
  const IntVec origin = (IntVec)magic + (MIDDLE - panel.zero_point);
  IntVec numbers[4] = {};
  for (int j = 0; j < number; j++) {
    numbers[j] = (IntVec)(min(highest, max(lowest, values[j] * panel.inverse_scale)) + magic) - origin;
    store(spoiled + j * LANES, load(spoiled + j * LANES) + values[j] * 0.f);
  }
  store_codes(numbers, to);
}

// Values of a feature, `number` vectors of tokens from `offset` on. Within four vectors that are written as one, what
// lies beyond becomes anything.
inline void write_row(const Operand& panel, int feature, int offset, const Vec* values, int number) {
  const size_t at = size_t(feature) * TOKENS + offset;
  if (panel.form == Form::FLOATS) {
    for (int j = 0; j < number; j++) store(panel.floats() + at + j * LANES, values[j]);
  } else if (panel.form == Form::CODES) {
    for (int j = 0; j < number; j += 4)
      write_codes(panel, panel.codes() + at + j * LANES, panel.spoiled + offset + j * LANES, values + j, number - j < 4 ? number - j : 4);
  }
#if HAS_BFLOATS
  else {
    for (int j = 0; j < number; j += 2) store_bfloats(panel.bfloats() + at + j * LANES, values[j], j + 1 < number ? values[j + 1] : Vec{});
  }
#endif
}

// Where a linear layer's output goes, and by way of which activation function, NONE for none.
struct Output {
  Operand panel;
  int32_t activation;
};

// Vectors that are handed on by value: those whose address is given away are kept in memory, not in registers, from
// their first use on.
template <int NUM>
struct Values {
  Vec at[NUM];
};

template <int NUM>
struct Sums {
  IntVec at[NUM];
};

// The first `number` of the values of a feature are written.
template <int NUM>
inline void write_output(const Output& output, int feature, int offset, Values<NUM> values, int number) {
  if (output.activation != NONE)
    for (int j = 0; j < NUM; j++) values.at[j] = activated(values.at[j], output.activation);
  write_row(output.panel, feature, offset, values.at, number < NUM ? number : NUM);
}

// A panel of floats in another form.
inline void convert(const float* panel, const Operand& converted, int num_features, int num_tokens) {
  begin(converted);
  const int vectors = (num_tokens + LANES - 1) / LANES;
  for (int k = 0; k < num_features; k++)
    for (int first = 0; first < vectors; first += 4) {
      const int number = vectors - first < 4 ? vectors - first : 4;
      Vec values[4];
      for (int j = 0; j < number; j++) values[j] = load(panel + size_t(k) * TOKENS + (first + j) * LANES);
      write_row(converted, k, first * LANES, values, number);
    }
}

}  // namespace KERNELS
