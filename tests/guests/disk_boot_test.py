"""Firmware boots from each kind of disk: a boot sector of ours reads the next sector with INT 13h, prints it on the
serial port, writes it to the one after, and ends the machine."""

import pathlib
import subprocess
import tempfile
import unittest

import guest

FIRMWARE = pathlib.Path("/usr/share/seabios/bios-256k.bin")
DONE = 33  # (0x10 << 1) | 1
BOOT_SECTOR = bytes.fromhex(
    "31c0 8ed8 8ec0 8ed0 bc007c 52"  # segments 0, stack below us, the drive's number kept
    "b80102 b90200 30f6 bb007e cd13 7222"  # INT 13h AH=02: cylinder 0, head 0, sector 2 to 0x7e00
    "be007e ac 84c0 7406 baf803 ee ebf5"  # print up to a zero byte
    "5a b80103 b90300 30f6 bb007e cd13 7204"  # AH=03: to sector 3
    "b010 eb02 b011 baf400 ee f4"  # the exit port: 0x10, or 0x11 after an error
)
TEXT = b"read by the BIOS\r\n\0"


class DiskBoot(unittest.TestCase):
    def setUp(self):
        if not FIRMWARE.exists():
            self.skipTest(f"{FIRMWARE} is missing (Debian package seabios)")

    def boots(self, size, option):
        with tempfile.TemporaryDirectory() as folder:
            image = pathlib.Path(folder) / "disk.img"
            image.write_bytes((BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa" + TEXT.ljust(512, b"\0")).ljust(size, b"\0"))
            command = [guest.program, "run", *(word.replace("IMAGE", str(image)) for word in option), "--timeout", "60"]
            if guest.engine:
                command += ["--engine", *guest.engine]
            done = subprocess.run(command, timeout=120, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, check=False)
            self.assertIn(TEXT[:-1], done.stdout)
            self.assertEqual(done.returncode, DONE, done.stdout)
            self.assertEqual(image.read_bytes()[1024:1024 + len(TEXT)], TEXT)

    def test_virtio(self):
        self.boots(8 << 20, ["--disk", "IMAGE"])

    def test_ide(self):
        self.boots(8 << 20, ["--disk", "IMAGE,if=ide"])


    def test_floppies(self):
        for kib in (360, 720, 1200, 1440, 2880):
            with self.subTest(kib=kib):
                self.boots(kib << 10, ["--floppy", "IMAGE"])


guest.main(needs_guest=False)
