#include "jit/direct/relocated_block.hpp"

#include <asmjit/x86.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "jit/direct/code_scan.hpp"
#include "jit/zydis.hpp"

namespace doppel::jit::direct {

namespace {

namespace x86 = asmjit::x86;
using core::kRax, core::kRcx, core::kRdx, core::kRsp;

constexpr std::size_t kMostInstructions = 64;  // in a block

bool small(u64 address) {
  return address <= static_cast<u64>(std::numeric_limits<i32>::max());
}

enum class Form : u8 {
  kSame,         // as it is
  kRipRelative,  // with a memory operand of that kind
  kAddress,      // LEA of one
  kJump,
  kBranch,  // conditional
  kCall,
  kJumpAnywhere,  // to where a register or memory says
  kCallAnywhere,
  kReturn,
  kSystemCall,
  kExit,  // not for us
};

bool ends_block(Form form) {
  return form != Form::kSame && form != Form::kRipRelative && form != Form::kAddress && form != Form::kBranch;
}

struct GuestInsn {
  u64 rip = 0;
  std::array<u8, kLongestInsn> bytes{};
  ZydisDecodedInstruction decoded{};
  Form form = Form::kExit;
  u64 operand = 0;      // address of a RIP-relative operand or branch target
  u64 place = 0;        // where a jump goes, or an exit is
  u64 return_word = 0;  // address of the literal that a call pushes
  u8 scratch = 0;       // a general register that it has no use for
  u32 pads = 0;

  [[nodiscard]] u64 next() const { return rip + decoded.length; }
  // NOPs that may stand before it to keep bytes apart, or change the distance of a jump.
  [[nodiscard]] u32 most_pads() const {
    return form == Form::kSame || form == Form::kRipRelative || form == Form::kAddress ? 3 : 256;
  }
};

bool has(const ZydisDecodedInstruction& decoded, u64 attribute) {
  return (decoded.attributes & attribute) != 0;
}

bool is_rip_relative(const ZydisDecodedInstruction& decoded) {
  return has(decoded, ZYDIS_ATTRIB_HAS_MODRM) && decoded.raw.modrm.mod == 0 && decoded.raw.modrm.rm == 5;
}

bool has_segment(const ZydisDecodedInstruction& decoded) {
  return has(decoded, ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS);
}

// Instructions that user code may execute, but that show where it stands (the x87 environment), or need what
// comes after them to be the guest's (a trap or an interrupt shadow).
bool exits(u16 mnemonic) {
  switch (mnemonic) {
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
    case ZYDIS_MNEMONIC_XBEGIN:
    case ZYDIS_MNEMONIC_XABORT:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
      return true;
    default:
      return is_sensitive(mnemonic) || tells_time(mnemonic);
  }
}

// Of whole registers, by bit.
u32 registers_used(const ZydisDecodedInstruction& decoded, const ZydisDecodedOperand* operands) {
  u32 used = 0;
  const auto add = [&](ZydisRegister reg) {
    const ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
    if (ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR64) used |= 1u << ZydisRegisterGetId(whole);
  };
  for (u32 i = 0; i < decoded.operand_count; ++i) {
    const ZydisDecodedOperand& operand = operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) add(operand.reg.value);
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    add(operand.mem.base);
    add(operand.mem.index);
  }
  return used;
}

class Reader {
 public:
  Reader() { ZydisDecoderInit(&zydis_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64); }

