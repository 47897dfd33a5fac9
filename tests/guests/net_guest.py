"""The test guest with the kernel's network and other virtio drivers, and what tests of them share."""

import contextlib
import http.server
import os
import pathlib
import socket
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


def initramfs(folder, base=None, modules="net_modules.cpio"):
    path = pathlib.Path(folder) / "net-initramfs.cpio"
    path.write_bytes((base or guest.initramfs).read_bytes() + (guest.guests / modules).read_bytes())
    return path


def boot(folder, *options, append="console=ttyS0 quiet", **more):
    engine = ["--engine", *guest.engine] if guest.engine else []
    return guest.Doppel("run", "--kernel", guest.kernel, "--initrd", initramfs(folder), "--append", append, *engine,
                        *options, **more)


def up(doppel, address=None, interface="eth0"):
    """Waits for the shell and sets the first card up."""
    doppel.boot()
    return set_up(doppel, address, interface)


def set_up(doppel, address=None, interface="eth0"):
    """Loads the drivers and sets a card up, by DHCP or with a fixed address."""
    loaded = doppel.command("modprobe -a $(cat /net-modules); echo drivers $?")
    assert "drivers 0" in loaded, loaded
    doppel.command("ip link set lo up")
    if address:
        doppel.command(f"ip addr add {address} dev {interface}; ip link set {interface} up")
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


class Folder:
    """A mix-in for tests: self.path is a folder of their own."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="doppel-net-")
        self.path = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()
