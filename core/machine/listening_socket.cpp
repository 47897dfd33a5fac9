#include "core/machine/listening_socket.hpp"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "core/machine/machine.hpp"

namespace doppel::machine {

namespace {

constexpr int kFlags = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr int kWaiting = 128;  // connections not accepted yet

[[noreturn]] void fail(const std::string& option, const std::string& where, const std::string& why) {
  throw ConfigError(fmt::format("{} {}: {}.", option, where, why));
}

// Whether a program listens behind the socket file.
bool answers(const sockaddr_un& address) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  const bool refused = !connected && errno == ECONNREFUSED;
  ::close(fd);
  return !refused;
}

bool is_socket(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

}  // namespace

ListeningSocket::ListeningSocket(ListeningSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::exchange(other.path_, "")) {}

ListeningSocket::~ListeningSocket() {
  if (fd_ >= 0) ::close(fd_);
  if (!path_.empty()) ::unlink(path_.c_str());
}

ListeningSocket ListeningSocket::unix_file(const std::string& option, const std::string& path) {
  const std::string where = "unix:" + path;
  sockaddr_un address{.sun_family = AF_UNIX};
  if (path.empty() || path.size() >= sizeof address.sun_path)
    fail(option, where, fmt::format("the path must have 1 to {} characters", sizeof address.sun_path - 1));
  std::memcpy(address.sun_path, path.c_str(), path.size());

  ListeningSocket socket(::socket(AF_UNIX, kFlags, 0));
  if (socket.fd_ < 0) fail(option, where, std::strerror(errno));
  ::fchmod(socket.fd_, 0600);  // becomes the file's mode: nobody else may connect
  const auto bind = [&] {
    return ::bind(socket.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  };
  if (!bind()) {
    if (errno != EADDRINUSE) fail(option, where, std::strerror(errno));
    if (!is_socket(path)) fail(option, where, "there is a file of that name; remove it or choose another");
    if (answers(address)) fail(option, where, "another program listens there; choose another name");
    ::unlink(path.c_str());  // left by a program that was killed
    if (!bind()) fail(option, where, std::strerror(errno));
  }
  socket.path_ = path;
  if (::listen(socket.fd_, kWaiting) != 0) fail(option, where, std::strerror(errno));
  return socket;
}

ListeningSocket ListeningSocket::tcp(const std::string& option, const std::string& host, u16 port) {
  const std::string where = fmt::format("{}:{}", host, port);
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list))
    fail(option, where, ::gai_strerror(error));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(list, ::freeaddrinfo);
  ListeningSocket socket(::socket(addresses->ai_family, kFlags, 0));
  if (socket.fd_ < 0) fail(option, where, std::strerror(errno));
  const int on = 1;
  ::setsockopt(socket.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(socket.fd_, addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      ::listen(socket.fd_, kWaiting) != 0)
    fail(option, where,
         errno == EADDRINUSE ? "another program listens there; choose another number" : std::strerror(errno));
  return socket;
}

}  // namespace doppel::machine
