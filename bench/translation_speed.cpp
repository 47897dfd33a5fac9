// How many guest instructions a second are decoded, analysed and emitted: `translation_speed FILE` takes the
// machine code of an x86-64 ELF file's largest executable segment, places it in guest RAM and translates it
// once from end to end. Prints the speed of decoding into blocks alone, and of decoding and translating.
#include <elf.h>
#include <fmt/format.h>

#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <vector>

#include "jit/x64/translator.hpp"
#include "tests/jit/running_machine.hpp"

namespace doppel::jit {
namespace {

constexpr u64 kCode = 0x10'0000, kPiece = 0xf'0000;  // in the fixture's RAM, this much at a time

std::vector<u8> code_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<u8> bytes{std::istreambuf_iterator<char>(file), {}};
  Elf64_Ehdr header{};
  std::span<const u8> best;
  if (bytes.size() >= sizeof header) std::memcpy(&header, bytes.data(), sizeof header);
  for (u32 i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const u64 at = header.e_phoff + i * sizeof segment;
    if (at + sizeof segment > bytes.size()) break;
    std::memcpy(&segment, bytes.data() + at, sizeof segment);
    if (segment.p_type == PT_LOAD && (segment.p_flags & PF_X) && segment.p_filesz > best.size() &&
        segment.p_offset <= bytes.size() && segment.p_filesz <= bytes.size() - segment.p_offset)
      best = std::span(bytes).subspan(segment.p_offset, segment.p_filesz);
  }
  return {best.begin(), best.end()};
}

struct Speed {
  u64 instructions = 0, blocks = 0;
  double seconds = 0;
};

// One sweep over the code, block after block.
Speed sweep(std::span<const u8> code, bool translate) {
  test::RunningMachine m(test::Mode::kLong, 0, test::Engine::kTranslator);
  core::CpuState& state = m.cpu.state;
  state.cr4 |= core::kCr4Osfxsr | core::kCr4Osxsave;
  state.xcr0 = 7;
  m.cpu.mmu.mode_changed();
  BlockCache& blocks = m.dispatcher.blocks();
  Speed speed;
  for (; !code.empty(); code = code.subspan(std::min<u64>(code.size(), kPiece))) {
    blocks.clear();
    const auto piece = code.first(std::min<u64>(code.size(), kPiece));
    std::copy(piece.begin(), piece.end(), m.ram.host(kCode));
    const std::clock_t start = std::clock();  // processor time: other programs do not count
    for (u64 at = kCode; at < kCode + piece.size();) {
      Block* block = blocks.find(at);
      if (!block) throw std::runtime_error(fmt::format("no block at {:#x}", at));
      if (translate) (void)m.backend->ready(*block);
      speed.instructions += block->count;
      ++speed.blocks;
      at += block->bytes;
    }
    speed.seconds += static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  }
  return speed;
}

int run(const char* path) {
  const std::vector<u8> code = code_of(path);
  if (code.empty()) {
    fmt::print(stderr, "{} is no x86-64 ELF file with code\n", path);
    return 2;
  }
  for (const bool translate : {false, true}) {
    const Speed s = sweep(code, translate);
    fmt::print("{:22} {:.2f} million instructions/s ({} in {} blocks, {:.2f} s)\n",
               translate ? "decoded and translated" : "decoded",
               static_cast<double>(s.instructions) / s.seconds / 1e6, s.instructions, s.blocks, s.seconds);
  }
  return 0;
}

}  // namespace
}  // namespace doppel::jit

int main(int argc, char** argv) {
  if (argc == 2) return doppel::jit::run(argv[1]);
  fmt::print(stderr, "usage: {} ELF-FILE\n", argv[0]);
  return 2;
}
