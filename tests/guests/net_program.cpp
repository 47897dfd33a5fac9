// What guests of the network tests run, beside busybox: many TCP connections, and both ends of a vsock
// connection. Linked statically, so that it works without libraries.
//   net_program connections ADDRESS PORT PORTS COUNT AT_ONCE
//   net_program vsock-echo PORT          every connection gets back what it sends
//   net_program vsock-send CID PORT      standard input to the host, its answer to standard output
#include <arpa/inet.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

namespace {

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

// Opens COUNT connections, AT_ONCE at a time, to PORTS ports in turn. Each waits for a greeting; those to odd
// ports then wait for the other end to close, the others close first.
int connections(const char* address, int first_port, int ports, int count, std::size_t at_once) {
  struct Connection {
    int port;
    bool greeted = false;
  };
  std::vector<pollfd> polled;
  std::vector<Connection> open;
  int started = 0, good = 0, bad = 0;
  const auto close_at = [&](std::size_t at, bool success) {
    ::close(polled[at].fd);
    polled[at] = polled.back();
    polled.pop_back();
    open[at] = open.back();
    open.pop_back();
    ++(success ? good : bad);
  };
  while (started < count || !open.empty()) {
    for (; started < count && open.size() < at_once; ++started) {
      const int port = started % ports;
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_port = htons(static_cast<uint16_t>(first_port + port));
      if (::inet_pton(AF_INET, address, &to.sin_addr) != 1) fail(address);
      const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      if (fd < 0) fail("socket");
      if (::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) {
        ::close(fd);
        ++bad;
        continue;
      }
      polled.push_back({fd, POLLIN, 0});
      open.push_back({port});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) fail("poll");
    for (std::size_t at = open.size(); at-- != 0;) {
      if (!polled[at].revents) continue;
      char bytes[64];
      const ssize_t size = ::read(polled[at].fd, bytes, sizeof bytes);
      if (size < 0)
        close_at(at, false);
      else if (size == 0)
        close_at(at, open[at].greeted);
      else if (open[at].greeted = true; open[at].port % 2 == 0)
        close_at(at, true);
    }
  }
  std::printf("%d good, %d bad\n", good, bad);
  return bad != 0;
}

int vsock() {
  const int fd = ::socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) fail("vsock");
  return fd;
}

sockaddr_vm vsock_address(unsigned cid, unsigned port) {
  sockaddr_vm address{};
  address.svm_family = AF_VSOCK;
  address.svm_cid = cid;
  address.svm_port = port;
  return address;
}

bool write_all(int fd, const char* bytes, ssize_t size) {
  while (size > 0) {
    const ssize_t part = ::write(fd, bytes, static_cast<std::size_t>(size));
    if (part <= 0) return false;
    bytes += part;
    size -= part;
  }
  return true;
}

int vsock_echo(unsigned port) {
  const int listening = vsock();
  const sockaddr_vm address = vsock_address(VMADDR_CID_ANY, port);
  if (::bind(listening, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("bind");
  if (::listen(listening, 16) != 0) fail("listen");
  std::puts("listening");
  std::fflush(stdout);
  while (true) {
    const int fd = ::accept(listening, nullptr, nullptr);
    if (fd < 0) fail("accept");
    if (::fork() != 0) {
      ::close(fd);
      continue;
    }
    static char bytes[65536];
    ssize_t size;
    while ((size = ::read(fd, bytes, sizeof bytes)) > 0)
      if (!write_all(fd, bytes, size)) break;
    return 0;
  }
}

int vsock_send(unsigned cid, unsigned port) {
  const int fd = vsock();
  const sockaddr_vm address = vsock_address(cid, port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fail("connect");
  static char bytes[65536];
  ssize_t size;
  while ((size = ::read(STDIN_FILENO, bytes, sizeof bytes)) > 0)
    if (!write_all(fd, bytes, size)) fail("write");
  ::shutdown(fd, SHUT_WR);
  while ((size = ::read(fd, bytes, sizeof bytes)) > 0)
    if (!write_all(STDOUT_FILENO, bytes, size)) fail("write");
  if (size < 0) fail("read");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view command = argc > 1 ? argv[1] : "";
  const auto number = [&](int at) { return std::atoi(argv[at]); };
  const auto natural = [&](int at) { return static_cast<unsigned>(std::strtoul(argv[at], nullptr, 10)); };
  if (command == "connections" && argc == 7)
    return connections(argv[2], number(3), number(4), number(5), natural(6));
  if (command == "vsock-echo" && argc == 3) return vsock_echo(natural(2));
  if (command == "vsock-send" && argc == 4) return vsock_send(natural(2), natural(3));
  std::fputs("net_program: see its source\n", stderr);
  return 2;
}
