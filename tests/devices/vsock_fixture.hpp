// The host's side of a vsock device in tests: a folder with the sockets, programs that connect and listen,
// and the calls that the device's thread posts.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/virtio/vsock_sockets.hpp"

namespace doppel::devices::testing {

// VIRTIO 1.2, 5.10.6.
struct [[gnu::packed]] VsockPacket {
  u64 source, destination;
  u32 source_port, destination_port, size;
  u16 type, operation;
  u32 flags, buffer, forwarded;
};

class VsockPrograms {
 public:
  ~VsockPrograms() { std::filesystem::remove_all(folder_); }

  // Runs what was posted, or is within so many milliseconds; false: nothing was.
  bool wait(int milliseconds) {
    std::vector<std::function<void()>> work;
    {
      std::unique_lock lock(mutex_);
      changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] { return !posted_.empty(); });
      work.swap(posted_);
    }
    for (const auto& one : work) one();
    return !work.empty();
  }
  // A program for the guest's connections to a port.
  void listen(u32 port) { listening_ = listen_at(path_ + '_' + std::to_string(port)); }
  [[nodiscard]] bool called() const {
    pollfd polled{listening_.get(), POLLIN, 0};
    return ::poll(&polled, 1, 0) == 1;
  }
  [[nodiscard]] FileDescriptor accept() const {
    return patient(FileDescriptor(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
  // A program that connects.
  [[nodiscard]] FileDescriptor client() const {
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path_);
    (void)!::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    return patient(std::move(socket));
  }
  static void write(const FileDescriptor& socket, std::string_view text) {
    (void)!::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
  }
  static std::string read(const FileDescriptor& socket, std::size_t size) {
    std::string text(size, '\0');
    const ssize_t got = ::recv(socket.get(), text.data(), size, MSG_WAITALL);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return text;
  }

 private:
  // Waits some seconds for what should come.
  static FileDescriptor patient(FileDescriptor socket) {
    const timeval time{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    return socket;
  }
  static std::filesystem::path make_folder() {
    char name[] = "/tmp/doppel-vsock-XXXXXX";
    return ::mkdtemp(name) ? name : throw std::runtime_error("mkdtemp failed");
  }
  static sockaddr_un address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    return address;
  }
  static FileDescriptor listen_at(const std::string& path) {
    FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path);
    (void)!::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
    (void)!::listen(socket.get(), 512);
    return socket;
  }
  FileDescriptor own() const {
    FileDescriptor socket = listen_at(path_);
    ::fcntl(socket.get(), F_SETFL, O_NONBLOCK);
    return socket;
  }

  std::filesystem::path folder_ = make_folder();
  std::string path_ = folder_ / "vsock";
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<void()>> posted_;
  FileDescriptor own_ = own(), listening_;

 public:
  VsockSockets sockets{own_.get(), path_, [this](std::function<void()> work) {
                         const std::lock_guard guard(mutex_);
                         posted_.push_back(std::move(work));
                         changed_.notify_all();
                       }};
};

}  // namespace doppel::devices::testing
