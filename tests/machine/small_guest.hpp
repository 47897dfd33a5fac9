// Guests of a few dozen bytes for the tests of the whole machine. The code is the same in 32- and 64-bit
// mode, so each guest boots as a Multiboot kernel and as a bzImage at its 64-bit entry.
#pragma once

#include <initializer_list>

#include "tests/bios/synthetic_images.hpp"

namespace doppel::machine::test {

// Machine code, put together from the few instructions that guests need.
class GuestCode {
 public:
  GuestCode& bytes(std::initializer_list<u8> code) {
    code_.insert(code_.end(), code);
    return *this;
  }
  GuestCode& set_port(u16 port) {
    return bytes({0x66, 0xba, static_cast<u8>(port), static_cast<u8>(port >> 8)});
  }
  GuestCode& out8(u16 port, u8 value) { return set_port(port).bytes({0xb0, value, 0xee}); }
  GuestCode& out16(u16 port, u16 value) {
    return set_port(port).bytes(
        {0x66, 0xb8, static_cast<u8>(value), static_cast<u8>(value >> 8), 0x66, 0xef});
  }
  GuestCode& print(u16 port, std::string_view text) {
    for (const char c : text) out8(port, static_cast<u8>(c));
    return *this;
  }
  GuestCode& halt() { return bytes({0xfa, 0xf4, 0xeb, 0xfd}); }  // CLI, HLT, for ever
  GuestCode& spin() { return bytes({0xeb, 0xfe}); }

  [[nodiscard]] bios::Bytes multiboot_kernel() const {
    constexpr u32 kLoad = 0x10'0000, kEntry = kLoad + 0x20, kAddressesGiven = 1u << 16;
    bios::Bytes file = bios::test::multiboot_header(kAddressesGiven, {kLoad, kLoad, 0, 0, kEntry});
    file.resize(kEntry - kLoad);
    file.insert(file.end(), code_.begin(), code_.end());
    return file;
  }
  [[nodiscard]] bios::Bytes linux_kernel() const {
    bios::Bytes file = bios::test::BzImage{}.build();
    constexpr std::size_t kPayload = 0x600, kEntry64 = 0x200;
    std::copy(code_.begin(), code_.end(), file.begin() + kPayload + kEntry64);
    return file;
  }

 private:
  bios::Bytes code_;
};

}  // namespace doppel::machine::test
