"""The virtio devices besides disks and network cards: entropy, the balloon (memory goes back to the host), the console
and its ports in both directions, and a shared folder that the guest uses and cannot leave."""

import os
import pathlib
import socket
import subprocess
import time
import unittest

import guest
import net_guest

MIB = 1 << 20


def resident(doppel):
    """KiB of guest RAM that the host has given."""
    return doppel.memory_kib("RssShmem")


class Peripherals(net_guest.Folder, unittest.TestCase):
    def booted(self, *options):
        doppel = net_guest.boot(self.path, *options)
        doppel.boot()
        self.assertIn("drivers 0", doppel.command("modprobe -a $(cat /net-modules); echo drivers $?"))
        return doppel

    def test_entropy(self):
        with self.booted("--rng") as doppel:
            self.assertIn("virtio_rng", doppel.command("cat /sys/class/misc/hw_random/rng_current"))
            first = doppel.command("head -c 32 /dev/hwrng | sha256sum")
            self.assertNotEqual(first, doppel.command("head -c 32 /dev/hwrng | sha256sum"))
            self.assertIn("100000", doppel.command("head -c 100000 /dev/hwrng | wc -c"))

    def test_balloon(self):
        control = self.path / "control"
        with self.booted("--balloon", "-m", "1G", "--control", f"unix:{control}") as doppel:
            doppel.command("mount -t tmpfs -o size=600M tmpfs /tmp; head -c 500000000 /dev/zero > /tmp/file", 120)
            full = resident(doppel)
            self.assertGreater(full, 480_000)
            doppel.command("rm /tmp/file")
            # Free pages are reported after two seconds or so.
            deadline = time.monotonic() + 60
            while resident(doppel) > full - 350_000 and time.monotonic() < deadline:
                time.sleep(0.5)
            reported = resident(doppel)
            print(f"    {full // 1024} MiB before, {reported // 1024} MiB after the file was removed")
            self.assertLess(reported, full - 350_000)
            free = int(doppel.command("awk '/MemFree/ {print $2}' /proc/meminfo"))
            done = subprocess.run([guest.program, "ctl", control, "balloon", "400"], timeout=60, check=False)
            self.assertEqual(done.returncode, 0)
            time.sleep(3)
            self.assertLess(int(doppel.command("awk '/MemFree/ {print $2}' /proc/meminfo")), free - 300_000)
            subprocess.run([guest.program, "ctl", control, "balloon", "0"], timeout=60, check=True)
            time.sleep(3)
            self.assertGreater(int(doppel.command("awk '/MemFree/ {print $2}' /proc/meminfo")), free - 50_000)
            # The memory works again.
            doppel.command("head -c 300000000 /dev/zero > /tmp/file", 120)
            self.assertIn("300000000", doppel.command("wc -c < /tmp/file"))

    def test_console(self):
        output, path = self.path / "hvc0", self.path / "port"
        with self.booted("--console", f"file:{output}", "--port", f"org.test=unix:{path}") as doppel:
            doppel.command("echo to the console > /dev/hvc0")
            self.assertIn("org.test", doppel.command("cat /sys/class/virtio-ports/*/name"))
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(60)
                client.connect(os.fspath(path))
                doppel.command("device=/dev/$(basename $(dirname $(grep -l org.test /sys/class/virtio-ports/*/name)))")
                doppel.command("(head -c 200000 | sha256sum > /tmp/sum; head -c 100000 /dev/zero) <>$device >&0 &")
                data = os.urandom(200_000)
                client.sendall(data)
                received = b""
                while len(received) < 100_000:
                    received += client.recv(65536)
                self.assertEqual(received, bytes(100_000))
                (self.path / "data").write_bytes(data)
                digest = subprocess.run(["sha256sum"], input=data, stdout=subprocess.PIPE, check=True).stdout.split()[0]
                self.assertIn(digest.decode(), doppel.command("cat /tmp/sum"))
            self.assertIn("to the console", output.read_text())


