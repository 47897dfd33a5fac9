// What people see of translations: listings of chosen blocks (`--dump-block`, `--debug jit`), and the names
// of translated code for perf (`--perf-map`). The translator calls it for each block; it changes nothing.
#pragma once

#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "jit/block.hpp"

namespace doppel::jit::x64 {

struct NewTranslation {
  const Block& block;
  u64 linear;                 // where the guest runs it
  std::span<const u8> guest;  // its bytes on the first page
  u64 address;                // of the host code
  std::span<const u8> host;
  std::span<const u32>
      starts;  // where in `host` each instruction begins, then where the out-of-line code does
};

// Guest instructions beside the host instructions each became.
[[nodiscard]] std::string side_by_side(const NewTranslation& translation);

class TranslationReport {
 public:
  // Prints the listing of each block that holds one of the linear addresses, to stderr, when it is
  // translated.
  void dump_blocks(std::vector<u64> addresses) { dumped_ = std::move(addresses); }
  // Writes to /tmp/perf-PID.map. Throws std::system_error.
  void open_perf_map();

  void trampolines(u64 address, u64 size) { name(address, size, "doppel_trampolines"); }
  void translated(const NewTranslation& translation);

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void name(u64 address, u64 size, const std::string& what);

  std::vector<u64> dumped_;
  std::unique_ptr<std::FILE, Close> perf_map_;
};

}  // namespace doppel::jit::x64
