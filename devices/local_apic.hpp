// One local APIC: the interrupt controller of one vCPU (SDM Vol. 3A, "Advanced Programmable Interrupt
// Controller"), in xAPIC mode as a 4 KiB page of registers, in x2APIC mode as MSRs. The vCPU calls it through
// core::InterruptController, other agents through ApicBus, the 8259 through LINT0. It announces work through
// `Hooks::notify` and knows neither its vCPU nor the machine. Device methods run with the device lock held;
// the InterruptController methods take it themselves.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <optional>

#include "core/clock.hpp"
#include "core/counters.hpp"
#include "core/cpu_state.hpp"
#include "core/device.hpp"
#include "core/interrupt_controller.hpp"
#include "devices/apic_bus.hpp"
#include "devices/apic_timer.hpp"
#include "devices/vector_set.hpp"

namespace doppel::devices {

class LocalApic final : public core::Device, public core::InterruptController {
 public:
  struct Config {
    u32 id = 0;
    bool bootstrap = true;  // the BSP: starts with the 8259 connected through LINT0 ("virtual wire")
    bool x2apic = true;     // whether CPUID shows x2APIC; without it the mode cannot be entered
    u32 physical_address_bits = 40;
    u64 timer_hz = 0;
    u64 tsc_hz = 0;
  };
  struct Hooks {
    std::function<void(core::Pending)> notify;  // wakes the vCPU; may be called repeatedly for one cause
    std::function<u8()> inta;                   // INTA cycle: the vector of the 8259 pair
  };

  LocalApic(Config config, core::Clock& clock, core::Counters& counters, ApicBus& bus, Hooks hooks);
  ~LocalApic() override;

  // --- core::Device: the xAPIC page.
  [[nodiscard]] std::string_view name() const override { return name_; }
  void reset() override;
  [[nodiscard]] u64 read(u64 offset, u32 width) override;
  void write(u64 offset, u32 width, u64 value) override;
  void snapshot(core::SnapshotIo& io) override;

  // --- core::InterruptController.
  [[nodiscard]] bool interrupt_ready() override { return ready_.load(std::memory_order_acquire); }
  [[nodiscard]] std::optional<u8> acknowledge() override;
  [[nodiscard]] u8 cr8() override { return task_priority_.load(std::memory_order_relaxed) >> 4; }
  void set_cr8(u8 value) override;
  [[nodiscard]] bool read_msr(u32 index, u64& value) override;
  [[nodiscard]] bool write_msr(u32 index, u64 value) override;

  // --- Pins. LINT0 is the 8259's INTR, LINT1 is NMI; true is asserted, whatever polarity the LVT says.
  void set_lint0(bool asserted);
  void set_lint1(bool asserted);

  [[nodiscard]] u8 startup_vector() const override;
  void set_tsc_offset(u64 offset) override;  // TSC = now * tsc_hz + offset

  // --- For ApicBus.
  [[nodiscard]] bool matches(const ApicMessage& message) const;
  // False: not taken because the APIC is disabled.
  bool accept(const ApicMessage& message);
  [[nodiscard]] bool takes_fixed() const;
  [[nodiscard]] u8 processor_priority() const;

 private:
  enum class Mode { kDisabled, kXapic, kX2apic };
  // In the order of their registers, from 0x32.
  enum Lvt : u8 { kLvtTimer, kLvtThermal, kLvtPerformance, kLvtLint0, kLvtLint1, kLvtError, kLvtCount };

  static constexpr u32 kDeliveryModeShift = 8;  // in LVT entries and the ICR
  static constexpr u32 kLvtRemoteIrr = 1u << 14, kLvtLevel = 1u << 15, kLvtMasked = 1u << 16;
  static constexpr u32 kSpuriousEnable = 1u << 8;
  static constexpr u32 kErrorSendVector = 1u << 5, kErrorReceiveVector = 1u << 6, kErrorRegister = 1u << 7;
  static constexpr u8 kFirstLegalVector = 16;

  [[nodiscard]] Mode mode() const;
  [[nodiscard]] u32 logical_id() const;
  [[nodiscard]] bool lint0_is_intr() const;

  void reset_registers();
  [[nodiscard]] u64 read_register(u32 index);
  void write_register(u32 index, u64 value);
  void write_spurious(u32 value);
  void write_lvt(Lvt entry, u32 value);
  void send_ipi(u64 command);
  [[nodiscard]] bool write_apic_base(u64 value);
  void illegal_register(u64 offset, u32 width);

  // In local_apic_delivery.cpp.
  void end_of_interrupt();
  void init();
  void deliver_local(Lvt entry);
  void request(u8 vector, bool level);
  void retrigger_lint0();
  void raise_error(u32 bit);
  void update();

  Config config_;
  ApicBus& bus_;
  core::Counters::Counter& unknown_;
  Hooks hooks_;
  std::string name_;
  ApicTimer timer_;

  std::atomic<bool> ready_{false};  // what interrupt_ready() says; derived from all below
  std::atomic<u8> task_priority_{0};
  VectorSet irr_, isr_, tmr_;
  u64 apic_base_ = 0;
  u64 command_ = 0;             // ICR
  u32 logical_id_ = 0;          // LDR in xAPIC mode; derived from the ID in x2APIC mode
  u32 destination_format_ = 0;  // DFR
  u32 spurious_ = 0;            // SVR
  u32 error_status_ = 0;        // as latched by the last write of ESR
  u32 new_errors_ = 0;          // since then
  std::array<u32, kLvtCount> lvt_{};
  u8 startup_vector_ = 0;
  bool external_pending_ = false;  // an ExtINT message waits for its INTA cycle
  bool lint0_ = false, lint1_ = false;
};

}  // namespace doppel::devices
