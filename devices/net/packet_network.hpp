// A network whose other end is a descriptor that carries one frame in each read and write: a socket to
// another machine, or a tap interface. Here are its thread and its loop; a PacketSource says where the
// descriptor comes from. While there is none, what the guest sends is lost, as without a cable. Plugged into
// a NetPort by the machine.
#pragma once

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "devices/net/net_port.hpp"
#include "devices/net/network.hpp"
#include "devices/net/wake_event.hpp"
#include "devices/storage/file_io.hpp"

namespace doppel::devices {

class PacketSource {
 public:
  virtual ~PacketSource() = default;
  // The other end, non-blocking, or an invalid descriptor if there is none now.
  [[nodiscard]] virtual FileDescriptor open() = 0;
  // What becomes readable when open() should be tried again; -1: from time to time.
  [[nodiscard]] virtual int waits_for() const = 0;
};

class PacketNetwork final : public Network {
 public:
  PacketNetwork(NetPort& port, std::unique_ptr<PacketSource> source);
  ~PacketNetwork() override;

 private:
  void run();
  void wait();
  void send();
  void receive();

  NetPort& port_;
  std::unique_ptr<PacketSource> source_;
  WakeEvent wake_;
  FileDescriptor packets_;
  NetFrame pending_;  // taken from the port, not sent yet; empty: none
  std::vector<u8> buffer_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// A UNIX socket between two machines of one user that name the same link. Throws NetworkError.
[[nodiscard]] std::unique_ptr<PacketSource> make_link(const std::string& name);

// A tap interface of the host; an empty name lets the host choose. Throws NetworkError.
[[nodiscard]] std::unique_ptr<PacketSource> make_tap(const std::string& interface);

}  // namespace doppel::devices
