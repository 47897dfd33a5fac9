"""The test guest boots to its shell and powers off, again and again: every time, and never much slower than usual.
`boots_test.py DOPPEL-PROGRAM GUESTS-FOLDER [ENGINE]`; the environment's BOOTS is how often (default 20), PROCESSORS on
how many (default 1), SECONDS how long one may take."""

import os
import statistics
import time
import unittest

import guest

BOOTS = int(os.environ.get("BOOTS", "20"))
SLOWER = 5  # times the median: another boot is not, though the host may be busy
SECONDS = int(os.environ.get("SECONDS", "60"))
PROCESSORS = os.environ.get("PROCESSORS", "1")


class Boots(unittest.TestCase):
    def test_in_a_row(self):
        seconds = []
        for number in range(1, BOOTS + 1):
            with self.subTest(boot=number), guest.Doppel(
                    *guest.linux("-m", "256M", "--smp", PROCESSORS)) as doppel:
                start = time.monotonic()
                doppel.wait_for(guest.PROMPT, SECONDS)
                seconds.append(time.monotonic() - start)
                self.assertIn(f"count {PROCESSORS}.", doppel.command("echo count $(nproc)."))
                doppel.type("poweroff -f\n")
                self.assertEqual(doppel.finish(), 0)
        self.assertEqual(len(seconds), BOOTS)
        median = statistics.median(seconds)
        print(f"{BOOTS} boots, {min(seconds):.2f} to {max(seconds):.2f} s, median {median:.2f} s ... ", end="")
        self.assertLess(max(seconds), SLOWER * median)


guest.main()
