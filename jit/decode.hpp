// From guest bytes to an Insn: Zydis decodes, this turns operands into the form the engines use and binds the
// handler. Called by block building only. It reads no guest memory itself.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/counters.hpp"
#include "core/cpuid.hpp"
#include "jit/encoding_cache.hpp"
#include "jit/insn.hpp"

namespace doppel::jit {

class Decoder {
 public:
  // `code_bits`: 16, 32 or 64. The model decides which instructions exist.
  Decoder(const core::CpuModel& model, u32 code_bits, core::Counters& counters);

  enum class Result {
    kNext,       // the block may go on after the instruction
    kLast,       // the instruction ends its block
    kTruncated,  // `bytes` ends inside the instruction
  };

  // Decodes the instruction at bytes[0] (up to 15 are looked at) into `insn`, `offset` bytes into its block.
  // Bytes that are no instruction decode to one that raises #UD (#GP if it is longer than 15 bytes).
  [[nodiscard]] Result decode(std::span<const u8> bytes, u16 offset, Insn& insn) const;

  // What an instruction does with the arithmetic flags, for code that is only looked at.
  struct Glance {
    u16 mnemonic = 0;
    u8 length = 0;
    u8 flags_read = 0, flags_written = 0;  // as in Insn
    bool falls_through = false;            // once, and to nowhere but the next instruction
  };
  // Empty: `bytes` ends inside the instruction.
  [[nodiscard]] std::optional<Glance> glance(std::span<const u8> bytes) const;

 private:
  [[nodiscard]] const EncodingCache::Entry* known(std::span<const u8> bytes) const;
  // An instruction of a form that is not known. `met`: it is about to run, so that it is counted if there is
  // no such instruction.
  [[nodiscard]] Result decode_new(std::span<const u8> bytes, u16 offset, Insn& insn, bool met) const;
  void fill(const ZydisDecodedInstruction& from, const ZydisDecodedOperand* operands, Insn& insn) const;

  const core::CpuModel& model_;
  core::Counters& counters_;
  u32 code_bits_;
  ZydisDecoder zydis_;
  std::vector<bool> available_;                       // by ZydisISASet
  mutable std::unique_ptr<EncodingCache> encodings_;  // from the first instruction on
};

}  // namespace doppel::jit
