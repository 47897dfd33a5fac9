// A file that is gone after the test, for tests of disk images.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::devices::testing {

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& contents = "") {
    char name[] = "/tmp/doppel-test-XXXXXX";
    ::close(::mkstemp(name));
    path_ = name;
    write(contents);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { ::unlink(path_.c_str()); }

  [[nodiscard]] const std::string& path() const { return path_; }
  void write(const std::string& contents) { std::ofstream(path_, std::ios::binary) << contents; }
  [[nodiscard]] std::string read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::string path_;
};

}  // namespace doppel::devices::testing
