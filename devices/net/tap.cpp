#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "devices/net/packet_network.hpp"

namespace doppel::devices {

namespace {

// The interface is there from the start to the end, or never.
class Tap final : public PacketSource {
 public:
  explicit Tap(FileDescriptor tap) : tap_(std::move(tap)) {}
  FileDescriptor open() override { return std::move(tap_); }
  int waits_for() const override { return -1; }

 private:
  FileDescriptor tap_;
};

}  // namespace

std::unique_ptr<PacketSource> make_tap(const std::string& interface) {
  ifreq request{};
  if (interface.size() >= sizeof request.ifr_name)
    throw NetworkError(fmt::format("tap: \"{}\" is too long for the name of an interface", interface));
  FileDescriptor tap(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!tap.valid())
    throw NetworkError(
        fmt::format("tap: /dev/net/tun: {}; --net user needs no rights", std::strerror(errno)));
  std::memcpy(request.ifr_name, interface.data(), interface.size());
  request.ifr_flags = IFF_TAP | IFF_NO_PI;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0)
    throw NetworkError(
        fmt::format("tap: interface \"{}\": {}; 'ip tuntap add {} mode tap user $USER' makes one "
                    "as root",
                    interface, std::strerror(errno), interface.empty() ? "tap0" : interface));
  return std::make_unique<Tap>(std::move(tap));
}

}  // namespace doppel::devices
