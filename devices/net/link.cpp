// Which of the two machines comes first listens, the other one connects; when one goes, the other waits for
// the next. The socket has no file: its name is in the abstract namespace (unix(7)), so nothing is left
// behind, and who is at the other end is checked instead of a file's mode.
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "core/log.hpp"
#include "devices/net/packet_network.hpp"

namespace doppel::devices {

namespace {

class Link final : public PacketSource {
 public:
  explicit Link(const std::string& name) : name_(name) {
    const std::string full = fmt::format("doppel-link-{}-{}", ::geteuid(), name);
    if (name.empty() || full.size() >= sizeof address_.sun_path)
      throw NetworkError(fmt::format("link={}: a name of 1 to {} characters is needed", name,
                                     sizeof address_.sun_path - 1 - (full.size() - name.size())));
    address_.sun_family = AF_UNIX;
    std::memcpy(address_.sun_path + 1, full.data(), full.size());
    length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + full.size());
  }

  FileDescriptor open() override {
    if (!listening_.valid()) {
      FileDescriptor connected = make_socket();
      if (::connect(connected.get(), address(), length_) == 0 && is_ours(connected)) return connected;
      FileDescriptor socket = make_socket();
      if (::bind(socket.get(), address(), length_) != 0 || ::listen(socket.get(), 1) != 0)
        return FileDescriptor();
      listening_ = std::move(socket);
    }
    FileDescriptor accepted(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    return accepted.valid() && is_ours(accepted) ? std::move(accepted) : FileDescriptor();
  }
  int waits_for() const override { return listening_.get(); }

 private:
  [[nodiscard]] const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  static FileDescriptor make_socket() {
    return FileDescriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  }
  bool is_ours(const FileDescriptor& socket) const {
    ucred peer{};
    socklen_t length = sizeof peer;
    const bool ours =
        ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.uid == ::geteuid();
    if (!ours) core::log(core::LogCategory::kNet, "link {}: another user is at the other end", name_);
    return ours;
  }

  std::string name_;
  sockaddr_un address_{};
  socklen_t length_ = 0;
  FileDescriptor listening_;
};

}  // namespace

std::unique_ptr<PacketSource> make_link(const std::string& name) {
  return std::make_unique<Link>(name);
}

}  // namespace doppel::devices
