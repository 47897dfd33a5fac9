#include "jit/x64/host_assembler.hpp"

#include <cstring>

#include "core/log.hpp"

namespace doppel::jit::x64 {

using asmjit::x86::CondCode;

static constexpr u32 kJmp = 0xe9;

HostAssembler::HostAssembler(CodeCache& cache) : cache_(cache), base_(cache.base()) {
  code_.init(asmjit::Environment::host(), base_);
  asmjit::CodeBuffer& buffer = code_.textSection()->buffer();
  buffer._data = cache.writable_base();
  buffer._size = buffer._capacity = cache.size();
  buffer._flags = asmjit::CodeBufferFlags::kIsExternal | asmjit::CodeBufferFlags::kIsFixed;
  code_.attach(this);
}

HostAssembler::~HostAssembler() {
  code_.detach(this);
}

void HostAssembler::end() {
  DOPPEL_CHECK(open_ == 0, "{} jumps to nowhere", open_);
  cache_.take(offset() - cache_.used());
}

void HostAssembler::put_branch(u32 opcode, u64 to) {
  std::memcpy(_bufferPtr, &opcode, 2);
  _bufferPtr += opcode > 0xff ? 2 : 1;
  const i32 displacement = static_cast<i32>(to - (here() + sizeof displacement));
  std::memcpy(_bufferPtr, &displacement, sizeof displacement);
  _bufferPtr += sizeof displacement;
}

static u32 jcc_opcode(CondCode condition) {
  return 0x0f | (0x80 + static_cast<u32>(condition)) << 8;
}

// Until a jump lands, it "goes" to the displacement of the one before; the first goes to its own.
void HostAssembler::put_forward(u32 opcode, Forward& to) {
  const u64 field = here() + (opcode > 0xff ? 2 : 1);
  put_branch(opcode, to.last_field != 0 ? to.last_field : field);
  to.last_field = field;
  ++open_;
}

void HostAssembler::jump(Forward& to) {
  put_forward(kJmp, to);
}
void HostAssembler::jump_if(CondCode condition, Forward& to) {
  put_forward(jcc_opcode(condition), to);
}

void HostAssembler::land(const Forward& jumps) {
  for (u64 field = jumps.last_field; field != 0; --open_) {
    const u64 previous = cache_.jump_target(field);
    cache_.patch_displacement(field, here());
    field = previous == field ? 0 : previous;
  }
}

void HostAssembler::jump(u64 to) {
  put_branch(kJmp, to);
}
void HostAssembler::jump_if(CondCode condition, u64 to) {
  put_branch(jcc_opcode(condition), to);
}
void HostAssembler::call_to(u64 to) {
  put_branch(0xe8, to);
}

}  // namespace doppel::jit::x64
