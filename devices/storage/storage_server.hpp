// A child process that serves one disk image on a socket (qemu-nbd), for formats that are not worth reading
// ourselves. The socket has no name in the file system; the child dies with this process, however that ends.
// Used by NbdImage. It knows no protocol: it hands out connections.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "core/types.hpp"
#include "devices/storage/file_io.hpp"

namespace doppel::devices {

class StorageServer {
 public:
  // Starts `arguments` (the first is the program, searched in PATH), which must take its listening socket by
  // systemd's socket activation. Throws std::system_error if the host has no more processes or sockets; a
  // program that cannot run shows in connections that end.
  explicit StorageServer(std::vector<std::string> arguments);
  StorageServer(const StorageServer&) = delete;
  StorageServer& operator=(const StorageServer&) = delete;
  // Waits for the child to end by itself, which it does after its last connection; not for ever.
  ~StorageServer();

  // A new connected socket, or an invalid descriptor (errno says why).
  [[nodiscard]] FileDescriptor connect() const;
  // Ends the child and returns what it wrote to standard error.
  [[nodiscard]] std::string stop();

 private:
  void wait_for_end(int seconds);

  std::string address_;  // the socket's, as the kernel chose it
  FileDescriptor messages_;
  pid_t child_ = -1;
};

}  // namespace doppel::devices
