#include "tests/interp/fuzz_generator.hpp"

#include <bit>
#include <cstring>

#include "tests/interp/instruction_facts.hpp"

namespace doppel::tests {
namespace {

constexpr u8 kRexBit = 0x40, kRexW = 8, kRexR = 4, kRexX = 2, kRexB = 1;

// Doubles, then pairs of floats: zeros, ones, infinities, NaNs of both kinds, denormals, the ends of integer
// ranges.
constexpr u64 kDoubles[] = {0,
                            1ull << 63,
                            0x3ff0'0000'0000'0000,
                            0xbff0'0000'0000'0000,
                            0x7ff0'0000'0000'0000,
                            0xfff0'0000'0000'0000,
                            0x7ff8'0000'0000'0001,
                            0x7ff0'0000'0000'0001,
                            0xfff4'0000'0000'0000,
                            1,
                            0x000f'ffff'ffff'ffff,
                            0x0010'0000'0000'0000,
                            0x7fef'ffff'ffff'ffff,
                            0x3fe0'0000'0000'0000,
                            0x41df'ffff'ffff'ffff,
                            0x41e0'0000'0000'0000,
                            0x43e0'0000'0000'0000,
                            0x3ff8'0000'0000'0000};
constexpr u32 kFloats[] = {0,           0x8000'0000, 0x3f80'0000, 0xbf80'0000, 0x7f80'0000, 0xff80'0000,
                           0x7fc0'0001, 0x7f80'0001, 0xffa0'0000, 1,           0x007f'ffff, 0x0080'0000,
                           0x7f7f'ffff, 0x3f00'0000, 0x4eff'ffff, 0x4f00'0000, 0x5f00'0000, 0x3fc0'0000};
constexpr core::X87Register kReals[] = {{0, 0},
                                        {0, 0x8000},
                                        {1ull << 63, 0x3fff},
                                        {1ull << 63, 0xbfff},
                                        {1ull << 63, 0x7fff},
                                        {1ull << 63, 0xffff},
                                        {3ull << 62, 0xffff},
                                        {3ull << 62 | 5, 0x7fff},
                                        {1ull << 63 | 5, 0x7fff},
                                        {1, 0},
                                        {~u64{0} >> 1, 0},
                                        {1ull << 63, 0} /* pseudo-denormal */,
                                        {1ull << 62, 0x3fff} /* unnormal */,
                                        {5, 0x7fff} /* pseudo-NaN */,
                                        {0, 0x7fff} /* pseudo-infinity */,
                                        {~u64{0}, 0x7ffe},
                                        {1ull << 63, 1},
                                        {0xc90f'daa2'2168'c235, 0x4000},
                                        {0xa000'0000'0000'0000, 0x4002},
                                        {1ull << 63, 0x403e},
                                        {1ull << 63, 0x3f00},
                                        {1ull << 63, 0x401e}};

template <class T, std::size_t N>
const T& pick(const T (&values)[N], u64 random) {
  return values[random % N];
}

u8 low_bytes(u64 value, u32 index) {
  return static_cast<u8>(value >> (8 * index));
}

}  // namespace

// What the instructions so far have made of the registers.
struct FuzzGenerator::Tracking {
  u32 pointers = 0;  // bit i: register i still points into the data
  u32 small = 0;     // bit i: register i is still a small number
  UndefinedFlags undefined;
  u32 conditional = 0;  // how many of the next instructions a branch may pass over
};

// -------------------------------------------------------------------------------------------------------------------
// Layout.

void FuzzProgram::lay_out() {
  std::vector<u8>& code = program.code;
  code.clear();
  std::vector<std::size_t> starts;
  for (const FuzzInstruction& i : instructions) {
    starts.push_back(code.size());
    code.insert(code.end(), i.bytes.begin(), i.bytes.end());
  }
  starts.push_back(code.size());
  for (std::size_t n = 0; n < instructions.size(); ++n) {
    const FuzzInstruction& i = instructions[n];
    if (i.relative_bytes == 0) continue;
    const std::size_t target = std::min(n + 1 + i.skips, instructions.size());
    const u64 displacement = starts[target] - starts[n + 1];
    std::memcpy(&code[starts[n + 1] - i.relative_bytes], &displacement, i.relative_bytes);
  }
}

u64 FuzzProgram::undefined_flags(u64 rip, bool faulted) const {
  UndefinedFlags undefined;
  u64 at = layout(program.mode).code;
  u32 conditional = 0;
  for (const FuzzInstruction& i : instructions) {
    ZydisDecodedInstruction decoded;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(code_bits(program.mode)), nullptr,
                                                    i.bytes.data(), i.bytes.size(), &decoded)))
      break;
    if (faulted && at == rip) break;
    undefined.run(decoded, conditional != 0);
    conditional = std::max(conditional == 0 ? 0 : conditional - 1, i.skips);
    at += i.bytes.size();
  }
  // A 16-bit branch left the code; which one is not known.
  const u64 start = layout(program.mode).code;
  if (faulted && (rip < start || rip >= at)) return kComparedFlags;
  return undefined.mask();
}

void FuzzProgram::ignore_unspecified(const Outcome& outcome, Outcome& other) const {
  // What else is mapped in the native program's address space.
  constexpr u32 kPagePresent = 1;
  const u64 data = layout(program.mode).data;
  if (outcome.address - data >= kDataSize) other.error ^= (other.error ^ outcome.error) & kPagePresent;
  const u64 offset = outcome.state.rip - layout(program.mode).code;
  ZydisDecodedInstruction at;
  if (outcome.fault == kNoFault || offset >= program.code.size() ||
      !ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(code_bits(program.mode)), nullptr,
                                                  &program.code[offset], program.code.size() - offset, &at)))
    return;
  const u64 stack_pointer = other.state.gpr[core::kRsp];
  switch (at.mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:  // which operand is read first
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ:
      other.fault = outcome.fault;
      other.error = outcome.error;
      other.address = outcome.address;
      [[fallthrough]];
    case ZYDIS_MNEMONIC_SCASB:  // the flags of the elements before
    case ZYDIS_MNEMONIC_SCASW:
    case ZYDIS_MNEMONIC_SCASD:
    case ZYDIS_MNEMONIC_SCASQ:
      other.state.rflags = outcome.state.rflags;
      break;
    case ZYDIS_MNEMONIC_POPA:  // the registers popped before
    case ZYDIS_MNEMONIC_POPAD:
      other.state.gpr = outcome.state.gpr;
      other.state.gpr[core::kRsp] = stack_pointer;
      break;
    default:
      break;
  }
}

