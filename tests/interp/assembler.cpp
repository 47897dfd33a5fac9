#include "tests/interp/assembler.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace doppel::tests {
namespace {

// Removed with all its files at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_((std::filesystem::temp_directory_path() / "doppel-as-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) throw std::runtime_error("assembler: no temporary directory");
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Each source becomes its length in four bytes and its code, on a line of its own: the number of a line in
// the assembler's messages is the source's.
std::string assembly(std::span<const Source> sources) {
  std::string out = ".intel_syntax noprefix;";
  for (const Source& s : sources)
    out +=
        fmt::format(".set code, {:#x}; .set data, {:#x}; .code{}; .long 90002f - 90001f; 90001: {}; 90002:\n",
                    s.code, s.data, s.bits, s.text);
  return out;
}

}  // namespace

std::vector<std::vector<u8>> assemble(std::span<const Source> sources) {
  const TemporaryDirectory directory;
  const std::string text = directory.file("cases.s"), object = directory.file("cases.o"),
                    binary = directory.file("cases.bin"), messages = directory.file("messages");
  std::ofstream(text) << assembly(sources);
  const std::string command = fmt::format("as --64 -o {} {} 2> {} && objcopy -O binary -j .text {} {} 2>> {}",
                                          object, text, messages, object, binary, messages);
  if (std::system(command.c_str()) != 0)  // NOLINT(concurrency-mt-unsafe): the tests have one thread
    throw std::runtime_error(fmt::format("assembler (a line number is the case's number in its program): {}",
                                         read_file(messages)));

  const std::string bytes = read_file(binary);
  std::vector<std::vector<u8>> out;
  std::size_t at = 0;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    u32 length = 0;
    if (at + sizeof length > bytes.size()) throw std::runtime_error("assembler: output too short");
    std::memcpy(&length, bytes.data() + at, sizeof length);
    at += sizeof length;
    if (length > bytes.size() - at) throw std::runtime_error("assembler: output too short");
    out.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                     bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
    at += length;
  }
  return out;
}

}  // namespace doppel::tests
