#include <doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "devices/floppy_82077.hpp"
#include "devices/storage/image_lock.hpp"
#include "devices/storage/open_image.hpp"
#include "devices/storage/raw_image.hpp"
#include "tests/devices/storage/temporary_file.hpp"

using namespace doppel;
using namespace doppel::devices;
using devices::testing::TemporaryFile;

namespace {

constexpr u64 kSize = 64 * 512;

std::string read_back(BlockImage& image, u64 offset, u64 size) {
  std::string data(size, '?');
  const iovec pieces[] = {{data.data(), size / 3}, {data.data() + size / 3, size - size / 3}};
  CHECK(image.read(offset, pieces) == 0);
  return data;
}

int write_to(BlockImage& image, u64 offset, std::string data) {
  const iovec pieces[] = {{data.data(), 1}, {data.data() + 1, data.size() - 1}};
  return image.write(offset, pieces);
}

std::string error_of(const ImageOptions& options) {
  try {
    (void)open_image(options);
  } catch (const ImageError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a raw image is its file, byte for byte") {
  TemporaryFile file(std::string(kSize, 'a'));
  auto image = open_image({.path = file.path()});
  CHECK(image->size() == kSize);
  CHECK(read_back(*image, 512, 1024) == std::string(1024, 'a'));
  CHECK(write_to(*image, 1024, std::string(512, 'b')) == 0);
  CHECK(image->flush() == 0);
  CHECK(file.read().substr(1023, 514) == "a" + std::string(512, 'b') + "a");
  CHECK(image->write_zeroes(1024, 512, true) == 0);
  CHECK(read_back(*image, 1024, 512) == std::string(512, '\0'));
  CHECK(image->write_zeroes(0, 512, false) == 0);
  CHECK(read_back(*image, 0, 1024) == std::string(512, '\0') + std::string(512, 'a'));
  CHECK(image->discard(2048, 4096) == 0);
  CHECK(file.read().size() == kSize);
}

TEST_CASE("a file that becomes shorter is an error of the disk") {
  TemporaryFile file(std::string(kSize, 'a'));
  auto image = open_image({.path = file.path()});
  CHECK(::truncate(file.path().c_str(), 700) == 0);
  std::string data(1024, 0);
  const iovec piece{data.data(), data.size()};
  CHECK(image->read(0, {&piece, 1}) == EIO);
  CHECK_FALSE(image->read_at_once(0, {&piece, 1}));
}

TEST_CASE("a file that is shorter than its disk reads as zeroes there, and grows when that is written") {
  TemporaryFile file(std::string(700, 'a'));
  auto image = open_image({.path = file.path()});
  CHECK(image->size() == 1024);
  CHECK(read_back(*image, 512, 512) == std::string(188, 'a') + std::string(324, '\0'));
  CHECK(file.read().size() == 700);
  CHECK(write_to(*image, 512, std::string(512, 'b')) == 0);
  CHECK(read_back(*image, 0, 1024) == std::string(512, 'a') + std::string(512, 'b'));
  CHECK(file.read().size() == 1024);
  CHECK(::truncate(file.path().c_str(), 600) == 0);
  char data[512];
  const iovec piece{data, sizeof data};
  CHECK(image->read(512, {&piece, 1}) == EIO);
}

TEST_CASE("a short floppy image is the beginning of a disk, a disc image is filled up to its sector") {
  TemporaryFile boot_sector(std::string(512, 'a')), disc(std::string(5 * 512, 'a'));
  auto floppy = open_image({.path = boot_sector.path(), .disk_size = floppy_size});
  CHECK(floppy->size() == 1440 * 1024);
  CHECK(read_back(*floppy, 1440 * 1024 - 512, 512) == std::string(512, '\0'));
  const std::pair<u64, u64> sizes[] = {{160, 160},   {170, 1440},  {1440, 1440},
                                       {1441, 1680}, {2000, 2880}, {2881, 2881}};
  for (const auto& [image, disk] : sizes) CHECK(floppy_size(image * 1024) == disk * 1024);
  CHECK(open_image({.path = disc.path(), .read_only = true, .sector = 2048})->size() == 4096);
}

TEST_CASE("a read-only image cannot be written") {
  TemporaryFile file(std::string(kSize, 'a'));
  ::chmod(file.path().c_str(), 0444);
  auto image = open_image({.path = file.path(), .read_only = true});
  CHECK(image->read_only());
  CHECK(write_to(*image, 0, "bbb") == EROFS);
  CHECK(image->discard(0, 512) == EROFS);
  CHECK(image->write_zeroes(0, 512, true) == EROFS);
}

TEST_CASE("a snapshot's writes are read back and never reach the image") {
  TemporaryFile file(std::string(kSize, 'a'));
  {
    auto image = open_image({.path = file.path(), .snapshot = true});
    CHECK_FALSE(image->read_only());
    CHECK(write_to(*image, 512, std::string(1024, 'b')) == 0);
    CHECK(image->write_zeroes(4096, 1024, true) == 0);
    CHECK(image->discard(0, 512) == 0);
    CHECK(image->flush() == 0);
    CHECK(read_back(*image, 0, 2048) ==
          std::string(512, 'a') + std::string(1024, 'b') + std::string(512, 'a'));
    CHECK(read_back(*image, 3584, 2048) ==
          std::string(512, 'a') + std::string(1024, '\0') + std::string(512, 'a'));
  }
  CHECK(file.read() == std::string(kSize, 'a'));
}

TEST_CASE("locks: many readers or one writer, a snapshot reads") {
  TemporaryFile file(std::string(kSize, 'a'));
  struct {
    bool first_reads, second_reads, works;
  } const rows[] = {{true, true, true}, {true, false, false}, {false, true, false}, {false, false, false}};
  for (const auto& row : rows) {
    auto first = open_image({.path = file.path(), .read_only = row.first_reads});
    const std::string error = error_of({.path = file.path(), .read_only = row.second_reads});
    CHECK(error.empty() == row.works);
    if (!row.works) CHECK(error.find(row.second_reads ? "is writing to" : "in use") != std::string::npos);
  }
  auto snapshot = open_image({.path = file.path(), .snapshot = true});
  CHECK(error_of({.path = file.path(), .snapshot = true}).empty());
  CHECK_FALSE(error_of({.path = file.path()}).empty());
}

TEST_CASE("formats are found by their marks") {
  struct {
    std::string bytes;
    ImageFormat format;
  } const rows[] = {{"QFI\xfb", ImageFormat::kQcow2},
                    {"KDMV", ImageFormat::kVmdk},
                    {"# Disk DescriptorFile\n", ImageFormat::kVmdk},
                    {"vhdxfile", ImageFormat::kVhdx},
                    {std::string(64, 0) + "\x7f\x10\xda\xbe", ImageFormat::kVdi},
                    {"QFI", ImageFormat::kRaw},
                    {"", ImageFormat::kRaw}};
  for (const auto& row : rows)
    CHECK(detect_format({reinterpret_cast<const u8*>(row.bytes.data()), row.bytes.size()}) == row.format);
  CHECK(image_format("vdi") == ImageFormat::kVdi);
  CHECK_FALSE(image_format("iso").has_value());
}

TEST_CASE("a guest cannot make its raw disk look like another format, unless the user said raw") {
  TemporaryFile file(std::string(kSize, 'a'));
  const std::string header = "QFI\xfb" + std::string(508, 0);
  {
    auto guessed = open_image({.path = file.path()});
    CHECK(write_to(*guessed, 0, header) == EPERM);
    CHECK(write_to(*guessed, 512, header) == 0);
    CHECK(write_to(*guessed, 0, std::string(512, 'c')) == 0);
  }
  auto said = open_image({.path = file.path(), .format = ImageFormat::kRaw});
  CHECK(write_to(*said, 0, header) == 0);
}

TEST_CASE("images that cannot be used: one sentence each") {
  TemporaryFile empty, locked(std::string(kSize, 'a')), pipe;
  TemporaryFile raw_disc('\0' + std::string(10, '\xff') + std::string(2352 - 11, '\0'));
  ::unlink(pipe.path().c_str());
  CHECK(::mkfifo(pipe.path().c_str(), 0600) == 0);
  const int fd = ::open(locked.path().c_str(), O_RDWR | O_CLOEXEC);
  CHECK(lock_image(fd, true));
  struct {
    ImageOptions options;
    const char* says;
  } const rows[] = {
      {{.path = "/nonexistent/disk.img"}, "no such file"},
      {{.path = "/tmp"}, "this is a directory"},
      {{.path = "/tmp", .read_only = true}, "this is a directory"},
      {{.path = "/dev/null"}, "neither a file nor a block device"},
      {{.path = empty.path()}, "the image is empty"},
      {{.path = empty.path(), .read_only = true}, "get it again"},
      {{.path = pipe.path()}, "neither a file nor a block device"},
      {{.path = pipe.path(), .read_only = true}, "neither a file nor a block device"},
      {{.path = raw_disc.path(), .read_only = true, .sector = 2048}, "raw sectors"},
      {{.path = locked.path()}, "in use by another program"},
      {{.path = locked.path(), .snapshot = true}, "another program is writing"},
  };
  for (const auto& row : rows) {
    const std::string sentence = error_of(row.options);
    CHECK_MESSAGE(sentence.find(row.says) != std::string::npos, sentence);
    CHECK(sentence.starts_with(row.options.path));
    CHECK(sentence.find('\n') == std::string::npos);
  }
  ::close(fd);
}
