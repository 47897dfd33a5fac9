"""Debian's kernel on Doppel's disks: virtio and IDE disks hold file systems and what was written to them, a CD-ROM is
read, snapshots vanish, served formats and floppies work, and images that cannot be used are one sentence."""

import hashlib
import os
import pathlib
import random
import resource
import shutil
import subprocess
import tempfile
import unittest

import guest

MIB = 1 << 20


def initramfs(folder):
    """The test guest with the kernel's disk drivers."""
    path = pathlib.Path(folder) / "initramfs.cpio"
    path.write_bytes(guest.initramfs.read_bytes() + (guest.guests / "disk_modules.cpio").read_bytes())
    return path


def boot(folder, *options, append="console=ttyS0 quiet", limits=None):
    engine = ["--engine", *guest.engine] if guest.engine else []
    return guest.Doppel("run", "--kernel", guest.kernel, "--initrd", initramfs(folder), "--append", append, *engine,
                        *options, limits=limits)


def run_once(*options):
    """Exit status and what was said, of a run that is expected to end at once."""
    done = subprocess.run([guest.program, "run", "--kernel", guest.kernel, *map(str, options)], timeout=60, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout


class Disks(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="doppel-disks-")
        self.path = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def image(self, name, size=64 * MIB):
        path = self.path / name
        with open(path, "wb") as file:
            file.truncate(size)
        return path

    def booted(self, *options, limits=None):
        doppel = boot(self.path, *options, limits=limits)
        doppel.boot()
        self.assertIn("drivers 0", doppel.command("modprobe -a $(cat /disk-modules); echo drivers $?"))
        return doppel

    def file_system_works(self, device, *options):
        """A file system is made, filled, checked after its cache is dropped, and found again after a restart."""
        with self.booted(*options) as doppel:
            doppel.command(f"mke2fs -q {device} && mkdir -p /mnt && mount -t ext4 {device} /mnt")
            doppel.command("head -c 20000000 /dev/urandom > /mnt/data && sync && sha256sum /mnt/data > /mnt/sum")
            doppel.command("umount /mnt && echo 3 > /proc/sys/vm/drop_caches")
            self.assertIn("/mnt/data: OK", doppel.command(f"mount -t ext4 {device} /mnt; sha256sum -c /mnt/sum", 120))
            doppel.command("umount /mnt")
            self.assertEqual(doppel.command("dmesg | grep -i -E 'i/o error|ata.*error|exception'"), "")
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), 0)
        with self.booted(*options) as doppel:
            doppel.command("mkdir -p /mnt")
            self.assertIn("/mnt/data: OK", doppel.command(f"mount -t ext4 {device} /mnt; sha256sum -c /mnt/sum", 120))

    def test_virtio(self):
        image = self.image("disk.img")
        self.file_system_works("/dev/vda", "--disk", image)
        with open(image, "rb") as file:
            file.seek(1024 + 56)
            self.assertEqual(file.read(2), b"\x53\xef", "the host sees the file system")

    def test_ide(self):
        self.file_system_works("/dev/sda", "--disk", f"{self.image('disk.img')},if=ide")

    def test_qcow2(self):
        if not shutil.which("qemu-img"):
            self.skipTest("qemu-img is missing (Debian package qemu-utils)")
        image = self.path / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "64M"], check=True)
        self.file_system_works("/dev/vda", "--disk", image)
        subprocess.run(["qemu-img", "check", "-q", image], check=True)

    def test_cdrom(self):
        disc = self.path / "disc.iso"
        data = random.Random(1).randbytes(3 * MIB)
        disc.write_bytes(data)
        with self.booted("--cdrom", disc) as doppel:
            self.assertIn(hashlib.sha256(data).hexdigest(), doppel.command("sha256sum /dev/sr0", 120))
            self.assertIn("Read-only", doppel.command("dd if=/dev/zero of=/dev/sr0 count=1"))

    def test_read_only_and_snapshot(self):
        fixed, thrown = self.image("fixed.img", 4 * MIB), self.image("thrown.img", 4 * MIB)
        with self.booted("--disk", f"{fixed},readonly", "--disk", f"{thrown},snapshot") as doppel:
            self.assertIn("1", doppel.command("cat /sys/block/vda/ro"))
            doppel.command("head -c 1000000 /dev/urandom > /dev/vdb; sync; echo 3 > /proc/sys/vm/drop_caches")
            self.assertNotIn(hashlib.sha256(bytes(4 * MIB)).hexdigest(), doppel.command("sha256sum /dev/vdb"))
        for image in (fixed, thrown):
            self.assertEqual(image.read_bytes(), bytes(4 * MIB))

    def test_full_host_disk(self):
        """What the host cannot write is an error of the guest's disk; what it can is kept, and the machine goes on."""
        for interface, device in (("virtio", "vda"), ("ide", "sda")):
            with self.subTest(interface):
                image = self.image(f"{interface}.img", 256 * MIB)
                # A file may have no more than the guest's RAM: writes behind that fail with EFBIG.
                limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (128 * MIB, 128 * MIB))
                with self.booted("-m", "128M", "--disk", f"{image},if={interface}", limits=limit) as doppel:
                    self.assertIn("copied", doppel.command(
                        f"dd if=/dev/zero bs=1M count=1 2>&- | tr '\\0' A | dd of=/dev/{device} 2>&-; sync && echo copied"))
                    self.assertRegex(doppel.command(
                        f"dd if=/dev/zero of=/dev/{device} bs=1M seek=130 count=2 conv=fsync; dmesg | tail -20", 240), "I/O error")
                    doppel.command("echo 3 > /proc/sys/vm/drop_caches")
                    self.assertIn("1048576", doppel.command(f"head -c 1048576 /dev/{device} | tr -d '\\0' | wc -c"))
                with open(image, "rb") as file:
                    self.assertEqual(file.read(MIB), b"A" * MIB)

    def test_vanished_file(self):
        """A file that is removed stays the disk of the machine that has it open."""
        image = self.image("disk.img", 4 * MIB)
        with self.booted("--disk", image) as doppel:
            image.unlink()
            self.assertIn("written", doppel.command("dd if=/dev/zero of=/dev/vda bs=1M count=4 conv=fsync && echo written"))

    def test_shrunk_file(self):
        """What the host cannot read is an error of the guest's disk, and the machine goes on."""
        image = self.image("disk.img", 4 * MIB)
        with self.booted("--disk", image) as doppel:
            os.truncate(image, MIB)  # reads beyond this fail
            self.assertRegex(doppel.command("dd if=/dev/vda of=/dev/null bs=4k"), "I/O error")
            self.assertIn("still here", doppel.command("echo still here"))

    def test_qemu_spelling(self):
        disc = self.path / "disc.iso"
        disc.write_bytes(bytes(MIB))
        with self.booted("-hda", self.image("a.img"), "-drive", f"file={self.image('b.img')},if=virtio,format=raw",
                         "-cdrom", disc) as doppel:
            self.assertEqual(doppel.command("ls /dev/sda /dev/vda /dev/sr0").split(), ["/dev/sda", "/dev/sr0", "/dev/vda"])

    def test_what_cannot_be_used(self):
        used = self.image("used.img")
        corrupt = self.path / "corrupt.qcow2"
        corrupt.write_bytes(b"QFI\xfb" + b"\xff" * 4000)
        with self.booted("--disk", used):
            for words, says in (
                ([f"--disk={self.path}"], "directory"),
                ([f"--disk={self.path}/none"], "no such file"),
                ([f"--disk={self.image('empty', 0)}"], "empty"),
                ([f"--disk={used}"], "in use"),
                ([f"--disk={corrupt}"], "qcow2"),
                ([f"--disk={used},format=qcow"], "did you mean"),
                ([f"--disk={used},cache=none"], "did you mean"),
                ([f"--disk={used},colour=blue"], "did you mean"),
                (["--disk=,snapshot"], "no file name"),
                ([f"--floppy={self.image('odd', 4 * MIB)}"], "no floppy disk has"),
            ):
                status, said = run_once(*words)
                self.assertEqual(status, 2, said)
                self.assertIn(says, said)
                self.assertEqual(said.count("\n"), 1, said)


guest.main()
