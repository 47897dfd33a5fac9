// Random 9P messages, most of them nearly right, repeatable from the random numbers.
#pragma once

#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/devices/hostile.hpp"
#include "tests/devices/share/nine_p_message.hpp"

namespace doppel::devices::testing {

class NinePNoise {
 public:
  // New sessions and new names for the folder come in between.
  std::vector<u8> message(Hostile& random) {
    const u64 kind = random.below(64);
    if (kind == 0) return NinePMessage(kVersion).put<u32>(65536).text("9P2000.L").bytes;
    if (kind < 12)
      return NinePMessage(kAttach).put(fid(random)).put(~u32{0}).text("").text("").put<u32>(0).bytes;
    const Row& row = kRows[random.below(std::size(kRows))];
    NinePMessage message(static_cast<u8>(random.below(16) ? row.type : random.value()));
    if (random.below(4)) {
      for (const char c : std::string_view(row.fields)) field(message, random, c);
    } else {
      for (u64 n = random.below(6); n != 0; --n) field(message, random, "f428n"[random.below(5)]);
    }
    if (row.type == kWalk)
      for (int i = 0; i < 2; ++i) message.text(name(random));
    if (random.below(16) == 0) message.bytes.resize(random.below(message.bytes.size() + 1));
    for (u64 n = random.below(8) ? 0 : random.below(4); n != 0 && !message.bytes.empty(); --n)
      message.bytes[random.below(message.bytes.size())] = static_cast<u8>(random.value());
    return message.bytes;
  }

 private:
  // A message's fields: fid, name, or bytes of a number. Without fsync, which is slow.
  struct Row {
    u8 type;
    const char* fields;
  };
  static constexpr Row kRows[] = {{kStatfs, "f"},     {kLopen, "f4"},           {kLcreate, "fn444"},
                                  {kSymlink, "fnn4"}, {kReadlink, "f"},         {kGetattr, "f8"},
                                  {kReaddir, "f84"},  {kLock, "f14884n"},       {kGetlock, "f1884n"},
                                  {kLink, "ffn"},     {kMkdir, "fn44"},         {kRenameat, "fnfn"},
                                  {kUnlinkat, "fn4"}, {kSetattr, "f444488888"}, {kFlush, "2"},
                                  {kWalk, "ff2"},     {kWalk, "ff2"},           {kWalk, "ff2"},
                                  {kRead, "f84"},     {kRead, "f84"},           {kWrite, "f84888"},
                                  {kClunk, "f"}};

  static u32 fid(Hostile& random) { return static_cast<u32>(random.below(4)); }
  static std::string name(Hostile& random) {
    static const std::string kNames[] = {"file", "folder",     "secret", "..", "new",
                                         "link", "../outside", "/",      ""};
    return kNames[random.below(std::size(kNames))];
  }
  static void field(NinePMessage& message, Hostile& random, char kind) {
    // Flags, modes and counts.
    static constexpr u32 kNumbers[] = {0, 1, 2, 8, 0x20, 0x200, 0x241, 0777, 5000, ~u32{0}};
    const u32 number = kNumbers[random.below(std::size(kNumbers))];
    if (kind == 'f') message.put(fid(random));
    if (kind == 'n') message.text(name(random));
    if (kind == '1') message.put(static_cast<u8>(number));
    if (kind == '2') message.put(static_cast<u16>(random.below(3)));
    if (kind == '4') message.put(number);
    if (kind == '8') message.put(random.below(2) ? random.below(100) : random.value());
  }
};

}  // namespace doppel::devices::testing
