#!/usr/bin/env python3
"""Linux on several processors: all are there and work at once, one leaves and comes back, a reset starts them again."""

import unittest

import guest

# Processes that meet each other all the time: each step of a pipe is a wake-up, often of another processor.
WORK = ("for i in 1 2 3 4 5 6; do (seq 1 20000 | sort -n | tail -1; head -c 4000000 /dev/zero | sha256sum) & done | sort | uniq -c;"
        " wait; echo work done")
ZEROES = "8dbe5f139fd946d4cd84e8cc612cd9f68cbc87e394457884acc0c5dad56dd8dd"  # the hash of 4,000,000 of them


class Smp(unittest.TestCase):
    def booted(self, processors, *options):
        doppel = guest.Doppel(*guest.linux("--smp", processors, "-m", "512M", *options))
        doppel.boot()
        return doppel

    def test_processors(self):
        for number in (2, 4, 8):
            with self.subTest(number), self.booted(str(number)) as doppel:
                self.assertIn(f"count {number}.", doppel.command("echo count $(nproc)."))
                shown = doppel.command(WORK, 120)
                self.assertRegex(shown, r"6 20000\s")
                self.assertIn(f"6 {ZEROES}", shown)
                self.assertNotRegex(doppel.command("dmesg"), r"(?i)lockup|stall|BUG:|inconsistent")

    def test_topology(self):
        with self.booted("8,sockets=2,cores=2,threads=2") as doppel:
            shown = doppel.command("grep -c 'siblings.*: 4' /proc/cpuinfo; sort -u /proc/cpuinfo | grep -c 'physical id'")
            self.assertRegex(shown, r"8\s+2\s")

    def test_offline_and_online(self):
        with self.booted("2") as doppel:
            online = "/sys/devices/system/cpu/cpu1/online"
            for _ in range(3):
                self.assertIn("now 1.", doppel.command(f"echo 0 > {online}; echo now $(nproc)."))
                self.assertIn("now 2.", doppel.command(f"echo 1 > {online}; echo now $(nproc)."))
            self.assertIn("work done", doppel.command(WORK, 120))

    def test_reset(self):
        with self.booted("4") as doppel:
            doppel.type("reboot -f\n")
            doppel.boot()
            self.assertIn("count 4.", doppel.command("echo count $(nproc)."))


if __name__ == "__main__":
    guest.main()
