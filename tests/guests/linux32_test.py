"""Debian's other kernels boot to busybox: 32 bits without PAE, with PAE, and 64 bits real-time (the last two need
`./dev guests --all`)."""

import unittest

import guest

SHELL_32, SHELL_64 = guest.guests / "initramfs32.cpio", guest.initramfs


class Kernels(unittest.TestCase):
    def boot(self, name, initramfs, *options):
        kernel = guest.guests / f"vmlinuz-{name}"
        if not (kernel.exists() and initramfs.exists()):
            self.skipTest(f"no {kernel.name}: run ./dev guests (or ./dev guests --all)")
        with guest.Doppel("run", "--kernel", kernel, "--initrd", initramfs, "--append",
                          "console=ttyS0", *options) as doppel:
            log = doppel.boot()
            for word in ("BUG", "WARNING", "Oops", "clocksource: timekeeping watchdog"):
                self.assertNotIn(word, log)
            release = doppel.command("uname -rm")
            flags = doppel.command("grep flags /proc/cpuinfo")
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), 0)
        return log, release, flags

    def test_686(self):
        _, release, flags = self.boot("686", SHELL_32)
        self.assertIn("-686 i686", release)
        self.assertIn(" pae ", flags)

    def test_686_pae(self):
        log, release, _ = self.boot("686-pae", SHELL_32, "-m", "6G")
        self.assertIn("-686-pae i686", release)
        self.assertIn("NX (Execute Disable) protection: active", log)
        self.assertRegex(log, r"\d{4}MB HIGHMEM available")

    def test_real_time(self):
        log, release, _ = self.boot("rt", SHELL_64)
        self.assertIn("-rt-amd64 x86_64", release)
        self.assertIn("PREEMPT_RT", log)


guest.main(needs_guest=False)
