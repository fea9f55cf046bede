// Pairs of rows of bfloat16, as they are multiplied.
#pragma once
#include "forms.h"

#if HAS_BFLOATS

namespace KERNELS {

// Rows of bfloat16 ([size][64 tokens], in the order of store_bfloats) become pairs of rows, in which a token's two lie
// together, as many bytes as a float: [(size + 1) / 2][64 tokens], in the tokens' own order. The last pair of an odd
// number has a 0.
inline void pair_rows(const uint16_t* rows, int size, float* pairs) {
  for (int d = 0; d < size; d += 2)
    for (int half = 0; half < 2; half++) {
      const uint16_t* at = rows + size_t(d) * TOKENS + half * 32;
      const __m512i a = _mm512_load_si512(at), b = d + 1 < size ? _mm512_load_si512(at + TOKENS) : _mm512_setzero_si512();
      float* to = pairs + size_t(d / 2) * TOKENS + half * 32;
      _mm512_store_si512(to, _mm512_unpacklo_epi16(a, b));
      _mm512_store_si512(to + 16, _mm512_unpackhi_epi16(a, b));
    }
}

}  // namespace KERNELS

#endif
