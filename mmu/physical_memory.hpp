// Physical address space as one processor sees it behind its MMU: RAM, ROM and MMIO, after the A20 gate.
// Used by the page walk, the MMU's slow paths and the loaders. RAM wins over MMIO except where a ROM or a
// hole overlays it; of two overlays the one added last wins. Overlays are added before guest code runs; what
// the chipset routes to RAM changes while it runs. Memory that belongs to a device (a frame buffer) wins over
// MMIO only, and moves while the guest runs. One processor may change routes and device memory while others
// look: these see the old or the new map, and what they keep of the old one is flushed by the caller.
#pragma once

#include <atomic>
#include <shared_mutex>
#include <span>
#include <vector>

#include "core/bus.hpp"
#include "core/guest_ram.hpp"
#include "core/types.hpp"

namespace doppel::mmu {

// Told of changes to memory (RAM, or a device's) before the processor makes them; for a journal that undoes
// them.
class WriteObserver {
 public:
  virtual ~WriteObserver() = default;
  // The 4 KiB page, whose bytes are at `host`, is written now, or may be at any time until
  // Mmu::revoke_write_tags().
  virtual void page_writable(u64 page, u8* host) = 0;
  // A page walk sets accessed or dirty bits in the page.
  virtual void entry_marked(u64 page) = 0;
};

class PhysicalMemory {
 public:
  PhysicalMemory(core::GuestRam& ram, core::Bus& mmio) : ram_(ram), mmio_(mmio) {}

  // Overlays [base, base + bytes.size()) (both 4 KiB aligned) with read-only bytes. Writes go on to the MMIO
  // bus, which counts them where no flash chip answers.
  void add_rom(u64 base, std::vector<u8> bytes);
  // Overlays RAM with an MMIO hole (the VGA window), both 4 KiB aligned.
  void add_hole(u64 base, u64 size);

  // Puts a device's memory at [base, base + bytes.size()), both 4 KiB aligned; the bytes belong to the
  // device, which sees stores without being told. False: that place is taken. Code there runs, but is not
  // cached. Called by a vCPU's thread (a base address register was written), which then flushes all TLBs.
  [[nodiscard]] bool map_device(u64 base, std::span<u8> bytes, bool writable);
  // Removes what map_device() put at exactly `base`.
  void unmap_device(u64 base);

  // From now on reads (writes) of [base, base + size), 4 KiB aligned and inside RAM, go to RAM whatever
  // overlays it, or else to ROM and the bus: what a chipset's shadowing registers say. A range is routed anew
  // as the same range. Called by a vCPU's thread, which then flushes all TLBs and drops code of the range.
  void route_ram(u64 base, u64 size, bool reads, bool writes);

  void set_a20(bool enabled) {
    a20_mask_.store(enabled ? ~u64{0} : ~(u64{1} << 20), std::memory_order_relaxed);
  }
  [[nodiscard]] u64 a20(u64 pa) const { return pa & a20_mask_.load(std::memory_order_relaxed); }

  // How a 4 KiB page (A20 already applied) is backed.
  struct Backing {
    u8* host = nullptr;     // of the page's first byte; nullptr: MMIO or nothing
    bool writable = false;  // stores may go straight to `host`: not to ROM, not to RAM routed for reads only
    bool device = false;    // a device's memory: stores to it are not watched, so code there is not cached
  };
  [[nodiscard]] Backing backing(u64 page) const;

  // An access of 1, 2, 4 or 8 bytes by physical address (A20 applied here) to whatever is there; may cross
  // pages. Writes to code pages are reported to GuestRam's observer first.
  [[nodiscard]] u64 read(u64 pa, u32 width);
  void write(u64 pa, u32 width, u64 value);
  // The same for any number of bytes within one page, A20 already applied. To MMIO, 1, 2, 4 and 8 bytes are
  // one access, other sizes are split into accesses of at most 8 bytes.
  void read_page(u64 pa, std::span<u8> out);
  void write_page(u64 pa, std::span<const u8> data);
  // A page-table entry of 4 or 8 bytes, naturally aligned: read(), short for the page walk.
  [[nodiscard]] u64 read_entry(u64 pa, u32 width) {
    const u64 at = a20(pa);
    const u8* host = ram_.host(at);
    if (!host || at < overlaid_end_.load(std::memory_order_relaxed)) [[unlikely]]
      return read(pa, width);
    if (width == 4) return __atomic_load_n(reinterpret_cast<const u32*>(host), __ATOMIC_ACQUIRE);
    return __atomic_load_n(reinterpret_cast<const u64*>(host), __ATOMIC_ACQUIRE);
  }
  // Atomic compare-and-swap of a page-table entry of 4 or 8 bytes, naturally aligned. True if it held
  // `expected`. Page tables outside RAM keep their bits: nothing is changed there, and the answer is true.
  bool compare_exchange(u64 pa, u32 width, u64 expected, u64 desired);

  [[nodiscard]] core::GuestRam& ram() { return ram_; }

  // Accesses that went to devices.
  [[nodiscard]] u64 device_accesses() const { return mmio_.accesses(); }

  // Does not own it. It sees what the vCPU does, not DMA. Set before guest code runs; nullptr: none.
  void observe_writes(WriteObserver* observer) { observer_ = observer; }
  [[nodiscard]] WriteObserver* write_observer() const { return observer_; }

 private:
  struct Overlay {
    u64 base, size;
    std::vector<u8> bytes;  // of a ROM; empty for a hole
  };
  void add_overlay(Overlay overlay);
  struct DeviceMemory {
    u64 base;
    std::span<u8> bytes;
    bool writable;
  };
  struct RamRoute {
    u64 base, size;
    bool reads, writes;  // to RAM
  };
  [[nodiscard]] const RamRoute* ram_route(u64 page) const;  // with `map_lock_` held
  [[nodiscard]] u8* write_target(u64 page) const;

  core::GuestRam& ram_;
  core::Bus& mmio_;
  WriteObserver* observer_ = nullptr;
  std::atomic<u64> a20_mask_ = ~u64{0};
  std::vector<Overlay> overlays_;
  mutable std::shared_mutex map_lock_;  // for the next two
  std::vector<DeviceMemory> device_memory_;
  std::vector<RamRoute> ram_routes_;
  std::atomic<u64> overlaid_end_ = 0;  // no overlay or route covers RAM from here on
};

}  // namespace doppel::mmu
