// Which ports of a PC the chips on its board have. Used by the machine's board and by the one that the fuzzer
// attacks. Cards, disks and what firmware places are not here.
#pragma once

#include "core/bus.hpp"

namespace doppel::devices {

class DebugConsole;
class DebugExit;
class Dma8237;
class FwCfg;
class I8042;
class ParallelPort;
class PciBus;
class Pic8259Pair;
class PitDevice;
class PostCodePort;
class RtcMc146818;
class SystemControlA;
class SystemControlB;
class Uart16550a;

struct PcPorts {
  Pic8259Pair& pic;
  PitDevice& pit;
  I8042& keyboard;
  SystemControlB& control_b;
  RtcMc146818& rtc;
  Dma8237& dma;
  PostCodePort& post_code;
  SystemControlA& control_a;
  DebugConsole& debug_console;
  DebugExit& debug_exit;
  Uart16550a& uart;
  ParallelPort& parallel;
  FwCfg& fw_cfg;
  PciBus& pci;

  // They outlive the bus's accesses.
  void attach(core::Bus& ports) const;
};

}  // namespace doppel::devices
