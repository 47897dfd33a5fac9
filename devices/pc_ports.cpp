#include "devices/pc_ports.hpp"

#include "devices/debug_ports.hpp"
#include "devices/dma_8237.hpp"
#include "devices/fw_cfg.hpp"
#include "devices/i8042.hpp"
#include "devices/parallel_port.hpp"
#include "devices/pc_layout.hpp"
#include "devices/pci_bus.hpp"
#include "devices/pic_8259.hpp"
#include "devices/pit_8254.hpp"
#include "devices/rtc_mc146818.hpp"
#include "devices/uart_16550a.hpp"

namespace doppel::devices {

void PcPorts::attach(core::Bus& ports) const {
  ports.attach(kPortPicMaster, 2, pic, 0);
  ports.attach(kPortPicSlave, 2, pic, 2);
  ports.attach(kPortElcr, 2, pic, 4);
  ports.attach(kPortPit, 4, pit);
  ports.attach(kPortI8042Data, 1, keyboard, 0);
  ports.attach(kPortSystemControlB, 1, control_b);
  ports.attach(kPortI8042Command, 1, keyboard, 4);
  ports.attach(kPortRtc, 2, rtc);
  ports.attach(kPortDmaFirst, 16, dma);
  ports.attach(kPortDmaSecond, 32, dma, Dma8237::kSecondController);
  ports.attach(kPortDmaPages, 15, dma, Dma8237::kPages + kPortDmaPages % 16);
  ports.attach(kPortPostCode, 1, post_code);
  ports.attach(kPortSystemControlA, 1, control_a);
  ports.attach(kPortDebugE9, 1, debug_console);
  ports.attach(kPortDebugFirmware, 1, debug_console);
  ports.attach(kPortDebugExit, 4, debug_exit);
  ports.attach(kPortSerial1, 8, uart);
  ports.attach(kPortParallel1, 3, parallel);
  ports.attach(kPortFwCfg, FwCfg::kPorts, fw_cfg);
  ports.attach(kPortPciAddress, 8, pci);
}

}  // namespace doppel::devices
