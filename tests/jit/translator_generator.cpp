// The program as a whole, and single instructions.
#include "tests/jit/translator_generator.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "tests/interp/instruction_facts.hpp"

namespace doppel::tests::translator {
namespace {

constexpr u8 kRexBit = 0x40, kRexW = 8, kRexR = 4, kRexX = 2, kRexB = 1;
constexpr u32 kSlotBytes = 64;

constexpr u64 kDoubles[] = {0,
                            1ull << 63,
                            0x3ff0'0000'0000'0000,
                            0xbff8'0000'0000'0000,
                            0x7ff0'0000'0000'0000,
                            0x7ff8'0000'0000'0001,
                            0x7ff0'0000'0000'0001,
                            1,
                            0x7fef'ffff'ffff'ffff,
                            0x41e0'0000'0000'0000};
constexpr u32 kFloats[] = {0,           0x8000'0000, 0x3f80'0000, 0xbfc0'0000, 0x7f80'0000,
                           0x7fc0'0001, 0x7f80'0001, 1,           0x7f7f'ffff, 0x4f00'0000};

constexpr ZydisMnemonic kCommon[] = {
    ZYDIS_MNEMONIC_ADD,   ZYDIS_MNEMONIC_ADC,   ZYDIS_MNEMONIC_SUB,     ZYDIS_MNEMONIC_SBB,
    ZYDIS_MNEMONIC_AND,   ZYDIS_MNEMONIC_OR,    ZYDIS_MNEMONIC_XOR,     ZYDIS_MNEMONIC_CMP,
    ZYDIS_MNEMONIC_TEST,  ZYDIS_MNEMONIC_MOV,   ZYDIS_MNEMONIC_MOV,     ZYDIS_MNEMONIC_MOV,
    ZYDIS_MNEMONIC_MOVZX, ZYDIS_MNEMONIC_MOVSX, ZYDIS_MNEMONIC_MOVSXD,  ZYDIS_MNEMONIC_INC,
    ZYDIS_MNEMONIC_DEC,   ZYDIS_MNEMONIC_NEG,   ZYDIS_MNEMONIC_NOT,     ZYDIS_MNEMONIC_SHL,
    ZYDIS_MNEMONIC_SHR,   ZYDIS_MNEMONIC_SAR,   ZYDIS_MNEMONIC_ROL,     ZYDIS_MNEMONIC_ROR,
    ZYDIS_MNEMONIC_RCL,   ZYDIS_MNEMONIC_RCR,   ZYDIS_MNEMONIC_SHLD,    ZYDIS_MNEMONIC_SHRD,
    ZYDIS_MNEMONIC_IMUL,  ZYDIS_MNEMONIC_MUL,   ZYDIS_MNEMONIC_DIV,     ZYDIS_MNEMONIC_IDIV,
    ZYDIS_MNEMONIC_LEA,   ZYDIS_MNEMONIC_LEA,   ZYDIS_MNEMONIC_XCHG,    ZYDIS_MNEMONIC_XADD,
    ZYDIS_MNEMONIC_BT,    ZYDIS_MNEMONIC_BTS,   ZYDIS_MNEMONIC_CMPXCHG, ZYDIS_MNEMONIC_BSF,
    ZYDIS_MNEMONIC_BSWAP, ZYDIS_MNEMONIC_CMOVB, ZYDIS_MNEMONIC_CMOVLE,  ZYDIS_MNEMONIC_CMOVS,
    ZYDIS_MNEMONIC_SETNB, ZYDIS_MNEMONIC_SETO,  ZYDIS_MNEMONIC_SETP,    ZYDIS_MNEMONIC_SETNZ,
    ZYDIS_MNEMONIC_SETL,  ZYDIS_MNEMONIC_SETBE};
constexpr ZydisMnemonic kFlagProducers[] = {
    ZYDIS_MNEMONIC_ADD,     ZYDIS_MNEMONIC_SUB,     ZYDIS_MNEMONIC_CMP,      ZYDIS_MNEMONIC_TEST,
    ZYDIS_MNEMONIC_AND,     ZYDIS_MNEMONIC_INC,     ZYDIS_MNEMONIC_DEC,      ZYDIS_MNEMONIC_NEG,
    ZYDIS_MNEMONIC_SHL,     ZYDIS_MNEMONIC_SHR,     ZYDIS_MNEMONIC_SAR,      ZYDIS_MNEMONIC_ROL,
    ZYDIS_MNEMONIC_ROR,     ZYDIS_MNEMONIC_RCL,     ZYDIS_MNEMONIC_RCR,      ZYDIS_MNEMONIC_SHLD,
    ZYDIS_MNEMONIC_BT,      ZYDIS_MNEMONIC_BTC,     ZYDIS_MNEMONIC_CMC,      ZYDIS_MNEMONIC_STC,
    ZYDIS_MNEMONIC_ADC,     ZYDIS_MNEMONIC_SBB,     ZYDIS_MNEMONIC_IMUL,     ZYDIS_MNEMONIC_POPCNT,
    ZYDIS_MNEMONIC_UCOMISD, ZYDIS_MNEMONIC_COMISS,  ZYDIS_MNEMONIC_VCOMISD,  ZYDIS_MNEMONIC_PTEST,
    ZYDIS_MNEMONIC_VTESTPS, ZYDIS_MNEMONIC_CMPXCHG, ZYDIS_MNEMONIC_XADD,     ZYDIS_MNEMONIC_LAHF,
    ZYDIS_MNEMONIC_SAHF,    ZYDIS_MNEMONIC_BLSR,    ZYDIS_MNEMONIC_ANDN,     ZYDIS_MNEMONIC_TZCNT,
    ZYDIS_MNEMONIC_ADCX,    ZYDIS_MNEMONIC_ADOX,    ZYDIS_MNEMONIC_FCOMI,    ZYDIS_MNEMONIC_PCMPISTRI,
    ZYDIS_MNEMONIC_BZHI,    ZYDIS_MNEMONIC_BSR,     ZYDIS_MNEMONIC_CMPXCHG8B};

bool is_vector(const ZydisDecodedOperand& op) {
  if (op.type != ZYDIS_OPERAND_TYPE_REGISTER) return false;
  const auto kind = ZydisRegisterGetClass(op.reg.value);
  return kind == ZYDIS_REGCLASS_XMM || kind == ZYDIS_REGCLASS_YMM;
}
bool is_old_floating(const ZydisDecodedInstruction& i, const ZydisDecodedOperand* operands) {
  if (i.meta.isa_ext == ZYDIS_ISA_EXT_X87) return true;
  return std::any_of(operands, operands + i.operand_count, [](const ZydisDecodedOperand& op) {
    return op.type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_MMX;
  });
}

void append(std::vector<u8>& out, u64 value, u32 bytes) {
  for (u32 i = 0; i < bytes; ++i) out.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

Generator::Generator(const core::CpuModel& model) : encodings_(find_encodings(model, 64)) {
  Fields fields;
  fields.address = {0x06};
  fields.tail.assign(8, 0);
  for (const auto& [mnemonic, encodings] : encodings_) {
    ZydisDecodedInstruction i;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const auto bytes = encode(encodings.front(), fields);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(64), bytes.data(), bytes.size(), &i, operands)))
      continue;
    const bool vector = std::any_of(operands, operands + i.operand_count, is_vector);
    auto& list =
        i.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && (vector || i.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER)
            ? avx_
        : is_old_floating(i, operands) ? old_floating_
        : vector                       ? sse_
                                       : integer_;
    list.push_back(&encodings);
  }
  const auto add = [&](MnemonicEncodings& list, auto& mnemonics) {
    for (const ZydisMnemonic m : mnemonics)
      if (const auto it = encodings_.find(m); it != encodings_.end()) list.push_back(&it->second);
  };
  add(common_, kCommon);
  add(flag_producers_, kFlagProducers);
}

Program Generator::make(u64 seed, u64 number) {
  std::seed_seq sequence{seed, seed >> 32, number, number >> 32};
  engine_.seed(sequence);
  program_ = Program{};
  program_.user = chance(60);
  program_.smap = !program_.user && chance(15);
  program_.sections.resize(1);
  program_.sections[0].start = kCode + random(chance(30) ? 2 * kPageSize : 256);
  section_ = &program_.sections[0];
  pending_.clear();
  pending_stored_.clear();
  functions_.clear();
  patches_.clear();
  unbound_patches_.clear();
  anchors_.clear();
  forward_.clear();
  gaps_ = 0;
  patching_ = chance(35) ? 12 : chance(30) ? 2 : 0;
  vectors_ = static_cast<u32>(chance(50) ? 15 : random(60));
  choose_registers();
  fill_state();
  fill_data();

  exit_ = program_.new_label();
  slots_ = program_.new_label();
  overlay_ = chance(25) ? program_.new_label() : kNoLabel;
  for (u64 i = random(5); i > 0; --i) functions_.push_back(program_.new_label());
  if (patching_ != 0)
    for (u64 i = 1 + random(4); i > 0; --i) {
      const u8 kind = static_cast<u8>(random(3));
      Patch patch{.label = program_.new_label()};
      if (kind == 1) patch = {patch.label, 1, 1, 8};  // INC or DEC
      if (kind == 2) patch = {patch.label, 1, 1, 1};  // a condition
      patches_.push_back(patch);
    }
  unbound_patches_ = patches_;

  const u32 size = static_cast<u32>(chance(20)   ? 1 + random(5)
                                    : chance(70) ? 5 + random(40)
                                                 : 40 + random(120));
  next_function_ = 0;
  emit_body(size, 0);
  while (!unbound_patches_.empty()) emit_patch_target();
  bind(exit_);
  emit_exit();
  section_->items.back().fixed = true;
  emit_functions();
  bind(slots_);
  Item slots;  // of long NOPs
  while (slots.bytes.size() < kSlotBytes)
    slots.bytes.insert(slots.bytes.end(), {0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0});
  emit(slots);
  if (overlay_ != kNoLabel) emit_overlays();
  return std::move(program_);
}

void Generator::emit_functions() {
  for (std::size_t f = 0; f < functions_.size(); ++f) {
    next_function_ = f + 1;
    bind(functions_[f]);
    const bool frame = are_free({core::kRbp}) && chance(30);
    if (frame) {
      emit_bytes({0x55});                                                               // PUSH RBP
      emit_bytes({0x48, 0x89, 0xe5});                                                   // MOV RBP, RSP
      if (chance(50)) emit_bytes({0x48, 0x83, 0xec, static_cast<u8>(8 * random(15))});  // SUB RSP, n
      reserved_.set(core::kRbp);
    }
    emit_body(static_cast<u32>(1 + random(8)), 1);
    if (frame) {
      reserved_.reset(core::kRbp);
      emit_bytes({0xc9});  // LEAVE
    }
    emit_bytes({0xc3});
  }
}

// A function at the same linear address in both address spaces.
void Generator::emit_overlays() {
  next_function_ = functions_.size();
  const u64 start = kOverlay + (chance(50) ? 0 : random(kPageSize / 2));
  for (const bool other : {false, true}) {
    program_.sections.push_back({.start = start, .other_space = other, .items = {}});
    section_ = &program_.sections.back();
    if (!other) bind(overlay_);
    emit_body(static_cast<u32>(1 + random(6)), 2);
    emit_bytes({0xc3});
    section_->items.back().fixed = true;
  }
  section_ = &program_.sections[0];
}

// -------------------------------------------------------------------------------------------------------------------
// State.

u64 Generator::vector_word() {
  switch (random(4)) {
    case 0:
      return kDoubles[random(std::size(kDoubles))];
    case 1:
      return kFloats[random(std::size(kFloats))] | u64{kFloats[random(std::size(kFloats))]} << 32;
    case 2:
      return std::bit_cast<u64>(static_cast<double>(static_cast<i64>(engine_()) >> random(64)) / 8);
    default:
      return integer();
  }
}

u64 Generator::pointer() {
  constexpr u64 kSafePages = 3;
  const u64 inside = kData + 256 + random(kSafePages * kPageSize - 512);
  const u64 aligned = chance(60) ? inside & ~u64{63} : chance(50) ? inside & ~u64{7} : inside;
  return chance(6) ? aligned + kAlias : chance(4) ? aligned + kFourGiB : aligned;
}

u64 Generator::special_address() {
  const u64 beyond = static_cast<u64>(-static_cast<i64>(random(40)));
  switch (random(12)) {
    case 0:
      return 0x0000'8000'0000'0000 + beyond;
    case 1:
      return 0xffff'8000'0000'0000 + beyond;
    case 2:
      return kStack + beyond;
    case 3:
      return kStack + kStackPages * kPageSize + beyond;
    case 4:
      return beyond;  // around zero
    case 5:
      return kKernel + kLengths + random(64);
    default:
      return kData + (1 + random(kDataPages - 1)) * kPageSize + beyond + (chance(20) ? kAlias : 0) +
             (chance(10) ? kFourGiB : 0);
  }
}

void Generator::choose_registers() {
  std::array<u8, 15> numbers{};
  for (u8 i = 0, n = 0; i < 16; ++i)
    if (i != core::kRsp) numbers[n++] = i;
  for (std::size_t i = numbers.size() - 1; i > 0; --i) std::swap(numbers[i], numbers[random(i + 1)]);
  pointers_ = {numbers[0], numbers[1], numbers[2]};
  small_ = numbers[3];
  counters_ = {numbers[4], numbers[5]};
  reserved_.reset();
  reserved_.set(core::kRsp);
  for (u32 i = 0; i < 6; ++i) reserved_.set(numbers[i]);
}

u8 Generator::free_register() {
  return free_register_but({});
}
u8 Generator::free_register_but(Registers without) {
  while (true)
    if (const u8 r = static_cast<u8>(random(16)); !reserved_[r] && !without[r]) return r;
}
bool Generator::are_free(std::initializer_list<u8> registers) const {
  return std::none_of(registers.begin(), registers.end(), [&](u8 r) { return reserved_[r]; });
}

void Generator::fill_state() {
  InitialState& s = program_.initial;
  for (u64& value : s.gpr) value = integer();
  for (const u8 p : pointers_) s.gpr[p] = pointer();
  s.gpr[small_] = random(32);
  s.gpr[core::kRsp] = kStackTop - (chance(80) ? 0 : random(64));
  s.rflags = core::kFlagsFixed | (engine_() & core::kArithmeticFlags) | (chance(10) ? core::kDf : 0) |
             (program_.smap && chance(80) ? core::kAc : 0);
  for (auto& v : s.vec)
    for (u64& q : v.q) q = vector_word();
  constexpr u32 kControl = 0xe040;
  if (chance(30)) s.mxcsr |= static_cast<u32>(engine_()) & kControl;
  if (chance(3)) s.mxcsr &= ~(static_cast<u32>(random(64)) << 7);
  for (auto& r : s.x87.physical)
    r = {engine_() | u64{1} << 63, static_cast<u16>(0x3ff0 + random(32) + random(2) * 0x8000)};
  s.x87.top = static_cast<u8>(random(8));
  s.x87.valid = static_cast<u8>(chance(30) ? 0 : chance(60) ? 0xff00u >> random(9) : engine_());
  s.fs_base = chance(80) ? pointer() : integer();
  s.gs_base = chance(80) ? pointer() : integer();
}

void Generator::fill_data() {
  program_.data.resize(kDataPages * kPageSize);
  for (std::size_t i = 0; i < program_.data.size(); i += 8) {
    const u64 word = i % kPageSize < 1024 ? vector_word() : 0x0101'0101'0101'0101 * (i & 0xff);
    std::memcpy(&program_.data[i], &word, 8);
  }
  const u32 fuel = static_cast<u32>(2 + random(20));
  std::memcpy(&program_.data[kFuel - kData], &fuel, 4);

  constexpr u64 kAll = kPresent | kWritable | kUser;
  program_.data_page.fill(kAll);
  program_.data_page[4] = chance(50) ? kPresent | kUser : kPresent | kUser | kCopyOnWrite;
  program_.data_page[5] = kWritable | kUser | kLazy;
  program_.data_page[6] = kPresent | kWritable;
  program_.data_page[8] = chance(50) ? 0 : kUser | kLazy | kCopyOnWrite;
  for (u32 page = 0; page < 3; ++page)
    if (chance(10))
      program_.data_page[page] = pick({kWritable | kUser | kLazy, kPresent | kUser | kCopyOnWrite});
}

// -------------------------------------------------------------------------------------------------------------------
// Emission.

Item Generator::bytes_item(std::vector<u8> bytes) {
  Item item;
  item.bytes = std::move(bytes);
  return item;
}

void Generator::emit(Item item) {
  item.labels.insert(item.labels.end(), pending_.begin(), pending_.end());
  item.stored.swap(pending_stored_);
  pending_.clear();
  pending_stored_.clear();
  section_->items.push_back(std::move(item));
}

void Generator::emit_jump(u8 opcode, Label target, bool prefers_short) {
  Item item;
  item.kind = Item::Kind::kJump;
  item.opcode = opcode;
  item.target = target;
  item.prefers_short = prefers_short;
  emit(std::move(item));
}

void Generator::emit_move(u8 reg, u64 value) {
  std::vector<u8> bytes = {static_cast<u8>(0x48 | reg >> 3), static_cast<u8>(0xb8 | (reg & 7))};
  append(bytes, value, 8);
  emit_bytes(std::move(bytes));
}

void Generator::emit_lea(u8 reg, Label label, u64 addend) {
  Item item = bytes_item(
      {static_cast<u8>(0x48 | (reg >> 3) << 2), 0x8d, static_cast<u8>(0x05 | (reg & 7) << 3), 0, 0, 0, 0});
  item.fixups.push_back({Fixup::Kind::kRipRelative32, 3, 7, label, addend});
  emit(std::move(item));
}

void Generator::emit_exit() {
  emit_bytes({0xcd, kExitVector});
}

// -------------------------------------------------------------------------------------------------------------------
// Single instructions.

Generator::Address Generator::based(u8 base, int index, u32 scale, i64 displacement) {
  Address out;
  const bool needs_sib = index >= 0 || (base & 7) == core::kRsp;
  u8 mod = displacement == 0 && (base & 7) != core::kRbp   ? 0
           : displacement == static_cast<i8>(displacement) ? 1
                                                           : 2;
  if (chance(10)) mod = 2;
  const u8 low = base & 7;
  if (needs_sib) {
    const u8 index_field = index < 0 ? 4 : static_cast<u8>(index & 7);
    out.bytes = {static_cast<u8>(mod << 6 | 4), static_cast<u8>(scale << 6 | index_field << 3 | low)};
    if (index >= 8) out.rex |= kRexX;
  } else {
    out.bytes = {static_cast<u8>(mod << 6 | low)};
  }
  if (base >= 8) out.rex |= kRexB;
  append(out.bytes, static_cast<u64>(displacement), mod == 0 ? 0 : mod == 1 ? 1 : 4);
  return out;
}

Generator::Address Generator::any_address() {
  const u8 base = pointers_[random(pointers_.size())];
  const i64 near = chance(50) ? 0 : static_cast<i64>(random(256)) - 128;
  const int small = small_ != core::kRsp && chance(30) ? small_ : -1;
  const u32 scale = static_cast<u32>(random(4));
  Address out;
  switch (random(20)) {
    case 0:
    case 1: {  // RIP-relative
      out.bytes = {0x05, 0, 0, 0, 0};
      out.rip_relative = true;
      if (chance(25)) {
        out.label = slots_;
        out.target = random(kSlotBytes - 32);
      } else {
        out.target = pointer() % kFourGiB;
      }
      break;
    }
    case 2:  // [disp32]
      out.bytes = {0x04, 0x25};
      append(out.bytes, pointer() & 0x7fff'ffff, 4);
      break;
    case 3:  // [index * scale + disp32]
      out.bytes = {0x04, static_cast<u8>(scale << 6 | (small_ & 7) << 3 | 5)};
      if (small_ >= 8) out.rex |= kRexX;
      append(out.bytes, pointer() & 0x7fff'ffff, 4);
      break;
    case 4:
    case 5:  // below the stack pointer
      out = based(core::kRsp, -1, 0, -static_cast<i64>(64 + random(400)));
      break;
    case 6:  // through FS or GS, whose bases point into the data
      out = based(small_, -1, 0, near & ~i64{7});
      out.segment = pick<u8>({0x64, 0x65});
      break;
    case 7:
      out = based(base, small, scale, near);
      out.address32 = true;
      break;
    case 8:  // anything
      out = based(static_cast<u8>(random(16)), chance(50) ? -1 : pick({0, 1, 3, 9, 10, 11, 12, 15}), scale,
                  static_cast<i64>(integer()) >> random(64));
      out.address32 = chance(20);
      break;
    case 9:  // a segment prefix without effect
      out = based(base, small, scale, near);
      out.segment = pick<u8>({0x2e, 0x36, 0x3e});
      break;
    case 10:  // base and index the other way round
      if (base != core::kRsp) {
        out = based(small_, base, 0, near);
        break;
      }
      [[fallthrough]];
    default:
      out = based(base, small, scale, near * (chance(30) ? 4 : 1));
      break;
  }
  return out;
}

// Whether an instruction leaves alone what the program relies on.
bool Generator::allowed(std::span<const u8> bytes, bool memory) const {
  ZydisDecodedInstruction i;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(64), bytes.data(), bytes.size(), &i, operands)))
    return false;
  if (i.length != bytes.size() || !is_portable(i)) return false;
  if (i.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE || i.meta.category == ZYDIS_CATEGORY_STRINGOP)
    return false;
  const bool privileged = (i.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) ||
                          i.meta.category == ZYDIS_CATEGORY_SYSTEM || i.meta.category == ZYDIS_CATEGORY_IO ||
                          i.meta.category == ZYDIS_CATEGORY_IOSTRINGOP || i.mnemonic == ZYDIS_MNEMONIC_CLI ||
                          i.mnemonic == ZYDIS_MNEMONIC_STI;
  if (privileged) return false;
  for (u32 n = 0; n < i.operand_count; ++n) {
    const ZydisDecodedOperand& op = operands[n];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || !(op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) continue;
    const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, op.reg.value);
    if (ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR64 &&
        reserved_[static_cast<u8>(ZydisRegisterGetId(whole))])
      return false;
  }
  static_cast<void>(memory);
  return true;
}

