// The host's side of a vsock device: UNIX sockets, one that clients of the guest connect to and one for each
// port that the guest connects to (PATH_PORT). All calls are made on the vCPU's thread and none blocks; a
// thread waits for what becomes ready. Made by the machine, used by VirtioVsock; knows no packets.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "core/types.hpp"
#include "devices/net/wake_event.hpp"
#include "devices/storage/file_io.hpp"

namespace doppel::devices {

class VsockSockets {
 public:
  // Runs a function later on the vCPU's thread with the device lock held. Called from the waiting thread.
  using Post = std::function<void(std::function<void()>)>;

  // `listening` is bound to `path`, non-blocking, and outlives this.
  VsockSockets(int listening, std::string path, Post post);
  VsockSockets(const VsockSockets&) = delete;
  VsockSockets& operator=(const VsockSockets&) = delete;
  ~VsockSockets();

  // `client`: somebody waits for accept(). `ready`: one of the events that were watched for, or the end.
  void attach(std::function<void()> client, std::function<void(u64 id)> ready);
  // The next client, or an invalid descriptor: then `client` is called again when one comes.
  [[nodiscard]] FileDescriptor accept();
  // The program that listens for the guest at `port`; invalid: there is none.
  [[nodiscard]] FileDescriptor connect(u32 port) const;
  // Watches a socket of these calls, closed by its descriptor's end. `ready` is called once for each watch().
  void add(const FileDescriptor& socket, u64 id);
  void watch(const FileDescriptor& socket, u64 id, bool read, bool write);

 private:
  void control(int operation, int fd, u64 id, u32 events) const;
  void run();

  int listening_;
  std::string path_;
  Post post_;
  std::function<void()> client_;
  std::function<void(u64)> ready_;
  FileDescriptor epoll_;
  WakeEvent stop_;
  std::thread thread_;
};

}  // namespace doppel::devices
