#include "jit/interp/stack_frame.hpp"

namespace doppel::interp {

using core::CpuState;
using core::SegmentRegister;
using mmu::Access;

Stack segmented_stack(const SegmentRegister& ss, u64 sp) {
  const u64 mask = ss.attributes & core::kSegDb ? 0xffff'ffff : 0xffff;
  return {.ss = ss, .sp = mask == 0xffff ? sp : sp & mask, .mask = mask};
}

Stack flat_stack(const SegmentRegister& ss, u64 rsp) {
  return {.ss = ss, .sp = rsp, .mask = ~u64{0}, .flat = true};
}

Stack current_stack(const CpuState& s) {
  const SegmentRegister& ss = s.segment[core::kSs];
  return core::code64(s) ? flat_stack(ss, s.gpr[core::kRsp]) : segmented_stack(ss, s.gpr[core::kRsp]);
}

void commit_stack(CpuState& s, const Stack& stack) {
  s.segment[core::kSs] = stack.ss;
  s.gpr[core::kRsp] = stack.sp;
}

namespace {

[[nodiscard]] bool tss_holds(Vcpu& cpu, u32 offset, u32 size) {
  const SegmentRegister& tr = cpu.state.tr;
  return offset + size - 1 <= tr.limit || cpu.raise(Vector::kTS, selector_error(tr.selector));
}

}  // namespace

bool inner_stack(Vcpu& cpu, u8 cpl, Stack& out) {
  const CpuState& s = cpu.state;
  const bool wide = s.tr.attributes & 8;  // a 32-bit TSS
  const u32 offset = wide ? 4 + cpl * 8u : 2 + cpl * 4u;
  const u32 pointer_size = wide ? 4 : 2;
  u32 sp = 0;
  u16 selector = 0;
  if (!tss_holds(cpu, offset, pointer_size + 2)) return false;
  const auto read = [&]<class T>(u32 at, T& value) {
    return cpu.mmu.read_system<T>(table_address(s, s.tr.base, at), value);
  };
  u16 short_sp = 0;
  if (wide ? !read(offset, sp) : !read(offset, short_sp)) return false;
  if (!read(offset + pointer_size, selector)) return false;
  SegmentRegister ss;
  if (!check_stack_segment(cpu, selector, cpl, Vector::kTS, false, ss)) return false;
  out = segmented_stack(ss, wide ? sp : short_sp);
  out.implicit = true;
  out.error = static_cast<u16>(selector_error(selector));
  return true;
}

bool read_rsp(Vcpu& cpu, u32 tss_offset, u64& rsp) {
  return tss_holds(cpu, tss_offset, 8) && cpu.mmu.read_system<u64>(cpu.state.tr.base + tss_offset, rsp);
}

namespace {

// The linear address of `size` bytes at stack offset `sp`, after the checks of SS.
[[nodiscard]] bool stack_linear(Vcpu& cpu, const Stack& stack, u64 sp, u32 size, Access access, u64& la) {
  if (stack.flat) {
    la = sp;
    return true;
  }
  const u64 offset = sp & stack.mask;
  if (!segment_permits(cpu.state, stack.ss, offset, size, access)) return cpu.raise(Vector::kSS, stack.error);
  la = (stack.ss.base + offset) & 0xffff'ffff;
  return true;
}

// A flat stack at a non-canonical address: #SS, with the MMU's #GP as the messenger.
[[nodiscard]] bool stack_fault(Vcpu& cpu, const Stack& stack) {
  memory_fault(cpu, core::kSs);
  if (cpu.state.fault.vector == Vector::kSS) cpu.state.fault.error = stack.error;
  return false;
}

}  // namespace

void Frame::push(u64 value, u32 size) {
  stack_.sp = stack_.moved(-static_cast<i64>(size));
  slots_[count_++] = {stack_.sp, value, size};
}

bool Frame::write(Vcpu& cpu) const {
  // 64-bit frames of events: one block, whose write is all or nothing.
  constexpr u32 kMaxBlock = 6;
  if (stack_.flat && stack_.implicit && count_ <= kMaxBlock) {
    std::array<u64, kMaxBlock> image{};
    for (u32 i = 0; i < count_; ++i) image[count_ - 1 - i] = slots_[i].value;
    const auto write_block = [&]<std::size_t kCount>() {
      std::array<u64, kCount> block;
      std::copy_n(image.begin(), kCount, block.begin());
      return cpu.mmu.write_system(stack_.sp, block) || stack_fault(cpu, stack_);
    };
    if (count_ == 5) return write_block.operator()<5>();
    if (count_ == 6) return write_block.operator()<6>();
  }

  std::array<u64, kCapacity> address;
  for (u32 i = 0; i < count_; ++i) {
    const Slot& slot = slots_[i];
    if (!stack_linear(cpu, stack_, slot.sp, slot.size, Access::kWrite, address[i])) return false;
    const bool ok = stack_.implicit ? cpu.mmu.probe_system(address[i], slot.size, Access::kWrite)
                                    : cpu.mmu.probe(address[i], slot.size, Access::kWrite);
    if (!ok) return stack_fault(cpu, stack_);
  }
  for (u32 i = 0; i < count_; ++i) {
    const auto put = [&]<class T>() {
      const T value = static_cast<T>(slots_[i].value);
      return stack_.implicit ? cpu.mmu.write_system<T>(address[i], value)
                             : cpu.mmu.write<T>(address[i], value);
    };
    if (!by_size(static_cast<u8>(slots_[i].size), put)) return stack_fault(cpu, stack_);
  }
  return true;
}

bool FramePops::pop(u64& value) {
  u64 la = 0;
  if (!stack_linear(cpu_, stack_, stack_.sp, size_, Access::kRead, la)) return false;
  const auto get = [&]<class T>() {
    T narrow;
    if (!cpu_.mmu.read<T>(la, narrow)) return stack_fault(cpu_, stack_);
    value = narrow;
    return true;
  };
  if (!by_size(static_cast<u8>(size_), get)) return false;
  skip(size_);
  return true;
}

bool FramePops::pop_selector(u16& selector) {
  u64 value = 0;
  if (!pop(value)) return false;
  selector = static_cast<u16>(value);
  return true;
}

}  // namespace doppel::interp
