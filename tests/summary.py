"""Prints `N passed, N failed[, N skipped]` for a meson test log: doctest cases and the cases of the Python tests
are counted one by one, any other test program as one. Exits with 1 if something failed or nothing ran."""

import json
import re
import sys

DOCTEST = re.compile(r"\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed")
PLAIN = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$", re.MULTILINE)
PASSED, SKIPPED = ("OK", "EXPECTEDFAIL"), ("SKIP",)


def counts(test):
    """(passed, failed, skipped) of one line of meson's log."""
    passed, failed, skipped = 0, 0, 0
    for pattern in (DOCTEST, PLAIN):
        for groups in pattern.findall(test.get("stdout") or ""):
            numbers = [int(group or 0) for group in groups] + [0]
            passed, failed, skipped = passed + numbers[0], failed + numbers[1], skipped + numbers[2]
    result = test["result"]
    if result in SKIPPED:
        skipped = max(skipped, 1)
    elif result in PASSED:
        passed = passed if passed or skipped else 1
    else:
        failed = max(failed, 1)  # a crash or a time-out may come before any count
    return passed, failed, skipped


def main():
    with open(sys.argv[1], encoding="utf-8") as log:
        totals = [sum(column) for column in zip((0, 0, 0), *(counts(json.loads(line)) for line in log))]
    passed, failed, skipped = totals
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(1 if failed or not passed else 0)


main()
