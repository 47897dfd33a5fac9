"""A machine whose screen the test reads and on whose keyboard it types, through the control socket."""

import pathlib
import shutil
import subprocess
import tempfile
import time

import guest

KEYS_AT_ONCE, SECONDS_TO_TAKE_THEM = 8, 0.15


class Screen:
    """A running `doppel run`. The first serial port writes to a file."""

    def __init__(self, *options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="doppel-screen-"))
        self.control = self.folder / "control"
        engine = ["--engine", *guest.engine] if guest.engine else []
        self.doppel = guest.Doppel("run", "--control", f"unix:{self.control}", "--serial",
                                   f"file:{self.folder / 'serial'}", "--debugcon", f"file:{self.folder / 'debug'}",
                                   "--vnc", f"unix:{self.folder / 'vnc'}",  # so that firmware leaves the serial port alone
                                   *engine, *options, terminal=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.doppel.__exit__()
        self.doppel.process.stdin.close()
        self.doppel.process.stdout.close()
        shutil.rmtree(self.folder)

    def ctl(self, *words):
        return subprocess.run([guest.program, "ctl", self.control, *words], capture_output=True, text=True, timeout=60)

    def type(self, text):
        """In pieces: a BIOS holds 15 keys and drops others until its program has taken them."""
        for at in range(0, len(text), KEYS_AT_ONCE):
            result = self.ctl("send-keys", text[at:at + KEYS_AT_ONCE])
            assert result.returncode == 0, result.stderr
            time.sleep(SECONDS_TO_TAKE_THEM)

    def press(self, keys):
        result = self.ctl("send-key", keys)
        assert result.returncode == 0, result.stderr

    def text(self):
        return self.ctl("screen-text").stdout

    def serial(self):
        return (self.folder / "serial").read_text(errors="replace").replace("\r", "")

    def wait_for(self, text, seconds=guest.COMMAND_SECONDS, where=None):
        """Waits until `text` is on the screen, or where `where` reads; returns all that is shown there."""
        where = where or self.text
        deadline = time.monotonic() + seconds
        while text not in (shown := where()):
            if time.monotonic() > deadline or self.doppel.process.poll() is not None:
                raise AssertionError(f"waited for {text!r}, saw:\n{shown}")
            time.sleep(0.1)
        return shown
