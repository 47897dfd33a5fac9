#include "devices/net/checksum.hpp"

#include <cstring>

namespace doppel::devices {

namespace {

u16 fold(u64 sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(sum);
}

}  // namespace

// Words of 32 bits into a sum of 64: it cannot overflow, and folding it later gives the same.
u16 checksum_add(std::span<const u8> bytes, u16 start) {
  u64 even = start, odd = 0;
  while (bytes.size() >= 8) {
    u32 words[2];
    std::memcpy(words, bytes.data(), sizeof words);
    even += words[0];
    odd += words[1];
    bytes = bytes.subspan(8);
  }
  u64 sum = even + odd;
  while (bytes.size() >= 2) {
    u16 word;
    std::memcpy(&word, bytes.data(), sizeof word);
    sum += word;
    bytes = bytes.subspan(2);
  }
  if (!bytes.empty()) {
    u16 word = 0;
    std::memcpy(&word, bytes.data(), 1);
    sum += word;
  }
  return fold(sum);
}

u16 final_checksum(std::span<const u8> bytes) {
  const u16 sum = static_cast<u16>(~checksum_add(bytes));
  return sum == 0 ? u16{0xffff} : sum;
}

bool complete_checksum(std::span<u8> bytes, std::size_t start, std::size_t offset) {
  if (start > bytes.size() || bytes.size() - start < 2 || offset > bytes.size() - start - 2) return false;
  const auto covered = bytes.subspan(start);
  const u16 sum = final_checksum(covered);
  std::memcpy(covered.data() + offset, &sum, sizeof sum);
  return true;
}

}  // namespace doppel::devices
