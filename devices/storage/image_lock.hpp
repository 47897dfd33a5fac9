// Keeps an image from being used twice: open-file-description locks on single bytes, the ones QEMU uses, so
// that Doppel, QEMU and qemu-img see each other. Many may read one image; a writer is alone.
#pragma once

namespace doppel::devices {

// Locks the file behind `fd` for as long as it is open. False: somebody uses it in a way that does not go
// together. Files that cannot be locked at all count as locked.
[[nodiscard]] bool lock_image(int fd, bool for_writing);

}  // namespace doppel::devices
