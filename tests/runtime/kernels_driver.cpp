// Runs random encoders through every instruction set of this processor, for sanitizers to watch. Every array is
// a piece of the heap of exactly its size. Prints the largest difference between two instruction sets; that of
// encoders in int8 does not count, for a value between two codes may fall to either side, nor that of a set which
// multiplies bfloat16 where the encoder lets it. What is not finite counts always.
#include "interface.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <random>
#include <sstream>
#include <string>
#include <vector>

static std::mt19937 generator(0);

static int drawn(int low, int high) { return std::uniform_int_distribution<int>(low, high)(generator); }

static std::vector<float> normal(size_t number) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(number);
  for (float& value : values) value = distribution(generator);
  return values;
}

enum Kind { FLOATS, BFLOATS, INT8 };

struct Memory {
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<int32_t>> starts;
  std::deque<std::vector<uint16_t>> inputs, bfloats;
  std::deque<std::vector<int8_t>> codes;
  std::deque<std::vector<Linear>> layers;

  const float* keep(std::vector<float> values) { return floats.emplace_back(std::move(values)).data(); }

  Linears linears(int outputs, int num_inputs, double density, Kind kind, int number = 1) {
    std::vector<Linear> parts;
    for (int i = 0; i < number; i++) {
      // Beside layers of one kind there may be those that are rounded less.
      const int drawn_kind = drawn(0, 3) > 0 ? kind : drawn(FLOATS, kind);
      if (drawn_kind == INT8) parts.push_back(int8_linear(outputs / number, num_inputs, density));
      else if (drawn_kind == BFLOATS) parts.push_back(bfloat_linear(outputs / number, num_inputs, density));
      else parts.push_back(linear(outputs / number, num_inputs, density));
    }
    return {number, layers.emplace_back(std::move(parts)).data()};
  }

  Linear int8_linear(int outputs, int num_inputs, double density) {
    const int block = drawn(1, num_inputs + 3);
    std::vector<int32_t> begin;
    std::vector<uint16_t> features;
    std::vector<int8_t> weights;
    for (int from = 0; from < num_inputs; from += block)
      for (int row = 0; row <= outputs; row++) {
        begin.push_back(int32_t(weights.size() / 4));
        const int size = std::min(block, num_inputs - from);
        for (int groups = row < outputs ? int(density * size / 4 + 0.9) : 0; groups > 0; groups--)
          for (int pair = 0; pair < 2; pair++) {
            const int sign = drawn(0, 1) ? 1 : -1;
            for (int low = 0; low < 2; low++) {
              features.push_back(uint16_t(drawn(0, size - 1)));
              weights.push_back(int8_t(sign * drawn(low, 127)));
            }
          }
      }
    const float* bias = keep(normal(outputs));
    const float* scales = keep(std::vector<float>(outputs, 1e-2f / std::sqrt(float(num_inputs))));
    inputs.push_back(features), codes.push_back(weights);
    const int32_t* first = starts.emplace_back(begin).data();
    const int8_t* sparse_codes = codes.back().data();
    const int32_t* sums = starts.emplace_back(std::vector<int32_t>(outputs, drawn(-1000, 1000))).data();
    const int8_t* dense_codes = drawn(0, 1) ? codes.emplace_back(std::vector<int8_t>(size_t(outputs) * ((num_inputs + 3) / 4 * 4), 3)).data() : nullptr;
    return Linear{outputs, num_inputs, block, first, inputs.back().data(), nullptr, bias, nullptr, nullptr, sparse_codes, scales, sums, dense_codes, 30.f, drawn(0, 255)};
  }

  Linear bfloat_linear(int outputs, int num_inputs, double density) {
    const int block = drawn(1, num_inputs + 3);
    std::bernoulli_distribution is_kept(density);
    std::vector<int32_t> begin;
    std::vector<uint16_t> features, weights;
    std::normal_distribution<float> normal(0, 1 / std::sqrt(float(num_inputs)));
    for (int from = 0; from < num_inputs; from += block)
      for (int row = 0; row <= outputs; row++) {
        begin.push_back(int32_t(weights.size() / 2));
        for (int k = from; row < outputs && k < num_inputs && k < from + block; k++) {
          if (!is_kept(generator)) continue;
          const float value = normal(generator);
          uint32_t bits;
          std::memcpy(&bits, &value, 4);
          features.push_back(uint16_t(k - from)), weights.push_back(uint16_t(bits >> 16));
        }
        if (weights.size() % 2 == 1) features.push_back(0), weights.push_back(0);
      }
    const float* bias = keep(::normal(outputs));
    inputs.push_back(features), bfloats.push_back(weights);
    const int32_t* first = starts.emplace_back(begin).data();
    const uint16_t* sparse = bfloats.back().data();
    const uint16_t* dense = drawn(0, 1) ? bfloats.emplace_back(std::vector<uint16_t>(size_t(outputs) * ((num_inputs + 1) / 2 * 2), 0x3d00)).data() : nullptr;
    return Linear{outputs, num_inputs, block, first, inputs.back().data(), nullptr, bias, sparse, dense, nullptr, nullptr, nullptr, nullptr, 0, 0};
  }

