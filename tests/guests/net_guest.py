"""The test guest with the kernel's network and other virtio drivers, and what tests of them share."""

import contextlib
import http.server
import os
import pathlib
import selectors
import socket
import subprocess
import tempfile
import threading

import guest

# What busybox' udhcpc runs; it has none of its own.
DHCP_SCRIPT = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr flush dev $interface
ip addr add $ip/$mask dev $interface
[ -n "$router" ] && ip route add default via $router dev $interface
: > /etc/resolv.conf
for server in $dns; do echo nameserver $server >> /etc/resolv.conf; done
"""


# What runs in guests, made by the build.
PROGRAM = pathlib.Path(guest.program).absolute().parents[2] / "tests/guests/net_program"


def archive(path):
    """A cpio archive with a file in its root."""
    return subprocess.run(["cpio", "--quiet", "--create", "--format=newc", "--owner=+0:+0"], input=path.name.encode(),
                          cwd=path.parent, stdout=subprocess.PIPE, check=True).stdout


def initramfs(folder, base=None, modules="net_modules.cpio", more=()):
    """Of the test guest, with drivers and `more` archives; net_program is in its root."""
    path = pathlib.Path(folder) / "net-initramfs.cpio"
    new = path.with_suffix(".new")
    new.write_bytes((base or guest.initramfs).read_bytes() + (guest.guests / modules).read_bytes() + archive(PROGRAM) +
                    b"".join((guest.guests / name).read_bytes() for name in more))
    # A machine that was started a moment ago may be reading the one that is there.
    return new.rename(path)


def boot(folder, *options, append="console=ttyS0 quiet", archives=(), **more):
    engine = ["--engine", *guest.engine] if guest.engine else []
    return guest.Doppel("run", "--kernel", guest.kernel, "--initrd", initramfs(folder, more=archives), "--append", append,
                        *engine, *options, **more)


def up(doppel, address=None, interface="eth0"):
    """Waits for the shell and sets the first card up."""
    doppel.boot()
    return set_up(doppel, address, interface)


def set_up(doppel, address=None, interface="eth0"):
    """Loads the drivers and sets a card up, by DHCP or with a fixed address."""
    loaded = doppel.command("test -s /net-modules && modprobe -a $(cat /net-modules); echo drivers $?")
    assert "drivers 0" in loaded, loaded
    doppel.command("ip link set lo up")
    if address:
        wanted = f"ip addr add {address} dev {interface} && ip link set {interface} up && ip route"
        routes = doppel.command(wanted)
        if f"dev {interface}" not in routes:
            raise AssertionError(f"no route:\n{routes}{doppel.command('ip addr; cat /proc/interrupts; dmesg | tail -40')}")
        return ""
    doppel.command("mkdir -p /etc")
    for number, line in enumerate(DHCP_SCRIPT.splitlines()):
        doppel.command(f"echo '{line}' {'>>' if number else '>'} /dhcp")
    doppel.command("chmod 755 /dhcp")
    return doppel.command(f"ip link set {interface} up; udhcpc -n -q -s /dhcp -i {interface}")


def free_port():
    """A TCP port of the host's loopback that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def web_server(folder):
    """Serves a folder on the host's loopback; gives the port."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments, **more):
            super().__init__(*arguments, directory=os.fspath(folder), **more)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class GreetingServer:
    """Says hello to whoever connects on several ports in a row. Connections to odd ones of them it closes, those to even
    ones it leaves to the client to close."""

    PORTS = 8

    def __init__(self):
        self.listening, self.port = self.bind()
        self.selector = selectors.DefaultSelector()
        for number, one in enumerate(self.listening):
            one.listen(1024)
            one.setblocking(False)
            self.selector.register(one, selectors.EVENT_READ, number)
        self.accepted = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def bind(self):
        while True:
            port = free_port()
            sockets = [socket.socket() for _ in range(self.PORTS)]
            try:
                for number, one in enumerate(sockets):
                    one.bind(("127.0.0.1", port + number))
                return sockets, port
            except (OSError, OverflowError):
                for one in sockets:
                    one.close()

    def serve(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    self.selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                connection = key.fileobj.accept()[0]
                self.accepted += 1
                connection.sendall(b"hello\n")
                if key.data % 2:
                    connection.close()
                else:
                    self.selector.register(connection, selectors.EVENT_READ)


class Folder:
    """A mix-in for tests: self.path is a folder of their own."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="doppel-net-")
        self.path = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()
