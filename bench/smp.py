"""Two processors side by side: a guest with one vCPU runs each workload, one with two vCPUs runs it twice at once, under
Doppel and under QEMU's multi-threaded TCG, by turns. The gain is how much more two vCPUs do than one. Times are taken
here, by the host's clock.
"""

import argparse
import re
import statistics
import subprocess
import sys
from pathlib import Path

import side_by_side

# Commands, and the least gain: what computes, and what mostly enters the kernel.
WORKLOADS = {
    "integer": ("./integer 150", 1.8),
    "calls": ("./calls 36", 1.8),
    "float": ("./floating scalar 300", 1.8),
    "sha256": ("./crypto sha256 1200", 1.8),
    "fork-exec": ("./system exec 200", 1.5),
    "pipe": ("./system pipe 400", 1.5),
}
LEAST_RATIO = 4  # of QEMU's time for both at once, geometric mean
EVENT = re.compile(r"@smp (\S+) (go|stop|failed)")
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
cd /bench
run() { $2 > /dev/null || echo "@smp $1 failed"; }
measure() {
  echo "@smp $1 go"
  [ "$JOBS" = 1 ] || run "$@" &
  run "$@"
  wait
  echo "@smp $1 stop"
}
"""


def make_initramfs(options):
    subprocess.run([Path(__file__).with_name("make_image.sh"), options.out], check=True)
    work = options.out / "smp-root"
    work.mkdir(parents=True, exist_ok=True)
    jobs = "".join(f'measure {name} "{WORKLOADS[name][0]}"\n' for name in options.only)
    init = work / "smp-init"
    init.write_text(f"{INIT}{jobs}exec /bench/driver\n")  # which powers off
    init.chmod(0o755)
    path = options.out / "smp.cpio"
    path.write_bytes((options.out / "initramfs.cpio").read_bytes() + side_by_side.cpio(work, ["smp-init"]))
    return path


def command(options, engine, vcpus, initramfs):
    guest = ["-kernel", str(options.kernel), "-initrd", str(initramfs), "-m", "1G", "-no-reboot",
             "-append", f"console=ttyS0 quiet panic=-1 rdinit=/smp-init JOBS={vcpus}"]
    if engine == "doppel":
        return [options.doppel, "run", *guest, "--smp", str(vcpus), "--cpu", "max", *options.doppel_args.split()]
    return [options.qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", str(vcpus), "-nographic", "-nic", "none",
            *guest]


def measure(arguments, timeout):
    """Seconds of each workload."""
    seconds, started = {}, {}
    for now, line in side_by_side.lines(arguments, timeout):
        if not (found := EVENT.search(line)):
            continue
        name, what = found.groups()
        if what == "failed":
            sys.exit(f"{arguments[0]}: {name} failed")
        if what == "go":
            started[name] = now
        else:
            seconds[name] = now - started[name]
    return seconds


def main():
    parser = argparse.ArgumentParser(prog="./dev bench-smp", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", default=",".join(WORKLOADS), metavar="NAMES", help="default: %(default)s")
    side_by_side.add_options(parser)
    side_by_side.add_guest_options(parser)
    options = side_by_side.parse(parser)
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(WORKLOADS):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(WORKLOADS)}")
    engines = options.engines
    initramfs = make_initramfs(options)
    samples = {}
    for turn in range(1, options.runs + 1):
        for engine in engines:
            print(f"  {turn}/{options.runs} {engine}", file=sys.stderr, flush=True)
            one, two = (measure(command(options, engine, vcpus, initramfs), options.timeout) for vcpus in (1, 2))
            for name in options.only:
                if name not in one or name not in two:
                    sys.exit(f"{engine}: the guest did not get to the end of {name}")
                samples.setdefault(name, {}).setdefault(engine, []).append(two[name])
                samples.setdefault((name, "gain"), {}).setdefault(engine, []).append(2 * one[name] / two[name])
    print(f"{'both at once':14}" + "".join(f"{engine:>12}{'gain':>8}" for engine in engines) + f"{'qemu/doppel':>14}")
    missed, ratios = 0, []
    for name in options.only:
        seconds, ratio = side_by_side.medians(samples[name], engines)
        gains, _ = side_by_side.medians(samples[name, "gain"], engines)
        row = "".join(f"{seconds[engine]:>10.2f} s{gains[engine]:>8.2f}" for engine in engines)
        print(f"{name:14}{row}{ratio:>14.2f}", flush=True)
        missed += "doppel" in engines and gains["doppel"] < WORKLOADS[name][1]
        ratios.append(ratio)
    if len(engines) == 2:
        mean = statistics.geometric_mean(ratios)
        print(f"{'geometric mean':14}{mean:>{20 * len(engines) + 14}.2f}")
        missed += mean < LEAST_RATIO
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
