// Which of the compiled instruction sets is used: the one that Python names. WITH_<name> says that a set was compiled,
// besides the portable one: an older compiler may not know all of them.
#include "interface.h"

#include <cstring>
#include <string>

#define DECLARE(NAME)                                                                                         \
  namespace NAME {                                                                                            \
  bool run_encoder(const Encoder&, const float*, float*, const int32_t*, int32_t);                            \
  }
DECLARE(portable)
DECLARE(avx2)
DECLARE(avx512)
DECLARE(avx512_vnni)
DECLARE(avx512_bf16)

namespace {

struct InstructionSet {
  const char* name;
  bool is_there;
  decltype(&portable::run_encoder) run;
};

#ifdef WITH_avx512
bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

const InstructionSet* instruction_sets() {
  static const InstructionSet sets[] = {
#ifdef WITH_avx512_bf16
      {"avx512_bf16", has_avx512() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16"), avx512_bf16::run_encoder},
#endif
#ifdef WITH_avx512_vnni
      {"avx512_vnni", has_avx512() && __builtin_cpu_supports("avx512vnni"), avx512_vnni::run_encoder},
#endif
#ifdef WITH_avx512
      {"avx512", has_avx512(), avx512::run_encoder},
#endif
#ifdef WITH_avx2
      {"avx2", bool(__builtin_cpu_supports("avx2")) && __builtin_cpu_supports("fma"), avx2::run_encoder},
#endif
      {"portable", true, portable::run_encoder},
      {nullptr, false, nullptr},
  };
  return sets;
}

}  // namespace

#define EXPORT __attribute__((visibility("default")))

EXPORT const char* sparse_instructions() {
  static const std::string names = [] {
    std::string found;
    for (const InstructionSet* set = instruction_sets(); set->name != nullptr; set++)
      if (set->is_there) found += (found.empty() ? "" : ",") + std::string(set->name);
    return found;
  }();
  return names.c_str();
}

EXPORT int32_t sparse_encode(const char* instructions, const Encoder* encoder, const float* input, float* output, const int32_t* starts, int32_t num_sequences) {
  for (const InstructionSet* set = instruction_sets(); set->name != nullptr; set++) {
    if (!set->is_there || std::strcmp(set->name, instructions) != 0) continue;
    return set->run(*encoder, input, output, starts, num_sequences) ? 0 : 2;
  }
  return 1;
}
