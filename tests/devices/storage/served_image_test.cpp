// Needs qemu-nbd and qemu-img (Debian package qemu-utils); without them there is nothing to test here.
#include <doctest.h>
#include <fmt/format.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>

#include "devices/storage/open_image.hpp"
#include "tests/devices/storage/temporary_file.hpp"

using namespace doppel;
using namespace doppel::devices;
using devices::testing::TemporaryFile;

namespace {

bool have_qemu() {
  return std::system("qemu-nbd --version > /dev/null 2>&1 && qemu-img --version > /dev/null 2>&1") == 0;
}

bool make(const TemporaryFile& file, const std::string& format) {
  return std::system(fmt::format("qemu-img create -q -f {} {} 8M", format, file.path()).c_str()) == 0;
}

// Process ids of the children of this process that run qemu-nbd.
std::vector<pid_t> servers() {
  std::vector<pid_t> out;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stat(entry.path() / "stat");
    std::string id, name, state;
    pid_t parent = 0;
    if (stat >> id >> name >> state >> parent; parent == ::getpid() && name == "(qemu-nbd)")
      out.push_back(std::stoi(id));
  }
  return out;
}

std::string error_of(const std::string& path) {
  try {
    (void)open_image({.path = path});
  } catch (const ImageError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("every format: what is written is read back, also by the next to open it") {
  if (!have_qemu()) return;
  for (const std::string format : {"qcow2", "vmdk", "vdi", "vhdx"}) {
    CAPTURE(format);
    TemporaryFile file;
    REQUIRE(make(file, format));
    std::string data(300'000, 0);
    for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + i / 1000);
    data.resize(data.size() / 512 * 512);
    {
      auto image = open_image({.path = file.path()});
      CHECK(image->size() == 8u << 20);
      const iovec pieces[] = {{data.data(), 1000}, {data.data() + 1000, data.size() - 1000}};
      CHECK(image->write(4096, pieces) == 0);
      CHECK(image->flush() == 0);
      CHECK(servers().size() == 1);
    }
    CHECK(servers().empty());
    auto image = open_image({.path = file.path(), .snapshot = true});
    std::string got(data.size(), 0);
    const iovec pieces[] = {
        {got.data(), 77}, {got.data() + 77, 200'000}, {got.data() + 200'077, got.size() - 200'077}};
    CHECK(image->read(4096, pieces) == 0);
    CHECK(got == data);
    CHECK(image->write_zeroes(4096, 1024, true) == 0);
    CHECK(image->read(4096, pieces) == 0);
    CHECK(got.substr(0, 1024) == std::string(1024, 0));
    CHECK(got.substr(1024) == data.substr(1024));
  }
}

TEST_CASE("a server that dies makes errors, not a crash") {
  if (!have_qemu()) return;
  TemporaryFile file;
  REQUIRE(make(file, "qcow2"));
  auto image = open_image({.path = file.path()});
  for (const pid_t server : servers()) ::kill(server, SIGKILL);
  std::string data(512, 'x');
  const iovec piece{data.data(), data.size()};
  CHECK(image->write(0, {&piece, 1}) != 0);
  CHECK(image->read(0, {&piece, 1}) != 0);
  CHECK(image->flush() != 0);
}

TEST_CASE("served images that cannot be used: one sentence each") {
  if (!have_qemu()) return;
  TemporaryFile corrupt("QFI\xfb" + std::string(2000, '\xff')), cut, used;
  REQUIRE(make(cut, "qcow2"));
  std::filesystem::resize_file(cut.path(), 60);
  REQUIRE(make(used, "qcow2"));
  auto user = open_image({.path = used.path()});
  const std::pair<const TemporaryFile*, const char*> rows[] = {
      {&corrupt, "cannot be opened"}, {&cut, "cannot be opened"}, {&used, "in use by another program"}};
  for (const auto& [file, says] : rows) {
    const std::string sentence = error_of(file->path());
    CHECK_MESSAGE(sentence.find(says) != std::string::npos, sentence);
    CHECK(sentence.find('\n') == std::string::npos);
  }
  CHECK(servers().size() == 1);
}
