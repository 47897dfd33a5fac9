// Memory of the host that a guest's processors reach without a device in between: RAM, video memory. For
// those who map some.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_THREAD__
extern "C" void AnnotateBenignRaceSized(const char* file, int line, const volatile void* memory,
                                        std::size_t size, const char* why);
#endif

namespace doppel::core {

// For ThreadSanitizer. Races for this memory, of processors among each other and with what reads it meanwhile
// (DMA, pictures of the screen), are the guest's own, as on hardware; translated code, which makes most of
// the accesses, cannot be seen anyway. Readers take what they find and trust none of it.
inline void declare_guest_memory([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t size) {
#ifdef __SANITIZE_THREAD__
  AnnotateBenignRaceSized(__FILE__, __LINE__, memory, size, "guest memory");
#endif
}

}  // namespace doppel::core