// -------------------------------------------------------------------------------------------------------------------
// State.

FuzzGenerator::FuzzGenerator(Encodings encodings, Mode mode, u32 max_instructions)
    : encodings_(std::move(encodings)), mode_(mode), max_instructions_(max_instructions) {
  list_mnemonics();
}

void FuzzGenerator::list_mnemonics() {
  mnemonics_.clear();
  for (const auto& [mnemonic, encodings] : encodings_) mnemonics_.push_back(&encodings);
}

u64 FuzzGenerator::vector_word() {
  switch (random(6)) {
    case 0:
      return pick(kDoubles, engine_());
    case 1:
      return pick(kFloats, engine_()) | u64{pick(kFloats, engine_())} << 32;
    case 2:  // a double of moderate size
      return std::bit_cast<u64>(static_cast<double>(static_cast<i64>(engine_()) >> random(64)) / 8);
    case 3:
      return std::bit_cast<u32>(static_cast<float>(static_cast<i32>(engine_()) >> random(32)) / 4) *
             0x1'0000'0001;
    case 4:
      return integer();
    default:
      return engine_();
  }
}

core::X87Register FuzzGenerator::real() {
  if (chance(60)) return pick(kReals, engine_());
  const u16 exponent = static_cast<u16>(chance(80) ? 0x3fff - 70 + random(140) : random(0x8000));
  return {engine_() | u64{1} << 63, static_cast<u16>(exponent | random(2) << 15)};
}

// Mostly well inside the data, in every alignment; at times across its pages or its end.
u64 FuzzGenerator::pointer() {
  const u64 data = layout(mode_).data;
  switch (random(32)) {
    case 0:
      return data + 4096 - random(20);
    case 1:
      return data + kDataSize - random(40);
    default:
      break;
  }
  const u64 inside = data + kDataSize / 4 + random(kDataSize / 2);
  return chance(60) ? inside & ~u64{63} : chance(50) ? inside & ~u64{7} : inside;
}

