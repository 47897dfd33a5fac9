"""SeaBIOS finds the machine it should, obeys `--boot`, and says soon that there is nothing to boot."""

import pathlib
import subprocess
import tempfile
import time
import unittest

import guest

BIOS = pathlib.Path("/usr/share/seabios/bios-256k.bin")
SECONDS_TO_END_OF_POST = 1.5  # translated, on an idle machine
SLOW_MACHINE = 60


class Firmware(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if not BIOS.exists():
            raise unittest.SkipTest(f"{BIOS} is missing (Debian package seabios)")

    def start(self, *options):
        engine = ["--engine", *guest.engine] if guest.engine else []
        return guest.Doppel("run", "--bios", BIOS, "-m", "128M", "--serial", "null", *engine, *options,
                            terminal=False)

    def test_power_on_self_test(self):
        begin = time.monotonic()
        with self.start() as doppel:
            log = doppel.wait_for("No bootable device.", SLOW_MACHINE)
            seconds = time.monotonic() - begin
            used = doppel.cpu_seconds()
        for line in ("SeaBIOS (version ", "Running on QEMU (i440fx)", "QEMU fw_cfg DMA interface supported",
                     "len 0x0000000008000000 [RAM]", "Moving pm_base to 0x600", "PIIX3/PIIX4 init: elcr=00 0c",
                     "Using pmtimer, ioport 0x608", "Found 1 cpu(s)", "Copying SMBIOS", "(via xsdt)",
                     "Found 1 lpt ports", "Found 1 serial ports", "PS2 keyboard initialized",
                     "Booting from Hard Disk"):
            self.assertIn(line, log)
        self.assertNotIn("error", log)
        # Processor time where others share the machine; elapsed time is bounded above.
        self.assertLess(min(seconds, used), SECONDS_TO_END_OF_POST)

    def test_reset_runs_it_again(self):
        with self.start("--boot", "order=c,once=a,reboot-timeout=1") as doppel:
            for first, second in (("Floppy", "Hard Disk"), ("Hard Disk", "Floppy")):
                doppel.wait_for("Running on QEMU", SLOW_MACHINE)
                doppel.wait_for("Booting from " + first, SLOW_MACHINE)
                doppel.wait_for("Booting from " + second, SLOW_MACHINE)
                doppel.wait_for("No bootable device.  Retrying", SLOW_MACHINE)

    def test_screen(self):
        """The video BIOS runs: what SeaBIOS says is on the VGA."""
        with tempfile.TemporaryDirectory() as folder:
            control = pathlib.Path(folder, "control")
            with self.start("--control", f"unix:{control}") as doppel:
                log = doppel.wait_for("No bootable device.", SLOW_MACHINE)
                self.assertIn("Running option rom at c000:0003", log)
                screen = subprocess.run([guest.program, "ctl", control, "screen-text"], capture_output=True, text=True,
                                        timeout=SLOW_MACHINE).stdout
        for line in ("SeaBIOS (version ", "Booting from Hard Disk...", "No bootable device."):
            self.assertIn(line, screen)

    def test_menu(self):
        with self.start("--boot", "menu=on,splash-time=100") as doppel:
            doppel.wait_for("Press ESC for boot menu.", SLOW_MACHINE)
            doppel.wait_for("No bootable device.", SLOW_MACHINE)

    def test_option_rom_of_our_own(self):
        """A bootable image is not needed to run guest code: an image of 64 KiB with our own reset vector."""
        image = bytearray(b"\xf4" * 0x10000)
        code = bytes.fromhex(
            "b4 4f 88 e0 e6 e9"     # MOV AH,'O'; MOV AL,AH; OUT 0xe9,AL
            "b0 4b e6 e9"           # 'K'
            "b0 15 e6 f4 f4")       # OUT 0xf4: exit status 43
        image[0x100:0x100 + len(code)] = code
        image[0xfff0:0xfff5] = bytes.fromhex("ea 00 01 00 f0")  # JMP F000:0100, the copy below 1 MiB
        with tempfile.NamedTemporaryFile() as file:
            file.write(image)
            file.flush()
            engine = ["--engine", *guest.engine] if guest.engine else []
            with guest.Doppel("run", "--bios", file.name, *engine, terminal=False) as doppel:
                self.assertEqual(doppel.finish(), 43)
                self.assertIn("OK", doppel.shown)


guest.main(needs_guest=False)
