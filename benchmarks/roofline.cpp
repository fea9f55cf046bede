// Measures what a processor can do at most: products, shuffles of bytes, and loads. Compiled and run by roofline.py.
//
//   roofline THREADS
//
// Prints lines of a name and a number: 10^9 multiply-adds, vectors shuffled, or bytes loaded, of all threads a second;
// vector_bytes is the size of a vector.
#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#if defined(__AVX512F__) && defined(__AVX512BW__)
typedef __m512 Floats;
typedef __m512i Integers;
#define OF(operation) _mm512_##operation
constexpr int SUMS = 24;  // of 32 registers
#else
typedef __m256 Floats;
typedef __m256i Integers;
#define OF(operation) _mm256_##operation
constexpr int SUMS = 12;  // of 16 registers
#endif

constexpr double SECONDS = 0.02;
constexpr int VECTOR_BYTES = sizeof(Floats), STEPS = 1000, REPEATS = 40;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// What the compiler must take to be used, and to be anything.
template <class Vector>
inline void keep(Vector& vector) {
  asm volatile("" : "+v"(vector));
}

// STEPS times `step` on each of SUMS registers.
template <class Vector, class Step>
inline void repeat(Step step) {
  Vector sums[SUMS];
#pragma GCC unroll 32
  for (int j = 0; j < SUMS; j++) {
    sums[j] = Vector{};
    keep(sums[j]);
  }
  for (int i = 0; i < STEPS; i++)
#pragma GCC unroll 32
    for (int j = 0; j < SUMS; j++) {
      sums[j] = step(sums[j]);
      keep(sums[j]);
    }
}

// Returns how many times a second all threads together run `work`, the best of REPEATS. Each thread makes its own.
double rate(int num_threads, const std::function<std::function<void()>(int)>& make) {
  double best = 0;
  for (int repeat = 0; repeat < REPEATS; repeat++) {
    std::atomic<int> ready{0};
    std::vector<double> rates(num_threads);
    std::vector<std::thread> threads;
    for (int t = 0; t < num_threads; t++)
      threads.emplace_back([&, t] {
        const std::function<void()> work = make(t);
        work();
        ready++;
        while (ready < num_threads) std::this_thread::yield();
        const double began = now();
        int64_t count = 0;
        double ended;
        do {
          work();
          count++;
          ended = now();
        } while (ended - began < SECONDS);
        rates[t] = count / (ended - began);
      });
    double sum = 0;
    for (int t = 0; t < num_threads; t++) {
      threads[t].join();
      sum += rates[t];
    }
    best = std::max(best, sum);
  }
  return best;
}

void print(const char* name, double rate) { std::printf("%s %.3f\n", name, rate / 1e9); }

// Prints how many multiply-adds `step` does a second, of which it does `products` at a time.
template <class Vector, class Step>
void print_steps(const char* name, int num_threads, double products, Step step) {
  print(name, products * STEPS * SUMS * rate(num_threads, [&](int) { return [&] { repeat<Vector>(step); }; }));
}

void print_loads(const char* name, int num_threads, size_t num_bytes) {
  const double times = rate(num_threads, [&](int) {
    const std::shared_ptr<char> bytes(static_cast<char*>(std::aligned_alloc(64, num_bytes)), std::free);
    std::memset(bytes.get(), 1, num_bytes);
    const int repeats = int(std::max<size_t>(1, (size_t(1) << 22) / num_bytes));
    return [=] {
      for (int i = 0; i < repeats; i++)
        for (const char *at = bytes.get(), *end = at + num_bytes; at < end; at += 8 * VECTOR_BYTES)
#pragma GCC unroll 8
          for (int j = 0; j < 8; j++) {
            Integers loaded = *reinterpret_cast<const Integers*>(at + j * VECTOR_BYTES);
            keep(loaded);
          }
    };
  });
  print(name, times * double(num_bytes) * double(std::max<size_t>(1, (size_t(1) << 22) / num_bytes)));
}

int main(int, char** arguments) {
  const int threads = std::atoi(arguments[1]);
  Floats factor = OF(set1_ps)(0.5f), term = OF(set1_ps)(0.25f);
  Integers bytes = OF(set1_epi8)(3);
  keep(factor), keep(term), keep(bytes);
  std::printf("vector_bytes %d\n", VECTOR_BYTES);
  print_steps<Floats>("float32", threads, VECTOR_BYTES / 4, [=](Floats sum) { return OF(fmadd_ps)(sum, factor, term); });
#ifdef __AVX512BF16__
  print_steps<Floats>("bfloat16", threads, VECTOR_BYTES / 2, [=](Floats sum) { return _mm512_dpbf16_ps(sum, (__m512bh)bytes, (__m512bh)bytes); });
#endif
#ifdef __AVX512VNNI__
  print_steps<Integers>("int8", threads, VECTOR_BYTES, [=](Integers sum) { return _mm512_dpbusd_epi32(sum, bytes, bytes); });
#elif defined(__AVXVNNI__)
  print_steps<Integers>("int8", threads, VECTOR_BYTES, [=](Integers sum) { return _mm256_dpbusd_avx_epi32(sum, bytes, bytes); });
#else
  Integers ones = OF(set1_epi16)(1);
  keep(ones);
  print_steps<Integers>("int8", threads, VECTOR_BYTES, [=](Integers sum) {
    Integers other = bytes;  // else the compiler multiplies once for all
    keep(other);
    return OF(add_epi32)(sum, OF(madd_epi16)(OF(maddubs_epi16)(other, bytes), ones));
  });
#endif
  print_steps<Integers>("shuffles", threads, 1, [=](Integers sum) { return OF(unpacklo_epi8)(sum, bytes); });
  print_loads("L1", threads, 16 << 10);
  print_loads("L2", threads, 384 << 10);
  // Each thread has its own part, together more than any cache.
  print_loads("memory", threads, std::max(size_t(256) << 20, size_t(64) * threads << 20) / threads / 4096 * 4096);
}
