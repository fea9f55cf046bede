// Attention as in attention.h, whose products are those of bfloat16: queries, keys, values and shares are rounded to
// it, sums are floats.
#pragma once
#include "attention.h"
#include "bfloat_pairs.h"

#if HAS_BFLOATS

namespace KERNELS {

// Where the pair of keys lies that comes `number`-th in a row of store_bfloats: its first key.
inline int key_of_pair(int number) {
  const int quad = number % 16 / 2;
  return number / 16 * 32 + (quad % 2 * 4 + quad / 2) * 4 + number % 2 * 2;
}

// Rows of a panel of floats, [64 keys][64 queries], become pairs as above, in the order in which the pairs of keys lie
// in a row of values.
inline void pair_shares(const float* shares, float* pairs) {
  for (int number = 0; number < TOKENS / 2; number++) {
    const float* row = shares + size_t(key_of_pair(number)) * TOKENS;
    for (int t = 0; t < TOKENS; t += LANES) {
      // The upper half of the one, and below it that of the other; halves are rounded up, both are positive or nan.
      const __m512i high = _mm512_add_epi32(_mm512_load_si512(row + TOKENS + t), _mm512_set1_epi32(0x8000));
      const __m512i low = _mm512_add_epi32(_mm512_load_si512(row + t), _mm512_set1_epi32(0x8000));
      _mm512_store_si512(pairs + size_t(number) * TOKENS + t, _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(low, 16), high));
    }
  }
}

// Rows of bfloat16 as floats, [size][64 tokens].
inline void widen_rows(const uint16_t* rows, int size, float* widened) {
  for (int i = 0; i < size * TOKENS; i += 32) {
    const __m512i both = _mm512_load_si512(rows + i), zero = _mm512_setzero_si512();
    _mm512_store_si512(widened + i, _mm512_unpacklo_epi16(zero, both));
    _mm512_store_si512(widened + i + 16, _mm512_unpackhi_epi16(zero, both));
  }
}

// Places as in `attend`, but in bfloat16; `stride` counts those.
//   pairs: scratch, [2 * size + 34][64]
inline void attend_bfloats(const uint16_t* query, const uint16_t* keys, const uint16_t* values, size_t stride, int num_panels, const OwnKeys& own, int size, float scale, float* scores, float* pairs, float* output, int num_queries) {
  const int num_pairs = (size + 1) / 2;
  float *queries = pairs, *some_keys = queries + num_pairs * TOKENS, *shared = some_keys + num_pairs * TOKENS;
  float* widened = shared + TOKENS / 2 * TOKENS;
  pair_rows(query, size, queries);
  for (int p = 0; p < num_panels; p++) {
    pair_rows(keys + p * stride, size, some_keys);
    panel_product<OfBfloats>(some_keys, 1, TOKENS, queries, scores + size_t(p) * TOKENS * TOKENS, TOKENS, num_pairs, false, num_queries);
  }
  alignas(64) float shares[TOKENS];
  soften(scores, own, num_panels * TOKENS, scale, shares, num_queries);
  for (int p = 0; p < num_panels; p++) {
    const uint16_t* mixed = values + p * stride;
    const float* softened = scores + size_t(p) * TOKENS * TOKENS;
    if (!own.has_panel(p)) {
      widen_rows(mixed, size, widened);
      if (!all_finite(widened, size)) {
        mix_separately(widened, softened, own, p * TOKENS, output, size, p > 0);
        continue;
      }
    }
    pair_shares(softened, shared);
    panel_product<OfBfloats>(reinterpret_cast<const float*>(mixed), TOKENS / 2, 1, shared, output, size, TOKENS / 2, p > 0, num_queries);
  }
  multiply_columns(output, shares, size, num_queries);
}

}  // namespace KERNELS

#endif
