// Little-endian fields in byte sequences: reading files that may be hostile, and building tables. Used by
// every boot protocol and by the ACPI tables. It knows no format.
#pragma once

#include <concepts>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace doppel::bios {

using Bytes = std::vector<u8>;

// A file's bytes. Fields that lie past the end read as zero; where that matters ask contains() first.
class ByteView {
 public:
  explicit ByteView(std::span<const u8> bytes) : bytes_(bytes) {}

  [[nodiscard]] u64 size() const { return bytes_.size(); }
  [[nodiscard]] bool contains(u64 offset, u64 size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
  }
  template <std::unsigned_integral T>
  [[nodiscard]] T at(u64 offset) const {
    T value = 0;
    if (contains(offset, sizeof value)) std::memcpy(&value, bytes_.data() + offset, sizeof value);
    return value;
  }
  // Empty unless the whole range lies in the file.
  [[nodiscard]] std::span<const u8> slice(u64 offset, u64 size) const {
    return contains(offset, size) ? bytes_.subspan(offset, size) : std::span<const u8>{};
  }
  [[nodiscard]] bool has_text(u64 offset, std::string_view text) const {
    return contains(offset, text.size()) &&
           std::memcmp(bytes_.data() + offset, text.data(), text.size()) == 0;
  }

 private:
  std::span<const u8> bytes_;
};

template <std::unsigned_integral T>
void append(Bytes& out, T value) {
  const std::size_t at = out.size();
  out.resize(at + sizeof value);
  std::memcpy(out.data() + at, &value, sizeof value);
}
inline void append(Bytes& out, std::span<const u8> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}
inline void append(Bytes& out, std::string_view text) {
  out.insert(out.end(), text.begin(), text.end());
}

// Overwrites a field that exists.
template <std::unsigned_integral T>
void poke(Bytes& out, std::size_t offset, T value) {
  std::memcpy(out.data() + offset, &value, sizeof value);
}

// The bytes of a string and the zero that ends it.
inline Bytes c_string(std::string_view text) {
  Bytes out(text.begin(), text.end());
  out.push_back(0);
  return out;
}

}  // namespace doppel::bios
