"""What `doppel` tells about the code that runs: traces, listings, counts and perf's map, on the built-in guest."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import guest

SECONDS = 60
TRACE_LINE = re.compile(r"([0-9a-f]{16}) (16|32|64) ring[0-3] +\d+ (jit|interp|step)")


def selftest(*options):
    """Runs the built-in guest; returns the finished process and its id."""
    # A build with the address sanitizer: its search for leaks wants what the sandbox forbids.
    environment = os.environ | {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
    with subprocess.Popen([guest.program, "selftest", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, env=environment) as process:
        process.out, process.err = process.communicate(timeout=SECONDS)
    return process


class Trace(unittest.TestCase):
    def trace(self, engine):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trace"
            self.assertEqual(selftest("--engine", engine, f"--trace-blocks={path}").returncode, 0)
            lines = [TRACE_LINE.fullmatch(line) for line in path.read_text().splitlines()]
        self.assertTrue(lines and all(lines))
        return lines

    def test_trace(self):
        interpreted, translated = self.trace("interp"), self.trace("jit")
        self.assertEqual({line[3] for line in interpreted} - {"step"}, {"interp"})
        self.assertIn("jit", {line[3] for line in translated})
        # The same way, but for how often a loop waits; and translated code leaves a block behind a device access.
        self.assertLessEqual({line[1] for line in interpreted}, {line[1] for line in translated})

    def test_trace_to_stderr(self):
        self.assertRegex(selftest("--trace-blocks").err, TRACE_LINE)

    def test_dump_block(self):
        hot = next(line[1] for line in self.trace("jit") if line[3] == "jit")
        listing = selftest("--dump-block", "0x" + hot).err
        self.assertRegex(listing, rf"block at 0x{int(hot, 16):x} \(physical 0x[0-9a-f]+\): \d+ instructions")
        self.assertRegex(listing, rf"  {int(hot, 16):x}  \S+.* \| [0-9a-f]+  \S+")

    def test_perf_map(self):
        process = selftest("--perf-map")
        path = pathlib.Path(f"/tmp/perf-{process.pid}.map")
        lines = path.read_text().splitlines()
        path.unlink()
        self.assertRegex(lines[0], r"^[0-9a-f]+ [0-9a-f]+ doppel_trampolines$")
        self.assertRegex(lines[1], r"^[0-9a-f]+ [0-9a-f]+ guest_0x[0-9a-f]+$")

    def test_stats(self):
        stats = selftest("--stats").err
        for name in ("blocks translated", "entered from the dispatcher", "chain misses", "lookup misses",
                     "soft-TLB misses", "code cache bytes", "interpreted"):
            self.assertRegex(stats, rf" \d+ jit\.{name}")

    def test_verify(self):
        process = selftest("--engine", "verify", "--stats")
        self.assertEqual(process.returncode, 0, process.err)
        self.assertRegex(process.err, r" \d+ verify\.blocks compared")
        self.assertEqual(selftest("--engine", "verify", "--no-opt", "flag-liveness").returncode, 0)


guest.main(needs_guest=False)
