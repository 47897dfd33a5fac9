"""Compares the speed of Doppel's interpreter with Bochs' on the same guest, run by turns.

    interp_vs_bochs.py --doppel PROGRAM --guest IMAGE [--runs N] [--scale X] [--json FILE]

The guest (interp_vs_bochs_guest.S) runs one workload in one processor mode and marks the loop's begin and end on port
0xe9; a measurement is the time between the two marks as they arrive here, so neither start-up nor firmware counts.
Prints the medians and their ratio (above 1: Doppel is faster), checks that both got the same checksums, and exits
with 1 if they did not or, with --at-least R, if the geometric mean of the ratios is below R.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

WORKLOADS = {"integer": 2500, "sieve": 700, "memory": 3500, "calls": 4000}  # name -> iterations
MODES = {32: "protected", 64: "long"}
PARAMETERS = 4  # offset in the image: bits, workload, iterations
TIMEOUT = 300
BEGIN, END = b"@begin", re.compile(rb"@end ([0-9a-f]{8})\n")

BOCHSRC = """
display_library: rfb, options="timeout=0"
megs: 32
cpu: ips=100000000
clock: sync=none
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=floppy.img, status=inserted
boot: floppy
port_e9_hack: enabled=1
log: bochs.log
panic: action=fatal
"""


def command_doppel(program, image, directory):
    (directory / "guest").write_bytes(image)
    return [program, "run", "--engine", "interp", "-m", "32", "--kernel", "guest", "--debugcon", "stderr", "--serial",
            "null"]


def command_bochs(program, image, directory):
    (directory / "floppy.img").write_bytes(image.ljust(1440 * 1024, b"\0"))
    (directory / "bochsrc").write_text(BOCHSRC)
    return [program, "-q", "-f", "bochsrc"]


def measure(command, directory):
    """(seconds between the marks, checksum) of one run; the emulator is ended at the second mark."""
    process = subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    try:
        process.stdin.write(b"c\n")  # a Bochs with its debugger built in waits for "continue"
        process.stdin.flush()
        output, begin, deadline = b"", None, time.monotonic() + TIMEOUT
        while select.select([process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
            chunk = os.read(process.stdout.fileno(), 65536)
            now = time.perf_counter()
            output += chunk
            if begin is None and BEGIN in output:
                begin = now
            if match := END.search(output):
                return now - begin, match[1].decode()
            if not chunk:
                break
        last = output[-2000:].decode(errors="replace")
        sys.exit(f"{command[0]} did not reach the end of the guest's loop; its last output:\n{last}")
    finally:
        process.kill()
        process.communicate()


def instructions(doppel, image, directory):
    """How many instructions the whole guest executes; nearly all are the loop's."""
    command = command_doppel(doppel, image, directory) + ["--stats"]
    result = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    return int(re.search(rb"(\d+) instructions", result.stderr)[1])


def compare(programs, image, runs, directory):
    """The result of one image: all runs, the programs taking turns."""
    times, checksums = {name: [] for name in programs}, set()
    for _ in range(runs):
        for name, (command, path) in programs.items():
            seconds, checksum = measure(command(path, image, directory), directory)
            times[name].append(seconds)
            checksums.add(checksum)
    executed = instructions(programs["doppel"][1], image, directory)
    median = {name: statistics.median(values) for name, values in times.items()}
    return {"instructions": executed, "seconds": times, "median_seconds": median,
            "mips": {name: executed / seconds / 1e6 for name, seconds in median.items()},
            "ratio": median["bochs"] / median["doppel"], "checksums": sorted(checksums)}


def show(row):
    agree = "" if len(row["checksums"]) == 1 else "  CHECKSUMS DIFFER"
    print("{:<10} {:<9} {:9.3f} {:9.3f} {:12.1f} {:11.1f} {:6.2f}".format(
        row["mode"], row["workload"], row["median_seconds"]["doppel"], row["median_seconds"]["bochs"],
        row["mips"]["doppel"], row["mips"]["bochs"], row["ratio"]) + agree, flush=True)


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--doppel", required=True, help="the doppel program")
    parser.add_argument("--guest", required=True, help="the assembled guest image")
    parser.add_argument("--bochs", default="bochs", help="the Bochs program")
    parser.add_argument("--runs", type=int, default=3, help="runs of each program per row")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the iteration counts")
    parser.add_argument("--json", type=pathlib.Path, help="write the results to this file")
    parser.add_argument("--at-least", type=float, help="fail if the mean ratio is below this")
    return parser.parse_args()


def main():
    options = parse_options()
    bochs = shutil.which(options.bochs)
    if not bochs:
        sys.exit("bochs is not installed: apt install bochs bochsbios vgabios")
    programs = {"doppel": (command_doppel, str(pathlib.Path(options.doppel).resolve())),
                "bochs": (command_bochs, bochs)}
    guest = pathlib.Path(options.guest).read_bytes()

    print(f"{'mode':<10} {'workload':<9} {'doppel s':>9} {'bochs s':>9} {'doppel MIPS':>12} {'bochs MIPS':>11} "
          f"{'ratio':>6}")
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        for bits, mode in MODES.items():
            for index, (workload, count) in enumerate(WORKLOADS.items()):
                image = bytearray(guest)
                struct.pack_into("<III", image, PARAMETERS, bits, index, max(1, round(count * options.scale)))
                row = compare(programs, bytes(image), options.runs, pathlib.Path(directory))
                rows.append({"mode": mode, "workload": workload, **row})
                show(rows[-1])

    ratios = [row["ratio"] for row in rows]
    mean = statistics.geometric_mean(ratios)
    print(f"geometric mean of the ratios: {mean:.2f} (lowest {min(ratios):.2f}, highest {max(ratios):.2f})")
    if options.json:
        result = {"benchmark": "interp_vs_bochs", "host": platform.machine(), "runs": options.runs,
                  "geometric_mean_ratio": mean, "rows": rows}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if any(len(row["checksums"]) != 1 for row in rows):
        sys.exit("the two programs got different results")
    if options.at_least is not None and mean < options.at_least:
        sys.exit(f"the mean ratio is below {options.at_least}")


main()
