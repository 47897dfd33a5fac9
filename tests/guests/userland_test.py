"""Programs of a Debian user land print under the hypervisor what they print on the host: tests/guests/userland, run in
one guest and in the same tree natively. `userland_test.py DOPPEL-PROGRAM GUESTS-FOLDER [ENGINE]`; the environment's
CHECKS chooses some by name, gcc-levels among them, which is not run otherwise."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

import guest

HERE = pathlib.Path(__file__).resolve().parent
USERLAND = guest.guests / "userland"
CHECKS = os.environ.get("CHECKS", "busybox openssl zstd sqlite python perl gcc luajit node").split()
NATIVE_SECONDS = 120
GUEST_SECONDS = 400
STATUS = re.compile(r"^@status (\S+) (\d+) (\d+)$", re.MULTILINE)


def parts(text):
    """{name: (output, status, milliseconds)} of what tests/guests/userland/run printed."""
    found = {}
    for name in CHECKS:
        _, begun, rest = text.partition(f"@check {name}\n")
        if begun and (end := STATUS.search(rest)):
            found[name] = rest[: end.start()], int(end[2]), int(end[3])
    return found


def native():
    command = [HERE / "make_userland.sh", "--native", USERLAND, "/checks/run", *CHECKS]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=NATIVE_SECONDS, check=True)
    return parts(done.stdout.decode(errors="replace"))


def translated():
    kernel_line = f'console=ttyS0 quiet panic=-1 CHECKS="{" ".join(CHECKS)}"'
    options = ["run", "--kernel", guest.kernel, "--initrd", USERLAND / "initramfs.cpio", "--append", kernel_line, "-m", "1G",
               "--cpu", "max", "--no-reboot"]
    if guest.engine:
        options += ["--engine", *guest.engine]
    with guest.Doppel(*options, terminal=False) as doppel:
        status = doppel.finish(GUEST_SECONDS)
        return parts(doppel.shown), status, doppel.shown


class UserLand(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.expected = native()
        cls.got, cls.status, cls.shown = translated()

    def test_power_off(self):
        self.assertEqual(self.status, 0, self.shown[-2000:])

    def test_kernel_is_content(self):
        self.assertNotRegex(self.shown, r"(?i)call trace|kernel bug|oops|segfault at")


def check(name):
    def test(self):
        self.assertIn(name, self.expected, "did not run on the host")
        self.assertIn(name, self.got, f"did not end in the guest:\n{self.shown[-2000:]}")
        output, status, milliseconds = self.got[name]
        expected, host_status, host_milliseconds = self.expected[name]
        print(f"{milliseconds / 1000:.1f} s, host {host_milliseconds / 1000:.1f} s ... ", end="")
        self.assertEqual(host_status, 0, f"fails on the host:\n{expected[-2000:]}")
        self.assertEqual(output.splitlines(), expected.splitlines())
        self.assertEqual(status, 0)

    return test


for each in CHECKS:
    setattr(UserLand, f"test_{each}", check(each))

if not (USERLAND / "initramfs.cpio").exists():
    print("no user land: run ./dev guests")
    sys.exit(guest.SKIPPED)
guest.main()
