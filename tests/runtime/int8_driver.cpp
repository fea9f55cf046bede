// Random int8 layers through the kernels of one instruction set, against plain loops: every bit must be the same.
// Every array is a piece of the heap of exactly its size, for sanitizers to watch.
#include "quantized_linear.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

using namespace KERNELS;

static std::mt19937 generator(0);

static int drawn(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

template <class T>
static std::unique_ptr<T, decltype(&std::free)> aligned(size_t number) {
  return {static_cast<T*>(std::aligned_alloc(64, (number * sizeof(T) + 63) / 64 * 64)), &std::free};
}

// As packed_int8.py packs.
struct Packed {
  std::vector<int32_t> starts;
  std::vector<uint16_t> inputs;
  std::vector<int8_t> codes;

  Packed(const std::vector<int8_t>& weight, int outputs, int num_inputs, int block) {
    for (int from = 0; from < num_inputs; from += block)
      for (int row = 0; row <= outputs; row++) {
        starts.push_back(int32_t(codes.size() / 4));
        for (int sign = -1; row < outputs && sign <= 1; sign += 2) {
          for (int k = from; k < num_inputs && k < from + block; k++)
            if (weight[size_t(row) * num_inputs + k] * sign > 0) add(k - from, weight[size_t(row) * num_inputs + k]);
          if (codes.size() % 2 == 1) {
            const int last = inputs.back();
            const int8_t code = codes.back();
            if (sign < 0) inputs.back() = 0, codes.back() = 0, add(last, code);
            else add(0, 0);
          }
        }
        while (codes.size() % 4 != 0) add(0, 0);
      }
  }
  void add(int input, int8_t code) { inputs.push_back(uint16_t(input)), codes.push_back(code); }
};

static bool run_one() {
  const int outputs = drawn(1, 9), num_inputs = drawn(1, 300), block = drawn(1, 330), num_tokens = drawn(1, 64);
  const int least = drawn(0, 1) ? 127 : 0, zero_point = drawn(0, 255);
  std::bernoulli_distribution is_kept(drawn(0, 4) / 4.0);
  std::vector<int8_t> weight(size_t(outputs) * num_inputs);
  for (int8_t& code : weight) code = is_kept(generator) ? int8_t(drawn(least, 127) * (drawn(0, 1) ? 1 : -1)) : 0;
  // Most layers see nothing but the ends of the range and what lies beyond, except at every third value.
  const float inverse_scale = 3.7f, spreads[] = {30.f, 1e4f, 1e30f}, spread = spreads[drawn(0, 2)];
  auto panel = aligned<float>(size_t(num_inputs) * TOKENS), output = aligned<float>(size_t(outputs) * TOKENS), spoiled = aligned<float>(TOKENS);
  const int num_fours = (num_inputs + 3) / 4;
  auto kept = aligned<float>(size_t(outputs) * TOKENS), fours = aligned<float>(size_t(num_fours) * TOKENS);
  auto codes = aligned<int8_t>(size_t(num_inputs) * TOKENS);
  std::normal_distribution<float> normal(0, spread);
  for (int i = 0; i < num_inputs * TOKENS; i++) panel.get()[i] = i % 3 == 0 ? (drawn(-300, 300) + 0.5f) / inverse_scale : normal(generator);
  const bool is_spoiled = drawn(0, 3) == 0;
  const int at = drawn(0, num_tokens - 1);
  if (is_spoiled) panel.get()[drawn(0, num_inputs - 1) * TOKENS + at] = drawn(0, 1) ? NAN : -INFINITY;
  Packed packed(weight, outputs, num_inputs, block);
  std::vector<float> bias(outputs, 0.f), scales(outputs, 1.f);
  std::vector<int32_t> sums(outputs, 0);
  std::vector<int8_t> dense(size_t(outputs) * num_fours * 4);
  for (int r = 0; r < outputs; r++)
    for (int k = 0; k < num_inputs; k++) {
      sums[r] += weight[size_t(r) * num_inputs + k];
      dense[size_t(r) * num_fours * 4 + k] = weight[size_t(r) * num_inputs + k];
    }
  const int8_t* dense_codes = drawn(0, 1) ? dense.data() : nullptr;
  const Linear linear{outputs, num_inputs, block, packed.starts.data(), packed.inputs.data(), nullptr, bias.data(), nullptr, nullptr, packed.codes.data(), scales.data(), sums.data(), dense_codes, inverse_scale, zero_point};
  for (int i = 0; i < outputs * TOKENS; i++) output.get()[i] = -1234.5f;
  const Operand read = operand_of(linear, codes.get(), spoiled.get());
  convert(panel.get(), read, num_inputs, num_tokens);
  quantized_linear(linear, read, kept.get(), fours.get(), {of_floats(output.get()), NONE}, num_tokens);
  for (int r = 0; r < outputs; r++)
    for (int t = 0; t < TOKENS; t++) {
      const float found = output.get()[r * TOKENS + t];
      if (t >= num_tokens) {
        if (t >= (num_tokens + LANES - 1) / LANES * LANES && found != -1234.5f) return false;  // nobody asked for it
        continue;
      }
      int64_t sum = 0;
      for (int k = 0; k < num_inputs; k++) {
        volatile float scaled = panel.get()[k * TOKENS + t] * inverse_scale;  // rounded, as torch multiplies
        const float code = std::min(255.f - zero_point, std::max(-float(zero_point), std::nearbyintf(scaled)));
        if (!is_spoiled || t != at) sum += int64_t(code) * weight[size_t(r) * num_inputs + k];
      }
      if (is_spoiled && t == at ? !std::isnan(found) : found != float(sum)) return false;
    }
  return true;
}

int main() {
  for (int round = 0; round < 1500; round++)
    if (!run_one()) {
      std::printf("layer %d differs\n", round);
      return 1;
    }
  std::printf("all layers are the same\n");
}
