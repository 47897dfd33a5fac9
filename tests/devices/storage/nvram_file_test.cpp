#include "devices/storage/nvram_file.hpp"

#include <doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>

#include "devices/storage/block_image.hpp"
#include "tests/devices/storage/temporary_file.hpp"

using namespace doppel;
using namespace doppel::devices;
using devices::testing::TemporaryFile;

namespace {

std::string message(const std::string& path, const std::string& original) {
  try {
    NvramFile file(path, original);
  } catch (const ImageError& error) {
    return error.what();
  }
  return "";
}

bool says(const std::string& sentence, const char* part) {
  return sentence.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("a store of variables is made as a copy, and keeps what is written") {
  const TemporaryFile original(std::string(8192, 'o')), place;
  std::filesystem::remove(place.path());
  {
    NvramFile file(place.path(), original.path());
    CHECK(file.bytes().size() == 8192);
    CHECK(place.read() == original.read());
    file.bytes()[4097] = 'x';
    file.bytes()[0] = 'y';  // not written: not kept
    CHECK(file.write(4096, 3) == 0);
    CHECK(place.read().substr(4095, 4) == "ooxo");
    file.flush();
  }
  CHECK(original.read() == std::string(8192, 'o'));
  NvramFile again(place.path(), "");
  CHECK(again.bytes()[4097] == 'x');
  CHECK(again.bytes()[0] == 'o');
  // Nothing is left lying about.
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(place.path()).parent_path()))
    CHECK_FALSE((entry.path().string() != place.path() && entry.path().string().starts_with(place.path())));
}

TEST_CASE("a store of variables is one machine's") {
  const TemporaryFile place(std::string(4096, 'o'));
  const NvramFile file(place.path(), "");
  CHECK(says(message(place.path(), ""), "another machine uses it"));
}

TEST_CASE("files that are no store of variables") {
  const TemporaryFile original(std::string(4096, 'o'));
  TemporaryFile place;
  for (const u64 size : {0u, 1u, 4095u, 4097u, (8u << 20) + 4096}) {
    place.write(std::string(size, 'o'));
    CHECK(says(message(place.path(), original.path()), "multiple of 4 KiB"));
  }
  CHECK(says(message("/tmp", original.path()), "directory"));
  std::filesystem::remove(place.path());
  CHECK(says(message(place.path(), ""), "no such file"));
  CHECK(says(message(place.path(), "/nowhere/OVMF_VARS.fd"), "/nowhere/OVMF_VARS.fd"));
  const TemporaryFile bad(std::string(100, 'o'));
  CHECK(says(message(place.path(), bad.path()), "multiple of 4 KiB"));
  CHECK_FALSE(std::filesystem::exists(place.path()));
  CHECK(says(message("/nowhere/variables.fd", original.path()), "cannot be made"));
  REQUIRE(::mkfifo(place.path().c_str(), 0600) == 0);
  CHECK(says(message(place.path(), original.path()), "no file"));
}
