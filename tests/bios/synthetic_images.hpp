// Smallest kernel files of each boot protocol, built in memory: the tests place them, cut them short and
// damage them.
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "bios/bytes.hpp"

namespace doppel::bios::test {

struct BzImage {
  u16 version = 0x20f;
  u8 loadflags = 1;
  u16 xloadflags = 3;  // 64-bit entry, data above 4 GiB
  u8 relocatable = 1;
  u32 code32_start = 0x10'0000;
  u32 initrd_addr_max = 0x7fff'ffff;
  u32 cmdline_size = 255;
  u32 alignment = 0x20'0000;
  u64 pref_address = 0x100'0000;
  u32 init_size = 0x80'0000;
  u32 payload_size = 0x1000;

  // Two setup sectors, so the payload starts at 0x600; its bytes are 0xa5.
  [[nodiscard]] Bytes build() const {
    Bytes file(0x600);
    file[0x1f1] = 2;
    poke(file, 0x1f4, payload_size / 16);
    poke(file, 0x1fe, u16{0xaa55});
    file[0x200] = 0xeb;
    file[0x201] = 0x6a;  // the header ends at 0x26c
    std::memcpy(file.data() + 0x202, "HdrS", 4);
    poke(file, 0x206, version);
    file[0x211] = loadflags;
    poke(file, 0x214, code32_start);
    poke(file, 0x22c, initrd_addr_max);
    poke(file, 0x230, alignment);
    file[0x234] = relocatable;
    poke(file, 0x236, xloadflags);
    poke(file, 0x238, cmdline_size);
    poke(file, 0x258, pref_address);
    poke(file, 0x260, init_size);
    file.insert(file.end(), payload_size, 0xa5);
    return file;
  }
};

struct Segment {
  u32 type = 1;  // PT_LOAD
  u64 physical = 0, virtual_address = 0;
  Bytes bytes;
  u64 memory_size = 0;
};

template <class Word>  // u32: ELF32 for the 386; u64: ELF64 for x86-64
Bytes elf(u64 entry, const std::vector<Segment>& segments) {
  constexpr bool k64 = sizeof(Word) == 8;
  constexpr u32 kHeader = k64 ? 64 : 52, kProgramHeader = k64 ? 56 : 32;
  Bytes file = {0x7f, 'E', 'L', 'F', k64 ? u8{2} : u8{1}, 1, 1};
  file.resize(16);
  append(file, u16{2});
  append(file, static_cast<u16>(k64 ? 62 : 3));
  append(file, u32{1});
  append(file, static_cast<Word>(entry));
  append(file, static_cast<Word>(kHeader));
  append(file, Word{0});
  append(file, u32{0});
  for (const u32 field : {kHeader, kProgramHeader, static_cast<u32>(segments.size()), 0u, 0u, 0u})
    append(file, static_cast<u16>(field));
  u64 offset = kHeader + kProgramHeader * segments.size();
  for (const Segment& s : segments) {
    append(file, s.type);
    if (k64) append(file, u32{7});
    for (const u64 field : {offset, s.virtual_address, s.physical, u64{s.bytes.size()}, s.memory_size})
      append(file, static_cast<Word>(field));
    if (!k64) append(file, u32{7});
    append(file, Word{4});
    offset += s.bytes.size();
  }
  for (const Segment& s : segments) append(file, s.bytes);
  return file;
}

// The XEN_ELFNOTE_PHYS32_ENTRY note behind another one.
inline Segment pvh_note(u32 entry) {
  Bytes note;
  for (const u32 field : {4u, 5u, 6u}) append(note, field);
  append(note, std::string_view("Xen\0hello\0\0\0", 12));
  for (const u32 field : {4u, 4u, 18u}) append(note, field);
  append(note, std::string_view("Xen\0", 4));
  append(note, entry);
  return {.type = 4, .bytes = note};
}

inline Bytes pvh_kernel() {
  return elf<u64>(0xffff'ffff'8100'0000, {{.physical = 0x100'0000,
                                           .virtual_address = 0xffff'ffff'8100'0000,
                                           .bytes = Bytes(64, 0x90),
                                           .memory_size = 0x3000},
                                          pvh_note(0x100'0010)});
}

inline Bytes multiboot_header(u32 flags, const std::vector<u32>& addresses = {}) {
  Bytes out;
  for (const u32 field : {0x1bad'b002u, flags, 0u - 0x1bad'b002u - flags}) append(out, field);
  for (const u32 field : addresses) append(out, field);
  return out;
}

inline Bytes multiboot_kernel(u32 flags = 3) {
  Bytes code = multiboot_header(flags);
  code.resize(64, 0x90);
  return elf<u32>(
      0xc010'000c,
      {{.physical = 0x10'0000, .virtual_address = 0xc010'0000, .bytes = code, .memory_size = 0x2000}});
}

// Header at file offset 0x20, loaded so that the file's first 0x10 bytes stay out.
inline Bytes multiboot_flat_kernel() {
  Bytes file(0x20, 0x11);
  append(file, multiboot_header(0x1'0003, {0x20'0010, 0x20'0000, 0x20'0050, 0x20'1000, 0x20'0030}));
  file.resize(0x100, 0x90);
  return file;
}

}  // namespace doppel::bios::test
