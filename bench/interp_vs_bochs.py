"""Compares the speed of Doppel's interpreter with Bochs' on the same guest, run by turns.

    interp_vs_bochs.py --doppel PROGRAM --guest IMAGE [--runs N] [--scale X] [--json FILE]

The guest (interp_vs_bochs_guest.S) runs one workload in one processor mode and marks the loop's begin and end on port
0xe9; a measurement is the time between the two marks as they arrive here, so neither start-up nor firmware counts.
Prints the medians and their ratio (above 1: Doppel is faster), checks that both got the same checksums, and exits
with 1 if they did not or, with --at-least R, if the geometric mean of the ratios is below R.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import re
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
    return [program, "run", "-m", "32", "--kernel", "guest", "--debugcon", "stderr", "--serial", "null"]


def command_bochs(program, image, directory):
    (directory / "floppy.img").write_bytes(image.ljust(1440 * 1024, b"\0"))
    (directory / "bochsrc").write_text(BOCHSRC)
    return [program, "-q", "-f", "bochsrc"]


def measure(command):
    """(seconds between the marks, checksum) of one run; the emulator is ended at the second mark."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        process.stdin.write(b"c\n")  # a Bochs with its debugger built in waits for "continue"
        process.stdin.flush()
        output, begin, deadline = b"", None, time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            chunk = os.read(process.stdout.fileno(), 65536)
            now = time.perf_counter()
            output += chunk
            if begin is None and BEGIN in output:
                begin = now
            if match := END.search(output):
                return now - begin, match[1].decode()
            if not chunk:
                break
        raise RuntimeError(f"{command[0]} ended without the mark; its last output:\n{output[-2000:].decode(errors='replace')}")
    finally:
        process.kill()
        process.communicate()


def instructions(doppel, image, directory):
    """How many instructions the whole guest executes; all but a few hundred are the loop's."""
    command = command_doppel(doppel, image, directory) + ["--stats"]
    result = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
    return int(re.search(rb"(\d+) instructions", result.stderr)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--doppel", required=True, help="the doppel program")
    parser.add_argument("--guest", required=True, help="the assembled guest image")
    parser.add_argument("--bochs", default="bochs", help="the Bochs program")
    parser.add_argument("--runs", type=int, default=3, help="runs of each program per row")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the iteration counts")
    parser.add_argument("--json", help="write the results to this file")
    parser.add_argument("--at-least", type=float, help="fail if the mean ratio is below this")
    options = parser.parse_args()
    doppel = str(pathlib.Path(options.doppel).resolve())
    json_file = options.json and pathlib.Path(options.json).resolve()
    bochs = shutil.which(options.bochs)
    if not bochs:
        sys.exit("bochs is not installed: apt install bochs bochsbios vgabios")
    programs = {"doppel": (command_doppel, doppel), "bochs": (command_bochs, bochs)}
    guest = pathlib.Path(options.guest).read_bytes()

    rows, ratios, wrong = [], [], False
    print(f"{'mode':<10} {'workload':<9} {'doppel s':>9} {'bochs s':>9} {'doppel MIPS':>12} {'bochs MIPS':>11} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        os.chdir(directory)
        for bits, mode in MODES.items():
            for index, (workload, count) in enumerate(WORKLOADS.items()):
                image = bytearray(guest)
                struct.pack_into("<III", image, PARAMETERS, bits, index, max(1, round(count * options.scale)))
                times, checksums = {program: [] for program in programs}, set()
                for _ in range(options.runs):
                    for program, (command, path) in programs.items():
                        seconds, checksum = measure(command(path, bytes(image), directory))
                        times[program].append(seconds)
                        checksums.add(checksum)
                executed = instructions(doppel, bytes(image), directory)
                median = {program: statistics.median(values) for program, values in times.items()}
                mips = {program: executed / seconds / 1e6 for program, seconds in median.items()}
                ratio = median["bochs"] / median["doppel"]
                ratios.append(ratio)
                wrong |= len(checksums) != 1
                print(f"{mode:<10} {workload:<9} {median['doppel']:9.3f} {median['bochs']:9.3f} {mips['doppel']:12.1f} "
                      f"{mips['bochs']:11.1f} {ratio:6.2f}" + ("  CHECKSUMS DIFFER" if len(checksums) != 1 else ""),
                      flush=True)
                rows.append({"mode": mode, "workload": workload, "instructions": executed, "seconds": times,
                             "median_seconds": median, "mips": mips, "ratio": ratio, "checksums": sorted(checksums)})
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"geometric mean of the ratios: {mean:.2f} (lowest {min(ratios):.2f}, highest {max(ratios):.2f})")
    if json_file:
        result = {"benchmark": "interp_vs_bochs", "host": platform.machine(), "runs": options.runs, "rows": rows,
                  "geometric_mean_ratio": mean}
        json_file.write_text(json.dumps(result, indent=2) + "\n")
    if wrong:
        sys.exit("the two programs got different results")
    if options.at_least is not None and mean < options.at_least:
        sys.exit(f"the mean ratio is below {options.at_least}")


main()
