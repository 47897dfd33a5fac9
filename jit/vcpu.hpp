// One virtual CPU: its architectural state, its MMU, and its wires to the rest of the machine. Handlers,
// helpers of translated code and the dispatcher all get this. Made by core/machine; it knows only contracts.
#pragma once

#include "core/bus.hpp"
#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/cpu_state.hpp"
#include "core/cpuid.hpp"
#include "core/interrupt_controller.hpp"
#include "mmu/mmu.hpp"

namespace doppel::jit {

struct Insn;

struct Vcpu {
  Vcpu(const core::CpuModel& cpu_model, mmu::PhysicalMemory& memory, core::Bus& port_bus,
       core::InterruptController& controller, core::Clock& machine_clock, core::Counters& event_counters)
      : mmu(state, memory, event_counters),
        model(cpu_model),
        ports(port_bus),
        interrupts(controller),
        clock(machine_clock),
        counters(event_counters) {}

  core::CpuState state;
  mmu::Mmu mmu;
  const core::CpuModel& model;
  core::Bus& ports;
  core::InterruptController& interrupts;
  core::Clock& clock;
  core::Counters& counters;
  const Insn* last = nullptr;  // where the last block was left, for counting instructions
  bool shared = false;         // other processors run in the same memory
  bool exclusive = false;      // they stand still until the instruction has ended
  u32 pauses = 0;

  // Time-stamp counter: guest nanoseconds scaled to the model's frequency, plus the guest's own offset.
  [[nodiscard]] u64 tsc() const {
    const u64 now = clock.now();
    const u64 ticks =
        model.tsc_hz == core::kNanosecondsPerSecond
            ? now
            : static_cast<u64>(static_cast<u128>(now) * model.tsc_hz / core::kNanosecondsPerSecond);
    return ticks + state.tsc_offset;
  }

  bool raise(core::Vector vector, u32 error = 0, u64 address = 0) {
    return state.raise(vector, error, address);
  }
};

}  // namespace doppel::jit
