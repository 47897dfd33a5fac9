#include "devices/share/shared_folder.hpp"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/devices/hostile.hpp"
#include "tests/devices/share/nine_p_client.hpp"
#include "tests/devices/share/nine_p_noise.hpp"

using namespace doppel;
using namespace doppel::devices;
using namespace doppel::devices::testing;
namespace fs = std::filesystem;

namespace {

struct Share : TwoFolders {
  explicit Share(bool read_only = false) : folder(shared, read_only), client(folder) {}
  SharedFolder folder;
  NinePClient client;
};

constexpr u32 kRoot = NinePClient::kRoot, kRemoveFolder = 0x200;
constexpr u32 kSetMode = 1, kSetSize = 8, kSetTime = 0x20;

std::size_t open_descriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

}  // namespace

TEST_CASE("a folder that is none cannot be shared") {
  TwoFolders folders;
  CHECK_THROWS_AS(SharedFolder((folders.top / "nothing").string(), false), ShareError);
  CHECK_THROWS_AS(SharedFolder((folders.shared / "file").string(), false), ShareError);
}

TEST_CASE("a session: version, message size, walking, fids") {
  Share s;
  auto& c = s.client;
  const NinePAnswer other = c.call(NinePMessage(kVersion).put<u32>(8192).text("9P2000.u"));
  CHECK(other.at<u32>(0) == 8192);
  CHECK(other.at<u16>(4) == 7);  // "unknown"
  CHECK(c.call(NinePMessage(kVersion).put<u32>(100).text("9P2000.L")).error == EINVAL);
  CHECK(c.call(NinePMessage(kVersion).put<u32>(~0u).text("9P2000.L")).at<u32>(0) ==
        SharedFolder::kLargestMessage);
  CHECK(c.clunk(kRoot) == EBADF);  // a new session has no fids
  NinePClient again(s.folder);
  CHECK(again.walk(kRoot, 1, {"folder", "secret"}) == 0);
  CHECK(again.walk(kRoot, 1, {"file"}) == EBADF);  // taken
  CHECK(again.walk(7, 8, {}) == EBADF);
  CHECK(again.walk(kRoot, 2, {"folder", "nothing"}) == ENOENT);
  CHECK(again.clunk(2) == EBADF);  // a walk that ends early makes none
  CHECK(again.walk(kRoot, 2, {"file", "below"}) == ENOENT);
  CHECK(again.walk(kRoot, 3, std::vector<std::string>(17, "folder")) == EINVAL);
  CHECK(again.walk(1, 4, {}) == 0);
  CHECK(again.open(4, O_RDONLY) == 0);
  CHECK(again.open(4, O_RDONLY) == EBADF);
  CHECK(again.read(4) == "no secret");
  CHECK(again.read(4, 3, 4) == "secr");
  CHECK(again.read(4, 100) == "");
  CHECK(again.read(1) == "error 9");  // not open
  CHECK(again.clunk(4) == 0);
  CHECK(again.clunk(4) == EBADF);
  CHECK(again.call(NinePMessage(99)).error == EOPNOTSUPP);
  CHECK(again.call(NinePMessage(kFlush).put<u16>(1)).error == 0);
}

