"""Network speed side by side: the same guest with a virtio card on the user-mode network (libslirp), under Doppel and
under QEMU's TCG, by turns. The guest downloads from the host's loopback and uploads to it over one TCP connection, and
opens and closes connections one after another; these times are taken here, by the host's clock. Then iperf3 for some
seconds: the guest sends and receives over connections that it makes, and over those that the host makes through a
forwarded port.
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import threading
import time

import side_by_side

PARTS = ("download", "upload", "connections")
# iperf3, guest or host as the client: its options on the host, and the sum of the result that counts.
IPERF = {"guest-sends": ([], "sum_received"), "guest-receives": ([], "sum_sent"),
         "host-sends": ([], "sum_received"), "host-receives": (["--reverse"], "sum_received")}
EVENT = re.compile(r"@net (\S+) ?(.*)")
INIT = """#!/bin/busybox sh
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
modprobe -a $(cat /net-modules)
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
. /net-arguments
mkdir /www
head -c $bytes /dev/zero > /www/file
httpd -h /www
wget -q -O /dev/null http://10.0.2.2:$small  # the first time translates
echo @net download go
wget -q -O /dev/null http://10.0.2.2:$download
echo @net download done
echo @net upload ready
read answer
echo @net connections go
i=0
while [ $i -lt $connections ]; do nc 10.0.2.2 $port < /dev/null > /dev/null; i=$((i + 1)); done
echo @net connections done
echo @net guest-sends iperf
read answer
iperf3 -t $seconds --client 10.0.2.2 --port $iperf > /dev/null
echo @net guest-receives iperf
read answer
iperf3 -t $seconds --reverse --client 10.0.2.2 --port $iperf > /dev/null
iperf3 --server --daemon
until netstat -ltn | grep -q :5201; do sleep 0.1; done
echo @net host-sends iperf
read answer
echo @net host-receives iperf
read answer
echo @net end
poweroff -f
"""


class Host:
    """Services on the host's loopback: two send by HTTP, one says hello. And a port to be forwarded to the guest's."""

    def __init__(self, size, seconds):
        self.size, self.seconds = size, seconds
        self.ports = {name: self.serve(getattr(self, name)) for name in ("download", "small", "port")}
        self.forwarded, self.iperf_forwarded, self.ports["iperf"] = (self.free_port() for _ in range(3))

    @staticmethod
    def free_port():
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    def serve(self, answer):
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)

        def loop():
            while True:
                connection = listening.accept()[0]
                threading.Thread(target=self.answer, args=(answer, connection), daemon=True).start()

        threading.Thread(target=loop, daemon=True).start()
        return listening.getsockname()[1]

    @staticmethod
    def answer(how, connection):
        with connection:
            try:
                how(connection)
            except OSError:
                pass

    @staticmethod
    def send(connection, size):
        chunk = bytes(1 << 20)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(chunk)):
            connection.sendall(chunk)

    def download(self, connection):
        self.send(connection, self.size)

    def small(self, connection):
        self.send(connection, 4 << 20)

    def fetch(self):
        """The guest's file, through the forwarded port; its size."""
        received = 0
        with socket.create_connection(("127.0.0.1", self.forwarded), timeout=600) as connection:
            connection.sendall(b"GET /file HTTP/1.0\r\n\r\n")
            while part := connection.recv(1 << 20):
                received += len(part)
        return received

    def iperf(self, part, go):
        """Seconds that a MiB takes. `go` lets the guest begin."""
        options, total = IPERF[part]
        server = part.startswith("guest")
        which = ["--server", "--one-off", "--bind", "127.0.0.1", "--port", str(self.ports["iperf"])] if server else [
            "--client", "127.0.0.1", "--port", str(self.iperf_forwarded), "-t", str(self.seconds), *options]
        with subprocess.Popen(["iperf3", "-J", *which], stdout=subprocess.PIPE) as process:
            if server:
                time.sleep(0.5)
                go()
            result = json.load(process.stdout)
        if not server:
            go()
        if "error" in result:
            sys.exit(f"iperf3: {result['error']}")
        return (8 << 20) / result["end"][total]["bits_per_second"]

    @staticmethod
    def port(connection):
        connection.sendall(b"hello\n")