class Share(net_guest.Folder, unittest.TestCase):
    """With Debian's 32-bit kernel: its cloud kernel has no 9p."""

    def setUp(self):
        super().setUp()
        self.kernel = guest.guests / "vmlinuz-686"
        if not (self.kernel.exists() and (guest.guests / "net32_modules.cpio").exists()):
            self.skipTest("no 32-bit guest: run ./dev guests")
        self.shared = self.path / "shared"
        self.shared.mkdir()
        (self.path / "secret").write_text("secret")

    def booted(self, *options):
        initramfs = net_guest.initramfs(self.path, guest.guests / "initramfs32.cpio", "net32_modules.cpio")
        doppel = guest.Doppel("run", "--kernel", self.kernel, "--initrd", initramfs, "--append", "console=ttyS0 quiet",
                              *options)
        doppel.boot()
        doppel.command("busybox --install -s /bin")
        self.assertIn("drivers 0", doppel.command("modprobe -a $(cat /net-modules); echo drivers $?"))
        doppel.command("mkdir -p /mnt")
        self.assertIn("mounted 0", doppel.command("mount -t 9p -o trans=virtio,version=9p2000.L work /mnt; echo mounted $?"))
        return doppel

    def test_share(self):
        data = os.urandom(3 * MIB)
        (self.shared / "data").write_bytes(data)
        (self.shared / "out").symlink_to(self.path / "secret")
        (self.shared / "up").symlink_to("../secret")
        os.mkfifo(self.shared / "pipe")
        for i in range(300):
            (self.shared / f"file-{i}").touch()
        with self.booted("--share", f"work={self.shared}") as doppel:
            digest = subprocess.run(["sha256sum", self.shared / "data"], stdout=subprocess.PIPE, check=True).stdout[:64]
            self.assertIn(digest.decode(), doppel.command("sha256sum /mnt/data"))
            self.assertIn("304", doppel.command("ls /mnt | wc -l"))
            doppel.command("mkdir /mnt/folder; cp /mnt/data /mnt/folder/copy; echo more >> /mnt/folder/copy")
            self.assertEqual((self.shared / "folder/copy").read_bytes(), data + b"more\n")
            doppel.command("mv /mnt/folder/copy /mnt/moved; ln /mnt/moved /mnt/second; rmdir /mnt/folder; rm /mnt/file-7")
            doppel.command("chmod 4755 /mnt/moved; ln -s moved /mnt/link; truncate -s 5 /mnt/second; sync")
            self.assertEqual((self.shared / "moved").read_bytes(), data[:5])
            self.assertEqual((self.shared / "moved").stat().st_mode & 0o7777, 0o755, "no set-user-id")
            self.assertEqual(os.readlink(self.shared / "link"), "moved")
            self.assertFalse((self.shared / "folder").exists() or (self.shared / "file-7").exists())
            # The guest resolves links in its own name space: there is no such file.
            for name in ("out", "up", "../../secret", "pipe"):
                self.assertNotIn("secret\n", doppel.command(f"timeout 5 cat /mnt/{name} 2>/dev/null"))
            self.assertIn("refused", doppel.command("mknod /mnt/device c 1 3 || echo refused"))
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), 0)

    def test_read_only(self):
        (self.shared / "data").write_text("hello")
        with self.booted("--share", f"work={self.shared},ro") as doppel:
            self.assertIn("hello", doppel.command("cat /mnt/data"))
            for command in ("echo x > /mnt/data", "echo x > /mnt/new", "rm /mnt/data", "mkdir /mnt/folder",
                            "mv /mnt/data /mnt/other", "chmod 600 /mnt/data", "ln -s a /mnt/link"):
                self.assertIn("refused", doppel.command(f"({command}) 2>/dev/null || echo refused"))
        self.assertEqual([path.name for path in pathlib.Path(self.shared).iterdir()], ["data"])
        self.assertEqual((self.shared / "data").read_text(), "hello")


if __name__ == "__main__":
    guest.main()
