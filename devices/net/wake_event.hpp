// An eventfd that ends a network thread's poll().
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/types.hpp"

namespace doppel::devices {

class WakeEvent {
 public:
  WakeEvent() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd for a network");
  }
  WakeEvent(const WakeEvent&) = delete;
  WakeEvent& operator=(const WakeEvent&) = delete;
  ~WakeEvent() { ::close(fd_); }

  [[nodiscard]] int fd() const { return fd_; }
  void set() const {
    const u64 one = 1;
    (void)!::write(fd_, &one, sizeof one);
  }
  void clear() const {
    u64 count;
    (void)!::read(fd_, &count, sizeof count);
  }

 private:
  int fd_;
};

}  // namespace doppel::devices
