// The packed layout (VIRTIO 1.2, 2.8): one ring of descriptors that both sides write in turn, told apart by
// two flag bits and a wrap counter each. Made by Virtqueue::make.
#pragma once

#include "devices/virtio/ring_memory.hpp"
#include "devices/virtio/virtqueue.hpp"

namespace doppel::devices {

class PackedVirtqueue final : public Virtqueue {
 public:
  [[nodiscard]] static std::unique_ptr<Virtqueue> make(core::GuestRam& ram, const Areas& areas, u16 size,
                                                       Features features);

  void untake(const VirtioChain& chain) override;
  [[nodiscard]] bool interrupt_wanted() override;
  void snapshot(core::SnapshotIo& io) override;

 private:
  using Virtqueue::Virtqueue;

  // A place in the ring; the counter flips each time round.
  struct Position {
    u16 index = 0;
    bool wrap = true;
    void advance(u16 by, u16 size) {
      index = static_cast<u16>(index + by);
      if (index < size) return;
      index = static_cast<u16>(index - size);
      wrap = !wrap;
    }
    void go_back(u16 by, u16 size) {
      if (index < by) {
        index = static_cast<u16>(index + size);
        wrap = !wrap;
      }
      index = static_cast<u16>(index - by);
    }
  };

  Taken take_next(VirtioChain& chain) override;
  void put_used(const VirtioChain& chain, u32 written) override;
  [[nodiscard]] bool walk_indirect(VirtioChain& chain, const Descriptor& descriptor);

  RingArea ring_, driver_event_;
  Position available_, used_;
  u32 given_back_ = 0;  // ring entries since interrupt_wanted() was last asked
};

}  // namespace doppel::devices
