#include "tests/interp/machine_state.hpp"

#include <fmt/format.h>

#include <cstring>

namespace doppel::tests {

u32 code_bits(Mode mode) {
  switch (mode) {
    case Mode::kReal16:
      return 16;
    case Mode::kUser32:
    case Mode::kKernel32:
      return 32;
    default:
      return 64;
  }
}

bool runs_natively(Mode mode) {
  return mode == Mode::kUser64 || mode == Mode::kUser32;
}

Layout layout(Mode mode) {
  if (mode == Mode::kReal16) return {0x4000, 0x6000};
  return {0x1000'0000, 0x1001'0000};
}

const char* gpr_name(u32 index) {
  constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  return kNames[index];
}

std::string flag_names(u64 flags) {
  constexpr std::pair<u64, char> kLetters[] = {
      {core::kCf, 'C'}, {core::kPf, 'P'}, {core::kAf, 'A'}, {core::kZf, 'Z'}, {core::kSf, 'S'},
      {core::kOf, 'O'}, {core::kDf, 'D'}, {core::kNt, 'N'}, {core::kAc, 'a'}, {core::kId, 'I'}};
  std::string names;
  for (const auto& [flag, letter] : kLetters)
    if (flags & flag) names += letter;
  return names.empty() ? "-" : names;
}

std::string differences(const Outcome& a, const Outcome& b, u64 undefined) {
  std::string out;
  const auto compare = [&](const std::string& name, u64 left, u64 right) {
    if (left != right) out += fmt::format("  {:<8} {:#018x}  {:#018x}\n", name, left, right);
  };
  if (a.stuck != b.stuck) out += fmt::format("  stuck    {}  {}\n", a.stuck, b.stuck);
  if (a.fault != b.fault) out += fmt::format("  fault    {}  {}\n", a.fault, b.fault);
  compare("error", a.error, b.error);
  compare("cr2", a.address, b.address);
  for (u32 i = 0; i < 16; ++i) compare(gpr_name(i), a.state.gpr[i], b.state.gpr[i]);
  compare("rip", a.state.rip, b.state.rip);
  const u64 mask = kComparedFlags & ~undefined;
  if ((a.state.rflags & mask) != (b.state.rflags & mask))
    out += fmt::format("  flags    {}  {}\n", flag_names(a.state.rflags & mask),
                       flag_names(b.state.rflags & mask));
  for (u32 i = 0; i < 16; ++i)
    for (u32 q = 0; q < 4; ++q)
      compare(fmt::format("{}{}[{}]", q < 2 ? "xmm" : "ymm", i, q), a.state.vec[i].q[q], b.state.vec[i].q[q]);
  compare("mxcsr", a.state.mxcsr, b.state.mxcsr);
  for (u32 i = 0; i < 8; ++i) {
    compare(fmt::format("st{}", i), a.state.st[i].significand, b.state.st[i].significand);
    compare(fmt::format("st{}.se", i), a.state.st[i].sign_exponent, b.state.st[i].sign_exponent);
  }
  compare("fcw", a.state.fcw, b.state.fcw);
  compare("fsw", a.state.fsw, b.state.fsw);
  compare("ftw", a.state.ftw, b.state.ftw);
  if (a.data != b.data) {
    constexpr u32 kLines = 8;
    u32 lines = 0;
    for (u32 i = 0; i < kDataSize && lines < kLines; i += 8) {
      u64 left, right;
      std::memcpy(&left, &a.data[i], 8);
      std::memcpy(&right, &b.data[i], 8);
      lines += left != right;
      compare(fmt::format("[data+{:#x}]", i), left, right);
    }
  }
  return out;
}

}  // namespace doppel::tests
