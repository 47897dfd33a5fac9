// Memory that will be used, all of it: the host gives it at once. A page fault for each page would take
// several times as long, most of all on a host that is a virtual machine itself.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace doppel::core {

inline constexpr std::size_t kHostPage = 4096;

// What the memory holds stays. A host that cannot do this, or has no memory left (false), is asked again at
// the page faults.
inline bool populate(const void* begin, std::size_t size) {
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::uintptr_t first = (address + kHostPage - 1) / kHostPage * kHostPage, end = address + size;
  return first >= end || ::madvise(reinterpret_cast<void*>(first), end - first, MADV_POPULATE_WRITE) == 0;
}

}  // namespace doppel::core
