"""Debian's 32-bit kernel on Intel's 82540EM (its cloud kernel has no driver): an address by DHCP, files from a web server on
the host's loopback with the right hash, both ways, a card that is reset while it works, a link between two machines, and
a link to a virtio card.

DOPPEL_NET_MIB sets the size of the file (20 without it)."""

import hashlib
import os
import time
import unittest

import guest
import net_guest
import net_test

MIB = 1 << 20
SIZE = int(os.environ.get("DOPPEL_NET_MIB", "20")) * MIB
KERNEL, MODULES = guest.guests / "vmlinuz-686", "net32_modules.cpio"


class E1000(net_guest.Folder, unittest.TestCase):
    def setUp(self):
        super().setUp()
        if not (KERNEL.exists() and (guest.guests / MODULES).exists()):
            self.skipTest("no 32-bit guest: run ./dev guests")

    def boot(self, *options):
        initramfs = net_guest.initramfs(self.path, guest.guests / "initramfs32.cpio", MODULES)
        return guest.Doppel("run", "--kernel", KERNEL, "--initrd", initramfs, "--append", "console=ttyS0 quiet", *options)

    def up(self, doppel, address=None):
        doppel.boot()
        doppel.command("busybox --install -s /bin")
        return net_guest.set_up(doppel, address)

    def test_user_network(self):
        data = os.urandom(MIB) * (SIZE // MIB)
        (self.path / "file").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        forwarded = net_guest.free_port()
        mac = "52:54:00:ab:cd:ef"
        with net_guest.web_server(self.path) as port, self.boot(
                "--net", f"user,model=e1000,mac={mac},hostfwd=tcp:127.0.0.1:{forwarded}-:7", "--stats") as doppel:
            self.up(doppel)
            device = doppel.command("cat /sys/class/net/eth0/device/vendor /sys/class/net/eth0/device/device")
            self.assertEqual(device.split(), ["0x8086", "0x100e"])
            self.assertIn(mac, doppel.command("cat /sys/class/net/eth0/address"))
            self.assertIn("1000", doppel.command("cat /sys/class/net/eth0/speed"))
            self.assertIn("10.0.2.15/24", doppel.command("ip addr show eth0"))
            fetch = f"wget -q -O - http://10.0.2.2:{port}/file | sha256sum"
            started = time.monotonic()
            self.assertIn(digest, doppel.command(fetch, 600))
            print(f"    {SIZE / MIB / (time.monotonic() - started):.0f} MiB/s, SHA-256 included")
            # The other way: what goes in comes back, through a forwarded port, cut into segments by the card.
            doppel.command("nc -ll -p 7 -e cat &")
            for size in (1, 1000, 300_000):
                text = os.urandom(size)
                self.assertEqual(net_test.answer(forwarded, text), text)
            # A card that is reset while it works goes on afterwards.
            doppel.command(f"wget -q -O /dev/null http://10.0.2.2:{port}/file &")
            doppel.command("modprobe -r e1000; modprobe e1000; ip link set eth0 up; udhcpc -n -q -s /dhcp -i eth0")
            self.assertIn(digest, doppel.command(fetch, 600))
            self.assertIn("found 0", doppel.command("echo found $(dmesg | grep -c -i -E 'unit hang|reset adapter|csum|warning:|bug:')"))
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), 0)
            self.assertNotIn("e1000.bad_dma", doppel.shown)
            self.assertNotIn("e1000.unknown", doppel.shown)

    def test_link(self):
        name = f"test-{os.getpid()}"
        with self.boot("--net", f"link={name},model=e1000") as first, self.boot(
                "--net", f"link={name},model=e1000") as second:
            self.up(first, "10.1.0.1/24")
            self.up(second, "10.1.0.2/24")
            self.assertIn(" 0% packet loss", first.command("ping -c 3 10.1.0.2"))
            self.exchange(first, second)
            # The card at the other end need not be the same. No wire takes large segments: the card cuts them.
            second.type("poweroff -f\n")
            self.assertEqual(second.finish(), 0)
            with self.boot("--net", f"link={name}") as third:
                self.up(third, "10.1.0.3/24")
                self.assertIn(" 0% packet loss", first.command("ping -c 3 10.1.0.3"))
                self.exchange(first, third)

    def exchange(self, first, second):
        first.command("head -c 8000000 /dev/urandom > /tmp/file; killall -q httpd; httpd -h /tmp")
        digest = first.command("sha256sum < /tmp/file").split()[0]
        self.assertIn(digest, second.command("wget -q -O - http://10.1.0.1/file | sha256sum", 120))


if __name__ == "__main__":
    guest.main(needs_guest=False)
