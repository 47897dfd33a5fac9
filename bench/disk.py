"""Disk speed side by side: the same guest, program and image under Doppel and under QEMU's TCG, virtio and IDE.

The guest reads and writes its disk past its page cache (bench/workloads/disk.c): sequentially by 1 MiB, at random by
4 KiB one at a time and eight at a time. Times are taken here, by the host's clock.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import side_by_side

HERE = Path(__file__).resolve().parent
PARTS = ("sequential-write", "sequential-read", "random-read", "random-write", "random-read-8")
EVENT = re.compile(r"@disk (\S+) ?(.*)")
INIT = """#!/bin/busybox sh
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
modprobe -a $(cat /disk-modules)
/disk $(cat /disk-arguments)
poweroff -f
"""


def make_initramfs(options, interface):
    work = options.out / "disk-root"
    work.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-pthread", str(HERE / "workloads/disk.c"),
                    "-o", str(work / "disk")], check=True)
    (work / "disk-init").write_text(INIT)
    (work / "disk-init").chmod(0o755)
    device = "/dev/vda" if interface == "virtio" else "/dev/sda"
    (work / "disk-arguments").write_text(f"{device} {options.megabytes} {options.operations}")
    path = options.out / f"disk-{interface}.cpio"
    guests = options.kernel.parent
    path.write_bytes((guests / "initramfs.cpio").read_bytes() + (guests / "disk_modules.cpio").read_bytes() +
                     side_by_side.cpio(work, ["disk", "disk-init", "disk-arguments"]))
    return path


def commands(options, engine, interface, initramfs, image):
    kernel = ["--kernel" if engine == "doppel" else "-kernel", str(options.kernel)]
    line = "console=ttyS0 quiet panic=-1 rdinit=/disk-init"
    if engine == "doppel":
        return [options.doppel, "run", *kernel, "--initrd", str(initramfs), "--append", line, "-m", "512M",
                "--no-reboot", "--disk", f"{image},if={interface},format=raw", *options.doppel_args.split()]
    return [options.qemu, "-accel", "tcg", "-cpu", "max", "-m", "512M", "-nographic", "-nic", "none", "-no-reboot",
            *kernel, "-initrd", str(initramfs), "-append", line,
            "-drive", f"file={image},if={interface},format=raw,cache=writeback"]


def measure(command, timeout):
    """Seconds for each part, and how many operations (or MiB) it is."""
    seconds, started, counts = {}, {}, {}
    last = "it said nothing"
    for now, line in side_by_side.lines(command, timeout):
        if not (found := EVENT.search(line)):
            continue
        last, name, rest = found[0], found[1], found[2].split()
        if name == "done":
            return seconds, counts
        if name == "failed":
            break
        if rest[0] == "go":
            started[name] = now
        else:
            seconds[name] = now - started[name]
            counts[name] = int(rest[1])
    sys.exit(f"{command[0]}: the guest did not get to the end: {last}")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench-disk", description=__doc__.split("\n")[0])
    parser.add_argument("--interfaces", default="virtio,ide", metavar="NAMES", help="default: %(default)s")
    parser.add_argument("--megabytes", type=int, default=256, help="size of the disk (default %(default)s)")
    parser.add_argument("--operations", type=int, default=20000, help="of 4 KiB (default %(default)s)")
    side_by_side.add_options(parser)
    side_by_side.add_guest_options(parser)
    options = side_by_side.parse(parser)
    engines = options.engines
    options.out.mkdir(parents=True, exist_ok=True)
    image = options.out / "disk.img"
    with open(image, "wb") as file:  # allocated, and in the host's page cache
        for _ in range(options.megabytes):
            file.write(os.urandom(1 << 20))
    slower = 0
    for interface in options.interfaces.split(","):
        initramfs = make_initramfs(options, interface)
        samples = {}
        for _ in range(options.runs):
            for engine in engines:
                seconds, counts = measure(commands(options, engine, interface, initramfs, image), options.timeout)
                for part, value in seconds.items():
                    samples.setdefault(part, {}).setdefault(engine, []).append(value)
        print(f"{interface:18}" + "".join(f"{engine:>20}" for engine in engines) + f"{'qemu/doppel':>14}")
        for part in PARTS:
            medians, ratio = side_by_side.medians(samples[part], engines)
            unit = "MiB/s" if part.startswith("sequential") else "op/s"
            row = "".join(f"{counts[part] / medians[engine]:>14.0f} {unit:5}" for engine in engines)
            slower += interface == "virtio" and 0 < ratio < 1
            print(f"{part:18}{row}{ratio:>14.2f}", flush=True)
    image.unlink()
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
