// The virtio socket device: stream connections between programs of the guest and of the host, without a
// network. Host programs connect to a UNIX socket and say "CONNECT PORT\n"; what the guest connects to are
// UNIX sockets, too (Firecracker's and Cloud Hypervisor's way). What waits on the way to a host program is
// bounded by the credit that the guest gets. Behind VirtioPci. Source: VIRTIO 1.2, 5.10.
#pragma once

#include <compare>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/counters.hpp"
#include "devices/virtio/virtio_device.hpp"
#include "devices/virtio/vsock_sockets.hpp"

namespace doppel::devices {

class VirtioVsock final : public VirtioDevice {
 public:
  // `cid`: the guest's context id, from 3 on. `sockets` outlives it and is its alone.
  VirtioVsock(u64 cid, VsockSockets& sockets, core::Counters& counters);

  static constexpr std::size_t kMostConnections = 256;
  static constexpr u32 kBuffer = 256 * 1024;  // bytes from the guest that a connection keeps

  [[nodiscard]] std::string_view name() const override { return "virtio_vsock"; }
  [[nodiscard]] u16 type() const override { return 19; }
  [[nodiscard]] u32 pci_class() const override { return 0x07'8000; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override;
  [[nodiscard]] u16 queue_size() const override { return 128; }
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64) override {}
  void notified(u16 index) override;
  void reset() override;
  void quiesce() override {}
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32, u8) override {}
  // Connections stay behind: the guest is told that they are gone.
  void snapshot(core::SnapshotIo& io) override;

 private:
  struct Header;
  struct Ports {
    u32 guest, host;
    auto operator<=>(const Ports&) const = default;
  };
  struct Connection {
    enum class State : u8 {
      kGreeting,   // a host program that has not said which port it wants
      kRequested,  // the guest has not answered yet
      kOpen,
    };
    State state;
    Ports ports;
    FileDescriptor socket;
    std::string greeting;
    std::deque<u8> to_host;  // what the socket did not take yet
    u32 say = 0;             // packets for the guest, a bit for each operation
    // Credit (5.10.6.3). The guest's, to send: what went on to the host, and what it knows of that.
    u32 forwarded = 0, told_forwarded = 0;
    // Ours: what was sent, and what the guest said last.
    u32 sent = 0, guest_buffer = 0, guest_forwarded = 0;
    bool readable = false;    // the socket may have something, or its end
    bool host_ended = false;  // nothing more comes from the host program
    bool host_gone = false;   // nor does it take anything
    bool guest_sends = true, guest_receives = true;
    bool watches_read = false, watches_write = false;
  };

  void transmit();
  // False: it breaks the rules.
  [[nodiscard]] bool take_packet(const VirtioChain& chain);
  void obey(const Header& header, std::span<const u8> data);
  void connect(const Header& header);
  void receive_data(u64 id, std::span<const u8> data);
  void shut_down(u64 id, u32 flags);

  void deliver();
  // Makes the next packet in packet_, `room` bytes at most; its size, or 0 if there is nothing to say.
  [[nodiscard]] u32 next_packet(std::size_t room);
  // The same of one connection.
  [[nodiscard]] u32 packet_of(u64 id, Connection& connection, std::size_t room);
  [[nodiscard]] u32 data_of(u64 id, Connection& connection, std::size_t room);
  void send_events();

  void accept();
  void ready(u64 id);
  void greet(u64 id);
  u64 add(Connection::State state, Ports ports, FileDescriptor socket);
  void watch(u64 id, Connection& connection);
  // Moves what waits on to the host program.
  void flush(u64 id);
  void refuse(Ports ports);
  // Ends a connection, and says so to the guest.
  void abort(u64 id);
  void remove(u64 id);

  VirtioTransport* transport_ = nullptr;
  u64 cid_;
  VsockSockets& sockets_;
  core::Counters::Counter &opened_, &refused_;
  std::map<u64, Connection> connections_;
  std::map<Ports, u64> by_ports_;
  std::deque<Ports> resets_;  // to be said
  u64 next_id_ = 1, last_served_ = 0;
  u32 next_host_port_;
  bool reset_event_ = false;  // the guest is to be told that connections are gone
  std::vector<u8> packet_;
};

}  // namespace doppel::devices
