// Attention of the 64 queries of a panel over the keys of their sequences. Sequences lie one after the other
// without padding, so a panel may hold the end of one and the beginning of the next.
#pragma once
#include "elementwise.h"
#include "panel_product.h"

namespace KERNELS {

// A key of another sequence has the weight 0, and 0 times nan or inf is nan: where such values lie, every query
// is multiplied by the keys of its own sequence alone.
inline bool all_finite(const float* values, int size) {
  Vec sum{};
  for (int i = 0; i < size * TOKENS; i += LANES) sum += load(values + i) * 0.f;
  float all = 0.f;
  for (int j = 0; j < LANES; j++) all += sum[j];
  return all == 0.f;
}

inline void mix_separately(const float* values, const float* scores, const int32_t* first, const int32_t* last, int offset, float* output, int size, bool add) {
  for (int t = 0; t < TOKENS; t++)
    for (int d = 0; d < size; d++) {
      float sum = add ? output[d * TOKENS + t] : 0.f;
      for (int k = 0; k < TOKENS; k++)
        if (first[t] <= offset + k && offset + k < last[t]) sum += scores[k * TOKENS + t] * values[d * TOKENS + k];
      output[d * TOKENS + t] = sum;
    }
}

// For one head.
//   query: [size][64 queries]; keys, values: [size][64 keys] of the first panel, the next ones `stride` floats on
//   first, last: for each query, which keys are its own, counted from the first panel on: first <= key < last
//   scores: scratch, [num_panels * 64 keys][64 queries]
//   output: [size][64 queries]
inline void attend(const float* query, const float* keys, const float* values, size_t stride, int num_panels, const int32_t* first, const int32_t* last, int size, float scale, float* scores, float* output, int num_queries) {
  const int num_keys = num_panels * TOKENS;
  for (int p = 0; p < num_panels; p++)
    panel_product(keys + p * stride, 1, TOKENS, query, scores + size_t(p) * TOKENS * TOKENS, TOKENS, size, false, num_queries);
  for (int t = 0; t < num_queries; t += LANES) {
    IntVec from, to;
    std::memcpy(&from, first + t, sizeof from);
    std::memcpy(&to, last + t, sizeof to);
    int all_from = from[0], all_to = to[0], any_from = from[0], any_to = to[0];
    for (int j = 1; j < LANES; j++) {
      all_from = from[j] > all_from ? from[j] : all_from;
      all_to = to[j] < all_to ? to[j] : all_to;
      any_from = from[j] < any_from ? from[j] : any_from;
      any_to = to[j] > any_to ? to[j] : any_to;
    }
    const Vec none = splat(-__builtin_inff());
    Vec most = none;
    for (int k = any_from; k < any_to; k++) {
      float* at = scores + size_t(k) * TOKENS + t;
      Vec s = load(at) * scale;
      if (k < all_from || k >= all_to) s = (from <= k) & (to > k) ? s : none;
      store(at, s);
      most = max(most, s);  // nan in s wins
    }
    Vec sum{};
    for (int k = 0; k < num_keys; k++) {
      float* at = scores + size_t(k) * TOKENS + t;
      if (k < any_from || k >= any_to) {
        store(at, Vec{});
        continue;
      }
      Vec e = exp(load(at) - most);
      if (k < all_from || k >= all_to) e = (from <= k) & (to > k) ? e : Vec{};
      sum += e;
      store(at, e);
    }
    const Vec share = 1.f / sum;
    for (int k = any_from; k < any_to; k++) {
      float* at = scores + size_t(k) * TOKENS + t;
      store(at, load(at) * share);
    }
  }
  for (int p = 0; p < num_panels; p++) {
    const float *mixed = values + p * stride, *shares = scores + size_t(p) * TOKENS * TOKENS;
    if (all_finite(mixed, size)) panel_product(mixed, TOKENS, 1, shares, output, size, TOKENS, p > 0, num_queries);
    else mix_separately(mixed, shares, first, last, p * TOKENS, output, size, p > 0);
  }
}

}  // namespace KERNELS
