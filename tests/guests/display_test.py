"""The screen of a running guest and the ways to it: control socket, screenshots, VNC and the terminal. Linux has its
console on the VGA; what a test types goes through the PS/2 keyboard."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest
import zlib

import guest
import rfb

OK, REFUSED, USAGE, RESET, QUIT = 0, 1, 2, 4, 10
PROMPT = "guest#"
TEXT_SIZE = (720, 400)


def ctl(socket_path, *words):
    return subprocess.run([guest.program, "ctl", socket_path, *words], capture_output=True, text=True, timeout=60)


def read_png(path):
    """Width, height and rows of RGB bytes of an 8-bit RGB file."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
            assert (depth, colour) == (8, 2)
        if kind == b"IDAT":
            packed += data[at + 8:at + 8 + size]
        at += size + 12
    raw, rows, stride = zlib.decompress(packed), [], width * 3
    before = bytearray(stride)
    for y in range(height):
        kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride):
            left, up = row[i - 3] if i >= 3 else 0, before[i]
            corner = before[i - 3] if i >= 3 else 0
            guess = left + up - corner
            paeth = min((left, up, corner), key=lambda v: abs(guess - v))
            row[i] = (row[i] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
        rows.append(row)
        before = row
    return width, height, rows


class Machine:
    """A guest with its console on the VGA, and a folder for its sockets."""

    def __init__(self, *options):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="doppel-display-"))
        self.commands = 0
        self.control, self.vnc = self.folder / "control", self.folder / "vnc"
        self.doppel = guest.Doppel(
            *guest.linux("--serial", "null", "--control", f"unix:{self.control}", "--vnc", f"unix:{self.vnc}",
                         *options, append="console=ttyS0 console=tty0 quiet"),
            terminal=False)

    def close(self):
        self.doppel.__exit__()
        shutil.rmtree(self.folder)

    def ctl(self, *words):
        return ctl(self.control, *words)

    def screen(self):
        result = self.ctl("screen-text")
        return result.stdout if result.returncode == OK else ""

    def wait_for_screen(self, text, seconds=guest.COMMAND_SECONDS):
        deadline = time.monotonic() + seconds
        while text not in (screen := self.screen()):
            if time.monotonic() > deadline or self.doppel.process.poll() is not None:
                raise AssertionError(f"waited for {text!r} on the screen, saw:\n{screen}")
            time.sleep(0.1)
        return screen

    def boot(self):
        self.wait_for_screen(PROMPT, guest.BOOT_SECONDS)
        return self

    def command(self, text):
        """Types a shell command on an empty screen; returns what it printed."""
        self.commands += 1
        self.ctl("send-keys", f"clear; {text}; echo end''-{self.commands}\n")
        return self.wait_for_screen(f"end-{self.commands}").partition("end-")[0]


