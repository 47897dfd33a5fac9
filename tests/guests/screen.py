"""A machine whose screen the test reads and on whose keyboard it types, through the control socket."""

import pathlib
import shutil
import subprocess
import tempfile
import time

import guest


class Screen:
    """A running `doppel run`. `serial` and `debug` are what its serial port and its firmware's log have shown."""

    def __init__(self, *options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="doppel-screen-"))
        self.control = self.folder / "control"
        engine = ["--engine", *guest.engine] if guest.engine else []
        self.doppel = guest.Doppel("run", "--control", f"unix:{self.control}", "--serial",
                                   f"file:{self.folder / 'serial'}", "--debugcon", f"file:{self.folder / 'debug'}",
                                   *engine, *options, terminal=False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.doppel.__exit__()
        shutil.rmtree(self.folder)

    def ctl(self, *words):
        return subprocess.run([guest.program, "ctl", self.control, *words], capture_output=True, text=True, timeout=60)

    def type(self, text):
        result = self.ctl("send-keys", text)
        assert result.returncode == 0, result.stderr

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