  Linear linear(int outputs, int inputs_, double density) {
    const float* bias = keep(normal(outputs));
    if (density >= 1) {
      std::vector<float> weight = normal(size_t(outputs) * inputs_);
      for (float& value : weight) value /= std::sqrt(float(inputs_));
      return Linear{outputs, inputs_, 0, nullptr, nullptr, keep(weight), bias, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0};
    }
    const int block = drawn(1, inputs_ + 3);
    std::bernoulli_distribution is_kept(density);
    std::vector<int32_t> begin;
    std::vector<uint16_t> features;
    for (int from = 0; from < inputs_; from += block)
      for (int row = 0; row <= outputs; row++) {
        begin.push_back(int32_t(features.size()));
        for (int k = from; row < outputs && k < inputs_ && k < from + block; k++)
          if (is_kept(generator)) features.push_back(uint16_t(k - from));
      }
    std::vector<float> values = normal(features.size());
    for (float& value : values) value /= std::sqrt(float(inputs_));
    inputs.push_back(features);
    const int32_t* first = starts.emplace_back(begin).data();
    return Linear{outputs, inputs_, block, first, inputs.back().data(), keep(values), bias, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, 0, 0};
  }
};

int main() {
  std::vector<std::string> sets;
  std::stringstream names(sparse_instructions());
  for (std::string name; std::getline(names, name, ',');) sets.push_back(name);
  double worst = 0;
  for (int round = 0; round < 90; round++) {
    const Kind kind = Kind(round % 3);
    const int may_round_attention = drawn(0, 1);
    Memory memory;
    const int heads = drawn(1, 3), hidden = heads * drawn(2, 40), inner = drawn(1, 90), num_layers = drawn(1, 2);
    const double densities[] = {0, 0.1, 0.5, 1};
    std::vector<Layer> layers;
    for (int l = 0; l < num_layers; l++) {
      const double density = densities[drawn(0, 3)];
      layers.push_back(Layer{memory.linears(3 * hidden, hidden, density, kind, drawn(0, 1) ? 3 : 1),
                             memory.linears(hidden, hidden, density, kind), memory.linears(inner, hidden, density, kind),
                             memory.linears(hidden, inner, 0.3, kind),
                             memory.keep(normal(hidden)), memory.keep(normal(hidden)), memory.keep(normal(hidden)),
                             memory.keep(normal(hidden))});
    }
    const Encoder encoder{num_layers, hidden, inner, heads, drawn(0, 3), may_round_attention, 1e-5f, layers.data()};
    std::vector<int32_t> starts{0};
    for (int s = drawn(1, 6); s > 0; s--) starts.push_back(starts.back() + drawn(0, 150));
    const std::vector<float> input = normal(size_t(starts.back()) * hidden);
    std::vector<float> first;
    for (const std::string& name : sets) {
      std::vector<float> output(input.size());
      if (sparse_encode(name.c_str(), &encoder, input.data(), output.data(), starts.data(), int32_t(starts.size()) - 1) != 0)
        return 1;
      for (float value : output)
        if (!std::isfinite(value)) worst = INFINITY;
      const bool may_round = kind == BFLOATS || may_round_attention;
      if (kind == INT8 || (may_round && name == "avx512_bf16")) continue;
      if (first.empty()) first = output;
      for (size_t i = 0; i < output.size(); i++) worst = std::max(worst, double(std::fabs(output[i] - first[i])));
    }
  }
  if (sparse_encode("none", nullptr, nullptr, nullptr, nullptr, 0) != 1) return 1;
  std::printf("%zu instruction sets, worst difference %.1e\n", sets.size(), worst);
  return worst < 1e-2 ? 0 : 1;
}
