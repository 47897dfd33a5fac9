"""How long an installed Debian (`./dev debian`) takes from power-on to the login prompt on its serial port, under Doppel
and under QEMU's TCG, by turns: the same image, virtio, 1 GiB. Prints each time, the medians and their ratio."""

import argparse
import os
import select
import statistics
import subprocess
import sys
import time

PROMPT, LONGEST = b"debian login:", 600


def commands(options):
    return {
        "doppel": [options.doppel, "run", "--disk", options.image, "--snapshot", "-m", "1G", "--cpu", "max"],
        "qemu": [options.qemu, "-accel", "tcg", "-cpu", "max", "-m", "1G", "-display", "none", "-serial", "stdio",
                 "-snapshot", "-drive", f"file={options.image},format=raw,if=virtio"],
    }


def marks(command):
    """Seconds until the boot loader's first word and until the prompt."""
    start, shown, loader = time.monotonic(), b"", None
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        while PROMPT not in shown:
            left = start + LONGEST - time.monotonic()
            if left < 0 or not select.select([process.stdout], [], [], left)[0]:
                sys.exit(f"no prompt within {LONGEST} s from: {' '.join(map(str, command))}")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                sys.exit(f"ended before the prompt: {' '.join(map(str, command))}")
            shown += data
            if loader is None and b"GRUB" in shown:
                loader = time.monotonic() - start
        return loader, time.monotonic() - start
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="build/guests/debian.img")
    parser.add_argument("--doppel", default="build/core/cli/doppel")
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    times = {name: [] for name in commands(options)}
    for run in range(options.runs):
        for name, command in commands(options).items():
            loader, prompt = marks(command)
            times[name].append(prompt)
            print(f"{run + 1} {name:7} boot loader {loader:.2f} s, login {prompt:.2f} s", flush=True)
    medians = {name: statistics.median(all_times) for name, all_times in times.items()}
    print(f"median: doppel {medians['doppel']:.2f} s, qemu {medians['qemu']:.2f} s, "
          f"qemu/doppel {medians['qemu'] / medians['doppel']:.2f}")


main()
