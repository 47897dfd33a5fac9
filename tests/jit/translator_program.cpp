#include "tests/jit/translator_program.hpp"

#include <fmt/format.h>

#include <cstring>

#include "tests/interp/instruction_facts.hpp"

namespace doppel::tests::translator {
namespace {

constexpr u8 kCallOpcode = 0xe8, kJumpOpcode = 0xeb;  // JMP rel8; e9 is the long form

u64 table_size(const Item& item) {
  return 8 * item.table.size();
}

// Of JMP and CALL.
u64 near_size(u32 bits) {
  return bits == 16 ? 3 : 5;
}

// Size of an item that starts at `address`; kJump: `is_long` says which form.
u64 size_of(const Item& item, u64 address, bool is_long, u32 bits) {
  const u64 near = near_size(bits);
  switch (item.kind) {
    case Item::Kind::kBytes:
      return item.bytes.size();
    case Item::Kind::kJump:
      if (item.opcode == kCallOpcode) return near;
      return !is_long ? 2 : item.opcode == kJumpOpcode ? near : near + 1;
    case Item::Kind::kShort:
      return item.address32 ? 3 : 2;
    case Item::Kind::kGap: {
      u64 end = (address + near + kPageSize) & core::kPageMask;
      if (end - item.bytes_left < address + near) end += kPageSize;
      return end - item.bytes_left - address;
    }
    case Item::Kind::kTable:
      return 5 + table_size(item);
  }
  return 0;
}

struct Layout {
  std::vector<std::vector<u64>> address;  // of each section's items, and its end
  std::vector<u64> label;
};

Layout place(const Program& program, const std::vector<std::vector<bool>>& is_long) {
  Layout out;
  out.label.assign(static_cast<std::size_t>(program.labels), program.sections[0].start);
  for (std::size_t s = 0; s < program.sections.size(); ++s) {
    u64 at = program.sections[s].start;
    auto& address = out.address.emplace_back();
    for (std::size_t i = 0; i < program.sections[s].items.size(); ++i) {
      const Item& item = program.sections[s].items[i];
      address.push_back(at);
      for (const auto* labels : {&item.labels, &item.stored})
        for (const Label label : *labels) out.label[static_cast<std::size_t>(label)] = at;
      at += size_of(item, at, is_long[s][i], program.bits);
    }
    address.push_back(at);
  }
  return out;
}

bool fits_byte(i64 value) {
  return value == static_cast<i8>(value);
}

template <class T>
void append(std::vector<u8>& out, T value) {
  for (u32 i = 0; i < sizeof value; ++i) out.push_back(static_cast<u8>(u64{value} >> (8 * i)));
}

std::vector<u8> encode(const Item& item, u64 address, u64 end, bool is_long, const Layout& layout, u32 bits) {
  const auto at = [&](Label label) {
    return label == kNoLabel ? u64{0} : layout.label[static_cast<std::size_t>(label)];
  };
  const u64 target = at(item.target);
  std::vector<u8> out;
  const auto append_relative = [&](u64 distance) {
    if (bits == 16)
      append(out, static_cast<u16>(distance));
    else
      append(out, static_cast<u32>(distance));
  };
  switch (item.kind) {
    case Item::Kind::kBytes:
      out = item.bytes;
      for (const Fixup& fixup : item.fixups) {
        const u64 where = at(fixup.label) + fixup.addend;
        const u64 relative = where - (address + fixup.next), offset = where - kCode;
        switch (fixup.kind) {
          case Fixup::Kind::kAbsolute64:
            std::memcpy(&out[fixup.offset], &where, 8);
            break;
          case Fixup::Kind::kAbsolute32:
            std::memcpy(&out[fixup.offset], &where, 4);
            break;
          case Fixup::Kind::kOffset16:
            std::memcpy(&out[fixup.offset], &offset, 2);
            break;
          case Fixup::Kind::kRipRelative32:
            std::memcpy(&out[fixup.offset], &relative, 4);
            break;
        }
      }
      break;
    case Item::Kind::kJump:
      if (item.opcode == kCallOpcode) {
        out = {kCallOpcode};
      } else if (!is_long) {
        out = {item.opcode, static_cast<u8>(target - end)};
        break;
      } else if (item.opcode == kJumpOpcode) {
        out = {0xe9};
      } else {
        out = {0x0f, static_cast<u8>(item.opcode + 0x10)};
      }
      append_relative(target - end);
      break;
    case Item::Kind::kShort:
      if (item.address32) out = {0x67};
      if (fits_byte(static_cast<i64>(target - end))) {
        out.push_back(item.opcode);
        out.push_back(static_cast<u8>(target - end));
      } else {
        out = item.address32 ? std::vector<u8>{0x0f, 0x1f, 0x00} : std::vector<u8>{0x66, 0x90};
      }
      break;
    case Item::Kind::kGap:
      out = {0xe9};
      append_relative(end - address - near_size(bits));
      out.resize(end - address, 0xcc);
      break;
    case Item::Kind::kTable:
      out = {0xe9};
      append(out, static_cast<u32>(table_size(item)));
      for (const Label label : item.table) append(out, at(label));
      break;
  }
  return out;
}

// The instructions of an item: a gap's and a table's first one only.
template <class F>
void for_each_instruction(const Item& item, u32 bits, std::span<const u8> bytes, F&& f) {
  const bool first_only = item.kind == Item::Kind::kGap || item.kind == Item::Kind::kTable;
  ZydisDecodedInstruction instruction;
  for (std::size_t i = 0; i < bytes.size(); i += instruction.length) {
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder(bits), nullptr, &bytes[i], bytes.size() - i,
                                                    &instruction)))
      instruction.length = static_cast<u8>(bytes.size() - i);
    f(i, instruction.length);
    if (first_only) break;
  }
}

}  // namespace

