"""stress-ng checks the guest's kernel and processors without finding an error, with several processors. Started as
`TEST.py DOPPEL-PROGRAM GUESTS-FOLDER [ENGINE]`."""

import sys
import unittest

import guest

INITRAMFS = guest.guests / "stress.cpio"
JOBS = ("cpu", "vm", "switch", "futex")
SECONDS_EACH = 4


class Stress(unittest.TestCase):
    def stress(self, processors):
        jobs = " ".join(f"--{job} {processors}" for job in JOBS)
        options = f"{jobs} --vm-bytes 64M --timeout {SECONDS_EACH}s"
        arguments = guest.linux("--smp", str(processors), "-m", "1G", "--cpu", "max", "--no-reboot",
                                append=f'console=ttyS0 quiet panic=-1 STRESS="{options}"')
        arguments[arguments.index(guest.initramfs)] = INITRAMFS
        with guest.Doppel(*arguments, terminal=False) as doppel:
            self.assertEqual(doppel.finish(300), 0)
        self.assertIn(f"@status 0 {processors}", doppel.shown)
        self.assertIn("successful run completed", doppel.shown)
        self.assertNotRegex(doppel.shown.partition("@status")[2], r"(?i)lockup|stall|BUG:|call trace|segfault")
        self.assertNotRegex(doppel.shown, r"(?i)stress-ng: (fail|error):")

    def test_two_processors(self):
        self.stress(2)

    def test_four_processors(self):
        self.stress(4)


if not INITRAMFS.exists():
    print("no stress-ng: run ./dev userland")
    sys.exit(guest.SKIPPED)
guest.main(needs_guest=False)
