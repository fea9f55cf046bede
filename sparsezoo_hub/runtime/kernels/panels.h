// Panels: the layout of activations. A panel is 64 tokens, [feature][64 tokens], so that a weight meets 64
// activations that lie side by side. The last panel of a batch may have fewer tokens; what is beyond is 0 at
// the beginning and never read out.
#pragma once
#include "vectors.h"

namespace KERNELS {

// Rows of (token, feature) become a panel; tokens beyond num_tokens become 0.
inline void to_panel(const float* rows, float* panel, int num_tokens, int num_features) {
  for (int k = 0; k < num_features; k++)
    for (int t = 0; t < TOKENS; t++) panel[size_t(k) * TOKENS + t] = t < num_tokens ? rows[size_t(t) * num_features + k] : 0.f;
}

inline void from_panel(const float* panel, float* rows, int num_tokens, int num_features) {
  for (int t = 0; t < num_tokens; t++)
    for (int k = 0; k < num_features; k++) rows[size_t(t) * num_features + k] = panel[size_t(k) * TOKENS + t];
}

}  // namespace KERNELS
