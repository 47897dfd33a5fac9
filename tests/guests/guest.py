"""Drives `doppel` as a person would: on a pseudo-terminal or through pipes, typing and waiting for what it shows.
Used by the tests in this folder, each started as `TEST.py DOPPEL-PROGRAM GUESTS-FOLDER [ENGINE]`."""

import os
import pathlib
import pty
import select
import subprocess
import sys
import termios
import time
import unittest

PROMPT = "guest# "
BOOT_SECONDS = 240  # on a slow machine, with other tests beside it
COMMAND_SECONDS = 60
SKIPPED = 77  # to meson

if len(sys.argv) not in (3, 4):
    sys.exit(f"usage: {sys.argv[0]} DOPPEL-PROGRAM GUESTS-FOLDER [ENGINE]")
program, guests, engine = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
kernel, initramfs = guests / "vmlinuz", guests / "initramfs.cpio"


def linux(*options, append="console=ttyS0 quiet"):
    """Arguments that boot the test guest."""
    engine_options = ["--engine", *engine] if engine else []
    return ["run", "--kernel", kernel, "--initrd", initramfs, "--append", append, *engine_options, *options]


class Doppel:
    """A running `doppel`. `shown` is everything that its terminal (or its standard output) has shown."""

    def __init__(self, *arguments, terminal=True, limits=None):
        self.shown = ""
        self._seen = 0  # how much of `shown` earlier waits have consumed
        self.terminal = None
        command = [program, *map(str, arguments)]
        if terminal:
            self._read_end, self.terminal = pty.openpty()
            self._write_end = self._read_end
            self.attributes_before = termios.tcgetattr(self.terminal)
            self.process = subprocess.Popen(
                command, stdin=self.terminal, stdout=self.terminal, stderr=self.terminal, start_new_session=True,
                preexec_fn=limits)
        else:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self._read_end, self._write_end = self.process.stdout.fileno(), self.process.stdin.fileno()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.terminal is not None:
            os.close(self._read_end)
            os.close(self.terminal)

    def type(self, text):
        os.write(self._write_end, text.encode())

    def _read(self, seconds):
        """Takes in what is shown within `seconds`; False when there is nothing more to come."""
        if not select.select([self._read_end], [], [], max(seconds, 0))[0]:
            return True
        try:
            data = os.read(self._read_end, 65536)
        except OSError:
            data = b""
        self.shown += data.decode(errors="replace").replace("\r", "")
        return bool(data)

    def wait_for(self, text, seconds=COMMAND_SECONDS):
        """Waits until `text` is shown; returns what came before it."""
        deadline = time.monotonic() + seconds
        while (at := self.shown.find(text, self._seen)) < 0:
            # The user side of the terminal stays open here, so its end is the process's.
            ended = self.process.poll() is not None and not select.select([self._read_end], [], [], 0)[0]
            if ended or not self._read(min(0.2, deadline - time.monotonic())) or time.monotonic() > deadline:
                raise AssertionError(f"waited for {text!r}, saw:\n{self.shown[self._seen:]}")
        before = self.shown[self._seen:at]
        self._seen = at + len(text)
        return before

    def boot(self):
        """Waits for the shell; returns what was shown before."""
        before = self.wait_for(PROMPT, BOOT_SECONDS)
        self.command("stty columns 500")  # so that long commands are echoed on one line
        return before

    def command(self, text, seconds=COMMAND_SECONDS):
        """Runs a shell command; returns what it printed."""
        self.type(text + "\n")
        self.wait_for(text + "\n")
        return self.wait_for(PROMPT, seconds)

    def finish(self, seconds=COMMAND_SECONDS):
        """Waits for the process to end; returns its exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"still running after {seconds} s, saw:\n{self.shown[self._seen:]}")
            self._read(0.1)
        while select.select([self._read_end], [], [], 0)[0] and self._read(0):
            pass
        return self.process.returncode

    def terminal_restored(self):
        return termios.tcgetattr(self.terminal) == self.attributes_before

    def cpu_seconds(self):
        """Processor time that the process has used so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self, field):
        """A field of /proc/PID/status that is in KiB, such as RssAnon."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        raise AssertionError(f"/proc/PID/status has no {field}")


def main(needs_guest=True):
    """Runs the tests of the calling file; the last line counts them."""
    if needs_guest and not (kernel.exists() and initramfs.exists()):
        print("no guest: run ./dev guests")
        sys.exit(SKIPPED)
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(1 if failed or not result.testsRun else 0)
