"""Debian's kernel on the virtio network card: an address by DHCP, a file from a web server on the host's loopback with
the right hash, a service reached through a forwarded port, nothing in a restricted network, two machines on a link,
resets in the middle of traffic, thousands of connections without a leak, iperf3 both ways, a tap interface, and options
that cannot be used are one sentence.

DOPPEL_NET_MIB sets the size of the file (40 without it), DOPPEL_NET_CONNECTIONS the number of connections (5000)."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import unittest
import urllib.request

import guest
import net_guest

MIB = 1 << 20
SIZE = int(os.environ.get("DOPPEL_NET_MIB", "40")) * MIB
CONNECTIONS = int(os.environ.get("DOPPEL_NET_CONNECTIONS", "5000"))


def answer(port, text=b"", seconds=60):
    """What a service on the host's loopback answers to `text`."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
                connection.sendall(text)
                connection.shutdown(socket.SHUT_WR)
                received = b""
                while part := connection.recv(65536):
                    received += part
                if received or time.monotonic() > deadline:
                    return received
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def cannot_make_tap(name):
    """Makes a tap interface; why it cannot be made, or nothing."""
    if not shutil.which("ip"):
        return "no ip program (Debian's iproute2)"
    done = subprocess.run(["ip", "tuntap", "add", name, "mode", "tap"], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=False)
    return f"no tap interface here: {done.stdout.strip()}" if done.returncode else ""