def make_initramfs(options, host):
    work = options.out / "net-root"
    work.mkdir(parents=True, exist_ok=True)
    (work / "net-init").write_text(INIT)
    (work / "net-init").chmod(0o755)
    arguments = {**host.ports, "bytes": host.size, "connections": options.connections, "seconds": host.seconds}
    (work / "net-arguments").write_text("".join(f"{name}={value}\n" for name, value in arguments.items()))
    path = options.out / "net.cpio"
    guests = options.kernel.parent
    path.write_bytes((guests / "initramfs.cpio").read_bytes() + (guests / "net_modules.cpio").read_bytes() +
                     (guests / "iperf3.cpio").read_bytes() + side_by_side.cpio(work, ["net-init", "net-arguments"]))
    return path


def command(options, engine, initramfs, host):
    line = "console=ttyS0 quiet panic=-1 rdinit=/net-init"
    forward = (f"user,hostfwd=tcp:127.0.0.1:{host.forwarded}-:80,"
               f"hostfwd=tcp:127.0.0.1:{host.iperf_forwarded}-:5201")
    kernel = ["-kernel", str(options.kernel), "-initrd", str(initramfs), "-append", line, "-m", "512M", "-no-reboot"]
    if engine == "doppel":
        return [options.doppel, "run", *kernel, "--cpu", "max", "--net", forward, *options.doppel_args.split()]
    return [options.qemu, "-accel", "tcg", "-cpu", "max", "-nographic", "-nic", f"{forward},model=virtio-net-pci", *kernel]


def measure(arguments, host, timeout):
    """Seconds for each part."""
    seconds, started = {}, {}
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def go():
        process.stdin.write(b"\n")
        process.stdin.flush()

    killer = threading.Timer(timeout, process.kill)
    killer.start()
    try:
        for line in process.stdout:
            found = EVENT.search(line.decode(errors="replace"))
            if not found:
                continue
            name, what = found[1], found[2].strip()
            if name == "end":
                return seconds
            if what == "ready":
                started[name] = time.monotonic()
                if (size := host.fetch()) < host.size:
                    sys.exit(f"{arguments[0]}: {size} bytes arrived of {host.size}")
                seconds[name] = time.monotonic() - started[name]
                go()
            elif what == "iperf":
                seconds[name] = host.iperf(name, go)
            elif what == "go":
                started[name] = time.monotonic()
            else:
                seconds[name] = time.monotonic() - started[name]
    finally:
        killer.cancel()
        process.kill()
        process.wait()
    sys.exit(f"{arguments[0]}: the guest did not get to the end")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench-net", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--megabytes", type=int, default=200, help="each way (default %(default)s)")
    parser.add_argument("--connections", type=int, default=100, help="one after another (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of each iperf3 (default %(default)s)")
    side_by_side.add_options(parser)
    side_by_side.add_guest_options(parser)
    options = side_by_side.parse(parser)
    engines = options.engines
    options.out.mkdir(parents=True, exist_ok=True)
    host = Host(options.megabytes << 20, options.seconds)
    initramfs = make_initramfs(options, host)
    samples = {}
    for _ in range(options.runs):
        for engine in engines:
            arguments = command(options, engine, initramfs, host)
            for part, value in measure(arguments, host, options.timeout).items():
                samples.setdefault(part, {}).setdefault(engine, []).append(value)
    print(f"{'':16}" + "".join(f"{engine:>20}" for engine in engines) + f"{'qemu/doppel':>14}")
    slow = 0
    amounts = {"connections": options.connections, **dict.fromkeys(IPERF, 1)}
    for part in (*PARTS, *IPERF):
        medians, ratio = side_by_side.medians(samples[part], engines)
        amount, unit = amounts.get(part, options.megabytes), "/s" if part == "connections" else "MiB/s"
        row = "".join(f"{amount / medians[engine]:>14.0f} {unit:5}" for engine in engines)
        slow += part != "connections" and 0 < ratio < 2
        print(f"{part:16}{row}{ratio:>14.2f}", flush=True)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
