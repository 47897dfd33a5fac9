// The xAPIC page as the processors see it: each finds its own local APIC there. The thread that runs a
// processor says which one it is.
#pragma once

#include "devices/local_apic.hpp"

namespace doppel::devices {

class LocalApicPage final : public core::Device {
 public:
  // Accesses of the calling thread go to `apic` from now on; nullptr: nobody answers.
  static void use_on_this_thread(LocalApic* apic) { mine_ = apic; }

  [[nodiscard]] std::string_view name() const override { return "local_apic"; }
  void reset() override {}
  [[nodiscard]] u64 read(u64 offset, u32 width) override {
    return mine_ ? mine_->read(offset, width) : ~u64{0};
  }
  void write(u64 offset, u32 width, u64 value) override {
    if (mine_) mine_->write(offset, width, value);
  }
  void snapshot(core::SnapshotIo&) override {}  // it has no state

 private:
  static inline thread_local LocalApic* mine_ = nullptr;
};

}  // namespace doppel::devices
