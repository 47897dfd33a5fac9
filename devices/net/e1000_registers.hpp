// The 82540EM's registers and descriptors by their names in the datasheet: offsets in its memory BAR, and
// bits. Used by the parts of the card's model and its tests. Source: Intel 317453, "PCI/PCI-X Family of
// Gigabit Ethernet Controllers Software Developer's Manual", chapters 3 and 13.
#pragma once

#include "core/types.hpp"

namespace doppel::devices::e1000 {

inline constexpr u64 kMemorySize = 128u << 10, kPortsSize = 64;
// As offsets of the device, the ports come after the memory.
inline constexpr u64 kIoAddr = kMemorySize, kIoData = kMemorySize + 4;

enum Register : u32 {
  kCtrl = 0x0000,
  kCtrlShadow = 0x0004,
  kStatus = 0x0008,
  kEecd = 0x0010,
  kEerd = 0x0014,
  kCtrlExt = 0x0018,
  kMdic = 0x0020,
  kFcal = 0x0028,
  kFcah = 0x002c,
  kFct = 0x0030,
  kVet = 0x0038,
  kIcr = 0x00c0,
  kItr = 0x00c4,
  kIcs = 0x00c8,
  kIms = 0x00d0,
  kImc = 0x00d8,
  kRctl = 0x0100,
  kFcttv = 0x0170,
  kTxcw = 0x0178,
  kRxcw = 0x0180,
  kTctl = 0x0400,
  kTipg = 0x0410,
  kAit = 0x0458,
  kLedctl = 0x0e00,
  kPba = 0x1000,
  kFcrtl = 0x2160,
  kFcrth = 0x2168,
  kRdfh = 0x2410,
  kRdbal = 0x2800,
  kRdbah = 0x2804,
  kRdlen = 0x2808,
  kRdh = 0x2810,
  kRdt = 0x2818,
  kRdtr = 0x2820,
  kRxdctl = 0x2828,
  kRadv = 0x282c,
  kRsrpd = 0x2c00,
  kTxdmac = 0x3000,
  kTdfh = 0x3410,
  kTdbal = 0x3800,
  kTdbah = 0x3804,
  kTdlen = 0x3808,
  kTdh = 0x3810,
  kTdt = 0x3818,
  kTidv = 0x3820,
  kTxdctl = 0x3828,
  kTadv = 0x382c,
  kTspmt = 0x3830,
  kStatistics = 0x4000,
  kMpc = 0x4010,
  kPrc64 = 0x405c,  // ... 127, 255, 511, 1023, 1522
  kGprc = 0x4074,
  kBprc = 0x4078,
  kMprc = 0x407c,
  kGptc = 0x4080,
  kGorcl = 0x4088,
  kGotcl = 0x4090,
  kRnbc = 0x40a0,
  kRoc = 0x40ac,
  kTorl = 0x40c0,
  kTotl = 0x40c8,
  kTpr = 0x40d0,
  kTpt = 0x40d4,
  kPtc64 = 0x40d8,
  kMptc = 0x40f0,
  kBptc = 0x40f4,
  kTsctc = 0x40f8,
  kTsctfc = 0x40fc,
  kStatisticsEnd = 0x4100,
  kRxcsum = 0x5000,
  kMta = 0x5200,  // 128 registers
  kRal = 0x5400,  // 16 pairs
  kRah = 0x5404,
  kVfta = 0x5600,  // 128 registers
  kWuc = 0x5800,
  kWufc = 0x5808,
  kWus = 0x5810,
  kManc = 0x5820,
  kIpav = 0x5838,
  kIp4at = 0x5840,
  kIp6at = 0x5880,
  kWupl = 0x5900,
  kWupm = 0x5a00,
  kFflt = 0x5f00,
  kRegistersEnd = 0x6000,  // what follows are the flexible filters and the packet buffer
};

// CTRL
inline constexpr u32 kCtrlFd = 1u << 0, kCtrlSlu = 1u << 6, kCtrlSpeed1000 = 2u << 8, kCtrlRst = 1u << 26,
                     kCtrlVme = 1u << 30, kCtrlPhyRst = 1u << 31;
// STATUS
inline constexpr u32 kStatusFd = 1u << 0, kStatusLu = 1u << 1, kStatusSpeed1000 = 2u << 6,
                     kStatusAsdv1000 = 2u << 8;
// ICR, ICS, IMS, IMC
inline constexpr u32 kIntTxdw = 1u << 0, kIntTxqe = 1u << 1, kIntLsc = 1u << 2, kIntRxdmt0 = 1u << 4,
                     kIntRxo = 1u << 6, kIntRxt0 = 1u << 7, kIntMdac = 1u << 9;
inline constexpr u32 kIntAll = 0x0001'f6df;
// RCTL
inline constexpr u32 kRctlEn = 1u << 1, kRctlUpe = 1u << 3, kRctlMpe = 1u << 4, kRctlLpe = 1u << 5,
                     kRctlBam = 1u << 15, kRctlVfe = 1u << 18, kRctlCfien = 1u << 19, kRctlCfi = 1u << 20,
                     kRctlBsex = 1u << 25, kRctlSecrc = 1u << 26;
inline constexpr u32 kRctlRdmtsShift = 8, kRctlMoShift = 12, kRctlBsizeShift = 16;
// RAH
inline constexpr u32 kRahAv = 1u << 31;
// TCTL
inline constexpr u32 kTctlEn = 1u << 1, kTctlPsp = 1u << 3;
// RXCSUM
inline constexpr u32 kRxcsumIpofl = 1u << 8, kRxcsumTuofl = 1u << 9;

inline constexpr u32 kDescriptorSize = 16;
inline constexpr u64 kDescriptorStatus = 12;  // offset of the byte with DD, in every kind

// Receive descriptor: status and errors.
inline constexpr u8 kRxDd = 1u << 0, kRxEop = 1u << 1, kRxIxsm = 1u << 2, kRxVp = 1u << 3, kRxTcpcs = 1u << 5,
                    kRxIpcs = 1u << 6, kRxPif = 1u << 7;
inline constexpr u8 kRxTcpe = 1u << 5, kRxIpe = 1u << 6;

// Transmit descriptors: the command byte of all kinds (DCMD, TUCMD), and POPTS.
inline constexpr u8 kTxEop = 1u << 0, kTxIc = 1u << 2, kTxTse = 1u << 2, kTxRs = 1u << 3, kTxRps = 1u << 4,
                    kTxDext = 1u << 5, kTxVle = 1u << 6;
inline constexpr u8 kTucmdTcp = 1u << 0, kTucmdIp = 1u << 1;
inline constexpr u8 kPoptsIxsm = 1u << 0, kPoptsTxsm = 1u << 1;
inline constexpr u8 kTxDd = 1u << 0;

}  // namespace doppel::devices::e1000