void FuzzGenerator::fill_x87(MachineState& s) {
  for (auto& st : s.st) st = real();
  const u64 kind = random(10);
  const auto top = static_cast<u16>(random(8));
  s.ftw = kind < 3 ? 0 : kind < 8 ? static_cast<u8>(0xff00u >> random(9)) : static_cast<u8>(engine_());
  s.fcw =
      static_cast<u16>(chance(60) ? 0x37f : 0x7f | random(4) << 10 | pick({0x000, 0x200, 0x300}, engine_()));
  if (chance(8)) s.fcw &= static_cast<u16>(~random(64));
  constexpr u16 kConditions = 0x4700;
  s.fsw = static_cast<u16>(top << 11 | (engine_() & kConditions) | (random(64) & s.fcw & 0x3f));
}

void FuzzGenerator::fill_state(MachineState& s) {
  constexpr u32 kPointerRegisters =
      1u << core::kRbx | 1u << core::kRsp | 1u << core::kRbp | 1u << core::kRsi | 1u << core::kRdi | 0xf000;
  constexpr u32 kSmallRegisters = 1u << core::kRcx | 1u << core::kR9 | 1u << core::kR10;
  for (u32 i = 0; i < 16; ++i) {
    if (kPointerRegisters >> i & 1)
      s.gpr[i] = pointer();
    else if (kSmallRegisters >> i & 1)
      s.gpr[i] = random(40);
    else
      s.gpr[i] = integer();
    if (code_bits(mode_) == 32) s.gpr[i] = i < 8 ? s.gpr[i] & 0xffff'ffff : 0;
  }
  s.rflags = core::kFlagsFixed | (engine_() & core::kArithmeticFlags) | (chance(15) ? core::kDf : 0);
  for (auto& vector : s.vec) {
    vector.q[0] = vector_word();
    vector.q[1] = vector_word();
  }
  constexpr u32 kControl = 0xe040, kStatus = 0x3f;  // FTZ, RC, DAZ
  s.mxcsr = 0x1f80;
  if (chance(40)) s.mxcsr |= static_cast<u32>(engine_()) & (kControl | kStatus);
  if (chance(8)) s.mxcsr &= ~(static_cast<u32>(random(64)) << 7);
  fill_x87(s);
}

void FuzzGenerator::fill_data(Data& data) {
  for (u32 i = 0; i < kDataSize; i += 8) {
    const u64 word = vector_word();
    std::memcpy(&data[i], &word, 8);
  }
}

// -------------------------------------------------------------------------------------------------------------------
// Instructions.

// ModRM, SIB and displacement of an address in the data, from registers that still serve.
std::vector<u8> FuzzGenerator::address(u8& rex, const Tracking& tracking) {
  const u32 registers = code_bits(mode_) == 64 ? 16 : 8;
  const auto choose = [&](u32 set) -> int {
    if ((set & ((1u << registers) - 1)) == 0) return -1;
    while (true)
      if (const u64 i = random(registers); set >> i & 1) return static_cast<int>(i);
  };
  const int base = choose(tracking.pointers);
  const int index = chance(25) ? choose(tracking.small & ~(1u << core::kRsp)) : -1;
  const auto displacement = static_cast<i32>(random(256)) - 128;
  std::vector<u8> out;
  if (base < 0) {  // absolute
    const u64 target = layout(mode_).data + kDataSize / 4 + random(kDataSize / 2);
    if (registers == 16)
      out = {0x04, 0x25};
    else
      out = {0x05};
    for (u32 i = 0; i < 4; ++i) out.push_back(low_bytes(target, i));
    return out;
  }
  const u64 form = random(3);  // no displacement, 8 bits, 32 bits
  const u8 mod = form == 0 && (base & 7) == core::kRbp ? 1 : static_cast<u8>(form);
  if (index >= 0 || (base & 7) == core::kRsp) {
    const u8 scale = static_cast<u8>(random(4));
    const u8 index_field = index < 0 ? 4 : static_cast<u8>(index & 7);
    out = {static_cast<u8>(mod << 6 | 4), static_cast<u8>(scale << 6 | index_field << 3 | (base & 7))};
    if (index >= 8) rex |= kRexBit | kRexX;
  } else {
    out = {static_cast<u8>(mod << 6 | (base & 7))};
  }
  if (base >= 8) rex |= kRexBit | kRexB;
  const i32 value = mod == 1 ? displacement : displacement * 4;
  for (u32 i = 0; i < (mod == 0 ? 0u : mod == 1 ? 1u : 4u); ++i)
    out.push_back(low_bytes(static_cast<u32>(value), i));
  return out;
}

