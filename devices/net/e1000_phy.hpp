// The e1000's PHY, an M88E1011 behind MDIC: the link is always up, at 1000 Mbit/s, negotiated.
// Source: Intel 317453, 13.4.7 and chapter 8.
#pragma once

#include <array>

#include "core/snapshot.hpp"

namespace doppel::devices::e1000 {

class Phy {
 public:
  void reset();
  // An access through MDIC is done at once. True: the link was negotiated anew.
  [[nodiscard]] bool write_mdic(u32 value);
  [[nodiscard]] u32 read_mdic() const { return mdic_; }
  void snapshot(core::SnapshotIo& io);

 private:
  [[nodiscard]] bool write(u32 index, u16 value);

  std::array<u16, 32> registers_{};
  u32 mdic_ = 0;
};

}  // namespace doppel::devices::e1000
