// A guest exception as a value. Whoever detects it fills one in CpuState::fault and reports failure to its
// caller; the dispatcher delivers it. Nothing here knows how delivery works.
// Source: Intel SDM Vol. 3A, chapter "Interrupt and Exception Handling".
#pragma once

#include "core/types.hpp"

namespace doppel::core {

enum class Vector : u8 {
  kDE = 0,   // divide error
  kDB = 1,   // debug
  kNMI = 2,  // non-maskable interrupt
  kBP = 3,   // breakpoint (INT3)
  kOF = 4,   // overflow (INTO)
  kBR = 5,   // BOUND range exceeded
  kUD = 6,   // invalid opcode
  kNM = 7,   // device not available
  kDF = 8,   // double fault
  kTS = 10,  // invalid TSS
  kNP = 11,  // segment not present
  kSS = 12,  // stack-segment fault
  kGP = 13,  // general protection
  kPF = 14,  // page fault
  kMF = 16,  // x87 floating-point error
  kAC = 17,  // alignment check
  kMC = 18,  // machine check
  kXM = 19,  // SIMD floating-point exception
};

// Page-fault error code bits (SDM Vol. 3A, "Page-Fault Exceptions").
inline constexpr u32 kPfPresent = 1u << 0;
inline constexpr u32 kPfWrite = 1u << 1;
inline constexpr u32 kPfUser = 1u << 2;
inline constexpr u32 kPfReserved = 1u << 3;
inline constexpr u32 kPfFetch = 1u << 4;

struct Fault {
  Vector vector = Vector::kDE;
  bool pending = false;
  u32 error = 0;    // error code; ignored for vectors that push none
  u64 address = 0;  // linear address, goes to CR2 for #PF; DR6 bits for #DB
};

// Whether the processor pushes an error code for this exception.
constexpr bool has_error_code(Vector v) {
  switch (v) {
    case Vector::kDF:
    case Vector::kTS:
    case Vector::kNP:
    case Vector::kSS:
    case Vector::kGP:
    case Vector::kPF:
    case Vector::kAC:
      return true;
    default:
      return false;
  }
}

}  // namespace doppel::core
