// A folder to share in tests, with a neighbour that must not be reached.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace doppel::devices::testing {

// /tmp/…/shared, which has a file and a folder with a file, and beside it /tmp/…/outside with a secret.
class TwoFolders {
 public:
  TwoFolders() {
    char name[] = "/tmp/doppel-share-XXXXXX";
    if (::mkdtemp(name) == nullptr) throw std::runtime_error("mkdtemp failed");
    top = name;
    shared = top / "shared";
    outside = top / "outside";
    std::filesystem::create_directories(shared / "folder");
    std::filesystem::create_directories(outside / "folder");
    put(shared / "file", "a file");
    put(shared / "folder/secret", "no secret");
    put(outside / "secret", "SECRET");
    put(outside / "folder/secret", "SECRET");
  }
  TwoFolders(const TwoFolders&) = delete;
  TwoFolders& operator=(const TwoFolders&) = delete;
  ~TwoFolders() { std::filesystem::remove_all(top); }

  static void put(const std::filesystem::path& path, std::string_view text) { std::ofstream(path) << text; }
  static std::string get(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // Names, types, modes and contents of everything in the folder.
  static std::string listing(const std::filesystem::path& folder) {
    std::vector<std::string> lines;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      std::string line =
          entry.path().string() + " " + std::to_string(static_cast<int>(entry.symlink_status().type())) + " ";
      if (!entry.is_symlink())
        line += std::to_string(static_cast<int>(entry.status().permissions())) + " " +
                std::to_string(entry.last_write_time().time_since_epoch().count());
      if (entry.is_regular_file() && !entry.is_symlink()) line += " " + get(entry.path());
      lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    std::string out;
    for (const auto& line : lines) out += line + "\n";
    return out;
  }

  std::filesystem::path top, shared, outside;
};

}  // namespace doppel::devices::testing
