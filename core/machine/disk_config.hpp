// The disks of a machine as the user asked for them. Filled by the command line, read by Storage.
#pragma once

#include <string>
#include <vector>

#include "core/types.hpp"

namespace doppel::machine {

struct DiskConfig {
  enum class Interface : u8 { kVirtio, kIde, kCdrom, kFloppy };
  // What a flush by the guest means on the host.
  enum class Cache : u8 {
    kWriteback,     // it reaches stable storage
    kWritethrough,  // every write does
    kUnsafe,        // nothing
  };

  std::string path;
  Interface interface = Interface::kVirtio;
  std::string format = "auto";
  Cache cache = Cache::kWriteback;
  bool read_only = false;
  bool snapshot = false;  // writes are thrown away in the end
};

// What `format=` may say.
[[nodiscard]] const std::vector<std::string>& disk_formats();

}  // namespace doppel::machine
