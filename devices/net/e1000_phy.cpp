#include "devices/net/e1000_phy.hpp"

namespace doppel::devices::e1000 {

namespace {

// MDIC
constexpr u32 kRegisterShift = 16, kPhyShift = 21, kOperationShift = 26;
constexpr u32 kWrite = 1, kRead = 2, kReady = 1u << 28, kError = 1u << 30;
constexpr u32 kPhyAddress = 1;

// Registers, IEEE 802.3 clause 22 and the M88E1011's own.
enum Index : u32 {
  kPctrl = 0,
  kPstatus = 1,
  kPhyId1 = 2,
  kPhyId2 = 3,
  kAna = 4,
  kLpa = 5,
  kAne = 6,
  kNpt = 7,
  kGcon = 9,
  kGstatus = 10,
  kExtendedStatus = 15,
  kPscon = 16,
  kPsstat = 17,
  kPinter = 18,
  kPinters = 19,
  kEpscon = 20,
};
constexpr u16 kReset = 1u << 15, kRestartNegotiation = 1u << 9;

struct Row {
  Index index;
  u16 value, writable;
};
constexpr Row kRows[] = {
    {kPctrl, 0x1140, 0x7dc0},  // negotiation on, full duplex, 1000 Mbit/s
    {kPstatus, 0x796d, 0},     // link up, negotiation complete
    {kPhyId1, 0x0141, 0},      // Marvell
    {kPhyId2, 0x0c20, 0},      // M88E1011
    {kAna, 0x0de1, 0xffff},    // what we can
    {kLpa, 0xcde1, 0},         // what the other end can
    {kAne, 0x0003, 0},         // it negotiates
    {kNpt, 0x2001, 0xffff},    //
    {kGcon, 0x0e00, 0xff00},   // 1000BASE-T offered
    {kGstatus, 0x3c00, 0},     // by the other end, too; both receivers are fine
    {kExtendedStatus, 0x3000, 0},
    {kPscon, 0x0068, 0xffff},
    {kPsstat, 0xac00, 0},  // 1000 Mbit/s, full duplex, resolved, link
    {kPinter, 0, 0xffff},
    {kPinters, 0, 0},
    {kEpscon, 0x0d60, 0xffff},
};

}  // namespace

void Phy::reset() {
  registers_ = {};
  for (const Row& row : kRows) registers_[row.index] = row.value;
  mdic_ = kReady;
}

bool Phy::write_mdic(u32 value) {
  const u32 index = value >> kRegisterShift & 31, operation = value >> kOperationShift & 3;
  mdic_ = (value & ~kError) | kReady;
  if ((value >> kPhyShift & 31) != kPhyAddress || (operation != kRead && operation != kWrite)) {
    mdic_ |= kError;
    return false;
  }
  if (operation == kWrite) return write(index, static_cast<u16>(value));
  mdic_ = (mdic_ & 0xffff'0000) | registers_[index];
  return false;
}

bool Phy::write(u32 index, u16 value) {
  if (index == kPctrl && (value & kReset)) {
    const u32 mdic = mdic_;
    reset();
    mdic_ = mdic;
    return true;
  }
  for (const Row& row : kRows)
    if (row.index == index)
      registers_[index] = static_cast<u16>((registers_[index] & ~row.writable) | (value & row.writable));
  return index == kPctrl && (value & kRestartNegotiation);
}

void Phy::snapshot(core::SnapshotIo& io) {
  io.field("phy", registers_);
  io.field("mdic", mdic_);
}

}  // namespace doppel::devices::e1000
