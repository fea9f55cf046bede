// Runs random encoders through every instruction set of this processor, for sanitizers to watch. Every array is
// a piece of the heap of exactly its size. Prints the largest difference between two instruction sets.
#include "interface.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
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

struct Memory {
  std::deque<std::vector<float>> floats;
  std::deque<std::vector<int32_t>> starts;
  std::deque<std::vector<uint16_t>> inputs;

  const float* keep(std::vector<float> values) { return floats.emplace_back(std::move(values)).data(); }

  Linear linear(int outputs, int inputs_, double density) {
    const float* bias = keep(normal(outputs));
    if (density >= 1) {
      std::vector<float> weight = normal(size_t(outputs) * inputs_);
      for (float& value : weight) value /= std::sqrt(float(inputs_));
      return Linear{outputs, inputs_, 0, nullptr, nullptr, keep(weight), bias};
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
    starts.push_back(begin);
    inputs.push_back(features);
    return Linear{outputs, inputs_, block, starts.back().data(), inputs.back().data(), keep(values), bias};
  }
};

int main() {
  std::vector<std::string> sets;
  std::stringstream names(sparse_instructions());
  for (std::string name; std::getline(names, name, ',');) sets.push_back(name);
  double worst = 0;
  for (int round = 0; round < 40; round++) {
    Memory memory;
    const int heads = drawn(1, 3), hidden = heads * drawn(2, 40), inner = drawn(1, 90), num_layers = drawn(1, 2);
    const double densities[] = {0, 0.1, 0.5, 1};
    std::vector<Layer> layers;
    for (int l = 0; l < num_layers; l++) {
      const double density = densities[drawn(0, 3)];
      layers.push_back(Layer{memory.linear(3 * hidden, hidden, density), memory.linear(hidden, hidden, density),
                             memory.linear(inner, hidden, density), memory.linear(hidden, inner, 0.3),
                             memory.keep(normal(hidden)), memory.keep(normal(hidden)), memory.keep(normal(hidden)),
                             memory.keep(normal(hidden))});
    }
    const Encoder encoder{num_layers, hidden, inner, heads, drawn(0, 3), 1e-5f, layers.data()};
    std::vector<int32_t> starts{0};
    for (int s = drawn(1, 6); s > 0; s--) starts.push_back(starts.back() + drawn(0, 150));
    const std::vector<float> input = normal(size_t(starts.back()) * hidden);
    std::vector<float> first;
    for (const std::string& name : sets) {
      std::vector<float> output(input.size());
      if (sparse_encode(name.c_str(), &encoder, input.data(), output.data(), starts.data(), int32_t(starts.size()) - 1) != 0)
        return 1;
      if (first.empty()) first = output;
      for (size_t i = 0; i < output.size(); i++) worst = std::max(worst, double(std::fabs(output[i] - first[i])));
    }
  }
  if (sparse_encode("none", nullptr, nullptr, nullptr, nullptr, 0) != 1) return 1;
  std::printf("%zu instruction sets, worst difference %.1e\n", sets.size(), worst);
  return worst < 1e-2 ? 0 : 1;
}
