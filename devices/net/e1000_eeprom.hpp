// The e1000's serial EEPROM: 64 words with the MAC address and the identity, read through EERD or bit by bit
// through EECD (a 93C46: start bit, two bits of operation, six of address). It cannot be written.
// Source: Intel 317453, 5.6 and 13.4.3.
#pragma once

#include <array>

#include "core/snapshot.hpp"
#include "devices/net/net_port.hpp"

namespace doppel::devices::e1000 {

class Eeprom {
 public:
  static constexpr u32 kWords = 64;

  explicit Eeprom(const MacAddress& mac);

  [[nodiscard]] u16 word(u32 index) const { return words_[index % kWords]; }
  void reset();
  [[nodiscard]] u32 read_eecd() const;
  void write_eecd(u32 value);
  // Reads at once: the register is done whenever it is read.
  [[nodiscard]] u32 read_eerd() const { return eerd_; }
  void write_eerd(u32 value);
  void snapshot(core::SnapshotIo& io);

 private:
  void clock(bool data_in);

  std::array<u16, kWords> words_{};
  u32 eerd_ = 0;
  u8 pins_ = 0;       // SK, CS, DI and REQ as written
  u16 command_ = 0;   // bits shifted in since the start bit, that one included
  u16 output_ = 0;    // the word that is shifted out
  u8 bits_left_ = 0;  // of it
  bool data_out_ = true;
};

}  // namespace doppel::devices::e1000
