#include "devices/apic_bus.hpp"

#include <algorithm>

#include "devices/local_apic.hpp"

namespace doppel::devices {

void ApicBus::join(LocalApic& apic) {
  apics_.push_back(&apic);
}

void ApicBus::leave(LocalApic& apic) {
  std::erase(apics_, &apic);
}

bool ApicBus::send(const ApicMessage& message, const LocalApic* excluded) {
  if (message.mode == DeliveryMode::kLowestPriority) return send_lowest_priority(message, excluded);
  bool taken = false;
  for (LocalApic* apic : apics_)
    if (apic != excluded && apic->matches(message)) taken |= apic->accept(message);
  return taken;
}

bool ApicBus::send_lowest_priority(const ApicMessage& message, const LocalApic* excluded) {
  LocalApic* best = nullptr;
  std::size_t best_index = 0;
  for (std::size_t step = 1; step <= apics_.size(); ++step) {
    const std::size_t index = (last_chosen_ + step) % apics_.size();
    LocalApic* apic = apics_[index];
    if (apic == excluded || !apic->takes_fixed() || !apic->matches(message)) continue;
    if (best && apic->processor_priority() >= best->processor_priority()) continue;
    best = apic;
    best_index = index;
  }
  if (!best) return false;
  last_chosen_ = best_index;
  return best->accept(message);
}

bool ApicBus::send_msi(u64 address, u32 data) {
  return send({.destination = widen_destination(static_cast<u8>(address >> 12)),
               .logical = (address >> 2 & 1) != 0,
               .level = (data >> 15 & 1) != 0,
               .mode = static_cast<DeliveryMode>(data >> 8 & 7),
               .vector = static_cast<u8>(data)});
}

void ApicBus::broadcast_eoi(u8 vector) const {
  for (const auto& observer : eoi_) observer(vector);
}

void ApicBus::targets_changed() const {
  for (const auto& observer : targets_changed_) observer();
}

}  // namespace doppel::devices