  // Bytes and `rip` are there; fills in the rest but addresses of ours.
  void read(GuestInsn& insn, std::size_t available) const {
    ZydisDecoderContext context;
    ZydisDecodedInstruction& d = insn.decoded;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&zydis_, &context, insn.bytes.data(), available, &d))) {
      d.length = 1;
      return;
    }
    insn.form = form_of(d);
    if (insn.form == Form::kJump || insn.form == Form::kBranch || insn.form == Form::kCall)
      insn.operand = insn.next() + static_cast<u64>(d.raw.imm[0].value.s);
    if (!is_rip_relative(d) || insn.form == Form::kExit) return;
    insn.operand = insn.next() + static_cast<u64>(d.raw.disp.value);
    if (insn.form != Form::kRipRelative) return;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&zydis_, &context, &d, operands, ZYDIS_MAX_OPERAND_COUNT))) {
      insn.form = Form::kExit;
      return;
    }
    // Those that a ModRM byte without displacement and SIB byte can name as a base.
    const u32 used = registers_used(d, operands);
    constexpr u8 kCandidates[] = {kRcx, kRdx, kRax, core::kRsi, core::kRdi, core::kRbx};
    const auto* free = std::ranges::find_if(kCandidates, [&](u8 reg) { return !(used >> reg & 1); });
    if (free == std::end(kCandidates))
      insn.form = Form::kExit;
    else
      insn.scratch = *free;
  }

 private:
  static Form form_of(const ZydisDecodedInstruction& d) {
    const bool relative = is_rip_relative(d);
    if (exits(static_cast<u16>(d.mnemonic)) || d.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
      return Form::kExit;
    if (relative &&
        (has(d, ZYDIS_ATTRIB_HAS_ADDRESSSIZE) || d.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
         d.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP || d.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX))
      return Form::kExit;
    const bool near =
        d.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR || d.meta.branch_type == ZYDIS_BRANCH_TYPE_SHORT;
    const bool direct = d.raw.imm[0].is_relative;
    switch (d.meta.category) {
      case ZYDIS_CATEGORY_SYSCALL:
        return d.mnemonic == ZYDIS_MNEMONIC_SYSCALL ? Form::kSystemCall : Form::kExit;
      case ZYDIS_CATEGORY_COND_BR:
      case ZYDIS_CATEGORY_UNCOND_BR:
      case ZYDIS_CATEGORY_CALL:
      case ZYDIS_CATEGORY_RET:
        break;
      default:
        if (near) return Form::kExit;
        if (relative) return d.mnemonic == ZYDIS_MNEMONIC_LEA ? address_form(d) : Form::kRipRelative;
        return Form::kSame;
    }
    // With an operand-size prefix, they are not the same on all processors.
    if (has(d, ZYDIS_ATTRIB_HAS_OPERANDSIZE)) return Form::kExit;
    if (d.meta.category == ZYDIS_CATEGORY_COND_BR) return direct ? Form::kBranch : Form::kExit;
    if (d.meta.category == ZYDIS_CATEGORY_RET) return Form::kReturn;
    const bool call = d.meta.category == ZYDIS_CATEGORY_CALL;
    if (direct) return call ? Form::kCall : Form::kJump;
    if (has(d, ZYDIS_ATTRIB_HAS_ADDRESSSIZE) || (relative && has_segment(d))) return Form::kExit;
    return call ? Form::kCallAnywhere : Form::kJumpAnywhere;
  }
  static Form address_form(const ZydisDecodedInstruction& d) {
    return d.operand_width == 16 ? Form::kExit : Form::kAddress;
  }

  ZydisDecoder zydis_;
};

class Emission {
 public:
  Emission(u64 address, const RelocationAddresses& addresses) : addresses_(addresses) {
    code_.init(asmjit::Environment::host(), address);
    code_.attach(&a_);
  }

  void add(const GuestInsn& insn) {
    mark({.rip = insn.rip});
    for (u32 i = 0; i < insn.pads; ++i) a_.nop();
    switch (insn.form) {
      case Form::kSame:
      case Form::kSystemCall:
        a_.embed(insn.bytes.data(), insn.decoded.length);
        break;
      case Form::kRipRelative:
        rip_relative(insn);
        break;
      case Form::kAddress:
        if (insn.decoded.operand_width == 64)
          a_.mov(whole(register_of(insn)), insn.operand);
        else
          a_.mov(x86::gpd(register_of(insn)), static_cast<u32>(insn.operand));
        break;
      case Form::kBranch:
        branch(insn);
        break;
      case Form::kCall:
        push(insn);
        mark({.rip = insn.operand});
        jump(insn.place, insn.operand);
        break;
      case Form::kJumpAnywhere:
      case Form::kCallAnywhere:
      case Form::kReturn:
        anywhere(insn);
        break;
      case Form::kJump:
        jump(insn.place, insn.operand);
        break;
      case Form::kExit:
        a_.long_().jmp(asmjit::imm(insn.place));
        break;
    }
  }
  // On to an instruction that is not in the block.
  void go_on(u64 rip, u64 place) {
    mark({.rip = rip});
    jump(place, rip);
  }

