"""Code that changes and data on pages of code: how fast, beside QEMU's translator.

    self_modifying.py --doppel PROGRAM --guest IMAGE [--qemu PROGRAM] [--runs N]

The guest (self_modifying_guest.S) marks each workload's begin and end on port 0xe9; the time between the marks counts.
Prints medians and ratios (above 1: Doppel is faster). Exits with 1 when a checksum is wrong or when a workload is so
slow that pages of code and data must be thrashing (WORST, in nanoseconds for each round).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

# name -> (checksum, rounds)
WORKLOADS = {
    "plain": ("1112d680", 10_000_000), "patch": ("2a06b550", 100_000), "patch_self": ("2a06b550", 100_000),
    "compiler": ("48862a40", 100_000), "data_near_code": ("1112d680", 10_000_000), "function_with_data": ("88896b40", 10_000_000),
    "stack_near_code": ("1112d680", 10_000_000),
}  # fmt: skip
WORST = {"patch": 20_000, "patch_self": 60_000, "compiler": 100_000, "data_near_code": 1_000, "function_with_data": 1_000,
         "stack_near_code": 1_000}  # fmt: skip


def command_doppel(program, guest):
    return [program, "run", "-m", "64", "--serial", "null", "--debugcon", "stderr", "--kernel", guest]


def command_qemu(program, guest):
    return [program, "-accel", "tcg", "-cpu", "max", "-m", "64", "-kernel", guest, "-nographic", "-serial", "none", "-monitor", "none",
            "-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-nic", "none", "-no-reboot"]  # fmt: skip


def measure(command):
    """{workload: seconds} of one run; ends the program when a checksum is wrong."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    seconds, pending = {}, b""
    while data := os.read(process.stdout.fileno(), 4096):
        now = time.perf_counter()
        *lines, pending = (pending + data).split(b"\n")
        for event, *words in (line.decode(errors="replace").split() for line in lines if line.startswith(b"@")):
            if event == "@begin":
                begun = now
            elif words[1] != WORKLOADS[words[0]][0]:
                sys.exit(f"{command[0]}: {words[0]} gives {words[1]}, not {WORKLOADS[words[0]][0]}")
            else:
                seconds[words[0]] = now - begun
    process.wait()
    if missing := WORKLOADS.keys() - seconds.keys():
        sys.exit(f"{command[0]} ended with status {process.returncode} before {', '.join(sorted(missing))}")
    return seconds


parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("--doppel", required=True)
parser.add_argument("--guest", required=True)
parser.add_argument("--qemu", help="compare with this program")
parser.add_argument("--runs", type=int, default=1)
options = parser.parse_args()
commands = {"doppel": command_doppel(options.doppel, options.guest)}
if options.qemu:
    commands["qemu"] = command_qemu(options.qemu, options.guest)
runs = {name: [] for name in commands}
for _ in range(options.runs):
    for name, command in commands.items():
        runs[name].append(measure(command))
failed = 0
for workload, (_, rounds) in WORKLOADS.items():
    median = {name: statistics.median(run[workload] for run in all_runs) for name, all_runs in runs.items()}
    nanoseconds = median["doppel"] / rounds * 1e9
    slow = nanoseconds > WORST.get(workload, float("inf"))
    failed += slow
    ratio = f"  qemu/doppel {median['qemu'] / median['doppel']:6.2f}" if options.qemu else ""
    print(f"{workload:20} {median['doppel']:7.3f} s {nanoseconds:9.1f} ns a round{ratio}{'  TOO SLOW' if slow else ''}")
print(f"{len(WORKLOADS) - failed} passed, {failed} failed")
sys.exit(1 if failed else 0)
