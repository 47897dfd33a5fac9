#include "devices/virtio/vsock_sockets.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace doppel::devices {

namespace {

// Of epoll entries; connections have other ids.
constexpr u64 kListening = ~u64{0}, kStop = ~u64{1};

}  // namespace

VsockSockets::VsockSockets(int listening, std::string path, Post post)
    : listening_(listening),
      path_(std::move(path)),
      post_(std::move(post)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_.valid()) throw std::system_error(errno, std::generic_category(), "epoll for vsock");
  control(EPOLL_CTL_ADD, stop_.fd(), kStop, EPOLLIN);
  control(EPOLL_CTL_ADD, listening_, kListening, 0);
  thread_ = std::thread([this] { run(); });
}

VsockSockets::~VsockSockets() {
  stop_.set();
  thread_.join();
}

void VsockSockets::attach(std::function<void()> client, std::function<void(u64)> ready) {
  client_ = std::move(client);
  ready_ = std::move(ready);
  control(EPOLL_CTL_MOD, listening_, kListening, EPOLLIN | EPOLLONESHOT);
}

FileDescriptor VsockSockets::accept() {
  FileDescriptor client(::accept4(listening_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) control(EPOLL_CTL_MOD, listening_, kListening, EPOLLIN | EPOLLONESHOT);
  return client;
}

FileDescriptor VsockSockets::connect(u32 port) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = path_ + '_' + std::to_string(port);
  if (path.size() >= sizeof address.sun_path) return FileDescriptor();
  std::memcpy(address.sun_path, path.c_str(), path.size());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid() || ::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return FileDescriptor();
  return socket;
}

void VsockSockets::add(const FileDescriptor& socket, u64 id) {
  control(EPOLL_CTL_ADD, socket.get(), id, EPOLLONESHOT);
}

void VsockSockets::watch(const FileDescriptor& socket, u64 id, bool read, bool write) {
  control(EPOLL_CTL_MOD, socket.get(), id,
          EPOLLONESHOT | (read ? u32{EPOLLIN} : 0) | (write ? u32{EPOLLOUT} : 0));
}

void VsockSockets::control(int operation, int fd, u64 id, u32 events) const {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  (void)::epoll_ctl(epoll_.get(), operation, fd, &event);
}

void VsockSockets::run() {
  // Signals are the event thread's.
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
  std::array<epoll_event, 16> events;
  while (true) {
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
    for (int i = 0; i < count; ++i) {
      const u64 id = events[static_cast<std::size_t>(i)].data.u64;
      if (id == kStop) return;
      post_([this, id] { id == kListening ? client_() : ready_(id); });
    }
  }
}

}  // namespace doppel::devices
