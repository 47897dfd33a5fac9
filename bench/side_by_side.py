"""What the benchmarks of devices share: the engines they compare, and archives for their guests."""

import shutil
import statistics
import subprocess
import threading
import time
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent


def cpio(folder, names):
    return subprocess.run(["cpio", "--quiet", "--create", "--format=newc", "--owner=+0:+0"], cwd=folder,
                          input="\n".join(names).encode(), stdout=subprocess.PIPE, check=True).stdout


def lines(command, timeout):
    """(time, text) of each line that a process prints. It is killed after `timeout` seconds, or when no more are wanted."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        try:
            for line in process.stdout:
                yield time.monotonic(), line.decode(errors="replace")
        finally:
            killer.cancel()
            process.kill()


def add_options(parser):
    parser.add_argument("--engines", default="doppel,qemu", metavar="NAMES", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="rounds; the median counts (default %(default)s)")
    parser.add_argument("--doppel", default=str(TOP / "build/core/cli/doppel"), metavar="PATH")
    parser.add_argument("--doppel-args", default="", metavar="TEXT")
    parser.add_argument("--qemu", default="qemu-system-x86_64", metavar="PATH")
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS")


def add_guest_options(parser):
    parser.add_argument("--kernel", type=Path, default=TOP / "build/guests/vmlinuz", metavar="PATH")
    parser.add_argument("--out", type=Path, default=TOP / "build/bench", metavar="DIRECTORY")


def parse(parser):
    """The options, with `engines` as a list."""
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    if "qemu" in options.engines and not shutil.which(options.qemu):
        parser.error(f"{options.qemu} is missing: apt-get install qemu-system-x86, or use --engines doppel")
    return options


def medians(samples, engines):
    """Of each engine's seconds, and QEMU's over Doppel's (0: not both ran)."""
    middle = {engine: statistics.median(samples[engine]) for engine in engines}
    return middle, middle["qemu"] / middle["doppel"] if len(engines) == 2 else 0
