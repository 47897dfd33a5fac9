// Saves or loads a bool of a device's state. A loaded stream is hostile and a bool that holds 2 is undefined
// behaviour, so flags travel as a byte: any nonzero one is true.
#pragma once

#include <string_view>

#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

inline void snapshot_flag(core::SnapshotIo& io, std::string_view field, bool& flag) {
  u8 value = flag ? 1 : 0;
  io.field(field, value);
  flag = value != 0;
}

}  // namespace doppel::devices
