// A socket that others connect to: TCP on an address, or a file in the file system, which is only the user's
// and goes when the program ends. Used by the VNC server and the control socket.
#pragma once

#include <string>

#include "core/types.hpp"

namespace doppel::machine {

class ListeningSocket {
 public:
  // Both throw ConfigError with a sentence that names `option`. Non-blocking, close-on-exec.
  [[nodiscard]] static ListeningSocket unix_file(const std::string& option, const std::string& path);
  [[nodiscard]] static ListeningSocket tcp(const std::string& option, const std::string& host, u16 port);
  ListeningSocket(ListeningSocket&& other) noexcept;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  [[nodiscard]] int fd() const { return fd_; }

 private:
  explicit ListeningSocket(int fd) : fd_(fd) {}

  int fd_;
  std::string path_;  // to remove in the end
};

}  // namespace doppel::machine
