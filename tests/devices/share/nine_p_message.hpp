// Messages of the 9P2000.L protocol, field by field, for tests.
#pragma once

#include <cstring>
#include <string_view>
#include <vector>

#include "core/types.hpp"

namespace doppel::devices::testing {

enum NineP : u8 {
  kStatfs = 8,
  kLopen = 12,
  kLcreate = 14,
  kSymlink = 16,
  kReadlink = 22,
  kGetattr = 24,
  kSetattr = 26,
  kReaddir = 40,
  kFsync = 50,
  kLock = 52,
  kGetlock = 54,
  kLink = 70,
  kMkdir = 72,
  kRenameat = 74,
  kUnlinkat = 76,
  kVersion = 100,
  kAttach = 104,
  kFlush = 108,
  kWalk = 110,
  kRead = 116,
  kWrite = 118,
  kClunk = 120,
};

// One message. Its size field is right unless the test changes it.
class NinePMessage {
 public:
  explicit NinePMessage(u8 type) {
    put<u32>(0);
    put<u8>(type);
    put<u16>(0x1234);
  }
  template <class T>
  NinePMessage& put(T value) {
    const auto* from = reinterpret_cast<const u8*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
    const u32 size = static_cast<u32>(bytes.size());
    if (bytes.size() >= 4) std::memcpy(bytes.data(), &size, 4);
    return *this;
  }
  NinePMessage& text(std::string_view value) {
    put(static_cast<u16>(value.size()));
    for (const char c : value) put(c);
    return *this;
  }
  std::vector<u8> bytes;
};

}  // namespace doppel::devices::testing
