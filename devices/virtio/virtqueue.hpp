// One virtqueue, seen from the device: takes the driver's requests from guest RAM and gives them back. Two
// layouts, split and packed, behind one interface; made by the transport when the driver enables a queue.
// The driver is asked to notify of every request: a notification is served at once, so there is never one to
// spare. Everything in the rings is hostile: what breaks the rules makes the queue broken, for the transport
// to say DEVICE_NEEDS_RESET. Source: Virtual I/O Device (VIRTIO) Version 1.2, 2.6 to 2.8.
#pragma once

#include <boost/container/small_vector.hpp>
#include <memory>
#include <span>

#include "core/guest_ram.hpp"
#include "core/snapshot.hpp"
#include "core/types.hpp"

namespace doppel::devices {

// One request: its memory in order, all of it RAM. Readable (by the device) pieces come before writable ones.
struct VirtioChain {
  struct Piece {
    u64 address;  // guest physical
    std::span<u8> memory;
  };
  boost::container::small_vector<Piece, 8> readable, writable;
  u16 id = 0;           // what names the request when it is given back
  u16 descriptors = 0;  // packed layout: how many ring entries it took

  // Copies from the front of the readable, to any place of the writable pieces; how many bytes there were.
  [[nodiscard]] std::size_t read_front(std::span<u8> out) const;
  // Copies to the front of the writable pieces; how many bytes there was room for.
  std::size_t write_front(std::span<const u8> bytes) const;
  [[nodiscard]] u64 readable_size() const;
  [[nodiscard]] u64 writable_size() const;
};

class Virtqueue {
 public:
  struct Areas {
    u64 descriptors = 0, driver = 0, device = 0;  // guest physical
  };
  struct Features {
    bool packed = false, indirect = false, event_index = false;
  };
  enum class Taken : u8 { kNone, kChain, kBroken };

  static constexpr u16 kLargestSize = 1024;
  // No request is longer than this, indirect tables included.
  static constexpr u32 kLargestChain = 1024;

  // The layout that was negotiated. Empty if `size` is not allowed or the areas are misaligned or not RAM.
  [[nodiscard]] static std::unique_ptr<Virtqueue> make(core::GuestRam& ram, const Areas& areas, u16 size,
                                                       Features features);
  virtual ~Virtqueue() = default;

  // The next request, if there is one. A broken queue stays broken.
  [[nodiscard]] Taken take(VirtioChain& chain);
  // Undoes take(): the request is the next one again. For several, the last one taken goes first; none was
  // given back in between.
  virtual void untake(const VirtioChain& chain) = 0;
  // Gives a request back after `written` bytes went into its writable pieces.
  void give_back(const VirtioChain& chain, u32 written);
  // Whether the driver wants an interrupt for what was given back since the last call.
  [[nodiscard]] virtual bool interrupt_wanted() = 0;

  [[nodiscard]] u16 size() const { return size_; }
  [[nodiscard]] bool broken() const { return broken_; }
  virtual void snapshot(core::SnapshotIo& io);

 protected:
  Virtqueue(core::GuestRam& ram, u16 size, Features features) : ram_(ram), size_(size), features_(features) {}

  struct Descriptor {  // as in the split layout
    u64 address;
    u32 length;
    u16 flags;
    u16 next;
  };
  static_assert(sizeof(Descriptor) == 16);
  // Layout-independent flags of a descriptor.
  static constexpr u16 kNext = 1, kDeviceWrites = 2, kIndirect = 4;

  virtual Taken take_next(VirtioChain& chain) = 0;
  virtual void put_used(const VirtioChain& chain, u32 written) = 0;

  // False: the queue is broken from now on.
  bool fail();
  // Adds the memory of one descriptor.
  [[nodiscard]] bool add(VirtioChain& chain, const Descriptor& descriptor);
  // The table that an indirect descriptor points to, or empty and broken.
  [[nodiscard]] std::span<const u8> indirect_table(const Descriptor& descriptor);

  core::GuestRam& ram_;
  u16 size_;
  Features features_;

 private:
  bool broken_ = false;
  u64 chain_size_ = 0;  // bytes of the request being taken
};

}  // namespace doppel::devices