  void lookup() {
    const asmjit::Label again = a_.newLabel(), no = a_.newLabel(), hit = a_.newLabel();
    a_.bind(again);
    a_.lea(x86::rdx, x86::ptr(x86::rdx, 8));
    a_.mov(x86::rcx, x86::ptr(x86::rdx));
    a_.jecxz(x86::rcx, no);
    a_.mov(x86::rax, slot(RelocationAddresses::kGuestTarget));
    a_.lea(x86::rcx, x86::ptr(x86::rcx, x86::rax));
    a_.jecxz(x86::rcx, hit);
    a_.jmp(again);
    a_.bind(hit);
    a_.jmp(slot(RelocationAddresses::kHit));
    a_.bind(no);
    a_.int3();
  }

  [[nodiscard]] std::span<const u8> bytes() {
    const auto& buffer = code_.textSection()->buffer();
    return {buffer.data(), buffer.size()};
  }
  std::vector<Mark> marks;
  std::vector<Link> links;

 private:
  static x86::Gp whole(u32 reg) { return x86::gpq(reg); }
  [[nodiscard]] x86::Mem slot(u64 index) const { return x86::qword_ptr(addresses_.slot(index)); }
  [[nodiscard]] u32 offset() { return static_cast<u32>(a_.offset()); }
  void mark(Mark here) {
    here.offset = offset();
    if (!marks.empty() && marks.back().offset == here.offset)
      marks.back() = here;
    else
      marks.push_back(here);
  }
  static u32 register_of(const GuestInsn& insn) {
    return insn.decoded.raw.modrm.reg | (insn.decoded.raw.rex.R ? 8u : 0u);
  }

  void jump(u64 place, u64 target) {
    a_.long_().jmp(asmjit::imm(place));
    links.push_back({offset() - 4, target});
  }

  void branch(const GuestInsn& insn) {
    const u8 opcode = insn.decoded.opcode;
    // JRCXZ and LOOP are short: over a jump that is not to be made.
    if (insn.decoded.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && opcode >= 0xe0 && opcode <= 0xe3) {
      constexpr u8 kShort = 2, kLong = 5;
      const u8 prefix = 0x67;
      if (has(insn.decoded, ZYDIS_ATTRIB_HAS_ADDRESSSIZE)) a_.embed(&prefix, 1);
      const u8 itself[] = {opcode, kShort}, skip[] = {0xeb, kLong};
      a_.embed(itself, sizeof itself);
      mark({.rip = insn.next()});
      a_.embed(skip, sizeof skip);
      mark({.rip = insn.operand});
      jump(insn.place, insn.operand);
      return;
    }
    const u8 condition[] = {0x0f, static_cast<u8>(0x80 | (opcode & 0xf))};
    const u64 end = code_.baseAddress() + a_.offset() + sizeof condition + 4;
    const auto distance = static_cast<i32>(insn.place - end);
    a_.embed(condition, sizeof condition);
    a_.embed(&distance, sizeof distance);
    links.push_back({offset() - 4, insn.operand});
  }

  void push(const GuestInsn& insn) {
    if (small(insn.next()))
      a_.push(static_cast<u32>(insn.next()));
    else
      a_.push(x86::qword_ptr(insn.return_word));
  }

  // The instruction with another ModRM byte, and perhaps an absolute displacement, for its RIP-relative one.
  [[nodiscard]] static std::vector<u8> with_operand(const GuestInsn& insn, u8 rm, std::span<const u8> rest) {
    const auto& raw = insn.decoded.raw;
    std::vector<u8> bytes(insn.bytes.begin(), insn.bytes.begin() + insn.decoded.length);
    // Bits that extend the base and index, which it had no use for.
    if (has(insn.decoded, ZYDIS_ATTRIB_HAS_REX)) bytes[raw.rex.offset] &= 0xfc;
    if (insn.decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && raw.vex.size == 3)
      bytes[raw.vex.offset + 1] |= 0x60;
    u8& modrm = bytes[raw.modrm.offset];
    modrm = static_cast<u8>((modrm & 0x38) | rm);
    const auto displacement = bytes.begin() + raw.disp.offset;
    bytes.erase(displacement, displacement + 4);
    bytes.insert(bytes.begin() + raw.disp.offset, rest.begin(), rest.end());
    return bytes;
  }

