// What a virtio transport and the device behind it know of each other. A device (virtio_blk, ...) names its
// type, features, queues and configuration; the transport does the handshake, the queues' set-up and the
// interrupts. Source: VIRTIO 1.2, chapter 2.
#pragma once

#include <optional>
#include <string_view>

#include "core/snapshot.hpp"
#include "devices/virtio/virtqueue.hpp"

namespace doppel::devices {

// For the device.
class VirtioTransport {
 public:
  virtual ~VirtioTransport() = default;
  // nullptr: the driver has not enabled it, or the device is not in operation.
  [[nodiscard]] virtual Virtqueue* queue(u16 index) = 0;
  // Interrupts the driver if it wants that for what queue `index` gave back.
  virtual void announce(u16 index) = 0;
  // The configuration changed.
  virtual void configuration_changed() = 0;
  // The driver broke the rules: nothing works until it resets the device.
  virtual void needs_reset() = 0;
  // There is more in queue `index` than one notification is worth: notified() comes again, soon.
  virtual void unfinished(u16 index) = 0;

  // Takes the requests that are in queue `index`, gives each back and interrupts the driver. `request(chain)`
  // does one and returns how many bytes it wrote; empty: it breaks the rules. Not for devices that finish
  // requests later.
  template <class Request>
  void serve(u16 index, Request request) {
    Virtqueue* ring = queue(index);
    if (!ring) return;
    VirtioChain chain;
    // Twice what it can hold: a driver that adds while we take does not keep us here. It may have seen no
    // need to notify of what it added.
    for (u32 count = 0;; ++count) {
      if (count == 2u * ring->size()) {
        unfinished(index);
        break;
      }
      const auto taken = ring->take(chain);
      if (taken == Virtqueue::Taken::kNone) break;
      const std::optional<u32> written =
          taken == Virtqueue::Taken::kChain ? std::optional<u32>(request(chain)) : std::nullopt;
      if (!written) return needs_reset();
      ring->give_back(chain, *written);
    }
    announce(index);
  }
};

// For the transport.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;
  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual u16 type() const = 0;
  [[nodiscard]] virtual u32 pci_class() const = 0;  // 0xbbssii
  // Of this device type; the transport adds those of its own.
  [[nodiscard]] virtual u64 features() const = 0;
  [[nodiscard]] virtual u16 queues() const = 0;
  [[nodiscard]] virtual u16 queue_size() const = 0;  // the largest
  // Called once, before anything else.
  virtual void attach(VirtioTransport& transport) = 0;

  // The driver accepted these and is about to set DRIVER_OK.
  virtual void features_accepted(u64 features) = 0;
  // There may be requests in queue `index`.
  virtual void notified(u16 index) = 0;
  // Forgets everything in flight; nothing of it touches guest RAM afterwards.
  virtual void reset() = 0;
  // Everything in flight is given back: the queues are about to be saved.
  virtual void quiesce() = 0;
  // Device-specific configuration, by bytes; past its end: zero, ignored.
  [[nodiscard]] virtual u8 read_config(u32 offset) = 0;
  virtual void write_config(u32 offset, u8 value) = 0;
  virtual void snapshot(core::SnapshotIo& io) = 0;
};

}  // namespace doppel::devices
