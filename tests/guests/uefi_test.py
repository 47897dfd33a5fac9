"""OVMF, from Debian's package, starts its shell on the serial port; commands work; it powers off and resets; its
variables are kept in a file."""

import pathlib
import re
import subprocess
import tempfile
import time
import unittest

import guest

OVMF = pathlib.Path("/usr/share/ovmf/OVMF.fd")
SPLIT = pathlib.Path("/usr/share/OVMF")  # code and variables apart
SLOW_MACHINE = 120


class Shell(unittest.TestCase):
    def start(self, *options):
        doppel = guest.Doppel("run", "-m", "256M", *options)
        self.addCleanup(doppel.__exit__)
        self.doppel = doppel
        self.wait_for_shell()

    def wait_for_shell(self):
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

    def power_off(self):
        self.type("reset -s")
        self.assertEqual(self.doppel.finish(), 0)


class Uefi(Shell):
    def setUp(self):
        if not OVMF.exists():
            raise unittest.SkipTest(f"{OVMF} is missing (Debian package ovmf)")
        self.start("--bios", OVMF, "--no-reboot")

    def test_shell(self):
        self.assertIn("UEFI v2", self.command("ver"))
        functions = self.command("pci")
        for function in ("00   00   00    00 ==> Bridge Device - Host/PCI bridge", "Vendor 8086 Device 7113"):
            self.assertIn(function, functions)
        self.assertIn("Size: 256", self.command("smbiosview -t 17"))
        self.assertIn("ACPI_Recl", self.command("memmap"))
        self.power_off()

    def test_reset(self):
        self.type("reset")
        self.assertEqual(self.doppel.finish(), 4)


class Variables(Shell):
    GUID = "d0bbe111-0000-4000-8000-000000000001"

    def setUp(self):
        if not (SPLIT / "OVMF_VARS_4M.fd").exists():
            raise unittest.SkipTest(f"{SPLIT}/OVMF_VARS_4M.fd is missing (Debian package ovmf)")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = pathlib.Path(folder.name) / "variables.fd"

    def error(self, *options):
        done = subprocess.run([guest.program, "run", *map(str, options)], stdin=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, timeout=60, check=False, text=True)
        self.assertEqual(done.returncode, 2)
        return done.stderr

    def keep(self, *firmware):
        self.start(*firmware, "--nvram", self.file)
        self.command(f"setvar Kept -guid {self.GUID} -bs -rt -nv =0x2a001122")
        # Through a reset, which is not the end of the process,
        self.type("reset")
        self.wait_for_shell()
        self.assertIn("22 11 00 2A", self.command(f"setvar Kept -guid {self.GUID}"))
        self.assertIn("another machine uses it", self.error(*firmware, "--nvram", self.file))
        self.power_off()
        # and in another.
        self.start(*firmware, "--nvram", self.file)
        self.assertIn("22 11 00 2A", self.command(f"setvar Kept -guid {self.GUID}"))
        self.command(f"setvar Kept -guid {self.GUID} -bs -rt -nv =")
        self.power_off()
        self.start(*firmware, "--nvram", self.file)
        self.assertNotIn("22 11 00 2A", self.command(f"setvar Kept -guid {self.GUID}"))

    def test_kept(self):
        self.keep()

    def test_kept_by_smaller_firmware(self):
        self.keep("--bios", SPLIT / "OVMF_CODE.fd")

    def test_killed(self):
        """What the firmware was told is written is there, even if the machine ends without a word."""
        self.start("--nvram", self.file)
        self.command(f"setvar Kept -guid {self.GUID} -bs -rt -nv =0x2a001122")
        self.doppel.process.kill()
        self.doppel.finish()
        self.start("--nvram", self.file)
        self.assertIn("22 11 00 2A", self.command(f"setvar Kept -guid {self.GUID}"))

    def test_boot_entries(self):
        self.start("--nvram", self.file)
        before = self.command("bcfg boot dump")
        self.assertIn("EFI Internal Shell", before)
        number = len(re.findall(r"Option: ", before))
        self.command(f"bcfg boot mv {number - 1:02x} 00")
        after = self.command("bcfg boot dump")
        self.assertNotEqual(before, after)
        self.power_off()
        self.start("--nvram", self.file)
        self.assertEqual(after, self.command("bcfg boot dump"))

    def test_mistakes(self):
        self.assertIn("No such file", self.error("--nvram", self.file, "--bios", SPLIT / "OVMF_CODE.nothing"))
        self.file.write_bytes(bytes(5000))
        self.assertIn("multiple of 4 KiB", self.error("--nvram", self.file))
        self.file.write_bytes(b"")
        self.assertIn("multiple of 4 KiB", self.error("--nvram", self.file))
        self.file.write_bytes(bytes(8192))
        self.assertIn("does not belong", self.error("--nvram", self.file))
        self.assertIn("in itself", self.error("--nvram", self.file, "--bios", OVMF))
        self.assertIn("leave one out", self.error("--nvram", self.file, "--kernel", "/dev/null"))
        self.assertIn("directory", self.error("--nvram", self.file.parent))
        self.file.unlink()
        self.assertIn("no such file", self.error("--nvram", self.file, "--bios", "/usr/share/seabios/bios-256k.bin"))
        self.assertFalse(self.file.exists())


guest.main(needs_guest=False)