  void rip_relative(const GuestInsn& insn) {
    if (small(insn.operand) && insn.decoded.length < kLongestInsn) {
      u8 absolute[5] = {0x25};  // SIB: neither base nor index
      const auto address = static_cast<u32>(insn.operand);
      std::memcpy(absolute + 1, &address, sizeof address);
      constexpr u8 kSib = 4;
      embed(with_operand(insn, kSib, absolute));
      return;
    }
    const x86::Gp scratch = whole(insn.scratch);
    a_.mov(slot(insn.scratch), scratch);
    a_.mov(scratch, insn.operand);
    const auto saved = static_cast<u16>(1u << insn.scratch);
    mark({.saved = saved, .rip = insn.rip});
    embed(with_operand(insn, insn.scratch, {}));
    mark({.saved = saved, .rip = insn.next()});
    a_.mov(scratch, slot(insn.scratch));
  }

  // Branches to an address that is looked up. Up to the very end, all can be taken back.
  void anywhere(const GuestInsn& insn) {
    const auto saved = [](auto... regs) { return static_cast<u16>(((1u << regs) | ...)); };
    const u16 all = saved(kRax, kRcx, kRdx);
    a_.mov(slot(kRcx), x86::rcx);
    if (insn.form == Form::kReturn) {
      a_.mov(x86::rcx, x86::ptr(x86::rsp));
    } else if (is_rip_relative(insn.decoded)) {
      a_.mov(x86::rcx, insn.operand);
      mark({.saved = saved(kRcx), .rip = insn.rip});
      a_.mov(x86::rcx, x86::ptr(x86::rcx));
    } else {
      load_target(insn);
    }
    mark({.saved = saved(kRcx), .rip = insn.rip});
    a_.mov(slot(kRax), x86::rax);
    a_.mov(slot(kRdx), x86::rdx);
    mark({.saved = all, .rip = insn.rip});
    const asmjit::Label hit = a_.newLabel();
    a_.movzx(x86::edx, x86::cx);
    a_.lea(x86::rax, x86::ptr(addresses_.table));
    a_.lea(x86::rdx, x86::ptr(x86::rax, x86::rdx, 3));
    a_.mov(x86::rax, x86::ptr(x86::rdx));
    a_.mov(slot(RelocationAddresses::kGuestTarget), x86::rcx);
    a_.lea(x86::rcx, x86::ptr(x86::rcx, x86::rax));
    a_.jecxz(x86::rcx, hit);
    a_.lea(x86::rdx, x86::ptr(x86::rdx, -8));  // looked at once more: it may be empty
    a_.lea(x86::rcx, x86::ptr(hit));
    a_.mov(slot(RelocationAddresses::kHit), x86::rcx);
    a_.long_().jmp(asmjit::imm(addresses_.lookup));
    a_.bind(hit);
    a_.mov(x86::rdx, x86::ptr(x86::rdx, static_cast<i32>(RelocationAddresses::kTargets)));
    a_.mov(slot(RelocationAddresses::kHostTarget), x86::rdx);
    for (const auto reg : {kRax, kRdx, kRcx}) a_.mov(whole(reg), slot(reg));
    mark({.rip = insn.rip});
    if (insn.form == Form::kCallAnywhere) push(insn);
    if (insn.form == Form::kReturn)
      a_.lea(x86::rsp, x86::ptr(x86::rsp, static_cast<i32>(8 + insn.decoded.raw.imm[0].value.u)));
    mark({.gone = true});
    a_.jmp(slot(RelocationAddresses::kHostTarget));
  }