// A random instruction; false if what came out does not fit here (the caller tries again).
bool FuzzGenerator::instruction(FuzzInstruction& out, Tracking& tracking) {
  const std::vector<Encoding>& encodings = *mnemonics_[random(mnemonics_.size())];
  const Encoding& encoding = encodings[random(encodings.size())];
  const bool is_64 = code_bits(mode_) == 64;
  Fields fields;
  if (is_64 && chance(60)) {
    constexpr u8 kChoosable = kRexW | kRexR | kRexB;
    fields.rex = static_cast<u8>(kRexBit | (engine_() & kChoosable));
  }
  fields.vex_vvvv = static_cast<u8>(random(is_64 ? 16 : 8));
  if (encoding.memory) {
    fields.rex &= static_cast<u8>(~kRexB);
    fields.address = address(fields.rex, tracking);
    fields.address32 = is_64 && chance(6);
    fields.lock = chance(10);
  }
  for (u32 i = 0; i < 2; ++i)
    for (u64 word = integer(), byte = 0; byte < 8; ++byte)
      fields.tail.push_back(low_bytes(word, static_cast<u32>(byte)));
  // MOV with an absolute address.
  const bool absolute = encoding.map == 0 && (encoding.opcode & 0xfc) == 0xa0;
  if (absolute) {
    const u64 target = layout(mode_).data + random(kDataSize);
    std::memcpy(fields.tail.data(), &target, 8);
  }

  out.bytes = encode(encoding, fields);
  ZydisDecodedInstruction decoded;
  ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder(code_bits(mode_)), out.bytes.data(), out.bytes.size(),
                                           &decoded, operands)))
    return false;
  if (!encodings_.contains(decoded.mnemonic) || !is_portable(decoded) || tracking.undefined.read_by(decoded))
    return false;
  out.bytes.resize(decoded.length);
  out.relative_bytes = 0;
  out.skips = 0;
  if (decoded.raw.imm[0].is_relative) {
    out.relative_bytes = decoded.raw.imm[0].size / 8;
    out.skips = static_cast<u32>(random(4));
  }
  tracking.undefined.run(decoded, tracking.conditional != 0);
  tracking.conditional = std::max(tracking.conditional == 0 ? 0 : tracking.conditional - 1, out.skips);
  for (u8 i = 0; i < decoded.operand_count; ++i) {
    const ZydisDecodedOperand& op = operands[i];
    if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || !(op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) continue;
    const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, op.reg.value);
    if (ZydisRegisterGetClass(whole) != ZYDIS_REGCLASS_GPR64) continue;
    // String and stack instructions move their pointers by a little.
    if (op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && ZydisRegisterGetId(whole) >= core::kRsp) continue;
    const u32 bit = 1u << static_cast<u32>(ZydisRegisterGetId(whole));
    tracking.pointers &= ~bit;
    tracking.small &= ~bit;
  }
  return true;
}

FuzzProgram FuzzGenerator::make(u64 seed, u64 number) {
  // One stream for each program, so that any of them can be made alone.
  std::seed_seq sequence{static_cast<u32>(seed), static_cast<u32>(seed >> 32), static_cast<u32>(number),
                         static_cast<u32>(number >> 32)};
  engine_.seed(sequence);

  FuzzProgram out;
  out.program.mode = mode_;
  fill_state(out.program.initial);
  fill_data(out.program.data);
  Tracking tracking;
  for (u32 i = 0; i < 16; ++i) {
    const u64 value = out.program.initial.gpr[i];
    if (value - layout(mode_).data < kDataSize) tracking.pointers |= 1u << i;
    if (value < 64) tracking.small |= 1u << i;
  }
  const u64 count = 1 + random(max_instructions_);
  while (out.instructions.size() < count) {
    FuzzInstruction next;
    if (instruction(next, tracking)) out.instructions.push_back(std::move(next));
  }
  out.lay_out();
  return out;
}

}  // namespace doppel::tests
