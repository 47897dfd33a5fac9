// Every address, port and IRQ of the PC, with a sentence each. Devices do not include this: they are told
// offsets; the machine attaches them here and the firmware tables describe the same numbers to the guest.
#pragma once

#include "core/types.hpp"

namespace doppel::devices {

// --- Ports.
inline constexpr u16 kPortDmaFirst = 0x00;        // 8237, channels 0 to 3, 16 ports
inline constexpr u16 kPortPicMaster = 0x20;       // 8259 master, 2 ports
inline constexpr u16 kPortPit = 0x40;             // 8254, 4 ports
inline constexpr u16 kPortI8042Data = 0x60;       // keyboard controller data
inline constexpr u16 kPortSystemControlB = 0x61;  // PIT gate 2, speaker, refresh toggle
inline constexpr u16 kPortI8042Command = 0x64;    // keyboard controller command/status
inline constexpr u16 kPortRtc = 0x70;             // MC146818 index and data, 2 ports
inline constexpr u16 kPortPostCode = 0x80;        // POST codes, also the classic I/O delay port
inline constexpr u16 kPortDmaPages = 0x81;        // DMA page registers, 15 ports
inline constexpr u16 kPortSystemControlA = 0x92;  // A20 gate and fast reset
inline constexpr u16 kPortPicSlave = 0xa0;        // 8259 slave, 2 ports
inline constexpr u16 kPortDmaSecond = 0xc0;       // 8237, channels 4 to 7, 32 ports
inline constexpr u16 kPortDebugE9 = 0xe9;         // Bochs/QEMU debug console: a written byte goes to the host
inline constexpr u16 kPortDebugExit = 0xf4;       // isa-debug-exit: exit status (value << 1) | 1
inline constexpr u16 kPortDebugFirmware = 0x402;  // SeaBIOS debug console
inline constexpr u16 kPortVbe = 0x1ce;            // VGA: Bochs' VBE extensions, index and data, 4 ports
inline constexpr u16 kPortVga = 0x3b0;            // VGA, 48 ports
inline constexpr u16 kPortParallel1 = 0x378;      // LPT1, 3 ports
inline constexpr u16 kPortSerial1 = 0x3f8;        // COM1, 8 ports
inline constexpr u16 kPortElcr = 0x4d0;           // edge/level control of the two 8259, 2 ports
inline constexpr u16 kPortFwCfg = 0x510;          // QEMU's firmware configuration, 12 ports
inline constexpr u16 kPortAcpiPm = 0x600;         // PIIX4 power management where firmware puts it, 64 ports:
                                                  // PM1a event (+0), PM1a control (+4), PM timer (+8)
inline constexpr u16 kPortSmbus = 0x700;          // SMBus host controller where firmware puts it, 16 ports
inline constexpr u16 kPortPciAddress = 0xcf8;     // PCI configuration mechanism 1, address
inline constexpr u16 kPortReset = 0xcf9;          // reset control register (also the FADT reset register)
inline constexpr u16 kPortPciData = 0xcfc;        // PCI configuration mechanism 1, data, 4 ports

// --- ISA interrupts (8259 inputs and I/O APIC pins; pin 2 is the 8254 on the I/O APIC).
inline constexpr u8 kIrqPit = 0;
inline constexpr u8 kIrqKeyboard = 1;
inline constexpr u8 kIrqCascade = 2;  // slave 8259 into the master
inline constexpr u8 kIrqSerial1 = 4;
inline constexpr u8 kIrqParallel1 = 7;
inline constexpr u8 kIrqRtc = 8;
inline constexpr u8 kIrqAcpiSci = 9;  // level-triggered, active high (as in the MADT override)
inline constexpr u8 kIrqMouse = 12;
inline constexpr u8 kIoApicPinPit = 2;  // where the 8254 arrives at the I/O APIC (MADT override 0 -> 2)

// --- PCI slots of bus 0.
inline constexpr u32 kPciSlotVga = 2;  // where firmware and QEMU's guests look first

inline constexpr u32 kSlotNetworkCards = 3;  // the first of the network cards' slots, one each
inline constexpr u32 kMostNetworkCards = 5;
inline constexpr u32 kSlotVirtioOthers =
    24;  // the first slot of entropy source, balloon, console, shares, vsock
inline constexpr u32 kMostVirtioOthers = 8;

// --- Physical memory.
inline constexpr u64 kVgaWindow = 0xa'0000;       // legacy VGA memory, 128 KiB
inline constexpr u64 kFirmwareTables = 0xe'0000;  // RSDP and ACPI tables when no firmware image runs; 128 KiB
inline constexpr u64 kIoApicBase = 0xfec0'0000;   // I/O APIC, 4 KiB
inline constexpr u64 kHpetBase = 0xfed0'0000;     // HPET, 1 KiB
inline constexpr u64 kLocalApicBase = 0xfee0'0000;  // local APIC after reset, 4 KiB
inline constexpr u64 kResetVector = 0xffff'fff0;    // first instruction after reset

// --- Storage.
inline constexpr u16 kPortIdePrimary = 0x1f0;           // command block, 8 ports
inline constexpr u16 kPortIdePrimaryControl = 0x3f6;    // alternate status, device control
inline constexpr u16 kPortIdeSecondary = 0x170;         // command block, 8 ports
inline constexpr u16 kPortIdeSecondaryControl = 0x376;  // alternate status, device control
inline constexpr u16 kPortFloppy = 0x3f0;               // 82077AA, 6 ports
inline constexpr u16 kPortFloppyInput = 0x3f7;          // the 82077AA's eighth port: disk changed, data rate
inline constexpr u8 kIrqFloppy = 6;
inline constexpr u8 kIrqIdePrimary = 14;
inline constexpr u8 kIrqIdeSecondary = 15;
inline constexpr u8 kDmaFloppy = 2;        // ISA DMA channel
inline constexpr u8 kSlotIde = 1;          // PCI slot of the PIIX3; IDE is its function 1
inline constexpr u8 kSlotVirtioDisks = 8;  // the first PCI slot of virtio disks, one slot each
inline constexpr u8 kMostVirtioDisks = 16;

// --- Frequencies.
inline constexpr u64 kPitHz = 1'193'182;            // 8254 input
inline constexpr u64 kAcpiPmTimerHz = 3'579'545;    // three times the 8254's
inline constexpr u64 kHpetHz = 100'000'000;         // period 10 ns
inline constexpr u64 kTscHz = 1'000'000'000;        // one TSC tick per nanosecond of guest time
inline constexpr u64 kApicTimerHz = 1'000'000'000;  // local APIC timer input, before its divider

inline constexpr u8 kIoApicPins = 24;

}  // namespace doppel::devices
