// What a vCPU sees of its local APIC (or, without one, of the 8259 pair): the vector to take, the task
// priority, and the MSRs that belong to the APIC. Implemented by devices/local_apic; tests use a stand-in.
// The controller announces work with CpuState::notify(kPendingIntr | ...) through its constructor's callback.
#pragma once

#include <optional>

#include "core/types.hpp"

namespace doppel::core {

class InterruptController {
 public:
  virtual ~InterruptController() = default;

  // Whether an interrupt would be delivered now if IF = 1 (priority above the task priority, or an ExtINT).
  [[nodiscard]] virtual bool interrupt_ready() = 0;
  // Takes the highest-priority deliverable interrupt (IRR to ISR, or an 8259 INTA cycle). Empty if there is
  // none.
  [[nodiscard]] virtual std::optional<u8> acknowledge() = 0;

  // CR8: bits 7:4 of the task priority register. A lower value may make an interrupt deliverable.
  [[nodiscard]] virtual u8 cr8() = 0;
  virtual void set_cr8(u8 value) = 0;

  // IA32_APIC_BASE, IA32_TSC_DEADLINE and the x2APIC range 0x800-0x8ff. False: raise #GP(0).
  [[nodiscard]] virtual bool read_msr(u32 index, u64& value) = 0;
  [[nodiscard]] virtual bool write_msr(u32 index, u64 value) = 0;

  // The page that the last start-up IPI named: execution begins at its number << 12.
  [[nodiscard]] virtual u8 startup_vector() const { return 0; }

  // The guest moved its TSC: TSC-deadline timers count guest time plus this offset.
  virtual void set_tsc_offset(u64 offset) = 0;
};

}  // namespace doppel::core