bool Generator::emit_from(const MnemonicEncodings& mnemonics, const Address* given) {
  const auto& encodings = *mnemonics[random(mnemonics.size())];
  const Encoding& encoding = encodings[random(encodings.size())];
  if (given && !encoding.memory) return false;
  Fields fields;
  if (chance(65)) fields.rex = static_cast<u8>(kRexBit | (engine_() & (kRexW | kRexR | kRexB)));
  fields.vex_vvvv = static_cast<u8>(random(16));
  Address address;
  if (encoding.memory) {
    address = given ? *given : any_address();
    fields.rex &= static_cast<u8>(~kRexB);
    if (address.rex) fields.rex |= static_cast<u8>(kRexBit | address.rex);
    fields.address = address.bytes;
    fields.address32 = address.address32;
    fields.lock = chance(15);
  }
  for (u32 i = 0; i < 2; ++i) append(fields.tail, integer(), 8);

  std::vector<u8> bytes = encode(encoding, fields);
  ZydisDecodedInstruction i;
  const auto decode = [&] {
    return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(64), nullptr, bytes.data(), bytes.size(), &i));
  };
  if (!decode() && fields.lock) {
    fields.lock = false;
    bytes = encode(encoding, fields);
  }
  if (address.segment) bytes.insert(bytes.begin(), address.segment);
  if (!decode()) return false;
  bytes.resize(i.length);
  if (!allowed(bytes, encoding.memory)) return false;
  Item item = bytes_item(bytes);
  if (address.rip_relative)
    item.fixups.push_back(
        {Fixup::Kind::kRipRelative32, i.raw.disp.offset, i.length, address.label, address.target});
  emit(std::move(item));
  return true;
}

void Generator::emit_generic() {
  while (true) {
    const u64 kind = random(100);
    const auto& list = kind < vectors_ / 2    ? sse_
                       : kind < vectors_      ? avx_
                       : kind < vectors_ + 5  ? old_floating_
                       : kind < vectors_ + 15 ? integer_
                                              : common_;
    if (emit_from(list)) return;
  }
}

}  // namespace doppel::tests::translator
