// What an instruction test sees of a processor: its architectural state and one data area, before and after a
// short program. The interpreter (guest_cpu) and the host's own processor (native_cpu) both run a Program and
// give back an Outcome; the table cases and the fuzzer compare them. Knows neither engine.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "core/cpu_state.hpp"
#include "core/types.hpp"

namespace doppel::tests {

// Where a program runs. The user modes have an oracle: the host runs them too.
enum class Mode : u8 {
  kUser64,    // 64-bit code, CPL 3
  kUser32,    // 32-bit code, CPL 3, flat segments
  kKernel64,  // 64-bit code, CPL 0
  kKernel32,  // 32-bit code, CPL 0, flat segments, no paging
  kReal16,    // real mode, all segment bases 0
};

[[nodiscard]] u32 code_bits(Mode mode);
[[nodiscard]] bool runs_natively(Mode mode);

// Linear addresses of a program and of its data. Pages around both are not mapped in the user modes.
struct Layout {
  u64 code;
  u64 data;
};
inline constexpr u32 kCodeSize = 4096;
inline constexpr u32 kDataSize = 8192;
[[nodiscard]] Layout layout(Mode mode);

using Data = std::array<u8, kDataSize>;

inline constexpr int kNoFault = -1;

struct MachineState {
  std::array<u64, 16> gpr{};
  u64 rip = 0;
  u64 rflags = core::kFlagsFixed;
  std::array<core::VectorRegister, 16> vec{};
  u32 mxcsr = 0x1f80;
  std::array<core::X87Register, 8> st{};  // st[0] is the top of the stack
  u16 fcw = 0x37f;
  u16 fsw = 0;  // with TOP
  u8 ftw = 0;   // abridged as in FXSAVE: bit i set if physical register i is in use
};

struct Program {
  Mode mode = Mode::kUser64;
  std::vector<u8> code;  // up to kCodeSize - 1 bytes, run from layout().code; an INT3 is put behind it
  MachineState initial;  // rip is ignored
  Data data{};
};

struct Outcome {
  MachineState state;
  Data data{};
  int fault = kNoFault;  // vector of the exception that ended the program before its last byte
  u32 error = 0;         // its error code, 0 if it has none
  u64 address = 0;       // CR2 of a page fault
  bool stuck = false;    // did not end within its budget
};

// The flags that programs are compared by.
inline constexpr u64 kComparedFlags = core::kArithmeticFlags | core::kDf | core::kNt | core::kAc | core::kId;

// The differences between two outcomes, one line each as "rax 1 2"; empty if there are none. `undefined`
// flags are not compared.
[[nodiscard]] std::string differences(const Outcome& a, const Outcome& b, u64 undefined = 0);

// "CPAZSOD" letters for the flags that are set, and register names as the manuals write them.
[[nodiscard]] std::string flag_names(u64 flags);
[[nodiscard]] const char* gpr_name(u32 index);

}  // namespace doppel::tests
