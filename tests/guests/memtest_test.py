"""memtest86+ 6 tests 64 MiB. Its CD boots through the firmware; one pass is all its tests but "bit fade", which only waits
160 seconds for memory chips to forget: DOPPEL_BIT_FADE=1 in the environment adds it. The 32-bit program, started as a
Linux kernel, does its first tests."""

import os
import unittest

import guest
from screen import Screen

CD, PROGRAM_32 = guest.guests / "memtest.iso", guest.guests / "memtest32.bin"
PASS_SECONDS = 900  # on a slow machine


class Memtest(unittest.TestCase):
    def setUp(self):
        if not PROGRAM_32.exists():
            self.skipTest("no memtest86+: run ./dev guests")

    def choose(self, screen, key, then):
        screen.press(key)
        return screen.wait_for(then)

    def test_pass(self):
        with Screen("--cdrom", CD, "-m", "64M") as screen:
            screen.wait_for("Press <F1> to configure")
            self.choose(screen, "f1", "Test selection")
            self.choose(screen, "f1", "Remove one test")
            if not os.environ.get("DOPPEL_BIT_FADE"):
                self.choose(screen, "f2", "Enter test #")
                screen.type("10\n")
                screen.wait_for("*.********.")
            self.choose(screen, "f10", "Settings")
            screen.press("f10")
            shown = screen.wait_for("Pass:  1", PASS_SECONDS)
            self.assertIn("Memtest86+ v6", shown)
            self.assertIn("Memory  :   64MB", shown)
            self.assertRegex(shown, "Errors: 0 *\n")
            self.assertIn("Doppel Virtual CPU", shown)

    def test_32_bits(self):
        with Screen("--kernel", PROGRAM_32, "-m", "64M") as screen:
            shown = screen.wait_for("Test #3", PASS_SECONDS)
            self.assertIn("Memory  :   64MB", shown)
            self.assertRegex(shown, "Errors: 0 *\n")
            self.assertIn("x32", shown)


guest.main(needs_guest=False)
