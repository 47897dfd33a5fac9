"""A FAT12 floppy boots floppy_boot.S through the firmware: a program found in the directory asks for a key by INT 16h,
prints by INT 10h and writes a file's sector by INT 13h. Started as `TEST.py DOPPEL-PROGRAM FLOPPY-BOOT.BIN ENGINE`."""

import pathlib
import tempfile
import unittest

import guest
from screen import Screen

FIRMWARE = pathlib.Path("/usr/share/seabios/bios-256k.bin")
SECTOR, FAT_SECTORS, ROOT_DIRECTORY, CLUSTER_2 = 512, 9, 19, 33
PROGRAM_CLUSTER, ANSWER_CLUSTER = 100, 101  # not on the first track


def fat12(entries):
    """A file allocation table with these 12-bit entries."""
    table = bytearray(FAT_SECTORS * SECTOR)
    for cluster, value in entries.items():
        at, shift = cluster * 3 // 2, cluster % 2 * 4
        table[at] |= value << shift & 0xFF
        table[at + 1] |= value << shift >> 8 & 0xFF
    return bytes(table)


def directory_entry(name, cluster):
    return name + bytes(15) + cluster.to_bytes(2, "little") + SECTOR.to_bytes(4, "little")


def floppy(boot_sector, program):
    table = fat12({0: 0xFF0, 1: 0xFFF, PROGRAM_CLUSTER: 0xFFF, ANSWER_CLUSTER: 0xFFF})
    directory = (b"DOPPEL TEST\x08" + bytes(20) + directory_entry(b"PROGRAM BIN", PROGRAM_CLUSTER) +
                 directory_entry(b"ANSWER  TXT", ANSWER_CLUSTER))
    image = (boot_sector + table * 2 + directory).ljust((CLUSTER_2 + PROGRAM_CLUSTER - 2) * SECTOR, b"\0")
    return image + program


class Floppy(unittest.TestCase):
    def test_real_mode_program(self):
        self.run_program(1440 * 1024)

    def test_image_that_ends_early(self):
        """As GRUB's rescue floppy does; the answer is stored beyond its end."""
        self.run_program(0)

    def run_program(self, size):
        if not FIRMWARE.exists():
            self.skipTest(f"{FIRMWARE} is missing (Debian package seabios)")
        code = guest.guests.read_bytes()
        self.assertEqual(len(code), 2 * SECTOR)
        with tempfile.TemporaryDirectory() as folder:
            image = pathlib.Path(folder, "floppy.img")
            image.write_bytes(floppy(code[:SECTOR], code[SECTOR:]).ljust(size, b"\0"))
            with Screen("--floppy", image, "-m", "16M") as screen:
                screen.wait_for("PROGRAM.BIN runs. A key, please:")
                screen.type("Q")
                shown = screen.wait_for("stored")
                self.assertIn("The key was Q", shown)
            at = (CLUSTER_2 + ANSWER_CLUSTER - 2) * SECTOR
            self.assertTrue(image.read_bytes()[at:].startswith(b"The key was Q\r\n\0"))


guest.main(needs_guest=False)
