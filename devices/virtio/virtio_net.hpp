// The virtio network card: one pair of queues and the control queue. Checksums that the driver leaves out are
// computed here; large TCP segments pass in both directions where the network behind the port takes them.
// Behind VirtioPci, in front of a NetPort. Source: VIRTIO 1.2, 5.1.
#pragma once

#include <vector>

#include "core/counters.hpp"
#include "devices/net/net_port.hpp"
#include "devices/virtio/virtio_device.hpp"

namespace doppel::devices {

class VirtioNet final : public VirtioDevice {
 public:
  // `port` outlives it and is its alone.
  VirtioNet(NetPort& port, const MacAddress& mac, core::Counters& counters);

  [[nodiscard]] std::string_view name() const override { return "virtio_net"; }
  [[nodiscard]] u16 type() const override { return 1; }
  [[nodiscard]] u32 pci_class() const override { return 0x02'0000; }
  [[nodiscard]] u64 features() const override;
  [[nodiscard]] u16 queues() const override;
  [[nodiscard]] u16 queue_size() const override;
  void attach(VirtioTransport& transport) override { transport_ = &transport; }
  void features_accepted(u64 features) override;
  void notified(u16 index) override;
  void reset() override;
  void quiesce() override {}
  [[nodiscard]] u8 read_config(u32 offset) override;
  void write_config(u32, u8) override {}
  void snapshot(core::SnapshotIo& io) override;

 private:
  using Macs = std::vector<MacAddress>;
  // What the driver wants to see (5.1.6.5.1, 5.1.6.5.2).
  struct Filter {
    bool promiscuous = true;  // until the driver says otherwise: it need not have a control queue
    bool all_multicast = false, all_unicast = false, no_multicast = false, no_unicast = false,
         no_broadcast = false;
  };

  void transmit();
  // What the guest's frame is; false: it is dropped.
  [[nodiscard]] bool read_frame(const VirtioChain& chain, NetFrame& frame);
  void receive();
  // False: the driver has not given enough memory yet, or broke the rules.
  [[nodiscard]] bool place(const NetFrame& frame);
  [[nodiscard]] bool wanted(const NetFrame& frame) const;
  void control();
  [[nodiscard]] bool obey(std::span<const u8> command);
  [[nodiscard]] bool set_filter(u8 command, bool on);
  [[nodiscard]] bool set_tables(std::span<const u8> tables);

  VirtioTransport* transport_ = nullptr;
  NetPort& port_;
  core::Counters::Counter &sent_, &received_, &dropped_;
  MacAddress permanent_mac_, mac_;
  u64 accepted_ = 0;
  Filter filter_;
  Macs unicast_, multicast_;
};

}  // namespace doppel::devices
