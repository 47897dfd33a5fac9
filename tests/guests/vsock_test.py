"""Linux' vsock driver: programs of the guest and of the host reach each other over stream connections, both ways, with
more than any buffer holds; refusals, many connections, and a restart."""

import hashlib
import os
import socket
import subprocess
import threading
import time
import unittest

import guest
import net_guest

CID = 7
MIB = 1 << 20


class Vsock(net_guest.Folder, unittest.TestCase):
    def booted(self, *options):
        self.socket = self.path / "vsock"
        doppel = net_guest.boot(self.path, "--vsock", f"cid={CID},socket={self.socket}", *options)
        doppel.boot()
        self.load_drivers(doppel)
        return doppel

    def load_drivers(self, doppel):
        self.assertIn("drivers 0", doppel.command("modprobe -a $(cat /net-modules); echo drivers $?"))

    def connect(self, port):
        """A connection to the guest, and what was answered."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(os.fspath(self.socket))
        client.sendall(f"CONNECT {port}\n".encode())
        answer = b""
        while not answer.endswith(b"\n") and (byte := client.recv(1)):
            answer += byte
        return client, answer.decode()

    def listen(self, port, serve):
        """A host program that the guest can connect to; serves each connection on a thread."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(f"{self.socket}_{port}")
        listening.listen()

        def loop():
            while True:
                connection = listening.accept()[0]
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()

    def echo(self, data, port=1234):
        """What the guest's echo server makes of `data`."""
        client, answer = self.connect(port)
        with client:
            self.assertRegex(answer, r"^OK \d+\n$")
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            received = bytearray()
            while part := client.recv(MIB):
                received += part
            sender.join()
            return bytes(received)

    def test_host_connects(self):
        with self.booted() as doppel:
            client, answer = self.connect(1234)
            client.close()
            self.assertEqual(answer, "", "nobody listens")
            doppel.command("/net_program vsock-echo 1234 > /tmp/log &")
            doppel.command("while ! grep -q listening /tmp/log; do sleep 0.1; done")
            self.assertEqual(self.echo(b"hello"), b"hello")
            data = os.urandom(8 * MIB)
            started = time.monotonic()
            self.assertEqual(hashlib.sha256(self.echo(data)).digest(), hashlib.sha256(data).digest())
            print(f"    {8 / (time.monotonic() - started):.0f} MiB/s both ways")
            for text in (b"CONNECT\n", b"CONNECT 12x\n", b"GET / HTTP/1.0\n", b"CONNECT " + b"1" * 100):
                with socket.socket(socket.AF_UNIX) as wrong:
                    wrong.settimeout(60)
                    wrong.connect(os.fspath(self.socket))
                    wrong.sendall(text)
                    try:
                        self.assertEqual(wrong.recv(1), b"")
                    except ConnectionResetError:
                        pass
            # Many, one after another: none stays.
            before = len(os.listdir(f"/proc/{doppel.process.pid}/fd"))
            for number in range(300):
                self.assertEqual(self.echo(b"%d" % number), b"%d" % number)
            deadline = time.monotonic() + 20
            while len(os.listdir(f"/proc/{doppel.process.pid}/fd")) > before and time.monotonic() < deadline:
                time.sleep(0.2)
            self.assertEqual(len(os.listdir(f"/proc/{doppel.process.pid}/fd")), before)
            # A restart of the guest ends what is open.
            client, answer = self.connect(1234)
            doppel.type("reboot -f\n")
            self.assertEqual(client.recv(1), b"")
            client.close()
            doppel.boot()
            self.load_drivers(doppel)
            doppel.command("/net_program vsock-echo 1234 > /tmp/log &")
            doppel.command("while ! grep -q listening /tmp/log; do sleep 0.1; done")
            self.assertEqual(self.echo(b"again"), b"again")

    def test_guest_connects(self):
        sums = []

        def digest(connection):
            with connection:
                hashed = hashlib.sha256()
                while part := connection.recv(MIB):
                    hashed.update(part)
                sums.append(hashed.hexdigest())
                connection.sendall(hashed.hexdigest().encode() + b"\n")

        with self.booted() as doppel:
            self.assertIn("refused", doppel.command("/net_program vsock-send 2 99 < /dev/null || echo refused"))
            self.listen(99, digest)
            doppel.command("head -c 20000000 /dev/urandom > /tmp/file")
            wanted = doppel.command("sha256sum < /tmp/file").split()[0]
            self.assertIn(wanted, doppel.command("/net_program vsock-send 2 99 < /tmp/file"))
            # Several at once.
            doppel.command("for i in 1 2 3 4; do /net_program vsock-send 2 99 < /tmp/file > /tmp/sum$i & done; wait")
            self.assertEqual(doppel.command("cat /tmp/sum?").count(wanted), 4)
            self.assertEqual(sums, [wanted] * 5)

    def test_slow_programs(self):
        """What nobody reads is bounded, and not lost."""
        go = threading.Event()
        size = []

        def late(connection):
            with connection:
                go.wait()
                total = 0
                while part := connection.recv(MIB):
                    total += len(part)
                size.append(total)

        with self.booted() as doppel:
            self.listen(99, late)
            before = doppel.memory_kib("RssAnon")
            doppel.command("(head -c 30000000 /dev/zero | /net_program vsock-send 2 99; echo done > /tmp/done) &")
            doppel.command("sleep 3; ls /tmp/done")
            self.assertLess(doppel.memory_kib("RssAnon"), before + 8 * 1024)
            go.set()
            doppel.command("while [ ! -e /tmp/done ]; do sleep 0.1; done")
            self.assertEqual(size, [30_000_000])

    def test_what_is_wrong_is_said(self):
        (self.path / "file").touch()
        for option, sentence in (
                ("cid=2,socket=x", "from 3 on"), ("cid=7", "cid=N,socket=PATH"), ("cid=x,socket=y", "cid=N,socket=PATH"),
                ("cid=7,socket=" + "x" * 100, "characters at most"), (f"cid=7,socket={self.path}/file", "there is a file")):
            done = subprocess.run([guest.program, "run", "--kernel", guest.kernel, "--vsock", option], timeout=60, text=True,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            self.assertEqual((done.returncode, done.stdout.count("\n")), (2, 1), done.stdout)
            self.assertIn(sentence, done.stdout)


if __name__ == "__main__":
    guest.main()
