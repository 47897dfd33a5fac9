// The interrupt messages of the machine: what local APICs (IPIs), I/O APICs and MSI send, to which local
// APICs it goes, and the way back for EOI. Knows how destinations are matched (SDM Vol. 3A, "Determining IPI
// Destination"), nothing about vCPUs or who raises interrupts. Everything here runs with the machine's device
// lock held; the lock is kept here because vCPUs enter their local APIC without passing a core::Bus.
#pragma once

#include <functional>
#include <mutex>
#include <vector>

#include "core/types.hpp"

namespace doppel::devices {

class LocalApic;

// As encoded in the ICR, redirection entries, LVT entries and MSI data.
enum class DeliveryMode : u8 {
  kFixed = 0,
  kLowestPriority = 1,
  kSmi = 2,
  kReserved = 3,
  kNmi = 4,
  kInit = 5,
  kStartup = 6,
  kExtInt = 7,
};

inline constexpr u32 kApicBroadcast = ~u32{0};

struct ApicMessage {
  u32 destination = 0;  // kApicBroadcast: everyone. Senders with 8-bit destinations widen 0xff to it.
  bool logical = false;
  bool level = false;  // trigger mode: an EOI is sent back for this vector
  DeliveryMode mode = DeliveryMode::kFixed;
  u8 vector = 0;
};

// An 8-bit destination field (xAPIC ICR, redirection entry, MSI address) as ApicMessage holds it.
[[nodiscard]] constexpr u32 widen_destination(u8 destination) {
  return destination == 0xff ? kApicBroadcast : destination;
}

class ApicBus {
 public:
  explicit ApicBus(std::recursive_mutex& lock) : lock_(lock) {}
  ApicBus(const ApicBus&) = delete;
  ApicBus& operator=(const ApicBus&) = delete;

  // Local APICs register themselves for their lifetime.
  void join(LocalApic& apic);
  void leave(LocalApic& apic);

  // Delivers to every local APIC that matches (one of them for lowest priority), except `excluded`. False if
  // none took it: the sender may keep it and try again.
  bool send(const ApicMessage& message, const LocalApic* excluded = nullptr);
  // What a bus master's 32-bit write into 0xfee0'0000..0xfeef'ffff means (SDM Vol. 3A, "Message Signalled
  // Interrupts").
  bool send_msi(u64 address, u32 data);

  // An EOI for a level-triggered vector, told to the I/O APICs.
  void on_eoi(std::function<void(u8 vector)> observer) { eoi_.push_back(std::move(observer)); }
  void broadcast_eoi(u8 vector) const;
  // A local APIC may now take what it refused (it was enabled, its logical ID changed): senders that kept a
  // message try again.
  void on_targets_changed(std::function<void()> observer) { targets_changed_.push_back(std::move(observer)); }
  void targets_changed() const;

  [[nodiscard]] std::recursive_mutex& lock() const { return lock_; }

 private:
  bool send_lowest_priority(const ApicMessage& message, const LocalApic* excluded);

  std::recursive_mutex& lock_;
  std::vector<LocalApic*> apics_;
  std::vector<std::function<void(u8)>> eoi_;
  std::vector<std::function<void()>> targets_changed_;
  std::size_t last_chosen_ = 0;  // equal priorities take turns
};

}  // namespace doppel::devices
