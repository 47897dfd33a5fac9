// The elements of a program's bodies: control flow, the stack, code that changes itself, the kernel's
// services.
#include <algorithm>

#include "tests/jit/translator_generator.hpp"

namespace doppel::tests::translator {
namespace {

constexpr u8 kRexW = 0x48, kRexWB = 0x49;
constexpr u8 kJump = 0xeb, kCall = 0xe8;

u8 low(u8 reg) {
  return reg & 7;
}
u8 rex_b(u8 reg, u8 rex = 0x40) {
  return static_cast<u8>(rex | reg >> 3);
}
u8 rex_r(u8 reg, u8 rex = 0x40) {
  return static_cast<u8>(rex | (reg >> 3) << 2);
}
u8 rex_x(u8 reg, u8 rex = 0x40) {
  return static_cast<u8>(rex | (reg >> 3) << 1);
}
void append(std::vector<u8>& out, u64 value, u32 bytes) {
  for (u32 i = 0; i < bytes; ++i) out.push_back(static_cast<u8>(value >> (8 * i)));
}

}  // namespace

// `elements` of them, and the places that jumps in them lead to.
void Generator::emit_body(u32 elements, u32 depth) {
  std::vector<Label> outer_forward, outer_anchors;
  outer_forward.swap(forward_);
  outer_anchors.swap(anchors_);
  for (u32 i = 0; i < elements; ++i) {
    for (std::size_t n = forward_.size(); n-- > 0;)
      if (chance(35)) {
        bind(forward_[n]);
        forward_.erase(forward_.begin() + static_cast<std::ptrdiff_t>(n));
      }
    if (chance(8)) {
      anchors_.push_back(program_.new_label());
      bind(anchors_.back());
    }
    emit_element(depth);
  }
  for (const Label label : forward_) bind(label);
  forward_.swap(outer_forward);
  anchors_.swap(outer_anchors);
}

void Generator::emit_element(u32 depth) {
  if (patching_ != 0 && chance(patching_)) return emit_patch();
  if (!unbound_patches_.empty() && chance(15)) return emit_patch_target();
  const u64 kind = random(100);
  if (kind < 12) return emit_branch();
  if (kind < 16 && depth < counters_.size()) return emit_loop(depth);
  if (kind < 18) return emit_backward();
  if (kind < 23) return emit_call();
  if (kind < 26) return emit_indirect();
  if (kind < 28) return emit_switch();
  if (kind < 34) return emit_stack();
  if (kind < 36) return emit_string();
  if (kind < 40) return emit_special_access();
  if (kind < 44) return emit_system();
  if (kind < 47 && !program_.user) return emit_kernel_only();
  if (kind < 56) return emit_flags();
  if (kind < 57) return emit_gap();
  emit_generic();
}

// -------------------------------------------------------------------------------------------------------------------
// Control flow.

// A conditional (at times an unconditional) jump ahead.
void Generator::emit_branch() {
  Label target = exit_;
  if (!chance(2)) {
    if (forward_.empty() || chance(60)) forward_.push_back(program_.new_label());
    target = forward_[random(forward_.size())];
  }
  if (chance(8)) {
    Item item;
    item.kind = Item::Kind::kShort;
    item.opcode = static_cast<u8>(are_free({core::kRcx}) ? 0xe0 + random(4) : 0xe3);
    item.address32 = chance(30);
    item.target = target;
    return emit(std::move(item));
  }
  emit_jump(chance(6) ? kJump : static_cast<u8>(0x70 + random(16)), target, chance(70));
}

void Generator::emit_loop(u32 depth) {
  const u8 counter = counters_[depth];
  const u32 times = static_cast<u32>(chance(85) ? 1 + random(6) : random(30));
  const u64 closing = random(6);
  const bool up = closing == 5;
  std::vector<u8> start = {rex_b(counter), static_cast<u8>(0xb8 | low(counter))};
  append(start, up ? 0 : times + 1, 4);
  emit_bytes(std::move(start));
  const Label head = program_.new_label();
  bind(head);
  emit_body(static_cast<u32>(1 + random(chance(70) ? 5 : 15)), depth + 1);

  const u8 w = chance(50) ? rex_b(counter) : rex_b(counter, kRexW);
  const auto modrm = [&](u8 reg) { return static_cast<u8>(0xc0 | reg << 3 | low(counter)); };
  const u8 jnz = 0x75, jg = 0x7f, ja = 0x77, jb = 0x72;
  const bool prefers_short = chance(70);
  if (counter == core::kRcx && chance(50)) {
    Item item;
    item.kind = Item::Kind::kShort;
    item.opcode = 0xe2;  // LOOP
    item.target = head;
    return emit(std::move(item));
  }
  switch (closing) {
    case 0:
    case 1:  // DEC
      emit_bytes({w, 0xff, modrm(1)});
      return emit_jump(closing == 0 ? jnz : jg, head, prefers_short);
    case 2:  // SUB
      emit_bytes({w, 0x83, modrm(5), 1});
      return emit_jump(pick({jnz, jg, ja}), head, prefers_short);
    case 3:  // ADD -1, TEST
      emit_bytes({w, 0x83, modrm(0), 0xff});
      emit_bytes({static_cast<u8>(w | (w & 1) << 2), 0x85,
                  static_cast<u8>(0xc0 | low(counter) << 3 | low(counter))});
      return emit_jump(pick({jnz, jg}), head, prefers_short);
    case 4: {  // LEA, CMP
      emit_bytes({rex_r(counter, rex_b(counter, kRexW)), 0x8d,
                  static_cast<u8>(0x40 | low(counter) << 3 | (low(counter) == core::kRsp ? 4 : low(counter))),
                  static_cast<u8>(low(counter) == core::kRsp ? 0x24 : 0xff)});
      if (low(counter) == core::kRsp) section_->items.back().bytes.push_back(0xff);
      emit_bytes({w, 0x83, modrm(7), 1});
      return emit_jump(pick({jg, ja}), head, prefers_short);
    }
    default:  // INC, CMP
      emit_bytes({w, 0xff, modrm(0)});
      emit_bytes({w, 0x83, modrm(7), static_cast<u8>(times)});
      return emit_jump(pick<u8>({jb, 0x7c}), head, prefers_short);
  }
}

// A jump back that a counter in memory allows only a few times.
void Generator::emit_backward() {
  if (anchors_.empty()) return emit_flags();
  Item fuel = bytes_item({0xff, 0x0d, 0, 0, 0, 0});  // DEC DWORD [RIP + fuel]
  fuel.fixups.push_back({Fixup::Kind::kRipRelative32, 2, 6, kNoLabel, kFuel});
  emit(std::move(fuel));
  const Label out = program_.new_label();
  emit_jump(0x78, out, true);  // JS
  while (chance(70))
    if (emit_from(flag_producers_)) break;
  emit_jump(static_cast<u8>(chance(15) ? kJump : 0x70 + random(16)), anchors_[random(anchors_.size())],
            chance(70));
  bind(out);
}

void Generator::emit_call() {
  if (overlay_ != kNoLabel && chance(35) && section_->start < kOverlay)
    return emit_jump(kCall, overlay_, false);
  if (next_function_ >= functions_.size()) return emit_generic();
  emit_jump(kCall, functions_[next_function_ + random(functions_.size() - next_function_)], false);
}

// Jumps ahead and calls through registers, memory and the stack.
void Generator::emit_indirect() {
  const bool call = chance(50) && next_function_ < functions_.size();
  if (!call) forward_.push_back(program_.new_label());
  const Label target =
      call ? functions_[next_function_ + random(functions_.size() - next_function_)] : forward_.back();
  const u8 r = free_register();
  const u8 operation = call ? 2 : 4;
  if (chance(25)) {  // at the other linear address of the code, or back at the first one
    Item item = bytes_item({rex_b(r, kRexW), static_cast<u8>(0xb8 | low(r)), 0, 0, 0, 0, 0, 0, 0, 0});
    item.fixups.push_back({Fixup::Kind::kAbsolute64, 2, 0, target, chance(60) ? kAlias : 0});
    emit(std::move(item));
  } else {
    emit_lea(r, target);
  }
  switch (random(4)) {
    case 0: {  // through memory
      const u8 base = pointers_[0];
      const Address address = based(base, -1, 0, static_cast<i64>(8 * random(16)));
      std::vector<u8> store = {static_cast<u8>(rex_r(r, kRexW) | address.rex), 0x89}, jump;
      store.insert(store.end(), address.bytes.begin(), address.bytes.end());
      store[2] |= static_cast<u8>(low(r) << 3);
      emit_bytes(std::move(store));
      if (address.rex) jump.push_back(static_cast<u8>(0x40 | address.rex));
      jump.push_back(0xff);
      jump.insert(jump.end(), address.bytes.begin(), address.bytes.end());
      jump[jump.size() - address.bytes.size()] |= static_cast<u8>(operation << 3);
      return emit_bytes(std::move(jump));
    }
    case 1:
      if (!call) {  // PUSH, RET
        emit_bytes({rex_b(r), static_cast<u8>(0x50 | low(r))});
        return emit_bytes({0xc3});
      }
      [[fallthrough]];
    default:
      return emit_bytes({rex_b(r), 0xff, static_cast<u8>(0xc0 | operation << 3 | low(r))});
  }
}

void Generator::emit_switch() {
  const u8 base = free_register();
  const u8 index = free_register_but(Registers{}.set(base));
  Item table;
  table.kind = Item::Kind::kTable;
  for (u32 i = 0; i < 4; ++i) {
    if (i == 0 || chance(60)) forward_.push_back(program_.new_label());
    table.table.push_back(forward_.back());
  }
  const Label start = program_.new_label();
  bind(start);
  emit(std::move(table));
  emit_lea(base, start, 5);
  emit_bytes({rex_b(index), 0x83, static_cast<u8>(0xc0 | 4 << 3 | low(index)), 3});  // AND index, 3
  const u8 rex = static_cast<u8>(rex_b(base) | rex_x(index));
  // [base + index * 8 + 0]: a displacement, because RBP and R13 need one.
  emit_bytes({rex, 0xff, 0x64, static_cast<u8>(0xc0 | low(index) << 3 | low(base)), 0});
}

void Generator::emit_gap() {
  constexpr u32 kMaxGaps = 3;
  if (++gaps_ > kMaxGaps) return emit_generic();
  Item item;
  item.kind = Item::Kind::kGap;
  item.bytes_left = static_cast<u8>(random(24));
  emit(std::move(item));
}

// -------------------------------------------------------------------------------------------------------------------
// The stack.

void Generator::emit_stack() {
  const u8 a = static_cast<u8>(random(16)), b = static_cast<u8>(random(16));
  const u8 into = free_register(), into2 = free_register();
  const auto push = [&](u8 r) { emit_bytes({rex_b(r), static_cast<u8>(0x50 | low(r))}); };
  const auto pop = [&](u8 r) { emit_bytes({rex_b(r), static_cast<u8>(0x58 | low(r))}); };
  switch (random(15)) {
    case 0:
      push(a);
      return pop(into);
    case 1:
      push(a);
      push(b);
      emit_generic();
      pop(into);
      return pop(into2);
    case 2: {
      std::vector<u8> bytes = {0x68};
      append(bytes, integer(), 4);
      emit_bytes(std::move(bytes));
      return pop(into);
    }
    case 3:
      emit_bytes({0x6a, static_cast<u8>(integer())});
      return pop(into);
    case 4: {  // PUSH and POP of memory
      const u8 base = pointers_[random(pointers_.size())];
      for (const u8 opcode : {0xff, 0x8f}) {
        const Address address = based(base, -1, 0, static_cast<i64>(random(200)));
        std::vector<u8> bytes = {static_cast<u8>(0x40 | address.rex), opcode};
        bytes.insert(bytes.end(), address.bytes.begin(), address.bytes.end());
        if (opcode == 0xff) bytes[2] |= 6 << 3;
        emit_bytes(std::move(bytes));
      }
      return;
    }
    case 5:  // PUSH RSP, POP RSP
      push(core::kRsp);
      return pop(core::kRsp);
    case 6:  // POP [RSP + n] computes its address after RSP has moved
      push(a);
      return emit_bytes({0x8f, 0x44, 0x24, static_cast<u8>(0xc0 + 8 * random(7))});
    case 7:  // 16 bits
      emit_bytes({0x66, rex_b(a), static_cast<u8>(0x50 | low(a))});
      return emit_bytes({0x66, rex_b(into), static_cast<u8>(0x58 | low(into))});
    case 8:
      if (!are_free({core::kRbp})) return emit_generic();
      emit_bytes(
          {0xc8, static_cast<u8>(random(64)), 0, static_cast<u8>(chance(80) ? 0 : random(4))});  // ENTER
      reserved_.set(core::kRbp);
      emit_generic();
      reserved_.reset(core::kRbp);
      return emit_bytes({0xc9});  // LEAVE
    case 9: {                     // PUSHFQ; AND QWORD [RSP], ~hidden: AF often has no defined value
      const u64 hidden = chance(50) ? core::kAf : core::kAf | core::kOf;
      std::vector<u8> bytes = {0x9c, 0x48, 0x81, 0x24, 0x24};
      append(bytes, ~hidden, 4);
      Item item = bytes_item(std::move(bytes));
      item.flags_hidden = hidden;
      emit(std::move(item));
      return pop(into);
    }
    case 10: {  // SUB RSP, n; ADD RSP, n
      const u8 n = static_cast<u8>(random(128));
      emit_bytes({0x48, 0x83, 0xec, n});
      emit_generic();
      return emit_bytes({0x48, 0x83, 0xc4, n});
    }
    case 11: {  // CALL to the next instruction
      const Label next = program_.new_label();
      emit_jump(kCall, next, false);
      bind(next);
      return pop(into);
    }
    case 12:  // LEA RSP, [RSP - n]; LEA RSP, [RSP + n]
      emit_bytes({0x48, 0x8d, 0x64, 0x24, 0x80});
      emit_generic();
      emit_bytes({0x48, 0x83, 0xec, 0x80});
      return;
    case 13:  // XCHG RSP, r; XCHG r, RSP
      emit_bytes({rex_b(into, kRexW), 0x87, static_cast<u8>(0xe0 | low(into))});
      return emit_bytes({rex_b(into, kRexW), 0x87, static_cast<u8>(0xe0 | low(into))});
    default:
      emit_bytes({0x0f, 0xa0});  // PUSH FS
      return pop(into);
  }
}

// -------------------------------------------------------------------------------------------------------------------
// Code that changes.

// The next instruction that stores into code may change.
void Generator::emit_patch_target() {
  const Patch patch = unbound_patches_.back();
  unbound_patches_.pop_back();
  const u8 r = free_register();
  if (patch.flip == 0) {  // an immediate
    bind_stored(patch.label);
    std::vector<u8> bytes;
    if (chance(50))
      bytes = {static_cast<u8>(0xb8 | low(r))};
    else
      bytes = {static_cast<u8>(pick<u8>({0x05, 0x2d, 0x35, 0x3d}))};  // ADD, SUB, XOR, CMP EAX, imm32
    if (bytes[0] < 0x40 && !are_free({core::kRax})) bytes[0] = 0x3d;
    if (bytes[0] >= 0xb8 && reserved_[low(r)]) bytes[0] = 0x3d;
    append(bytes, integer(), 4);
    return emit_bytes(std::move(bytes));
  }
  if (patch.flip == 8) {  // INC or DEC
    u8 any = low(r);
    for (u8 i = 0; i < 8 && reserved_[any]; ++i) any = (any + 1) & 7;
    bind_stored(patch.label);
    return emit_bytes({0xff, static_cast<u8>(0xc0 | any)});
  }
  forward_.push_back(program_.new_label());
  bind_stored(patch.label);
  emit_jump(static_cast<u8>(0x70 + random(16)), forward_.back(), false);
}

void Generator::emit_patch() {
  const Patch& patch = patches_[random(patches_.size())];
  const u8 r = free_register();
  const u8 value = static_cast<u8>(integer());
  const auto rip_relative = [&](std::vector<u8> bytes, u32 immediate_bytes) {
    Item item = bytes_item(std::move(bytes));
    const u8 offset = static_cast<u8>(item.bytes.size());
    item.bytes.resize(offset + 4);
    append(item.bytes, patch.flip != 0 ? patch.flip : integer(), immediate_bytes);
    item.fixups.push_back(
        {Fixup::Kind::kRipRelative32, offset, static_cast<u8>(item.bytes.size()), patch.label, patch.offset});
    emit(std::move(item));
  };
  const auto address_to = [&](u8 reg) {
    Item item = bytes_item({rex_b(reg, kRexW), static_cast<u8>(0xb8 | low(reg)), 0, 0, 0, 0, 0, 0, 0, 0});
    const u64 addend = patch.offset + (chance(40) ? kAlias : chance(20) ? kFourGiB : 0);
    item.fixups.push_back({Fixup::Kind::kAbsolute64, 2, 0, patch.label, addend});
    emit(std::move(item));
  };
  if (patch.flip != 0) {
    switch (random(4)) {
      case 0:
        return rip_relative({0xf0, 0x80, 0x35}, 1);  // LOCK XOR BYTE
      case 1: {                                      // through the alias
        address_to(r);
        const bool sib = low(r) == core::kRsp;
        std::vector<u8> bytes = {rex_b(r), 0x80, static_cast<u8>(0x40 | 6 << 3 | low(r))};
        if (sib) bytes.push_back(0x24);
        bytes.push_back(0);
        bytes.push_back(patch.flip);
        return emit_bytes(std::move(bytes));
      }
      default:
        return rip_relative({0x80, 0x35}, 1);  // XOR BYTE
    }
  }
  switch (random(14)) {
    case 0:
      return rip_relative({0x80, 0x05}, 1);  // ADD BYTE
    case 1:
      return rip_relative({0xfe, 0x05}, 0);  // INC BYTE
    case 2:
      return rip_relative({static_cast<u8>(rex_r(r)), 0x89, static_cast<u8>(0x05 | low(r) << 3)},
                          0);  // MOV DWORD, r
    case 3:
      return rip_relative({rex_r(r), 0x88, static_cast<u8>(0x05 | low(r) << 3)}, 0);  // MOV BYTE, r
    case 4:
      return rip_relative({0x66, 0x0f, 0x7e, static_cast<u8>(0x05 | random(8) << 3)}, 0);  // MOVD DWORD, XMM
    case 5:
      return rip_relative({0x0f, 0x7e, static_cast<u8>(0x05 | random(8) << 3)}, 0);  // MOVD DWORD, MM
    case 6:
      return rip_relative({0xd9, pick<u8>({0x1d, 0x15})}, 0);  // FSTP or FST DWORD
    case 7:
      return rip_relative({0xf0, rex_r(r), 0x0f, 0xc1, static_cast<u8>(0x05 | low(r) << 3)}, 0);  // LOCK XADD
    case 8:
      return rip_relative({0x0f, static_cast<u8>(0x90 | (value & 15)), 0x05}, 0);  // SETcc
    case 9:
      if (!are_free({core::kRdi, core::kRcx})) return rip_relative({0xc7, 0x05}, 4);
      address_to(core::kRdi);
      if (chance(40)) {
        emit_bytes({0xb9, 4, 0, 0, 0});
        return emit_bytes({0xf3, 0xaa});  // REP STOSB
      }
      return emit_bytes({0xab});  // STOSD
    case 10: {
      address_to(r);
      const bool sib = low(r) == core::kRsp;
      std::vector<u8> bytes = {rex_b(r), 0xc7, static_cast<u8>(0x40 | low(r))};
      if (sib) bytes.push_back(0x24);
      bytes.push_back(0);
      append(bytes, integer(), 4);
      return emit_bytes(std::move(bytes));
    }
    case 11: {  // BTC QWORD, n in the immediate's bits
      return rip_relative({0x0f, 0xba, 0x3d}, 1);
    }
    default:
      return rip_relative({0xc7, 0x05}, 4);  // MOV DWORD, imm32
  }
}

// -------------------------------------------------------------------------------------------------------------------
// The rest.

void Generator::emit_string() {
  if (!are_free({core::kRcx, core::kRsi, core::kRdi})) return emit_generic();
  std::vector<u8> count = {0xb9};
  append(count, chance(15) ? 0 : random(40), 4);
  emit_move(core::kRsi, chance(85) ? pointer() : special_address());
  emit_move(core::kRdi, chance(85) ? pointer() : special_address());
  emit_bytes(std::move(count));
  const bool backwards = chance(20);
  if (backwards) emit_bytes({0xfd});
  const u8 opcode = static_cast<u8>(pick<u8>({0xa4, 0xa6, 0xaa, 0xac, 0xae}) | random(2));
  const bool uses_rax = opcode == 0xac || opcode == 0xad;
  std::vector<u8> bytes;
  if (chance(5)) bytes.push_back(0x67);
  if (chance(85)) bytes.push_back(pick<u8>({0xf3, 0xf2}));
  if (chance(30)) bytes.push_back(chance(50) ? 0x48 : 0x66);
  if (!bytes.empty() && bytes.size() > 1 && bytes.back() == 0x66) std::swap(bytes.front(), bytes.back());
  bytes.push_back(uses_rax && reserved_[core::kRax] ? 0xa4 : opcode);
  emit_bytes(std::move(bytes));
  if (chance(30))
    emit_jump(static_cast<u8>(0x70 + random(16)), forward_.empty() ? exit_ : forward_.back(), true);
  if (backwards) emit_bytes({0xfc});
}

// An access near or in a page that does not allow it, or through a large displacement.
void Generator::emit_special_access() {
  const u8 r = free_register();
  u64 target = special_address();
  i64 displacement = 0;
  switch (random(5)) {
    case 0:
      displacement = 0x7fff'ffff - static_cast<i64>(random(16));
      target = pointer();
      break;
    case 1:
      displacement = -0x8000'0000ll + static_cast<i64>(random(16));
      target = pointer();
      break;
    case 2:
      displacement = static_cast<i64>(random(256)) - 128;
      break;
    default:
      break;
  }
  emit_move(r, target - static_cast<u64>(displacement));
  const Address address = based(r, -1, 0, displacement);
  const bool keeps = chance(50);
  if (keeps) reserved_.set(r);
  for (u32 attempt = 0; attempt < 50; ++attempt) {
    const auto& list = chance(60)   ? common_
                       : chance(50) ? sse_
                       : chance(60) ? avx_
                       : chance(50) ? old_floating_
                                    : integer_;
    if (emit_from(list, &address)) break;
  }
  if (keeps) reserved_.reset(r);
}

void Generator::emit_system() {
  const u8 r = free_register();
  switch (random(14)) {
    case 0:
    case 1:
    case 2: {
      std::vector<u8> bytes = {0xb8};  // MOV EAX, service
      append(bytes, random(8), 4);
      if (are_free({core::kRax})) emit_bytes(std::move(bytes));
      if (program_.user && chance(60) && are_free({core::kRcx, core::kR11})) return emit_bytes({0x0f, 0x05});
      return emit_bytes({0xcd, kServiceVector});
    }
    case 3:
      return emit_bytes({0xcc});
    case 4:
      return emit_bytes({0x0f, 0x0b});  // UD2
    case 5:
    case 6: {  // RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE
      const u8 operation = static_cast<u8>(random(4));
      if (operation >= 2) emit_move(r, chance(85) ? pointer() : integer());
      return emit_bytes({0xf3, rex_b(r, kRexW), 0x0f, 0xae, static_cast<u8>(0xc0 | operation << 3 | low(r))});
    }
    case 7:
    case 8: {  // LDMXCSR, at times STMXCSR
      u32 mxcsr = 0x1f80 | (static_cast<u32>(engine_()) & 0xe07f);
      if (chance(6)) mxcsr &= ~(static_cast<u32>(random(64)) << 7);
      std::vector<u8> bytes = {0xc7, 0x44, 0x24, 0xc0};
      append(bytes, mxcsr, 4);
      emit_bytes(std::move(bytes));
      return emit_bytes({0x0f, 0xae, static_cast<u8>(chance(80) ? 0x54 : 0x5c), 0x24, 0xc0});
    }
    case 9:
    case 10: {  // POPFQ
      u32 flags = static_cast<u32>((engine_() & core::kArithmeticFlags) | core::kIf);
      if (chance(10)) flags |= core::kTf;
      if (chance(10)) flags |= core::kAc;
      if (chance(5)) flags |= core::kDf;
      if (chance(10)) flags |= core::kId;
      if (program_.smap && chance(80)) flags |= core::kAc;
      std::vector<u8> bytes = {0x68};
      append(bytes, flags, 4);
      emit_bytes(std::move(bytes));
      return emit_bytes({0x9d});
    }
    case 11: {  // FXSAVE64, FXRSTOR64
      const u8 base = pointers_[0];
      const auto with_memory = [&](std::vector<u8> opcode, u8 reg, i64 displacement, std::size_t immediate) {
        const Address address = based(base, -1, 0, displacement);
        std::vector<u8> bytes = {static_cast<u8>(kRexW | address.rex)};
        for (const u8 byte : opcode) bytes.push_back(byte);
        bytes.insert(bytes.end(), address.bytes.begin(), address.bytes.end());
        bytes[1 + opcode.size()] |= static_cast<u8>(reg << 3);
        bytes.resize(bytes.size() + immediate);
        return bytes;
      };
      std::vector<u8> save = with_memory({0x0f, 0xae}, 0, 0, 0);
      // FOP, FIP and FDP are not always kept (docs/quirks.md): MOV BYTE over FOP, MOV QWORD over the others.
      for (const i64 where : {6, 7})
        for (const u8 byte : with_memory({0xc6}, 0, where, 1)) save.push_back(byte);
      for (const i64 where : {8, 16})
        for (const u8 byte : with_memory({0xc7}, 0, where, 4)) save.push_back(byte);
      emit_bytes(std::move(save));
      if (chance(70)) emit_bytes(with_memory({0x0f, 0xae}, 1, 0, 0));
      return;
    }
    case 12:
      return emit_bytes({chance(50) ? u8{0xfd} : u8{0xfc}});  // STD, CLD
    default:                                                  // the pointers again, elsewhere
      return emit_move(pointers_[random(pointers_.size())], pointer());
  }
}

void Generator::emit_kernel_only() {
  const u8 r = free_register();
  const auto from_control = [&](u8 number) {
    emit_bytes({rex_b(r), 0x0f, 0x20, static_cast<u8>(0xc0 | number << 3 | low(r))});
  };
  const auto to_control = [&](u8 number) {
    emit_bytes({rex_b(r), 0x0f, 0x22, static_cast<u8>(0xc0 | number << 3 | low(r))});
  };
  switch (random(10)) {
    case 0:
    case 1:  // the other address space
      from_control(3);
      emit_bytes({rex_b(r, kRexW), 0x81, static_cast<u8>(0xf0 | low(r)), 0x00, 0x40, 0x00, 0x00});
      return to_control(3);
    case 2:
      return emit_bytes({0x0f, 0x06});  // CLTS
    case 3:
    case 4:  // CR0.TS
      from_control(0);
      emit_bytes({rex_b(r, kRexW), 0x83, static_cast<u8>(0xc8 | low(r)), 8});
      return to_control(0);
    case 5: {  // INVLPG
      const Address address = any_address();
      if (address.rip_relative || address.segment || address.address32) return emit_generic();
      std::vector<u8> bytes = {static_cast<u8>(0x40 | address.rex), 0x0f, 0x01};
      bytes.insert(bytes.end(), address.bytes.begin(), address.bytes.end());
      bytes[3] |= 7 << 3;
      return emit_bytes(std::move(bytes));
    }
    case 6:
      return emit_bytes({chance(70) ? u8{0xfb} : u8{0xfa}});  // STI, CLI
    case 7:
      if (program_.smap) return emit_bytes({0x0f, 0x01, chance(70) ? u8{0xcb} : u8{0xca}});  // STAC, CLAC
      from_control(4);
      return to_control(4);
    case 8:  // MOV SS
      emit_bytes({rex_b(r), 0x8c, static_cast<u8>(0xd0 | low(r))});
      return emit_bytes({rex_b(r), 0x8e, static_cast<u8>(0xd0 | low(r))});
    default:
      return emit_bytes({0x0f, 0x01, 0xf8});  // SWAPGS
  }
}

// Flags made and used, with little between.
void Generator::emit_flags() {
  while (!emit_from(flag_producers_)) continue;
  if (chance(30)) emit_generic();
  switch (random(3)) {
    case 0:
      return emit_branch();
    case 1: {  // SETcc
      const u8 r = free_register();
      return emit_bytes({rex_b(r), 0x0f, static_cast<u8>(0x90 | random(16)), static_cast<u8>(0xc0 | low(r))});
    }
    default:
      return;
  }
}

}  // namespace doppel::tests::translator
