// The split layout (VIRTIO 1.2, 2.7): a table of descriptors, a ring of requests that the driver fills, a
// ring of used ones that the device fills. Made by Virtqueue::make.
#pragma once

#include "devices/virtio/ring_memory.hpp"
#include "devices/virtio/virtqueue.hpp"

namespace doppel::devices {

class SplitVirtqueue final : public Virtqueue {
 public:
  [[nodiscard]] static std::unique_ptr<Virtqueue> make(core::GuestRam& ram, const Areas& areas, u16 size,
                                                       Features features);

  void untake(const VirtioChain& chain) override;
  [[nodiscard]] bool interrupt_wanted() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  using Virtqueue::Virtqueue;

  Taken take_next(VirtioChain& chain) override;
  void put_used(const VirtioChain& chain, u32 written) override;
  [[nodiscard]] bool walk(VirtioChain& chain, std::span<const u8> table, u16 index, bool indirect);

  RingArea descriptors_, available_, used_;
  u16 next_available_ = 0;  // both count for ever; the ring's place is the count modulo the size
  u16 next_used_ = 0;
  u16 announced_ = 0;  // next_used_ when interrupt_wanted() was last asked
};

}  // namespace doppel::devices
