// The file that keeps what UEFI firmware writes into its flash chip. All of it is in memory; changes are
// written at once. Locked as disk images are. Made by the machine for --nvram.
#pragma once

#include <string>
#include <vector>

#include "devices/cfi_flash.hpp"
#include "devices/storage/file_io.hpp"

namespace doppel::devices {

class NvramFile final : public FlashStore {
 public:
  // If there is no file at `path`, it is made as a copy of `original`. Throws ImageError.
  NvramFile(const std::string& path, const std::string& original);
  ~NvramFile() override;

  [[nodiscard]] std::span<u8> bytes() override { return bytes_; }
  [[nodiscard]] int write(u64 offset, u64 size) override;
  void flush() override;

  static constexpr u64 kLargest = u64{8} << 20;

 private:
  FileDescriptor file_;
  std::vector<u8> bytes_;
};

}  // namespace doppel::devices
