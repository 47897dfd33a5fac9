"""A timer interrupt reaches a translated loop within 100 µs: the median of 128, as the guest's own TSC tells,
in one of three attempts.
`timer_latency_test.py DOPPEL-PROGRAM GUEST-IMAGE`; on a host whose own timers are late it only reports."""

import ctypes
import re
import subprocess
import statistics
import sys
import time

LIMIT = 100  # microseconds
HOST_LIMIT = 50
ATTEMPTS = 3
SKIPPED = 77  # to meson
PR_SET_TIMERSLACK = 29


def host_lateness():
    """How late the host wakes a thread that sleeps to a deadline: the median, in microseconds."""
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    late = []
    for _ in range(100):
        deadline = time.monotonic() + 0.001
        time.sleep(0.001)
        late.append(time.monotonic() - deadline)
    return statistics.median(late) * 1e6


def guest_lateness():
    """Each of the guest's samples, in microseconds; its TSC is compared with the host's clock."""
    command = [sys.argv[1], "run", "-m", "16", "--cpu", "max", "--serial", "null", "--debugcon", "stderr", "--kernel", sys.argv[2],
               "--timeout", "60"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    marks, ticks = [], []
    for line in process.stderr:
        if found := re.match(r"@(late|tsc) ([0-9a-f]{8})$", line):
            value = int(found[2], 16)
            if found[1] == "tsc":
                marks.append((time.monotonic(), value * 256))
            else:
                ticks.append(value)
        else:
            print(line, end="")
    if process.wait() != 1 or len(marks) != 2:  # isa-debug-exit with 0
        sys.exit(f"the guest ended with status {process.returncode} after {len(ticks)} samples")
    per_second = (marks[1][1] - marks[0][1]) % 2**40 / (marks[1][0] - marks[0][0])
    return [t / per_second * 1e6 for t in ticks]


def measure():
    """The guest's median and the host's."""
    before = host_lateness()
    late = sorted(guest_lateness())
    host = max(before, host_lateness())
    median = statistics.median(late)
    print(f"interrupt after the deadline: median {median:.1f} µs, 90% {late[len(late) * 9 // 10]:.1f} µs, worst {late[-1]:.1f} µs; "
          f"the host's own wake-ups: median {host:.1f} µs")
    return median, host


# Each measurement takes a second in which somebody else may have the processor.
measured = []
while len(measured) < ATTEMPTS and not any(median < LIMIT for median, _ in measured):
    measured.append(measure())
if any(median < LIMIT for median, _ in measured):
    print("1 passed, 0 failed")
elif any(host > HOST_LIMIT for _, host in measured):
    sys.exit(SKIPPED)
else:
    print("0 passed, 1 failed")
    sys.exit(1)
