#include "jit/x64/x87_residence.hpp"

#include <cstring>

namespace doppel::jit::x64 {
namespace {

// What FNSAVE stores in 32-bit protected format (SDM Vol. 1, "Saving the x87 FPU's State").
struct [[gnu::packed]] FsaveImage {
  u32 control, status, tags;
  u32 pointers[4];
  struct [[gnu::packed]] {
    u64 significand;
    u16 sign_exponent;
  } st[8];
};
static_assert(sizeof(FsaveImage) == 108);

constexpr u32 kTop = 11;      // of the status word, 3 bits
constexpr u32 kEmpty = 3;     // in the tag word
constexpr u16 kMasks = 0x3f;  // exception masks of the control word
constexpr u16 kErrorSummary = 0x80;

}  // namespace

bool x87_usable(const core::CpuState& s) {
  return !(s.cr0 & (core::kCr0Em | core::kCr0Ts)) && (s.x87.control & kMasks) == kMasks &&
         !(s.x87.status & kErrorSummary);
}

void x87_move_in(core::CpuState& state) {
  const core::X87State& x = state.x87;
  FsaveImage image{};
  image.control = x.control;
  image.status = static_cast<u32>(x.status & ~(7u << kTop)) | u32{x.top} << kTop;
  for (u32 i = 0; i < 8; ++i) {
    if (!(x.valid >> i & 1)) image.tags |= kEmpty << 2 * i;
    const core::X87Register& reg = x.physical[(x.top + i) & 7];
    image.st[i] = {reg.significand, reg.sign_exponent};
  }
  asm volatile("frstor %0" : : "m"(image));
  state.translator.x87_resident = 1;
}

void x87_move_out(core::CpuState& state) {
  if (!state.translator.x87_resident) return;
  state.translator.x87_resident = 0;
  FsaveImage image;
  asm volatile("fnsave %0" : "=m"(image));  // leaves the FPU empty, as C++ code expects it
  core::X87State& x = state.x87;
  x.control = static_cast<u16>(image.control);
  x.status = static_cast<u16>(image.status & ~(7u << kTop));
  x.top = static_cast<u8>(image.status >> kTop & 7);
  x.valid = 0;
  for (u32 i = 0; i < 8; ++i) {
    if ((image.tags >> 2 * i & 3) != kEmpty) x.valid |= static_cast<u8>(1u << i);
    x.physical[(x.top + i) & 7] = {image.st[i].significand, image.st[i].sign_exponent};
  }
  x.opcode = 0;
  x.instruction = x.data = 0;
  x.instruction_segment = x.data_segment = 0;
}

}  // namespace doppel::jit::x64