  // mov rcx, <the operand of the branch>
  void load_target(const GuestInsn& insn) {
    const auto& raw = insn.decoded.raw;
    std::vector<u8> bytes;
    for (u32 i = 0; i < raw.prefix_count; ++i)
      if (const u8 prefix = raw.prefixes[i].value; prefix == 0x64 || prefix == 0x65) bytes.push_back(prefix);
    constexpr u8 kRexW = 0x48, kMovLoad = 0x8b, kOthers = 0xc7;
    const bool rex = has(insn.decoded, ZYDIS_ATTRIB_HAS_REX);
    bytes.push_back(static_cast<u8>(kRexW | (rex && raw.rex.X ? 2 : 0) | (rex && raw.rex.B ? 1 : 0)));
    bytes.push_back(kMovLoad);
    bytes.push_back(static_cast<u8>((insn.bytes[raw.modrm.offset] & kOthers) | kRcx << 3));
    bytes.insert(bytes.end(), insn.bytes.begin() + raw.modrm.offset + 1,
                 insn.bytes.begin() + insn.decoded.length);
    embed(bytes);
  }
  void embed(const std::vector<u8>& bytes) { a_.embed(bytes.data(), bytes.size()); }

  const RelocationAddresses& addresses_;
  asmjit::CodeHolder code_;
  x86::Assembler a_;
};

// The offset of the first such byte, or the size.
std::size_t table_store_at(std::span<const u8> code) {
  for (std::size_t i = 0; i + 2 < code.size(); ++i)
    if (code[i] == 0x0f && stores_table(code[i + 1], code[i + 2])) return i;
  return code.size();
}

}  // namespace

bool could_store_table(std::span<const u8> code) {
  return table_store_at(code) != code.size();
}

RelocatedBlock::RelocatedBlock(u64 rip, u64 address, const RelocationAddresses& addresses,
                               Surroundings& surroundings) {
  static const Reader reader;
  std::vector<GuestInsn> insns;
  std::optional<u64> next = rip;  // after the last one
  while (next && insns.size() < kMostInstructions && (insns.empty() || !surroundings.has(*next))) {
    GuestInsn insn;
    insn.rip = *next;
    const std::size_t available = surroundings.fetch(insn.rip, insn.bytes);
    if (available == 0) break;
    reader.read(insn, available);
    if (insn.form == Form::kExit) insn.place = surroundings.exit(insn.rip);
    if (insn.form == Form::kJump || insn.form == Form::kBranch || insn.form == Form::kCall)
      insn.place = surroundings.target(insn.operand);
    if (insn.form == Form::kCall || insn.form == Form::kCallAnywhere) {
      continuation_ = insn.next();
      if (!small(insn.next())) insn.return_word = surroundings.literal(insn.next());
    }
    next = ends_block(insn.form) ? std::nullopt : std::optional(insn.next());
    insns.push_back(insn);
  }
  const u64 after = next ? surroundings.target(*next) : 0;

  while (true) {
    Emission emission(address, addresses);
    std::vector<u32> starts;
    for (const GuestInsn& insn : insns) {
      starts.push_back(static_cast<u32>(emission.bytes().size()));
      emission.add(insn);
    }
    if (next) emission.go_on(*next, after);
    const std::size_t bad = table_store_at(emission.bytes());
    if (bad == emission.bytes().size()) {
      code_.assign(emission.bytes().begin(), emission.bytes().end());
      marks_ = std::move(emission.marks);
      links_ = std::move(emission.links);
      return;
    }
    // They are in one instruction's code, or in that of two that were not neighbours; the second moves.
    const auto index = static_cast<std::size_t>(std::ranges::upper_bound(starts, static_cast<u32>(bad) + 2) -
                                                starts.begin() - 1);
    GuestInsn& insn = insns[index];
    if (++insn.pads <= insn.most_pads()) continue;
    insn.form = Form::kExit;
    insn.place = surroundings.exit(insn.rip);
    insns.resize(index + 1);
    next.reset();
    continuation_.reset();
  }
}

RelocatedBlock::Lookup RelocatedBlock::make_lookup(const RelocationAddresses& addresses) {
  Emission emission(addresses.lookup, addresses);
  emission.lookup();
  const auto code = emission.bytes();
  return {{code.begin(), code.end()}, static_cast<u32>(code.size()) - 1};
}

}  // namespace doppel::jit::direct
