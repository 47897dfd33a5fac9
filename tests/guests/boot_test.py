"""Debian's kernel boots to a shell on the serial port, finds the machine it should, idles, and powers off."""

import re
import time
import unittest

import guest

IDLE_SECONDS = 5
IDLE_CPU_SHARE = 0.02
OVERHEAD_KIB = (128 if guest.engine == ["jit"] else 64) * 1024  # translations take room too
RAM_MIB = 256

# Lines that this kernel prints on any machine like this, under QEMU too; the second when the host is busy.
HARMLESS = re.compile(
    r"report a bug$|tsc: Fast TSC calibration failed$", re.IGNORECASE)


class Boot(unittest.TestCase):
    """One guest for all; the tests run in the order of their names."""

    @classmethod
    def setUpClass(cls):
        cls.doppel = guest.Doppel(*guest.linux("-m", f"{RAM_MIB}M"))
        cls.banner = cls.doppel.boot()

    @classmethod
    def tearDownClass(cls):
        cls.doppel.__exit__()

    def command(self, text, seconds=guest.COMMAND_SECONDS):
        return self.doppel.command(text, seconds)

    def test_01_banner(self):
        self.assertRegex(self.banner, r"Doppel guest: Linux 6\.1\.\S+, shell ready [0-9.]+ s after power-on")

    def test_02_uname(self):
        self.assertRegex(self.command("uname -a"), r"^Linux guest 6\.1\.\S+ .* x86_64 GNU/Linux")

    def test_03_cpuinfo(self):
        info = self.command("cat /proc/cpuinfo")
        self.assertEqual(len(re.findall(r"^processor\s*:", info, re.MULTILINE)), 1)
        flags = re.search(r"^flags\s*:(.*)$", info, re.MULTILINE)[1].split()
        # x86-64-v2, and nothing that is not there.
        for flag in "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 lm nx syscall fxsr apic".split():
            self.assertIn(flag, flags)
        for flag in "avx avx2 vmx svm".split():
            self.assertNotIn(flag, flags)

    def test_04_devices(self):
        devices = self.command("ls /sys/devices").split()
        for name in ("platform", "system", "virtual"):
            self.assertIn(name, devices)
        self.assertRegex(self.command("cat /proc/interrupts"), r"ttyS0")

    def test_05_memory(self):
        total = int(re.search(r"MemTotal:\s+(\d+)", self.command("cat /proc/meminfo"))[1])
        self.assertGreater(total, RAM_MIB * 1024 * 3 // 4)
        self.assertLess(total, RAM_MIB * 1024)

    def test_06_kernel_is_content(self):
        lines = self.command("dmesg | grep -i -E 'error|warn|bug|fail|oops|call trace'").splitlines()
        self.assertEqual([line for line in lines if not HARMLESS.search(line)], [])

    def test_07_clock(self):
        before, start = float(self.command("cut -d' ' -f1 /proc/uptime")), time.monotonic()
        self.command("sleep 3")
        guest_seconds = float(self.command("cut -d' ' -f1 /proc/uptime")) - before
        self.assertAlmostEqual(guest_seconds, time.monotonic() - start, delta=1.5)
        self.assertGreaterEqual(guest_seconds, 3)

    def test_08_work(self):
        squares = "awk 'BEGIN { for (i = 1; i <= 10000; i++) s += i * i; printf \"%.0f\", s }'"
        self.assertIn(str(sum(i * i for i in range(10001))), self.command(squares))
        self.assertIn("/tmp/b: OK", self.command(
            "head -c 300000 /dev/urandom > /tmp/a; gzip -c /tmp/a | gunzip > /tmp/b; "
            "sha256sum /tmp/a | sed s/a$/b/ | sha256sum -c"))

    def test_09_job_control(self):
        self.doppel.type("sleep 1000\n")
        self.doppel.wait_for("sleep 1000\n")
        time.sleep(0.5)
        self.doppel.type("\x03")
        self.doppel.wait_for(guest.PROMPT)
        self.assertIn("130", self.command("echo $?"))
        self.command("sleep 1000 &")
        self.assertRegex(self.command("jobs"), r"Running\s+sleep 1000")
        self.command("kill %1")

    def test_10_binary_on_the_line(self):
        # Ctrl-A is the monitor's prefix; "Ctrl-A a" reaches the guest as Ctrl-A.
        self.doppel.type("cat -v\n")
        self.doppel.wait_for("cat -v\n")
        time.sleep(1)  # the shell gives the terminal back to cooked mode
        self.doppel.type("\x01a.\x1b[A\n\x04")
        shown = self.doppel.wait_for(guest.PROMPT)
        self.assertIn("^A.^[[A\n^A.^[[A\n", shown)  # the echo, then cat

    def test_11_idle(self):
        time.sleep(1)  # for the kernel to settle
        before = self.doppel.cpu_seconds()
        time.sleep(IDLE_SECONDS)
        share = (self.doppel.cpu_seconds() - before) / IDLE_SECONDS
        self.assertLess(share, IDLE_CPU_SHARE, "a halted guest uses the host's CPU")

    def test_12_memory_bound(self):
        # Guest RAM is shared memory (a memfd); all else is the hypervisor's own.
        self.assertLess(self.doppel.memory_kib("RssAnon") + self.doppel.memory_kib("RssFile"), OVERHEAD_KIB)
        self.assertLess(self.doppel.memory_kib("RssShmem"), RAM_MIB * 1024 + 1024)

    def test_13_power_off(self):
        self.doppel.type("poweroff -f\n")
        self.assertEqual(self.doppel.finish(), 0)
        self.assertTrue(self.doppel.terminal_restored())


guest.main()
