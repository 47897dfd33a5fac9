"""How long an installed Debian (`./dev debian`) takes from power-on to the login prompt on its serial port, under Doppel
and under QEMU's TCG, by turns: the same image, virtio, 1 GiB. Prints each time, the medians and their ratio."""

import argparse
import os
import select
import subprocess
import sys
import time

import side_by_side

PROMPT = b"debian login:"


def command(options, engine):
    if engine == "doppel":
        return [options.doppel, "run", "--disk", options.image, "--snapshot", "-m", "1G", "--cpu", "max",
                *options.doppel_args.split()]
    return [options.qemu, "-accel", "tcg", "-cpu", "max", "-m", "1G", "-display", "none", "-serial", "stdio",
            "-snapshot", "-drive", f"file={options.image},format=raw,if=virtio"]


def marks(arguments, timeout):
    """Seconds until the boot loader's first word and until the prompt."""
    start, shown, loader = time.monotonic(), b"", None
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        while PROMPT not in shown:
            left = start + timeout - time.monotonic()
            if left < 0 or not select.select([process.stdout], [], [], left)[0]:
                sys.exit(f"no prompt within {timeout:.0f} s from: {' '.join(map(str, arguments))}")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                sys.exit(f"ended before the prompt: {' '.join(map(str, arguments))}")
            shown += data
            if loader is None and b"GRUB" in shown:
                loader = time.monotonic() - start
        return loader, time.monotonic() - start
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(prog="./dev bench-boot", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--image", default=str(side_by_side.TOP / "build/guests/debian.img"), metavar="PATH")
    side_by_side.add_options(parser)
    options = side_by_side.parse(parser)
    times = {engine: [] for engine in options.engines}
    for run in range(options.runs):
        for engine in options.engines:
            loader, prompt = marks(command(options, engine), options.timeout)
            times[engine].append(prompt)
            print(f"{run + 1} {engine:7} boot loader {loader:.2f} s, login {prompt:.2f} s", flush=True)
    medians, ratio = side_by_side.medians(times, options.engines)
    print("median: " + ", ".join(f"{engine} {medians[engine]:.2f} s" for engine in options.engines) +
          (f", qemu/doppel {ratio:.2f}" if ratio else ""))


main()
