#include "jit/interp/legacy_region.hpp"

#include <cstddef>
#include <cstring>

#include "jit/interp/x87.hpp"

namespace doppel::interp::legacy_region {

namespace {

constexpr u32 kMxcsrOffset = 24, kStOffset = 32;

struct Legacy {
  u16 control, status;
  u8 tags, reserved;
  u16 opcode;
  u64 instruction, data;
  u32 mxcsr, mxcsr_mask;
};
static_assert(offsetof(Legacy, mxcsr) == kMxcsrOffset && sizeof(Legacy) == kStOffset);

}  // namespace

void put_x87(const core::X87State& x, View bytes, bool wide) {
  Legacy legacy;
  std::memcpy(&legacy, bytes.data(), sizeof legacy);
  legacy.control = x.control;
  legacy.status = x87::status_word(x);
  legacy.tags = x.valid;
  legacy.reserved = 0;
  legacy.opcode = x.opcode;
  const auto pointer = [&](u64 offset, u16 selector) {
    return wide ? offset : (offset & 0xffff'ffff) | u64{selector} << 32;
  };
  legacy.instruction = pointer(x.instruction, x.instruction_segment);
  legacy.data = pointer(x.data, x.data_segment);
  std::memcpy(bytes.data(), &legacy, sizeof legacy);
  for (u32 i = 0; i < 8; ++i) {
    u8* slot = bytes.data() + kStOffset + i * 16;
    std::memset(slot, 0, 16);
    std::memcpy(slot, &x87::get(x, i).significand, 8);
    std::memcpy(slot + 8, &x87::get(x, i).sign_exponent, 2);
  }
}

void take_x87(core::X87State& x, ConstView bytes, bool wide) {
  Legacy legacy;
  std::memcpy(&legacy, bytes.data(), sizeof legacy);
  x.control = x87::control_word(legacy.control);
  x87::set_status_word(x, legacy.status);
  x.valid = legacy.tags;
  x.opcode = legacy.opcode & 0x7ff;
  const u64 pointer_mask = wide ? ~u64{0} : 0xffff'ffff;
  x.instruction = legacy.instruction & pointer_mask;
  x.data = legacy.data & pointer_mask;
  x.instruction_segment = wide ? 0 : static_cast<u16>(legacy.instruction >> 32);
  x.data_segment = wide ? 0 : static_cast<u16>(legacy.data >> 32);
  for (u32 i = 0; i < 8; ++i) {
    const u8* slot = bytes.data() + kStOffset + i * 16;
    core::X87Register& value = x.physical[x87::physical(x, i)];
    std::memcpy(&value.significand, slot, 8);
    std::memcpy(&value.sign_exponent, slot + 8, 2);
  }
}

void put_mxcsr(u32 mxcsr, View bytes) {
  const u32 words[] = {mxcsr, kMxcsrMask};
  std::memcpy(bytes.data() + kMxcsrOffset, words, sizeof words);
}

u32 mxcsr_of(ConstView bytes) {
  u32 value;
  std::memcpy(&value, bytes.data() + kMxcsrOffset, sizeof value);
  return value;
}

void put_xmm(const core::CpuState& state, u32 count, View bytes) {
  for (u32 i = 0; i < count; ++i) std::memcpy(bytes.data() + kXmmOffset + i * 16, state.vec[i].q, 16);
}

void take_xmm(core::CpuState& state, u32 count, ConstView bytes) {
  for (u32 i = 0; i < count; ++i) std::memcpy(state.vec[i].q, bytes.data() + kXmmOffset + i * 16, 16);
}

}  // namespace doppel::interp::legacy_region