Image lay_out(const Program& program) {
  std::vector<std::vector<bool>> is_long;
  for (const Section& section : program.sections) {
    auto& out = is_long.emplace_back();
    for (const Item& item : section.items) out.push_back(!item.prefers_short);
  }
  Layout layout;
  for (bool changed = true; changed;) {
    changed = false;
    layout = place(program, is_long);
    for (std::size_t s = 0; s < program.sections.size(); ++s)
      for (std::size_t i = 0; i < program.sections[s].items.size(); ++i) {
        const Item& item = program.sections[s].items[i];
        if (item.kind != Item::Kind::kJump || is_long[s][i] || item.opcode == kCallOpcode) continue;
        const u64 target = layout.label[static_cast<std::size_t>(item.target)];
        if (fits_byte(static_cast<i64>(target - layout.address[s][i + 1]))) continue;
        is_long[s][i] = true;
        changed = true;
      }
  }

  Image image;
  for (std::size_t s = 0; s < program.sections.size(); ++s) {
    const Section& section = program.sections[s];
    const u64 limit = section.start >= kOverlay ? kOverlay + kPageSize : kOverlay;
    if (layout.address[s].back() > limit) return {};
  }
  image.bytes.assign(kProgramStack - kProgram, 0xcc);
  image.lengths.assign(kCodePages * kPageSize, 0);
  for (std::size_t s = 0; s < program.sections.size(); ++s) {
    const Section& section = program.sections[s];
    for (std::size_t i = 0; i < section.items.size(); ++i) {
      const u64 address = layout.address[s][i];
      const auto bytes =
          encode(section.items[i], address, layout.address[s][i + 1], is_long[s][i], layout, program.bits);
      u64 offset = address - kCode + (section.other_space ? kPageSize : 0);
      std::memcpy(&image.bytes[offset], bytes.data(), bytes.size());
      image.starts.push_back({address, static_cast<u32>(s), static_cast<u32>(i)});
      for_each_instruction(section.items[i], program.bits, bytes,
                           [&](std::size_t at, u8 length) { image.lengths[address - kCode + at] = length; });
    }
  }
  std::memcpy(&image.bytes[kProgramData - kProgram], program.data.data(), program.data.size());
  return image;
}

namespace {

// Labels that some item refers to.
std::vector<bool> used_labels(const Program& program) {
  std::vector<bool> used(static_cast<std::size_t>(program.labels));
  const auto use = [&](Label label) {
    if (label != kNoLabel) used[static_cast<std::size_t>(label)] = true;
  };
  for (const Section& section : program.sections)
    for (const Item& item : section.items) {
      use(item.target);
      for (const Label label : item.table) use(label);
      for (const Fixup& fixup : item.fixups) use(fixup.label);
    }
  return used;
}

}  // namespace

std::string listing(const Program& program) {
  const Image image = lay_out(program);
  const std::vector<bool> used = used_labels(program);
  std::string out;
  if (image.bytes.empty()) return "(does not fit)\n";
  for (const Image::Start& start : image.starts) {
    const Section& section = program.sections[start.section];
    const Item& item = section.items[start.item];
    if (start.item == 0)
      out += fmt::format("{}:\n", start.section == 0    ? "start"
                                  : section.other_space ? "in address space B"
                                                        : "section");
    for (const auto* labels : {&item.labels, &item.stored})
      for (const Label label : *labels)
        if (used[static_cast<std::size_t>(label)]) out += fmt::format("L{}:\n", label);
    const u64 offset = start.address - kCode + (section.other_space ? kPageSize : 0);
    const std::span<const u8> rest(&image.bytes[offset], 256);
    if (item.kind == Item::Kind::kGap || item.kind == Item::Kind::kTable) {
      out += tests::listing(rest.first(near_size(program.bits)), program.bits, start.address);
      for (const Label label : item.table) out += fmt::format("      .quad L{}\n", label);
    } else {
      u64 size = 0;
      const bool last = start.item + 1 == section.items.size();
      if (last)
        size = item.kind == Item::Kind::kBytes ? item.bytes.size() : near_size(program.bits);
      else
        size = (&start + 1)->address - start.address;
      out += tests::listing(rest.first(size), program.bits, start.address);
    }
  }
  return out;
}

u32 instruction_count(const Program& program) {
  u32 count = 0;
  for (const Section& section : program.sections) count += static_cast<u32>(section.items.size());
  return count;
}

}  // namespace doppel::tests::translator
