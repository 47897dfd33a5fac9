#include "tests/jit/translator_compat_generator.hpp"

#include "tests/interp/instruction_facts.hpp"

namespace doppel::tests::translator {
namespace {

constexpr u8 kJump = 0xeb, kCall = 0xe8, kOperandSize = 0x66, kAddressSize = 0x67;

// Not written but by purpose: pointers and the loop counter.
constexpr u32 kReserved =
    1u << core::kRbx | 1u << core::kRsp | 1u << core::kRbp | 1u << core::kRsi | 1u << core::kRdi;

void append(std::vector<u8>& out, u64 value, u32 bytes) {
  for (u32 i = 0; i < bytes; ++i) out.push_back(static_cast<u8>(value >> (8 * i)));
}

Item bytes_item(std::vector<u8> bytes) {
  Item item;
  item.bytes = std::move(bytes);
  return item;
}

}  // namespace

CompatGenerator::CompatGenerator(const core::CpuModel& model, u32 bits) : bits_(bits) {
  // What 16-bit code can encode is the same, with other sizes.
  static const Encodings all = find_encodings(model, 32);
  for (const auto& [mnemonic, list] : all) encodings_.push_back(&list);
}

Program CompatGenerator::make(u64 seed, u64 number) {
  std::seed_seq sequence{seed, seed >> 32, number, number >> 32, u64{bits_}};
  engine_.seed(sequence);
  program_ = Program{};
  program_.bits = bits_;
  program_.sections.resize(1);
  program_.sections[0].start = kCode + random(chance(30) ? 2 * kPageSize : 256);
  pending_.clear();
  forward_.clear();
  functions_.clear();
  fill_state();

  exit_ = program_.new_label();
  patched_ = chance(30) ? program_.new_label() : kNoLabel;
  for (u64 i = random(4); i > 0; --i) functions_.push_back(program_.new_label());
  emit_body(static_cast<u32>(chance(30) ? 1 + random(6) : 5 + random(50)), 0);
  bind(exit_);
  emit_bytes({0xcd, kExitVector});
  program_.sections[0].items.back().fixed = true;
  while (!functions_.empty()) {
    bind(functions_.back());
    functions_.pop_back();  // calls the earlier ones only
    emit_body(static_cast<u32>(1 + random(8)), 1);
    emit_bytes({0xc3});
  }
  if (patched_ != kNoLabel) {
    bind(patched_);
    emit_move(core::kRax, integer());
    emit_bytes({0xc3});
  }
  program_.sections[0].items.back().fixed = true;
  return std::move(program_);
}

void CompatGenerator::fill_state() {
  InitialState& s = program_.initial;
  for (u32 i = 0; i < 8; ++i) s.gpr[i] = integer();
  for (const u8 r : {core::kRbx, core::kRsi, core::kRdi}) s.gpr[r] = pointer();
  s.gpr[core::kRsp] = (small() ? kStackTop - kStack : kStackTop) - (chance(80) ? 0 : random(64));
  s.rflags = core::kFlagsFixed | (engine_() & core::kArithmeticFlags) | (chance(10) ? core::kDf : 0);
  for (auto& v : s.vec)
    for (u64& q : v.q) q = engine_() >> random(64);
  for (u32 i = 8; i < 16; ++i) s.vec[i] = {};
  if (small()) s.fs_base = s.gs_base = kCode;
  program_.data.resize(kDataPages * kPageSize);
  for (u8& byte : program_.data) byte = static_cast<u8>(engine_() >> random(8));
  program_.data_page.fill(kPresent | kWritable | kUser);
  program_.data_page[3] = kWritable | kUser | kLazy;
  program_.data_page[4] = kPresent | kUser | (chance(50) ? kCopyOnWrite : 0);
  program_.data_page[6] = 0;
}

u32 CompatGenerator::pointer() {
  const u64 page_end = (1 + random(kDataPages)) * kPageSize - random(20);
  const u64 offset = chance(20) ? page_end : 256 + random(2 * kPageSize);
  return static_cast<u32>(small() ? offset : kData + offset);
}

// -------------------------------------------------------------------------------------------------------------------

void CompatGenerator::emit(Item item) {
  item.labels.swap(pending_);
  pending_.clear();
  program_.sections[0].items.push_back(std::move(item));
}
void CompatGenerator::emit_bytes(std::vector<u8> bytes) {
  emit(bytes_item(std::move(bytes)));
}
void CompatGenerator::emit_jump(u8 opcode, Label target) {
  Item item;
  item.kind = Item::Kind::kJump;
  item.opcode = opcode;
  item.target = target;
  item.prefers_short = chance(70);
  emit(std::move(item));
}
void CompatGenerator::emit_move(u8 reg, u32 value) {
  std::vector<u8> bytes = {static_cast<u8>(0xb8 | reg)};
  append(bytes, value, small() ? 2 : 4);
  emit_bytes(std::move(bytes));
}

void CompatGenerator::emit_body(u32 elements, u32 depth) {
  std::vector<Label> outer;
  outer.swap(forward_);
  for (u32 i = 0; i < elements; ++i) {
    while (!forward_.empty() && chance(30)) {
      bind(forward_.back());
      forward_.pop_back();
    }
    emit_element(depth);
  }
  for (const Label label : forward_) bind(label);
  forward_.swap(outer);
}

void CompatGenerator::emit_element(u32 depth) {
  constexpr u32 kDeepest = 2;
  const u64 kind = random(100);
  if (kind < 14) return emit_branch();
  if (kind < 19 && depth < kDeepest) return emit_loop(depth);
  if (kind < 24 && !functions_.empty()) return emit_jump(kCall, functions_[random(functions_.size())]);
  if (kind < 30) return emit_stack();
  if (kind < 34) return emit_string();
  if (kind < 38 && patched_ != kNoLabel) return emit_patch();
  if (kind < 42) return emit_system();
  if (kind < 43) {
    Item item;
    item.kind = Item::Kind::kGap;
    item.bytes_left = static_cast<u8>(random(12));
    return emit(std::move(item));
  }
  if (kind < 48) {  // a pointer again
    constexpr u8 kPointers[] = {core::kRbx, core::kRsi, core::kRdi};
    return emit_move(kPointers[random(3)], pointer());
  }
  emit_generic();
}

void CompatGenerator::emit_branch() {
  if (forward_.empty() || chance(50)) forward_.push_back(program_.new_label());
  const Label target = forward_[random(forward_.size())];
  if (chance(10)) {
    Item item;
    item.kind = Item::Kind::kShort;
    item.opcode = static_cast<u8>(0xe0 + random(4));  // LOOPNE, LOOPE, LOOP, JCXZ
    item.address32 = chance(30);
    item.target = target;
    return emit(std::move(item));
  }
  emit_jump(chance(6) ? kJump : static_cast<u8>(0x70 + random(16)), target);
}

void CompatGenerator::emit_loop(u32 depth) {
  emit_bytes({0x55});  // PUSH EBP
  emit_move(core::kRbp, static_cast<u32>(1 + random(6)));
  const Label head = program_.new_label();
  bind(head);
  emit_body(static_cast<u32>(1 + random(6)), depth + 1);
  if (chance(50)) {
    emit_bytes({0x4d});  // DEC EBP
    emit_jump(0x75, head);
  } else {
    emit_bytes({0x83, 0xed, 0x01});  // SUB EBP, 1
    emit_jump(0x7f, head);           // JG
  }
  emit_bytes({0x5d});  // POP EBP
}

void CompatGenerator::emit_stack() {
  switch (random(8)) {
    case 0:
      return emit_bytes({0x60}), emit_bytes({0x61});  // PUSHA, POPA
    case 1:
      return emit_bytes({0x9c}), emit_bytes({0x58});  // PUSHF, POP EAX
    case 2: {                                         // POPF
      std::vector<u8> bytes = {0x68};
      append(bytes, (engine_() & core::kArithmeticFlags) | (chance(5) ? core::kTf : 0), small() ? 2 : 4);
      return emit_bytes(std::move(bytes)), emit_bytes({0x9d});
    }
    case 3:  // ENTER, LEAVE
      return emit_bytes({0xc8, static_cast<u8>(random(64)), 0, static_cast<u8>(random(3))}),
             emit_bytes({0xc9});
    case 4:  // PUSH ES, POP ES
      return emit_bytes({0x06}), emit_bytes({0x07});
    case 5:  // MOV AX, SS; MOV SS, AX: no interrupt behind it
      return emit_bytes({0x8c, 0xd0}), emit_bytes({0x8e, 0xd0});
    default: {  // the register's and the operand's size vary
      const bool other = chance(30);
      for (const u8 opcode : {static_cast<u8>(0x50 | random(8)), static_cast<u8>(0x58 | random(3))})
        emit_bytes(other ? std::vector<u8>{kOperandSize, opcode} : std::vector<u8>{opcode});
    }
  }
}

void CompatGenerator::emit_string() {
  if (chance(90)) emit_move(core::kRcx, static_cast<u32>(random(40)));
  std::vector<u8> bytes;
  if (chance(85)) bytes.push_back(chance(60) ? 0xf3 : 0xf2);
  if (chance(25)) bytes.push_back(kOperandSize);
  if (chance(10)) bytes.push_back(kAddressSize);
  constexpr u8 kOpcodes[] = {0xa4, 0xa6, 0xaa, 0xac, 0xae};
  bytes.push_back(static_cast<u8>(kOpcodes[random(std::size(kOpcodes))] | random(2)));
  emit_bytes(std::move(bytes));
  emit_move(core::kRsi, pointer());
  emit_move(core::kRdi, pointer());
}

// MOV BYTE over the immediate of the patched function, and a call of it.
void CompatGenerator::emit_patch() {
  Item store = small() ? bytes_item({0x64, 0xc6, 0x06, 0, 0, static_cast<u8>(random(256))})
                       : bytes_item({0xc6, 0x05, 0, 0, 0, 0, static_cast<u8>(random(256))});
  store.fixups.push_back({small() ? Fixup::Kind::kOffset16 : Fixup::Kind::kAbsolute32,
                          static_cast<u8>(small() ? 3 : 2), 0, patched_, 1 + random(2)});
  emit(std::move(store));
  if (chance(80)) emit_jump(kCall, patched_);
}

void CompatGenerator::emit_system() {
  switch (random(6)) {
    case 0:
      return emit_bytes({0xcc});
    case 1:
      return emit_bytes({0x0f, 0x0b});  // UD2
    case 2:
      return emit_bytes({0xce});  // INTO
    case 3:
      return emit_bytes({chance(50) ? u8{0xfd} : u8{0xfc}});  // STD, CLD
    default:
      emit_move(core::kRax, static_cast<u32>(random(8)));
      return emit_bytes({0xcd, kServiceVector});
  }
}

// -------------------------------------------------------------------------------------------------------------------

CompatGenerator::Address CompatGenerator::any_address() {
  Address out{.bytes = {}, .prefixed = chance(15)};
  const u64 near = random(chance(80) ? 128 : 0x1'0000);
  if (small() != out.prefixed) {  // 16-bit forms: r/m 4-7 are SI, DI, BP or disp16, BX; 0-3 sums
    const u8 rm = static_cast<u8>(chance(85) ? 4 + random(4) : random(4)), mod = static_cast<u8>(random(3));
    out.bytes = {static_cast<u8>(mod << 6 | rm)};
    const bool absolute = mod == 0 && rm == 6;
    append(out.bytes, absolute ? pointer() : near, absolute || mod == 2 ? 2 : mod);
    return out;
  }
  constexpr u8 kBases[] = {core::kRbx, core::kRsi, core::kRdi};
  switch (random(6)) {
    case 0:  // disp32
      out.bytes = {0x05};
      append(out.bytes, pointer(), 4);
      return out;
    case 1: {  // base, index and scale; anything as the index
      const u8 sib = static_cast<u8>(random(4) << 6 | random(8) << 3 | kBases[random(3)]);
      out.bytes = {0x44, sib, static_cast<u8>(near)};
      return out;
    }
    default: {
      const u8 mod = static_cast<u8>(random(3));
      out.bytes = {static_cast<u8>(mod << 6 | kBases[random(3)])};
      append(out.bytes, near, mod == 2 ? 4 : mod);
      return out;
    }
  }
}

bool CompatGenerator::allowed(const std::vector<u8>& bytes) const {
  ZydisDecodedInstruction i;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(bits_), bytes.data(), bytes.size(), &i, operands)))
    return false;
  if (i.length != bytes.size() || !is_portable(i) || i.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
    return false;
  if ((i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) || i.meta.category == ZYDIS_CATEGORY_STRINGOP ||
      i.meta.category == ZYDIS_CATEGORY_SYSTEM || i.meta.category == ZYDIS_CATEGORY_IO ||
      i.meta.category == ZYDIS_CATEGORY_IOSTRINGOP || i.mnemonic == ZYDIS_MNEMONIC_CLI ||
      i.mnemonic == ZYDIS_MNEMONIC_STI)
    return false;
  for (u32 n = 0; n < i.operand_count; ++n) {
    const ZydisDecodedOperand& op = operands[n];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || !(op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) continue;
    const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LEGACY_32, op.reg.value);
    if (ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR32 &&
        (kReserved >> static_cast<u32>(ZydisRegisterGetId(whole)) & 1))
      return false;
  }
  return true;
}

void CompatGenerator::emit_generic() {
  while (true) {
    const auto& list = *encodings_[random(encodings_.size())];
    const Encoding& encoding = list[random(list.size())];
    Fields fields;
    fields.vex_vvvv = static_cast<u8>(random(8));
    if (encoding.memory) {
      const Address address = any_address();
      fields.address = address.bytes;
      fields.address32 = address.prefixed;
      fields.lock = chance(10);
    }
    for (u32 i = 0; i < 4; ++i) append(fields.tail, integer(), 4);
    std::vector<u8> bytes = encode(encoding, fields);
    if (encoding.memory && chance(10))
      bytes.insert(bytes.begin(), static_cast<u8>(0x26 | random(4) << 3));  // ES, CS, SS, DS
    ZydisDecodedInstruction i;
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeInstruction(&decoder(bits_), nullptr, bytes.data(), bytes.size(), &i)))
      continue;
    bytes.resize(i.length);
    if (!allowed(bytes)) continue;
    return emit_bytes(std::move(bytes));
  }
}

}  // namespace doppel::tests::translator
