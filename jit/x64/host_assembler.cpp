#include "jit/x64/host_assembler.hpp"

#include <cstring>
#include <optional>

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

void HostAssembler::align_patched(u32 opcode_bytes) {
  constexpr u8 kNops[][3] = {{}, {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
  const u64 at = (here() + opcode_bytes) % 8;
  if (at > 4) embed(kNops[8 - at], 8 - at);
}

void HostAssembler::nop5() {
  constexpr u8 kNop[] = {0x0f, 0x1f, 0x44, 0x00, 0x00};
  embed(kNop, sizeof kNop);
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

// ---------------------------------------------------------------------------------------------------------------
// Encodings (SDM Vol. 2, "Instruction Format").

namespace {

using asmjit::x86::Gp;
using asmjit::x86::Mem;
namespace Inst = asmjit::x86::Inst;

// In general registers of 4 or 8 bytes.
bool plain(const Gp& reg) {
  return reg.size() >= 4;
}
// [base + index << shift + displacement], or without index.
bool plain(const Mem& memory) {
  return memory.hasBaseReg() && memory.baseType() == asmjit::RegType::kX86_Gpq &&
         (!memory.hasIndex() || memory.indexType() == asmjit::RegType::kX86_Gpq) && !memory.hasSegment();
}

u8 rex_prefix(bool wide, u32 reg, u32 index, u32 rm) {
  return static_cast<u8>(0x40 | wide << 3 | reg >> 3 << 2 | index >> 3 << 1 | rm >> 3);
}

u8 modrm(u32 mod, u32 reg, u32 rm) {
  return static_cast<u8>(mod << 6 | (reg & 7) << 3 | (rm & 7));
}

// ADD, OR, ADC, SBB, AND, SUB, XOR, CMP: their number in the opcodes; empty: something else.
std::optional<u8> arithmetic(asmjit::InstId id) {
  switch (id) {
    case Inst::kIdAdd:
      return 0;
    case Inst::kIdOr:
      return 1;
    case Inst::kIdAdc:
      return 2;
    case Inst::kIdSbb:
      return 3;
    case Inst::kIdAnd:
      return 4;
    case Inst::kIdSub:
      return 5;
    case Inst::kIdXor:
      return 6;
    case Inst::kIdCmp:
      return 7;
    default:
      return std::nullopt;
  }
}

}  // namespace

void HostAssembler::put_memory(u8 opcode, bool wide, u32 reg, const Mem& memory) {
  constexpr u32 kNoIndex = 4, kSib = 4, kNeedsDisplacement = 5;
  const u32 base = memory.baseId(), index = memory.hasIndex() ? memory.indexId() : kNoIndex;
  const i32 displacement = memory.offsetLo32();
  const bool none = displacement == 0 && (base & 7) != kNeedsDisplacement;
  const bool byte = displacement == static_cast<i8>(displacement);
  const u32 mod = none ? 0 : byte ? 1 : 2;
  u8* p = _bufferPtr;
  if (const u8 prefix = rex_prefix(wide, reg, index, base); prefix != 0x40) *p++ = prefix;
  *p++ = opcode;
  if (index == kNoIndex && (base & 7) != kSib) {
    *p++ = modrm(mod, reg, base);
  } else {
    *p++ = modrm(mod, reg, kSib);
    *p++ = modrm(memory.shift(), index, base);
  }
  std::memcpy(p, &displacement, sizeof displacement);
  _bufferPtr = p + (none ? 0 : byte ? 1 : 4);
}

void HostAssembler::put_registers(u8 opcode, bool wide, u32 reg, u32 rm) {
  if (const u8 prefix = rex_prefix(wide, reg, 0, rm); prefix != 0x40) *_bufferPtr++ = prefix;
  *_bufferPtr++ = opcode;
  *_bufferPtr++ = modrm(3, reg, rm);
}

void HostAssembler::load(u8 opcode, const Gp& to, const Mem& from, asmjit::InstId id) {
  if (plain(to) && plain(from))
    put_memory(opcode, to.size() == 8, to.id(), from);
  else
    emit(id, to, from);
}

void HostAssembler::store(u8 opcode, const Mem& to, const Gp& from, asmjit::InstId id) {
  if (plain(from) && plain(to))
    put_memory(opcode, from.size() == 8, from.id(), to);
  else
    emit(id, to, from);
}

void HostAssembler::registers(u8 opcode, const Gp& to, const Gp& from, asmjit::InstId id) {
  if (plain(to) && to.size() == from.size())
    put_registers(opcode, to.size() == 8, from.id(), to.id());
  else
    emit(id, to, from);
}

void HostAssembler::immediate(u8 extension, const Gp& to, i32 value, asmjit::InstId id) {
  if (!plain(to)) {
    emit(id, to, value);
    return;
  }
  const bool byte = value == static_cast<i8>(value);
  put_registers(byte ? 0x83 : 0x81, to.size() == 8, extension, to.id());
  std::memcpy(_bufferPtr, &value, sizeof value);
  _bufferPtr += byte ? 1 : 4;
}

asmjit::Error HostAssembler::emitOpArray(asmjit::InstId id, const asmjit::Operand_* operands,
                                         std::size_t count) {
  const auto number = arithmetic(id);
  const bool known =
      (number || id == Inst::kIdMov) && count == 2 && instOptions() == asmjit::InstOptions::kNone;
  if (!known) return Assembler::emitOpArray(id, operands, count);
  const u8 opcode = number ? static_cast<u8>(*number << 3 | 1) : u8{0x89};  // r/m, r; 2 more: r, r/m
  const bool to_register = operands[0].isReg();
  if (operands[1].isImm()) {
    const i64 value = operands[1].as<asmjit::Imm>().value();
    const Gp& to = operands[0].as<Gp>();
    if (!number || !to_register || value != static_cast<i32>(value))
      return Assembler::emitOpArray(id, operands, count);
    immediate(*number, to, static_cast<i32>(value), id);
  } else if (!to_register) {
    store(opcode, operands[0].as<Mem>(), operands[1].as<Gp>(), id);
  } else if (operands[1].isReg()) {
    registers(opcode, operands[0].as<Gp>(), operands[1].as<Gp>(), id);
  } else {
    load(opcode + 2, operands[0].as<Gp>(), operands[1].as<Mem>(), id);
  }
  return asmjit::kErrorOk;
}

}  // namespace doppel::jit::x64
