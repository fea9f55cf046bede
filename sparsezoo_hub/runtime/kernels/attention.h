// Attention of the 64 queries of a panel over the keys of their sequences. Sequences lie one after the other
// without padding, so a panel may hold the end of one and the beginning of the next.
#pragma once
#include "elementwise.h"
#include "panel_product.h"

namespace KERNELS {

// For each query of a panel, which keys are its own, counted from the first panel of keys on: first <= key < last.
struct OwnKeys {
  int32_t first[TOKENS], last[TOKENS];
  int32_t all_first, all_last, any_first, any_last;  // keys of all queries, and of any

  OwnKeys(const int32_t* begins, const int32_t* ends, int32_t origin) {
    for (int t = 0; t < TOKENS; t++) first[t] = begins[t] - origin, last[t] = ends[t] - origin;
    // Sequences lie one after the other.
    any_first = first[0], all_first = first[TOKENS - 1], all_last = last[0], any_last = last[TOKENS - 1];
  }
  bool has(int query, int key) const { return first[query] <= key && key < last[query]; }
  // Whether all the keys of a panel are those of every query.
  bool has_panel(int panel) const { return all_first <= panel * TOKENS && (panel + 1) * TOKENS <= all_last; }
};

// scores ([num_keys][64 queries]) become exp(scale * (score - the query's largest)), 0 for keys that are not its own;
// shares ([64 queries]) become 1 / their sum. scale is not negative.
inline void soften(float* scores, const OwnKeys& own, int num_keys, float scale, float* shares, int num_queries) {
  const float factor = scale * 1.44269504f;
  for (int t = 0; t < num_queries; t += LANES) {
    IntVec from, to;
    std::memcpy(&from, own.first + t, sizeof from);
    std::memcpy(&to, own.last + t, sizeof to);
    const Vec none = splat(-__builtin_inff());
    Vec most = none;
    for (int k = own.any_first; k < own.any_last; k++) {
      float* at = scores + size_t(k) * TOKENS + t;
      Vec s = load(at);
      if (k < own.all_first || k >= own.all_last) store(at, s = (from <= k) & (to > k) ? s : none);
      most = max(most, s);  // nan in s wins
    }
    Vec sum{};
    for (int k = 0; k < num_keys; k++) {
      float* at = scores + size_t(k) * TOKENS + t;
      if (k < own.any_first || k >= own.any_last) {
        store(at, Vec{});
        continue;
      }
      Vec e = exp2((load(at) - most) * factor);
      if (k < own.all_first || k >= own.all_last) e = (from <= k) & (to > k) ? e : Vec{};
      sum += e;
      store(at, e);
    }
    store(shares + t, 1.f / sum);
  }
}

inline void multiply_columns(float* panel, const float* factors, int num_rows, int num_tokens) {
  for (int r = 0; r < num_rows; r++)
    for (int t = 0; t < num_tokens; t += LANES) store(panel + r * TOKENS + t, load(panel + r * TOKENS + t) * load(factors + t));
}

// A key of another sequence has the weight 0, and 0 times nan or inf is nan: where such values lie, every query
// is multiplied by the keys of its own sequence alone.
inline bool all_finite(const float* values, int size) {
  Vec sum{};
  for (int i = 0; i < size * TOKENS; i += LANES) sum += load(values + i) * 0.f;
  float all = 0.f;
  for (int j = 0; j < LANES; j++) all += sum[j];
  return all == 0.f;
}

inline void mix_separately(const float* values, const float* scores, const OwnKeys& own, int first_key, float* output, int size, bool add) {
  for (int t = 0; t < TOKENS; t++)
    for (int d = 0; d < size; d++) {
      float sum = add ? output[d * TOKENS + t] : 0.f;
      for (int k = 0; k < TOKENS; k++)
        if (own.has(t, first_key + k)) sum += scores[k * TOKENS + t] * values[d * TOKENS + k];
      output[d * TOKENS + t] = sum;
    }
}

// For one head.
//   query: [size][64 queries]; keys, values: [size][64 keys] of the first panel, the next ones `stride` floats on
//   scores: scratch, [num_panels * 64 keys][64 queries]
//   output: [size][64 queries]
inline void attend(const float* query, const float* keys, const float* values, size_t stride, int num_panels, const OwnKeys& own, int size, float scale, float* scores, float* output, int num_queries) {
  for (int p = 0; p < num_panels; p++)
    panel_product<OfFloats>(keys + p * stride, 1, TOKENS, query, scores + size_t(p) * TOKENS * TOKENS, TOKENS, size, false, num_queries);
  alignas(64) float shares[TOKENS];
  soften(scores, own, num_panels * TOKENS, scale, shares, num_queries);
  for (int p = 0; p < num_panels; p++) {
    const float *mixed = values + p * stride, *softened = scores + size_t(p) * TOKENS * TOKENS;
    if (own.has_panel(p) || all_finite(mixed, size)) panel_product<OfFloats>(mixed, TOKENS, 1, softened, output, size, TOKENS, p > 0, num_queries);
    else mix_separately(mixed, softened, own, p * TOKENS, output, size, p > 0);
  }
  multiply_columns(output, shares, size, num_queries);
}

}  // namespace KERNELS