class Network(net_guest.Folder, unittest.TestCase):
    def test_user_network(self):
        data = os.urandom(MIB) * (SIZE // MIB)
        (self.path / "file").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        forwarded = net_guest.free_port()
        with net_guest.web_server(self.path) as port, net_guest.boot(
                self.path, "--net", f"user,hostfwd=tcp:127.0.0.1:{forwarded}-:7", "-m", "512M") as doppel:
            net_guest.up(doppel)
            self.assertIn("10.0.2.15/24", doppel.command("ip addr show eth0"))
            self.assertIn("default via 10.0.2.2", doppel.command("ip route"))
            self.assertIn("nameserver 10.0.2.3", doppel.command("cat /etc/resolv.conf"))
            started = time.monotonic()
            got = doppel.command(f"wget -q -O - http://10.0.2.2:{port}/file | sha256sum", 600)
            print(f"    {SIZE / MIB / (time.monotonic() - started):.0f} MiB/s, SHA-256 included")
            self.assertIn(digest, got)
            # The other way: what goes in comes back, through a forwarded port.
            doppel.command("nc -ll -p 7 -e cat &")
            for size in (1, 1000, 300_000):
                text = os.urandom(size)
                self.assertEqual(answer(forwarded, text), text)
            # A card that is reset while it works goes on afterwards.
            doppel.command(f"wget -q -O /dev/null http://10.0.2.2:{port}/file &")
            doppel.command("modprobe -r virtio_net; modprobe virtio_net; ip link set eth0 up; udhcpc -n -q -s /dhcp -i eth0")
            self.assertIn(digest, doppel.command(f"wget -q -O - http://10.0.2.2:{port}/file | sha256sum", 600))
            self.assertIn("found 0", doppel.command("echo found $(dmesg | grep -c -i -E 'bad gso|csum|warning:|bug:')"))
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), 0)

    def test_connections(self):
        server = net_guest.GreetingServer()
        with net_guest.boot(self.path, "--net", "user", "-m", "512M") as doppel:
            net_guest.up(doppel)

            def connect(count):
                """Opens and closes connections, then waits until both ends have forgotten them."""
                done = doppel.command(
                    f"/net_program connections 10.0.2.2 {server.port} {server.PORTS} {count} 32", 600 + count / 20)
                self.assertIn(f"{count} good, 0 bad", done)

            def descriptors():
                return len(os.listdir(f"/proc/{doppel.process.pid}/fd"))

            before = descriptors()
            connect(2000)  # caches and the translator's memory fill up
            memory = self.settled(doppel, descriptors, before)
            started = time.monotonic()
            connect(CONNECTIONS)
            seconds = time.monotonic() - started
            grown = self.settled(doppel, descriptors, before) - memory
            print(f"    {CONNECTIONS} connections, {CONNECTIONS / seconds:.0f}/s; memory {grown:+} KiB")
            self.assertEqual(server.accepted, CONNECTIONS + 2000)
            self.assertLess(grown, 16 * 1024)

    def settled(self, doppel, descriptors, expected):
        """Waits until the process has as many descriptors as before; KiB of its own memory then."""
        deadline = time.monotonic() + 60
        while descriptors() > expected and time.monotonic() < deadline:
            time.sleep(0.5)
        self.assertEqual(descriptors(), expected)
        return doppel.memory_kib("RssAnon")

    @unittest.skipUnless((guest.guests / "iperf3.cpio").exists() and shutil.which("iperf3"), "no iperf3")
    def test_iperf3(self):
        port, forwarded = net_guest.free_port(), net_guest.free_port()
        server = subprocess.Popen(["iperf3", "--server", "--port", str(port), "--bind", "127.0.0.1"],
                                  stdout=subprocess.DEVNULL)
        try:
            with net_guest.boot(self.path, "--net", f"user,hostfwd=tcp:127.0.0.1:{forwarded}-:5201", "-m", "512M",
                                archives=["iperf3.cpio"]) as doppel:
                net_guest.up(doppel)
                # Guest to host and back, over connections that the guest makes.
                for way in ("", "--reverse"):
                    done = doppel.command(f"iperf3 -J -t 3 {way} --client 10.0.2.2 --port {port}")
                    self.report(f"guest connects {way}", json.loads(done[done.index("{"):]))
                # And over those that the host makes.
                doppel.command("iperf3 --server --daemon; until netstat -ltn | grep -q :5201; do sleep 0.1; done")
                for way in ([], ["--reverse"]):
                    done = subprocess.run(["iperf3", "-J", "-t", "3", *way, "--client", "127.0.0.1", "--port",
                                           str(forwarded)], timeout=60, stdout=subprocess.PIPE, check=True)
                    self.report(" ".join(["host connects", *way]), json.loads(done.stdout))
        finally:
            server.kill()
            server.wait()

    def report(self, way, result):
        speed = result["end"]["sum_received"]["bits_per_second"]
        print(f"    iperf3, {way}: {speed / 8 / MIB:.0f} MiB/s")
        self.assertGreater(speed, 8 * MIB)

    def test_restricted(self):
        (self.path / "file").write_bytes(b"secret")
        forwarded = net_guest.free_port()
        with net_guest.web_server(self.path) as port, net_guest.boot(
                self.path, "--net", f"user,restrict=on,hostfwd=tcp:127.0.0.1:{forwarded}-:7") as doppel:
            net_guest.up(doppel)
            self.assertNotIn("secret", doppel.command(f"wget -q -T 3 -O - http://10.0.2.2:{port}/file"))
            doppel.command("nc -ll -p 7 -e cat &")
            self.assertEqual(answer(forwarded, b"hello"), b"hello")

    def test_link(self):
        name = f"test-{os.getpid()}"
        first = net_guest.boot(self.path, "--net", f"link={name}")
        second = net_guest.boot(self.path, "--net", f"link={name}")
        with first, second:
            net_guest.up(first, "10.1.0.1/24")
            net_guest.up(second, "10.1.0.2/24")
            macs = [doppel.command("cat /sys/class/net/eth0/address") for doppel in (first, second)]
            self.assertNotEqual(*macs, "each card has its own address")
            self.assertIn(" 0% packet loss", first.command("ping -c 3 10.1.0.2"))
            first.command("head -c 8000000 /dev/urandom > /tmp/file; httpd -h /tmp")
            digest = first.command("sha256sum < /tmp/file").split()[0]
            self.assertIn(digest, second.command("wget -q -O - http://10.1.0.1/file | sha256sum", 120))
            # The one that listens goes; another takes its place.
            first.type("poweroff -f\n")
            self.assertEqual(first.finish(), 0)
            with net_guest.boot(self.path, "--net", f"link={name}") as third:
                net_guest.up(third, "10.1.0.3/24")
                self.assertIn(" 0% packet loss", third.command("ping -c 3 10.1.0.2"))

    def test_tap(self):
        name = f"dp{os.getpid()}"
        reason = cannot_make_tap(name)
        if reason:
            self.skipTest(reason)
        try:
            subprocess.run(["ip", "addr", "add", "198.18.77.1/30", "dev", name], check=True)
            subprocess.run(["ip", "link", "set", name, "up"], check=True)
            with net_guest.boot(self.path, "--net", f"tap={name}") as doppel:
                net_guest.up(doppel, "198.18.77.2/30")
                self.assertIn(" 0% packet loss", doppel.command("ping -c 3 198.18.77.1"))
                doppel.command("head -c 20000000 /dev/urandom > /tmp/file; httpd -h /tmp")
                digest = doppel.command("sha256sum < /tmp/file").split()[0]
                with urllib.request.urlopen("http://198.18.77.2/file", timeout=60) as answered:
                    self.assertEqual(hashlib.sha256(answered.read()).hexdigest(), digest)
                # The host's end goes down and comes back.
                subprocess.run(["ip", "link", "set", name, "down"], check=True)
                doppel.command("ping -c 2 -W 1 198.18.77.1")
                subprocess.run(["ip", "link", "set", name, "up"], check=True)
                self.assertIn(" 0% packet loss", doppel.command("sleep 1; ping -c 3 198.18.77.1"))
                # A second machine cannot have it.
                other = subprocess.run([guest.program, "run", "--kernel", guest.kernel, "--net", f"tap={name}"],
                                       timeout=60, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                       stderr=subprocess.STDOUT, check=False)
                self.assertEqual((other.returncode, other.stdout.count("\n")), (2, 1), other.stdout)
                doppel.type("poweroff -f\n")
                self.assertEqual(doppel.finish(), 0)
        finally:
            subprocess.run(["ip", "link", "delete", name], check=False)

    def test_what_is_wrong_is_said(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for option, sentence in (
                    ("usr", 'did you mean "user"?'),
                    ("user,hostfwd=tcp:127.0.0.1:2222", "hostfwd="),
                    ("user,hostfwd=icmp::2222-:22", "hostfwd="),
                    ("user,hostfwd=tcp::99999-:22", "hostfwd="),
                    (f"user,hostfwd=tcp:127.0.0.1:{port}-:22", "cannot be opened"),
                    ("user,mac=01:00:00:00:00:00", "mac="),
                    ("user,model=ne2000", "model="),
                    ("user,tftp=/nowhere", "no such folder"),
                    ("link=", "a name of 1 to"),
                    ("tap,ifname=far-too-long-a-name", "too long")):
                done = subprocess.run([guest.program, "run", "--kernel", guest.kernel, "--net", option], timeout=60,
                                      text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, check=False)
                self.assertEqual((done.returncode, done.stdout.count("\n")), (2, 1), done.stdout)
                self.assertIn(sentence, done.stdout)


if __name__ == "__main__":
    guest.main()
