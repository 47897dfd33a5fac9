"""Firmware boots from the network: iPXE, from the card's option ROM, gets an address and the name of a script by DHCP, and
the script, Debian's 32-bit kernel and its initramfs by TFTP; the kernel starts its shell. With both cards and in OVMF."""

import pathlib
import subprocess
import unittest

import guest
import net_guest

ROMS = pathlib.Path("/usr/lib/ipxe/qemu")
KERNEL, SHELL = guest.guests / "vmlinuz-686", guest.guests / "initramfs32.cpio"
OVMF = pathlib.Path("/usr/share/ovmf/OVMF.fd")
SECONDS = 240


class Pxe(net_guest.Folder, unittest.TestCase):
    def setUp(self):
        super().setUp()
        if not (ROMS / "efi-e1000.rom").exists():
            self.skipTest(f"{ROMS} is missing (Debian package ipxe-qemu)")

    def served(self, script):
        (self.path / "boot.ipxe").write_text("#!ipxe\n" + script)
        return f"tftp={self.path},bootfile=boot.ipxe"

    def boots_linux(self, model):
        if not (KERNEL.exists() and SHELL.exists()):
            self.skipTest("no 32-bit guest: run ./dev guests")
        (self.path / "vmlinuz").symlink_to(KERNEL.resolve())
        (self.path / "initrd").symlink_to(SHELL.resolve())
        options = self.served("kernel vmlinuz console=ttyS0 quiet from=${net0/mac}\ninitrd initrd\nboot\n")
        mac = "52:54:00:12:34:56"
        with guest.Doppel("run", "--net", f"user,model={model},mac={mac},{options}", "--boot", "n", "-m", "256M") as doppel:
            doppel.wait_for("iPXE", SECONDS)
            doppel.wait_for(guest.PROMPT, SECONDS)
            self.assertIn(f"from={mac}", doppel.command("cat /proc/cmdline"))
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), 0)

    def test_e1000(self):
        self.boots_linux("e1000")

    def test_virtio(self):
        self.boots_linux("virtio")

    def test_order(self):
        """The network is tried where --boot says: after a disk that cannot be booted, and only once."""
        disk = self.path / "empty.img"
        disk.write_bytes(bytes(1 << 20))
        options = self.served("echo from the network\nsleep 1\nreboot\n")
        log = self.path / "log"
        disk_first = "Booting from Hard Disk"
        for order in ("cn", "order=c,once=n"):
            with guest.Doppel("run", "--net", f"user,model=e1000,{options}", "--boot", order, "--disk", disk,
                              "--debugcon", f"file:{log}") as doppel:
                doppel.wait_for("from the network", SECONDS)
                self.assertEqual(disk_first in log.read_text(errors="replace"), order == "cn")
                doppel.wait_for(disk_first, SECONDS)  # after the reset

    def test_uefi(self):
        if not OVMF.exists():
            self.skipTest(f"{OVMF} is missing (Debian package ovmf)")
        options = self.served("echo from the network\nsleep 1\npoweroff\n")
        for model in ("e1000", "virtio"):
            with guest.Doppel("run", "--bios", OVMF, "--net", f"user,model={model},{options}", "--boot", "n") as doppel:
                doppel.wait_for("from the network", SECONDS)

    def test_nothing_to_boot_from(self):
        done = subprocess.run([guest.program, "run", "--boot", "n"], timeout=60, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("there is no network card to boot from", done.stderr)


guest.main(needs_guest=False)
