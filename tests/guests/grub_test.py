"""GRUB from Debian's rescue CD and floppy and from a CD of grub-mkrescue: commands at its prompt, a disk that it
chain-loads, and GNU Mach, which it starts by Multiboot with a task of ours."""

import pathlib
import tempfile
import unittest

import guest
from screen import Screen

RESCUE_CD, RESCUE_FLOPPY, CD = (guest.guests / name for name in ("grub-rescue.iso", "grub-rescue.img", "grub.iso"))
CHAINED = 43  # the exit status of the boot sector below
BOOT_SECTOR = bytes.fromhex(
    "31c0 8ed8 be187c"  # DS = 0, SI = the text
    "ac 84c0 7409 b40e bb0700 cd10 ebf2"  # INT 10h AH=0eh: print up to a zero byte
    "b015 e6f4 f4"  # the exit port
) + b"chain-loaded\0"


class Grub(unittest.TestCase):
    def start(self, image, *options):
        if not image.exists():
            self.skipTest(f"no {image.name}: run ./dev guests")
        screen = Screen("--floppy" if image.suffix == ".img" else "--cdrom", image, "-m", "128M", "--no-reboot",
                        "--boot", "da", *options)
        self.addCleanup(screen.__exit__)
        return screen

    def command(self, screen, text, shown):
        screen.type(text + "\n")
        return screen.wait_for(shown)

    def prompt_of_rescue(self, image, device, prefix):
        """Past the menu of Debian's images."""
        screen = self.start(image)
        screen.wait_for("GNU/Linux")
        screen.type("c")
        screen.wait_for("grub>")
        self.command(screen, "ls", device)
        self.command(screen, "echo the prefix is $prefix", f"the prefix is {prefix}/boot/grub")
        return screen

    def test_rescue_cd(self):
        screen = self.prompt_of_rescue(RESCUE_CD, "(cd)", "(hd96)")
        self.command(screen, "ls /boot/grub", "i386-pc")

    def test_rescue_floppy(self):
        self.prompt_of_rescue(RESCUE_FLOPPY, "(fd0)", "(fd0)")

    def test_chain_loading(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        disk = pathlib.Path(folder.name, "disk.img")
        disk.write_bytes((BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
        for interface in ("ide", "virtio"):
            with self.subTest(interface):
                screen = self.start(CD, "--disk", f"{disk},if={interface},snapshot,format=raw")
                screen.wait_for("grub>")
                self.command(screen, "ls", "(hd0)")
                self.command(screen, "cat /text", "a file that GRUB read from the CD")
                self.command(screen, "set root=(hd0)", "grub>")
                screen.type("chainloader +1\nboot\n")
                self.assertEqual(screen.doppel.finish(), CHAINED)

    def test_mach(self):
        screen = self.start(CD)
        screen.wait_for("grub>")
        screen.type("mach\n")  # a function of grub.cfg
        shown = screen.wait_for("3 task in ring 3", where=screen.serial)
        for line in ("GNU Mach 1.8", "BIOS32 Service Directory", "PIIX3", "DOPPEL DVD-ROM, ATAPI CDROM drive",
                     "start task: 1 task in ring 3", "2 task in ring 3"):
            self.assertIn(line, shown)


guest.main(needs_guest=False)
