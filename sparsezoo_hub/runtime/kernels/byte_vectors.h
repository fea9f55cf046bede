// Vectors of bytes: codes of activations, made of floats and multiplied by int8 weights, exactly.
//
// A code is 0 to 255, and that is what VNNI multiplies by a signed byte, adding four products in 32 bits.
// Without VNNI a code is stored minus 128, as a signed byte, and a weight's magnitude is an unsigned one. That is
// what x86 multiplies (maddubs, unsigned times signed, neighbours added in 16 bits): two products are
// within 2 * 127 * 128 = 32,512, so that nothing saturates whatever the numbers are. Signs follow one step later,
// where the sums of pairs are widened to 32 bits: the two weights of a pair have the same sign.
#pragma once
#include "vectors.h"

namespace KERNELS {

constexpr int PARTS = TOKENS / VECTOR_BYTES;  // vectors of bytes in a panel's row

#ifdef __AVX512VNNI__
constexpr int MIDDLE = 0;  // what codes are stored minus
#else
constexpr int MIDDLE = 128;
#endif

#if VECTOR_BYTES > 16

#if VECTOR_BYTES == 64
typedef __m512i Bytes;
#define OF_BYTES(operation) _mm512_##operation
#else
typedef __m256i Bytes;
#define OF_BYTES(operation) _mm256_##operation
#endif

// Four rows of VECTOR_BYTES codes become four vectors in which a token's four codes lie together. Unpacking works
// within 128 bits, and so does the packing of store_codes, so that tokens are in the order in which the floats were.
inline void interleave(const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, Bytes* fours) {
  const auto load_bytes = [](const int8_t* from) { return *reinterpret_cast<const Bytes*>(from); };
  const Bytes va = load_bytes(a), vb = load_bytes(b), vc = load_bytes(c), vd = load_bytes(d);
  const Bytes ab[2] = {OF_BYTES(unpacklo_epi8)(va, vb), OF_BYTES(unpackhi_epi8)(va, vb)};
  const Bytes cd[2] = {OF_BYTES(unpacklo_epi8)(vc, vd), OF_BYTES(unpackhi_epi8)(vc, vd)};
  for (int half = 0; half < 2; half++) {
    fours[2 * half] = OF_BYTES(unpacklo_epi16)(ab[half], cd[half]);
    fours[2 * half + 1] = OF_BYTES(unpackhi_epi16)(ab[half], cd[half]);
  }
}

#ifdef __AVX512VNNI__

typedef Bytes FourWeights;

inline FourWeights four_weights(const int8_t* codes) {
  int32_t four;
  std::memcpy(&four, codes, 4);
  return OF_BYTES(set1_epi32)(four);
}

inline IntVec add_four(FourWeights weights, Bytes fours, IntVec sum) { return (IntVec)OF_BYTES(dpbusd_epi32)((Bytes)sum, fours, weights); }

#else

// Four weights, repeated: a, b, c, d, a, b, ..., and the signs of b and d in 16 bits each, for those of their pairs.
struct FourWeights {
  Bytes magnitudes, signs;
};

inline FourWeights four_weights(const int8_t* codes) {
  int32_t four;
  std::memcpy(&four, codes, 4);
  const Bytes all = OF_BYTES(set1_epi32)(four);
  return {OF_BYTES(abs_epi8)(all), OF_BYTES(srai_epi16)(all, 15) | OF_BYTES(set1_epi16)(1)};
}

inline IntVec add_four(const FourWeights& weights, Bytes fours, IntVec sum) {
  return sum + (IntVec)OF_BYTES(madd_epi16)(OF_BYTES(maddubs_epi16)(weights.magnitudes, fours), weights.signs);
}

#endif

// sums[0 to 3] += the products of VECTOR_BYTES tokens.
inline void add_products(const FourWeights& weights, const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, IntVec* sums) {
  Bytes fours[4];
  interleave(a, b, c, d, fours);
  for (int j = 0; j < 4; j++) sums[j] = add_four(weights, fours[j], sums[j]);
}

// Four vectors of codes minus MIDDLE, as bytes.
inline void store_codes(const IntVec* numbers, int8_t* to) {
  const Bytes low = OF_BYTES(packs_epi32)((Bytes)numbers[0], (Bytes)numbers[1]);
  const Bytes high = OF_BYTES(packs_epi32)((Bytes)numbers[2], (Bytes)numbers[3]);
  *reinterpret_cast<Bytes*>(to) = MIDDLE == 0 ? OF_BYTES(packus_epi16)(low, high) : OF_BYTES(packs_epi16)(low, high);
}

#undef OF_BYTES

#else

typedef int16_t Shorts __attribute__((vector_size(VECTOR_BYTES), may_alias));

struct FourWeights {
  Shorts a, b, c, d;
};

inline FourWeights four_weights(const int8_t* codes) {
  return {Shorts{} + codes[0], Shorts{} + codes[1], Shorts{} + codes[2], Shorts{} + codes[3]};
}

// Four bytes that lie together belong to the same place of the four sums, so that shifts are all it takes to widen.
inline void add_products(const FourWeights& weights, const int8_t* a, const int8_t* b, const int8_t* c, const int8_t* d, IntVec* sums) {
  const auto load_shorts = [](const int8_t* from) { return *reinterpret_cast<const Shorts*>(from); };
  const Shorts va = load_shorts(a), vb = load_shorts(b), vc = load_shorts(c), vd = load_shorts(d);
  for (int part = 0; part < 2; part++) {
    const auto bytes = [part](Shorts two) { return (part == 0 ? two << 8 : two) >> 8; };
    const IntVec ab = (IntVec)(weights.a * bytes(va) + weights.b * bytes(vb));
    const IntVec cd = (IntVec)(weights.c * bytes(vc) + weights.d * bytes(vd));
    sums[part] += (ab << 16 >> 16) + (cd << 16 >> 16);
    sums[part + 2] += (ab >> 16) + (cd >> 16);
  }
}

inline void store_codes(const IntVec* numbers, int8_t* to) {
  const IntVec low = (numbers[0] & 255) | (numbers[1] & 255) << 8;
  *reinterpret_cast<IntVec*>(to) = low | (numbers[2] & 255) << 16 | numbers[3] << 24;
}

#endif

}  // namespace KERNELS
