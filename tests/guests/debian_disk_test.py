"""A disk with an installed Debian: from SeaBIOS through GRUB in the MBR to a login on the serial port and on the VGA
console, a file that outlives a reboot, and a file system that is clean afterwards."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import guest

IMAGE = guest.guests / "debian.img"
PARTITION = 1 << 20  # its offset, as make_debian_disk.sh puts it
BOOT, STOP = 300, 120
SHELL = "root@debian:~# "


class DebianDisk(unittest.TestCase):
    def setUp(self):
        if not IMAGE.exists():
            self.skipTest(f"{IMAGE} is missing: run './dev debian'")
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.disk = self.folder / "disk.img"
        subprocess.run(["cp", "--sparse=always", IMAGE, self.disk], check=True)

    def log_in(self, doppel):
        doppel.wait_for("debian login: ", BOOT)
        doppel.type("root\n")
        doppel.wait_for("Password: ")
        doppel.type("doppel\n")
        doppel.wait_for(SHELL)

    def command(self, doppel, text, seconds=guest.COMMAND_SECONDS):
        doppel.type(text + "\n")
        doppel.wait_for(text + "\n")
        return doppel.wait_for(SHELL, seconds)

    def control(self, *words):
        subprocess.run([guest.program, "ctl", self.folder / "control", *words], check=True, timeout=60)

    def test_installed(self):
        engine = ["--engine", *guest.engine] if guest.engine else []
        with guest.Doppel("run", "--disk", self.disk, "-m", "1G", "--control", f"unix:{self.folder / 'control'}", *engine) as doppel:
            doppel.wait_for("GRUB", BOOT)
            self.log_in(doppel)
            self.command(doppel, "systemctl is-system-running --wait | sed s/^/state:/")
            self.assertIn("state:running", doppel.shown, self.command(doppel, "systemctl --failed --no-legend"))
            # The VGA console shows a login too, in graphics by now, and takes one.
            self.assertIn("Debian GNU/Linux 12 debian tty1", self.command(doppel, "fold -w 80 /dev/vcs1"))
            for line in ("root", "doppel", "tty > typed"):
                self.control("send-keys", line)
                self.control("send-key", "enter")
                self.command(doppel, "sleep 3")
            self.assertIn("/dev/tty1", self.command(doppel, "cat typed"))
            self.control("screenshot", self.folder / "screen.png")
            self.assertGreater((self.folder / "screen.png").stat().st_size, 2000)  # not one colour
            self.assertIn("/dev/vda1 on / type ext4 (rw", self.command(doppel, "mount"))
            written = self.command(doppel, "dd if=/dev/urandom bs=1M count=8 status=none | tee kept | sha256sum")
            doppel.type("reboot\n")
            self.log_in(doppel)
            self.assertEqual(self.command(doppel, "sha256sum < kept"), written)
            doppel.type("poweroff\n")
            self.assertEqual(doppel.finish(STOP), 0)
        partition = self.folder / "partition"
        with self.disk.open("rb") as disk, partition.open("wb") as out:
            disk.seek(PARTITION)
            shutil.copyfileobj(disk, out, 1 << 20)
        done = subprocess.run(["/sbin/e2fsck", "-fn", partition], capture_output=True, text=True, check=False,
                              env={**os.environ, "LC_ALL": "C"})
        self.assertEqual(done.returncode, 0, done.stdout)


guest.main(needs_guest=False)
