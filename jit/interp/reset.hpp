// The processor's state after RESET, INIT and a startup IPI. Called by core/machine and the dispatcher.
// Source: AMD APM Vol. 2, "Processor Initialization"; Intel SDM Vol. 3A, table "IA-32 and Intel 64 Processor
// States Following Power-up, Reset, or INIT".
#pragma once

#include "core/cpuid.hpp"
#include "jit/vcpu.hpp"

namespace doppel::interp {

// RESET. Other processors than the bootstrap one then wait for a startup IPI. Pending requests and the
// soft TLB are not touched: the Vcpu form below brings the MMU in line.
void reset(core::CpuState& state, const core::CpuModel& model, bool bootstrap_processor);
void reset(jit::Vcpu& cpu, bool bootstrap_processor);

// INIT: like RESET, but caching bits, MSRs, the TSC, FPU and vector state stay. Which processor is the
// bootstrap one is told by IA32_APIC_BASE.
void initialize(jit::Vcpu& cpu);

// Startup IPI: a processor that waits for it starts in real mode at vector << 12; others ignore it.
void start_up(jit::Vcpu& cpu, u8 vector);

}  // namespace doppel::interp