TEST_CASE("files: made, written, cut, linked, renamed, removed") {
  Share s;
  auto& c = s.client;
  CHECK(c.make_folder(kRoot, "new") == 0);
  CHECK(c.walk(kRoot, 1, {"new"}) == 0);
  CHECK(c.create(1, "made", O_RDWR, 04777) == 0);
  CHECK(c.write(1, "hello world") == 0);
  CHECK(c.write(1, "W", 6) == 0);
  CHECK(c.call(NinePMessage(kFsync).put<u32>(1).put<u32>(0)).error == 0);
  CHECK(c.read(1) == "hello World");
  CHECK(TwoFolders::get(s.shared / "new/made") == "hello World");
  CHECK((fs::status(s.shared / "new/made").permissions() & fs::perms::set_uid) == fs::perms::none);
  CHECK(c.set_attributes(1, kSetSize, 0, 5) == 0);
  CHECK(c.set_attributes(1, kSetMode, 06600) == 0);
  CHECK(fs::status(s.shared / "new/made").permissions() == fs::perms(0600));
  CHECK(c.read(1) == "hello");
  CHECK(c.hard_link(kRoot, 1, "second") == 0);
  CHECK(c.make_link(kRoot, "link", "../outside/secret") == 0);
  CHECK(fs::read_symlink(s.shared / "link") == "../outside/secret");
  CHECK(c.rename(kRoot, "second", kRoot, "third") == 0);
  CHECK(TwoFolders::get(s.shared / "third") == "hello");
  CHECK(c.remove(kRoot, "third") == 0);
  CHECK(c.remove(kRoot, "new") == EISDIR);
  CHECK(c.remove(kRoot, "new", kRemoveFolder) == ENOTEMPTY);
  CHECK(c.walk(kRoot, 2, {"new"}) == 0);
  CHECK(c.remove(2, "made") == 0);
  CHECK(c.remove(kRoot, "new", kRemoveFolder) == 0);
  CHECK(c.remove(kRoot, "link") == 0);
  CHECK(c.create(2, "in a folder that is gone", O_RDWR) == ENOENT);
  CHECK(c.create(kRoot, "file", O_RDWR) == EEXIST);
  CHECK(c.open(kRoot, O_RDWR) == EISDIR);
}

