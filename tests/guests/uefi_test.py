"""OVMF, from Debian's package, starts its shell on the serial port; commands work; it powers off and resets."""

import pathlib
import re
import time
import unittest

import guest

OVMF = pathlib.Path("/usr/share/ovmf/OVMF.fd")
SLOW_MACHINE = 120


class Uefi(unittest.TestCase):
    def setUp(self):
        if not OVMF.exists():
            raise unittest.SkipTest(f"{OVMF} is missing (Debian package ovmf)")
        self.doppel = guest.Doppel("run", "--bios", OVMF, "-m", "256M", "--no-reboot")
        self.addCleanup(self.doppel.__exit__)
        self.doppel.wait_for("to skip", SLOW_MACHINE)
        self.doppel.type("\x1b")
        self.doppel.wait_for("Shell> ", SLOW_MACHINE)

    def type(self, text):
        for key in text:
            self.doppel.type(key)
            time.sleep(0.02)  # the shell reads one key at a time from a port without a queue
        self.doppel.type("\r")

    def command(self, text):
        self.type(text)
        shown = self.doppel.wait_for("Shell> ", SLOW_MACHINE)
        return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown)

    def test_shell(self):
        self.assertIn("UEFI v2", self.command("ver"))
        functions = self.command("pci")
        for function in ("00   00   00    00 ==> Bridge Device - Host/PCI bridge", "Vendor 8086 Device 7113"):
            self.assertIn(function, functions)
        self.assertIn("Size: 256", self.command("smbiosview -t 17"))
        self.assertIn("ACPI_Recl", self.command("memmap"))
        self.type("reset -s")
        self.assertEqual(self.doppel.finish(), 0)

    def test_reset(self):
        self.type("reset")
        self.assertEqual(self.doppel.finish(), 4)


guest.main(needs_guest=False)
