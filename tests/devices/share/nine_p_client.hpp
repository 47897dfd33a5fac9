// A 9P2000.L client for tests, by hand: messages field by field to a SharedFolder.
#pragma once

#include <doctest.h>
#include <fcntl.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "devices/share/shared_folder.hpp"
#include "tests/devices/share/nine_p_message.hpp"
#include "tests/devices/share/two_folders.hpp"

namespace doppel::devices::testing {

// What came back: an errno value, or the fields behind the header.
struct NinePAnswer {
  u32 error = 0;
  std::vector<u8> body;
  template <class T>
  [[nodiscard]] T at(std::size_t offset) const {
    T value{};
    REQUIRE(offset + sizeof value <= body.size());
    std::memcpy(&value, body.data() + offset, sizeof value);
    return value;
  }
};

class NinePClient {
 public:
  static constexpr u32 kRoot = 0, kNoFid = ~u32{0};

  // Fid kRoot is the folder.
  explicit NinePClient(SharedFolder& folder) : folder_(folder) {
    CHECK(call(NinePMessage(kVersion).put<u32>(65536).text("9P2000.L")).error == 0);
    CHECK(call(NinePMessage(kAttach).put(kRoot).put(kNoFid).text("").text("").put<u32>(0)).error == 0);
  }

  NinePAnswer call(const NinePMessage& message, std::size_t room = 65536) {
    const std::vector<u8> bytes = folder_.answer(message.bytes, room);
    REQUIRE(bytes.size() >= 7);
    CHECK(bytes.size() <= room);
    u32 size;
    u16 tag;
    std::memcpy(&size, bytes.data(), 4);
    std::memcpy(&tag, bytes.data() + 5, 2);
    CHECK(size == bytes.size());
    CHECK(tag == 0x1234);
    NinePAnswer answer{0, {bytes.begin() + 7, bytes.end()}};
    if (bytes[4] == 7)
      answer.error = answer.at<u32>(0);
    else
      CHECK(bytes[4] == message.bytes[4] + 1);
    return answer;
  }
  // 0, or why not all of the names could be walked.
  u32 walk(u32 from, u32 to, const std::vector<std::string>& names) {
    NinePMessage message(kWalk);
    message.put(from).put(to).put(static_cast<u16>(names.size()));
    for (const auto& name : names) message.text(name);
    const NinePAnswer answer = call(message);
    if (answer.error) return answer.error;
    return answer.at<u16>(0) == names.size() ? 0 : u32{ENOENT};
  }
  u32 open(u32 fid, u32 flags) { return call(NinePMessage(kLopen).put(fid).put(flags)).error; }
  u32 create(u32 fid, std::string_view name, u32 flags, u32 mode = 0644) {
    return call(NinePMessage(kLcreate).put(fid).text(name).put(flags).put(mode).put<u32>(0)).error;
  }
  std::string read(u32 fid, u64 offset = 0, u32 count = 60000) {
    const NinePAnswer answer = call(NinePMessage(kRead).put(fid).put(offset).put(count));
    if (answer.error) return "error " + std::to_string(answer.error);
    CHECK(answer.at<u32>(0) == answer.body.size() - 4);
    return {answer.body.begin() + 4, answer.body.end()};
  }
  u32 write(u32 fid, std::string_view text, u64 offset = 0) {
    NinePMessage message(kWrite);
    message.put(fid).put(offset).put(static_cast<u32>(text.size()));
    for (const char c : text) message.put(c);
    const NinePAnswer answer = call(message);
    if (!answer.error) CHECK(answer.at<u32>(0) == text.size());
    return answer.error;
  }
  u32 clunk(u32 fid) { return call(NinePMessage(kClunk).put(fid)).error; }
  u32 make_folder(u32 fid, std::string_view name) {
    return call(NinePMessage(kMkdir).put(fid).text(name).put<u32>(0755).put<u32>(0)).error;
  }
  u32 make_link(u32 fid, std::string_view name, std::string_view target) {
    return call(NinePMessage(kSymlink).put(fid).text(name).text(target).put<u32>(0)).error;
  }
  u32 hard_link(u32 folder, u32 fid, std::string_view name) {
    return call(NinePMessage(kLink).put(folder).put(fid).text(name)).error;
  }
  u32 rename(u32 from, std::string_view name, u32 to, std::string_view new_name) {
    return call(NinePMessage(kRenameat).put(from).text(name).put(to).text(new_name)).error;
  }
  u32 remove(u32 fid, std::string_view name, u32 flags = 0) {
    return call(NinePMessage(kUnlinkat).put(fid).text(name).put(flags)).error;
  }
  u32 set_attributes(u32 fid, u32 what, u32 mode = 0, u64 size = 0) {
    NinePMessage message(kSetattr);
    message.put(fid).put(what).put(mode).put<u32>(0).put<u32>(0).put(size);
    for (int i = 0; i < 4; ++i) message.put<u64>(1);
    return call(message).error;
  }
  struct Entry {
    u64 path, next;
    std::string name;
  };
  std::vector<Entry> list(u32 fid, u64 offset = 0, u32 count = 60000) {
    const NinePAnswer answer = call(NinePMessage(kReaddir).put(fid).put(offset).put(count));
    CHECK(answer.error == 0);
    std::vector<Entry> entries;
    for (std::size_t at = 4; at < answer.body.size();) {
      const u16 size = answer.at<u16>(at + 22);
      entries.push_back({answer.at<u64>(at + 5),
                         answer.at<u64>(at + 13),
                         {answer.body.begin() + static_cast<std::ptrdiff_t>(at + 24),
                          answer.body.begin() + static_cast<std::ptrdiff_t>(at + 24 + size)}});
      at += 24u + size;
    }
    return entries;
  }

 private:
  SharedFolder& folder_;
};

}  // namespace doppel::devices::testing