TEST_CASE("a listing goes on where it stopped, and its numbers are those of a walk") {
  Share s;
  for (int i = 0; i < 500; ++i) TwoFolders::put(s.shared / ("file-" + std::to_string(i)), "");
  auto& c = s.client;
  REQUIRE(c.walk(kRoot, 1, {}) == 0);
  REQUIRE(c.open(1, O_RDONLY) == 0);
  for (const u32 count : {60'000u, 100u}) {
    std::vector<std::string> names;
    u64 offset = 0;
    while (true) {
      const auto entries = c.list(1, offset, count);
      if (entries.empty()) break;
      for (const auto& entry : entries) names.push_back(entry.name);
      offset = entries.back().next;
    }
    CHECK(names.size() == 504);
  }
  CHECK(c.list(1, 0, 10).empty());  // no room for one
  for (const auto& entry : c.list(1))
    if (entry.name == "file" || entry.name == "folder") {
      const NinePAnswer walked =
          c.call(NinePMessage(kWalk).put(kRoot).put<u32>(5).put<u16>(1).text(entry.name));
      CHECK(walked.at<u64>(2 + 5) == entry.path);
      CHECK(c.clunk(5) == 0);
    }
  CHECK(c.call(NinePMessage(kReaddir).put<u32>(1).put(~u64{0}).put<u32>(1000)).error != 0);
  REQUIRE(c.walk(kRoot, 2, {"file"}) == 0);
  REQUIRE(c.open(2, O_RDONLY) == 0);
  CHECK(c.call(NinePMessage(kReaddir).put<u32>(2).put<u64>(0).put<u32>(1000)).error == ENOTDIR);
}

TEST_CASE("no name leads out of the folder") {
  Share s;
  fs::create_symlink(s.outside, s.shared / "absolute");
  fs::create_symlink("../outside", s.shared / "relative");
  fs::create_symlink("../outside/secret", s.shared / "to_file");
  fs::create_symlink("folder", s.shared / "inside");
  fs::create_symlink("/proc/self/root", s.shared / "magic");
  ::mkfifo((s.shared / "pipe").c_str(), 0600);
  const std::string before = TwoFolders::listing(s.outside);
  auto& c = s.client;
  const std::string bad_names[] = {"..",
                                   ".",
                                   "",
                                   "/",
                                   "../outside",
                                   "/etc/passwd",
                                   "folder/secret",
                                   "folder/..",
                                   std::string("a\0b", 3),
                                   std::string("..\0", 3),
                                   "./file",
                                   std::string(300, 'x')};
  for (const auto& name : bad_names) {
    CAPTURE(name);
    CHECK(c.walk(kRoot, 1, {name}) != 0);
    CHECK(c.walk(kRoot, 1, {"folder", name}) != 0);
    CHECK(c.make_folder(kRoot, name) != 0);
    CHECK(c.make_link(kRoot, name, "x") != 0);
    CHECK(c.remove(kRoot, name) != 0);
    CHECK(c.remove(kRoot, name, kRemoveFolder) != 0);
    CHECK(c.rename(kRoot, name, kRoot, "stolen") != 0);
    CHECK(c.rename(kRoot, "file", kRoot, name) != 0);
    CHECK(c.walk(kRoot, 2, {"folder"}) == 0);
    CHECK(c.create(2, name, O_RDWR) != 0);
    CHECK(c.walk(kRoot, 3, {"file"}) == 0);
    CHECK(c.hard_link(kRoot, 3, name) != 0);
    CHECK(c.clunk(2) == 0);
    CHECK(c.clunk(3) == 0);
  }
  for (const char* name : {"absolute", "relative", "to_file", "inside", "magic"}) {
    CAPTURE(name);
    CHECK(c.walk(kRoot, 1, {name, "secret"}) != 0);
    CHECK(c.walk(kRoot, 1, {name, "."}) != 0);
    // The link itself can be had; nothing is done through it.
    REQUIRE(c.walk(kRoot, 1, {name}) == 0);
    const NinePAnswer target = c.call(NinePMessage(kReadlink).put<u32>(1));
    CHECK(target.error == 0);
    CHECK(c.open(1, O_RDONLY) == EACCES);
    CHECK(c.open(1, O_RDWR | O_TRUNC) == EACCES);
    CHECK(c.walk(1, 2, {"secret"}) != 0);
    CHECK(c.create(1, "made", O_RDWR) != 0);
    CHECK(c.make_folder(1, "made") != 0);
    CHECK(c.make_link(1, "made", "x") != 0);
    CHECK(c.remove(1, "secret") != 0);
    CHECK(c.rename(1, "secret", kRoot, "stolen") != 0);
    CHECK(c.rename(kRoot, "file", 1, "put") != 0);
    CHECK(c.hard_link(kRoot, 1, "stolen") != 0);
    CHECK(c.set_attributes(1, kSetMode, 0777) != 0);
    CHECK(c.set_attributes(1, kSetSize, 0, 0) != 0);
    CHECK(c.set_attributes(1, kSetTime) != 0);
    CHECK(c.clunk(1) == 0);
    CHECK(c.walk(kRoot, 1, {}) == 0);
    CHECK(c.create(1, name, O_RDWR) == EEXIST);
    CHECK(c.clunk(1) == 0);
  }
  REQUIRE(c.walk(kRoot, 1, {"pipe"}) == 0);
  CHECK(c.open(1, O_RDONLY) == EACCES);
  CHECK(c.set_attributes(1, kSetMode, 0777) == EPERM);
  CHECK_FALSE(fs::exists(s.shared / "stolen"));
  CHECK(TwoFolders::listing(s.outside) == before);
}

// The host (or a second machine with the same share) swaps a folder with a link that leads out while the
// guest uses it.
TEST_CASE("a folder that becomes a link at any moment leads nowhere else") {
  Share s;
  fs::create_symlink(s.outside / "folder", s.shared / "link");
  const std::string before = TwoFolders::listing(s.outside);
  std::atomic<bool> stop = false;
  std::atomic<u64> swaps = 0;
  std::thread swapper([&] {
    const std::string one = s.shared / "folder", other = s.shared / "link";
    Hostile random(1);
    while (!stop) {
      if (::syscall(SYS_renameat2, AT_FDCWD, one.c_str(), AT_FDCWD, other.c_str(),
                    2u /* RENAME_EXCHANGE */) == 0)
        ++swaps;
      for (u64 pause = random.below(64); pause != 0; --pause) std::this_thread::yield();
    }
  });
  auto& c = s.client;
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  u64 reached = 0, refused = 0;
  while (std::chrono::steady_clock::now() < end) {
    if (c.walk(kRoot, 1, {"folder", "secret"}) == 0) {
      ++reached;
      if (c.open(1, O_RDWR) == 0) CHECK(c.read(1) == "no secret");
      CHECK(c.clunk(1) == 0);
    } else {
      ++refused;
    }
    if ((reached + refused) % 16 != 0) continue;  // changes are slow
    // Two steps: the folder is held while it is swapped.
    if (c.walk(kRoot, 2, {"folder"}) == 0) {
      if (c.walk(2, 3, {"secret"}) == 0) {
        if (c.open(3, O_RDWR) == 0) CHECK(c.read(3) == "no secret");
        (void)c.set_attributes(3, kSetTime);
        CHECK(c.clunk(3) == 0);
      }
      (void)c.make_folder(2, "made");
      (void)c.make_link(2, "made too", "x");
      (void)c.rename(2, "made", 2, "renamed");
      (void)c.remove(2, "renamed", kRemoveFolder);
      (void)c.remove(2, "made too");
      if (c.create(2, "written", O_RDWR | O_TRUNC) == 0) (void)c.write(2, "by the guest");
      CHECK(c.clunk(2) == 0);
      if (c.walk(kRoot, 2, {"folder"}) == 0) {
        (void)c.remove(2, "written");
        CHECK(c.clunk(2) == 0);
      }
    }
  }
  stop = true;
  swapper.join();
  MESSAGE(swaps.load(), " swaps, ", reached, " walks reached the folder, ", refused, " met the link");
  CHECK(reached > 0);
  CHECK(refused > 0);
  CHECK(TwoFolders::listing(s.outside) == before);
}

// The guest itself renames: a folder it walks through moves below another and back.
TEST_CASE("folders renamed under a walk stay inside") {
  Share s;
  fs::create_directories(s.shared / "a/b/c");
  fs::create_directories(s.shared / "deep/er");
  std::atomic<bool> stop = false;
  std::thread mover([&] {
    while (!stop) {
      std::error_code ignored;
      fs::rename(s.shared / "a/b", s.shared / "b", ignored);
      fs::rename(s.shared / "b", s.shared / "a/b", ignored);
    }
  });
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  auto& c = s.client;
  u64 walked = 0;
  while (std::chrono::steady_clock::now() < end) {
    if (c.walk(kRoot, 1, {"a", "b", "c"}) != 0) continue;
    ++walked;
    for (const std::vector<std::string>& up : std::vector<std::vector<std::string>>{
             {".."}, {"..", "..", "..", "..", "outside", "secret"}, {"../../../outside"}})
      CHECK(c.walk(1, 2, up) != 0);
    CHECK(c.clunk(1) == 0);
  }
  stop = true;
  mover.join();
  CHECK(walked > 0);
}

TEST_CASE("a read-only folder refuses every change") {
  Share s(true);
  const std::string before = TwoFolders::listing(s.shared);
  auto& c = s.client;
  REQUIRE(c.walk(kRoot, 1, {"file"}) == 0);
  for (const u32 flags : {u32{O_WRONLY}, u32{O_RDWR}, u32{O_RDONLY | O_TRUNC}, u32{O_RDONLY | O_APPEND}, 3u})
    CHECK(c.open(1, flags) == EROFS);
  CHECK(c.open(1, O_RDONLY) == 0);
  CHECK(c.read(1) == "a file");
  CHECK(c.write(1, "x") == EROFS);
  CHECK(c.create(kRoot, "new", O_RDONLY) == EROFS);
  CHECK(c.create(kRoot, "file", O_RDONLY | O_TRUNC) == EROFS);
  CHECK(c.make_folder(kRoot, "new") == EROFS);
  CHECK(c.make_link(kRoot, "new", "x") == EROFS);
  CHECK(c.hard_link(kRoot, 1, "new") == EROFS);
  CHECK(c.rename(kRoot, "file", kRoot, "new") == EROFS);
  CHECK(c.remove(kRoot, "file") == EROFS);
  CHECK(c.remove(kRoot, "folder", kRemoveFolder) == EROFS);
  for (const u32 what : {kSetMode, kSetSize, kSetTime, 0u}) CHECK(c.set_attributes(1, what) == EROFS);
  // No message of any type, with any fields, changes it.
  Hostile random(5);
  NinePNoise noise;
  for (int i = 0; i < 50'000; ++i) (void)s.folder.answer(noise.message(random), 65536);
  CHECK(TwoFolders::listing(s.shared) == before);
}

TEST_CASE("messages that end too early change nothing") {
  Share s;
  auto& c = s.client;
  REQUIRE(c.walk(kRoot, 1, {"file"}) == 0);
  const std::string before = TwoFolders::listing(s.shared);
  // Without a fid in them they would mean fid 0, which is the folder.
  for (u32 type = 8; type < 128; type += 2) {
    if (type == kVersion) continue;
    CAPTURE(type);
    for (u32 size = 7; size < (type == kFlush ? 9u : 11u); ++size) {
      NinePMessage message(static_cast<u8>(type));
      for (u32 i = 7; i < size; ++i) message.put<u8>(0);
      CHECK(c.call(message).error != 0);
    }
    CHECK(c.walk(kRoot, 2, {}) == 0);  // it is still there
    CHECK(c.clunk(2) == 0);
  }
  CHECK(c.open(kRoot, O_RDONLY) == 0);  // and was not opened
  // Sizes that lie.
  for (const u32 size : {0u, 6u, 8u, 1000u, ~0u}) {
    NinePMessage message(kClunk);
    message.put<u32>(1);
    std::memcpy(message.bytes.data(), &size, 4);
    if (size != 8) CHECK(c.call(message).error == EPROTO);
  }
  CHECK(s.folder.answer(std::vector<u8>(6), 4096).empty());
  CHECK(TwoFolders::listing(s.shared) == before);
}

TEST_CASE("counts, offsets and names at their limits") {
  Share s;
  auto& c = s.client;
  REQUIRE(c.walk(kRoot, 1, {"file"}) == 0);
  REQUIRE(c.open(1, O_RDWR) == 0);
  CHECK(c.read(1, 0, ~u32{0}) == "a file");
  CHECK(c.read(1, ~u64{0}) == "error 22");
  CHECK(c.write(1, "x", ~u64{0}) == EINVAL);
  CHECK(c.write(1, "x", u64{1} << 62) != 0);  // beyond what a file system can
  CHECK(c.set_attributes(1, kSetSize, 0, ~u64{0}) == EINVAL);
  CHECK(c.call(NinePMessage(kWrite).put<u32>(1).put<u64>(0).put(~u32{0}).put<u8>(1)).error == EPROTO);
  CHECK(TwoFolders::get(s.shared / "file") == "a file");
  // However little room there is, the answer fits.
  for (std::size_t room = 11; room < 200; ++room) {
    CHECK(c.call(NinePMessage(kRead).put<u32>(1).put<u64>(0).put<u32>(100), room).body.size() <= room);
    for (const u8 type : {kStatfs, kGetattr}) (void)c.call(NinePMessage(type).put<u32>(1).put<u64>(0), room);
    (void)c.call(
        NinePMessage(kGetlock).put<u32>(1).put<u8>(0).put<u64>(0).put<u64>(0).put<u32>(1).text("host"), room);
    (void)c.call(NinePMessage(kVersion).put<u32>(65536).text("9P2000.L"), room);
    NinePClient again(s.folder);
    REQUIRE(again.walk(kRoot, 1, {"file"}) == 0);
    REQUIRE(again.open(1, O_RDWR) == 0);
  }
}

TEST_CASE("fids have an end, and a reset closes every file") {
  const std::size_t before = open_descriptors();
  {
    Share s;
    auto& c = s.client;
    u32 fid = 1;
    u32 error = 0;
    while (!(error = c.walk(kRoot, fid, {"file"})) && fid < 5000) ++fid;
    CHECK((error == ENFILE || error == EMFILE));
    CHECK(fid <= SharedFolder::kMostFids);
    CHECK(open_descriptors() > before + 100);
    s.folder.reset();
    CHECK(open_descriptors() < before + 5);
    CHECK(c.clunk(1) == EBADF);
  }
  CHECK(open_descriptors() == before);
}

TEST_CASE("messages of noise harm nothing") {
  Share s;
  const std::string before = TwoFolders::listing(s.outside);
  Hostile random(9);
  NinePNoise noise;
  for (int i = 0; i < 50'000; ++i) {
    const std::vector<u8> message = noise.message(random);
    const std::size_t room = random.below(4) ? 65536 : 11 + random.below(200);
    CHECK(s.folder.answer(message, room).size() <= room);
  }
  CHECK(TwoFolders::listing(s.outside) == before);
}