class Display(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.machine = Machine().boot()

    @classmethod
    def tearDownClass(cls):
        cls.machine.close()

    def test_text_and_keys(self):
        status = json.loads(self.machine.ctl("status").stdout)
        self.assertEqual((status["screen"], status["width"], status["height"]), ("text", *TEXT_SIZE))
        self.machine.ctl("send-keys", "clear; echo $((6*7)) \"~{}|\\!@#%^&*()_+<>?:'\"\n")
        self.assertIn("42 ~{}|\\!@#%^&*()_+<>?:'", self.machine.wait_for_screen("42 ~"))
        self.machine.ctl("send-keys", "cat\n")
        self.machine.ctl("send-key", "ctrl+c")
        self.machine.command("echo alive")

    def test_no_complaints_in_the_kernel_log(self):
        screen = self.machine.command("dmesg | grep -iE 'vga|i8042|pci 0000:00:02' | grep -iE 'err|fail|warn|bug|conflict'")
        self.assertEqual(screen.strip(), "")

    def test_screenshot(self):
        self.machine.command("echo picture")
        picture = self.machine.folder / "screen.png"
        result = subprocess.run([guest.program, "screenshot", self.machine.control, picture], timeout=60,
                                stdout=subprocess.DEVNULL)
        self.assertEqual(result.returncode, OK)
        width, height, rows = read_png(picture)
        self.assertEqual((width, height), TEXT_SIZE)
        lit = sum(pixel != 0 for pixel in b"".join(rows[:16]))
        self.assertGreater(lit, 200)  # "picture" in the first line
        self.assertLess(lit, 7 * 9 * 16 * 3)
        result = self.machine.ctl("screenshot", "/nowhere/at/all.png")
        self.assertEqual(result.returncode, REFUSED)
        self.assertIn("No such file", result.stderr)

    def test_vnc_shows_what_a_screenshot_shows(self):
        self.machine.command("echo the same")
        picture = self.machine.folder / "same.png"
        self.machine.ctl("screenshot", picture)
        _, _, rows = read_png(picture)
        with rfb.Viewer(self.machine.vnc) as viewer:
            self.assertEqual((viewer.width, viewer.height, viewer.name), (*TEXT_SIZE, "Doppel"))
            viewer.update(incremental=False)
            for y in range(16):  # further down is the cursor, which blinks
                row = b"".join(bytes(viewer.pixel(x, y)) for x in range(viewer.width))
                self.assertEqual(row, bytes(rows[y]), f"line {y}")

    def test_vnc_keys_and_pointer(self):
        with rfb.Viewer(self.machine.vnc) as viewer:
            viewer.update(incremental=False)
            viewer.type("clear; echo Typed_$((7*7))\n")
            self.machine.wait_for_screen("Typed_49")
            viewer.update()
            for x in range(0, 700, 7):
                viewer.point(x, x // 2, 1)
            viewer.key(0xFFE3, True)  # Ctrl stays down when we leave
        time.sleep(0.2)
        self.machine.command("echo ctrl is up")

    def test_vbe_mode_by_hand(self):
        """The register block and the frame buffer in the guest's memory; the viewer follows the size."""
        with rfb.Viewer(self.machine.vnc) as viewer:
            viewer.update(incremental=False)
            device = "/sys/bus/pci/devices/0000:00:02.0"
            screen = self.machine.command(f"echo 1 > {device}/enable; cut -d' ' -f1 {device}/resource | head -n 3")
            bars = [int(line, 16) for line in screen.split() if line.startswith("0x")]
            frame_buffer, registers = bars[0], bars[2]
            writes = [(4, 0), (1, 800), (2, 600), (3, 32), (4, 0x41)]
            text = "".join(f"devmem {registers + 0x500 + 2 * index:#x} 16 {value};" for index, value in writes)
            text += f"devmem {frame_buffer + (10 * 800 + 20) * 4:#x} 32 0x123456;"
            self.machine.ctl("send-keys", text + "\n")
            deadline = time.monotonic() + guest.COMMAND_SECONDS
            while (viewer.width, viewer.height) != (800, 600) or viewer.pixel(20, 10) != (0x12, 0x34, 0x56):
                self.assertLess(time.monotonic(), deadline)
                viewer.update()
            self.assertEqual(self.machine.ctl("screen-text").returncode, REFUSED)
            picture = self.machine.folder / "vbe.png"
            self.machine.ctl("screenshot", picture)
            width, height, rows = read_png(picture)
            self.assertEqual((width, height), (800, 600))
            self.assertEqual(bytes(rows[10][60:63]), b"\x12\x34\x56")
            self.machine.ctl("send-keys", f"devmem {registers + 0x508:#x} 16 0\n")
            self.machine.wait_for_screen("#")
            while (viewer.width, viewer.height) != TEXT_SIZE:
                self.assertLess(time.monotonic(), deadline)
                viewer.update()

    def test_hostile_viewers(self):
        dice = random.Random(1)
        for _ in range(60):
            connection = rfb.connect(self.machine.vnc)
            if dice.random() < 0.8:
                connection.sendall(b"RFB 003.008\n")
                if dice.random() < 0.8:
                    connection.sendall(b"\1\1")
            connection.sendall(dice.randbytes(dice.randrange(2000)))
            connection.close()
        for message in (
                struct.pack(">BxxxI", 6, 0xFFFFFFFF) + b"x" * 100,  # cut text of 4 GiB
                struct.pack(">BxH", 2, 0xFFFF) + b"\0" * 1000,  # more encodings than come
                struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 0, 0, 0, 255, 255, 255),  # absurd colours
                struct.pack(">BxxxBBBBHHHBBBxxx", 0, 7, 99, 0, 0, 1, 1, 1, 16, 8, 0),
                struct.pack(">BBHHHH", 3, 0, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF),  # a picture outside
                struct.pack(">BBHH", 5, 255, 0xFFFF, 0xFFFF),
                struct.pack(">BBxxI", 4, 1, 0xFFFFFFFF),
                b"\xff" * 64):
            with rfb.Viewer(self.machine.vnc) as viewer:
                viewer.socket.sendall(message)
                with contextlib.suppress(ConnectionError):  # the server may have had enough
                    viewer.request(False)
        with rfb.Viewer(self.machine.vnc) as viewer:
            viewer.update(incremental=False)
        self.machine.command("echo survived")

    def test_hostile_control_messages(self):
        for message in (
                b"\n", b"[]\n", b"1\n", b"nonsense\n", b"{}\n", b'{"execute":5}\n', b'{"execute":""}\n',
                b'{"execute":"no-such"}\n', b'{"execute":"status","x":1}\n', b'{"execute":"screenshot"}\n',
                b'{"execute":"screenshot","file":5}\n', b'{"execute":"screenshot","file":"a\\u0000b"}\n',
                b'{"execute":"send-key","keys":"a+"}\n', b'{"execute":"send-key","keys":"a+b+c+d+e+f+g+h+i"}\n',
                b'{"execute":"send-keys","text":"\xc3\xa4"}\n', b'{"execute":"send-keys","text":"\xff"}\n',
                b'{"execute":"send-keys","text":"' + b"a" * 5000 + b'"}\n',
                b'{"execute":"move-mouse","dx":1e300}\n', b'{"execute":"move-mouse","dx":99999999999999999999}\n',
                b'{"execute":"move-mouse","dx":-100000}\n', b"[" * 60000 + b"\n", b'{"a":' * 10000 + b"\n",
                b"x" * 100_000):
            with self.subTest(message[:40]), rfb.connect(self.machine.control) as connection:
                try:
                    connection.sendall(message)
                except BrokenPipeError:
                    pass
                answer = json.loads(connection.makefile().readline())
                self.assertTrue(answer["error"])
        dice = random.Random(2)
        for _ in range(50):
            with rfb.connect(self.machine.control) as connection:
                connection.sendall(dice.randbytes(dice.randrange(3000)))
        crowd = [rfb.connect(self.machine.control) for _ in range(40)]
        for connection in crowd:
            connection.close()
        with rfb.connect(self.machine.control) as connection:  # several messages in one piece
            connection.sendall(b'{"execute":"status"}\n{"execute":"screen-text"}\n')
            answers = connection.makefile()
            self.assertIn("screen", json.loads(answers.readline())["return"])
            self.assertEqual(len(json.loads(answers.readline())["return"]["lines"]), 25)


class Endings(unittest.TestCase):
    def test_reset_and_quit(self):
        for command, status in (("reset", RESET), ("quit", QUIT)):
            with self.subTest(command):
                machine = Machine("--no-reboot")
                machine.wait_for_screen("")
                deadline = time.monotonic() + 20
                while machine.ctl(command).returncode != OK:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.1)
                self.assertEqual(machine.doppel.finish(), status)
                self.assertFalse(machine.control.exists())
                self.assertFalse(machine.vnc.exists())
                machine.close()

    def test_password(self):
        with tempfile.TemporaryDirectory() as folder:
            password = pathlib.Path(folder, "password")
            password.write_text("sesame\n")
            machine = Machine("--vnc-password-file", password)
            try:
                while not machine.vnc.exists():
                    time.sleep(0.05)
                self.assertRaises(rfb.Refused, rfb.Viewer, machine.vnc)
                if shutil.which("openssl"):
                    self.assertRaises(rfb.Refused, rfb.Viewer, machine.vnc, "wrong")
                    with rfb.Viewer(machine.vnc, "sesame") as viewer:
                        viewer.update(incremental=False)
            finally:
                machine.close()

    def test_tcp_is_loopback_only(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with guest.Doppel(*guest.linux("--serial", "null", "--vnc", f":{port}"), terminal=False) as doppel:
            deadline = time.monotonic() + 20
            while True:
                try:
                    rfb.Viewer(port).socket.close()
                    break
                except ConnectionRefusedError:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.1)
            listening = pathlib.Path("/proc/net/tcp").read_text()
            self.assertIn(f"0100007F:{port:04X} 00000000:0000 0A", listening)
            self.assertNotIn(f"00000000:{port:04X} 00000000:0000 0A", listening)
            doppel.process.send_signal(signal.SIGTERM)
            self.assertEqual(doppel.finish(), QUIT)

    def test_text_on_the_terminal(self):
        with guest.Doppel(*guest.linux("--display", "text", append="console=ttyS0 console=tty0 quiet")) as doppel:
            doppel.wait_for(PROMPT, guest.BOOT_SECONDS)
            doppel.type("echo $((5*5))_\x1b[D\x1b[C\n")
            doppel.wait_for("25_")
            doppel.type("\x01x")
            self.assertEqual(doppel.finish(), QUIT)
            self.assertTrue(doppel.terminal_restored())
            self.assertTrue(doppel.shown.rstrip().endswith("\x1b[?1049l"))

    def test_a_left_socket_is_taken_over_and_a_used_one_is_not(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "control")
            options = guest.linux("--serial", "null", "--control", f"unix:{path}")
            with guest.Doppel(*options, terminal=False) as first:
                while ctl(path, "status").returncode != OK:
                    time.sleep(0.05)
                self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
                second = subprocess.run([guest.program, *options], capture_output=True, text=True, timeout=60)
                self.assertEqual(second.returncode, USAGE)
                self.assertIn("another program listens there", second.stderr)
                first.process.kill()
                first.process.wait()
            self.assertTrue(path.exists())
            with guest.Doppel(*options, terminal=False) as third:
                while ctl(path, "quit").returncode != OK:
                    time.sleep(0.05)
                self.assertEqual(third.finish(), QUIT)

    def test_bad_options(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "file")
            file.write_text("")
            for options, sentence in (
                    (("--vnc", "nonsense"), "write :NUMBER"), (("--vnc", ":x"), "write :NUMBER"),
                    (("--vnc", ":99999"), "write :NUMBER"), (("--vnc", "no.such.host.invalid:0"), "--vnc"),
                    (("--vnc", "unix:" + "x" * 200), "characters"), (("--vnc", f"unix:{file}"), "there is a file"),
                    (("--vnc", "unix:/nowhere/socket"), "No such file"), (("--control", "tcp:1"), "unix:PATH"),
                    (("--vnc", ":0", "--vnc-password-file", "/nowhere"), "No such file"),
                    (("--vnc", ":0", "--vnc-password-file", file), "empty"),
                    (("--vnc-password-file", file), "add --vnc"), (("--display", "sdl"), "not known"),
                    (("--display", "text"), "no terminal"),
                    (("--display", "text", "--serial", "stdio"), "both want the terminal")):
                with self.subTest(options):
                    result = subprocess.run([guest.program, *guest.linux(*options)], capture_output=True, text=True,
                                            stdin=subprocess.DEVNULL, timeout=60)
                    self.assertEqual(result.returncode, USAGE)
                    self.assertIn(sentence, result.stderr)
                    self.assertEqual(result.stderr.count("\n"), 1)
            result = ctl("/nowhere/socket", "status")
            self.assertEqual(result.returncode, USAGE)
            self.assertIn("--control", result.stderr)


guest.main()
