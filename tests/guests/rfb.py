"""A small client of the RFB protocol (RFC 6143) for tests: connects, follows the screen in raw encoding and in size,
presses keys and moves the pointer."""

import socket
import struct
import subprocess
import time

RAW, DESKTOP_SIZE = 0, -223
NO_AUTHENTICATION, VNC_AUTHENTICATION = 1, 2


class Refused(Exception):
    """The server did not let us in."""


def answer_to(challenge, password):
    """The challenge encrypted with DES under the password, each of whose bytes has its bits reversed."""
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode().ljust(8, b"\0")[:8])
    return subprocess.run(
        ["openssl", "enc", "-des-ecb", "-nopad", "-K", key.hex(), "-provider", "legacy", "-provider", "default"],
        input=challenge, capture_output=True, check=True).stdout


def connect(where, seconds=20):
    """`where`: the path of a socket, or a port of this host."""
    if isinstance(where, int):
        return socket.create_connection(("127.0.0.1", where), seconds)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(seconds)
    for attempt in range(100, -1, -1):
        try:
            connection.connect(str(where))
            return connection
        except BlockingIOError:  # more connections wait than the server keeps
            if not attempt:
                raise
            time.sleep(0.1)


class Viewer:
    """`pixels` is what the screen showed last: 4 bytes a pixel (blue, green, red, 0)."""

    def __init__(self, where, password=None):
        self.socket = connect(where)
        self.receive(12)
        self.socket.sendall(b"RFB 003.008\n")
        offered = self.receive(self.receive(1)[0])
        kind = VNC_AUTHENTICATION if password is not None else NO_AUTHENTICATION
        if kind not in offered:
            raise Refused(f"the server offers {list(offered)}")
        self.socket.sendall(bytes([kind]))
        if password is not None:
            self.socket.sendall(answer_to(self.receive(16), password))
        if struct.unpack(">I", self.receive(4))[0] != 0:
            raise Refused("wrong password")
        self.socket.sendall(b"\1")  # others may stay
        self.width, self.height = struct.unpack(">HH", self.receive(4))
        self.receive(16)
        self.name = self.receive(struct.unpack(">I", self.receive(4))[0]).decode()
        self.pixels = bytearray(self.width * self.height * 4)
        self.sizes = [(self.width, self.height)]
        # 32 bits a pixel, little-endian, red at bit 16.
        self.socket.sendall(struct.pack(">BxxxBBBBHHHBBBxxx", 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        self.socket.sendall(struct.pack(">BxHii", 2, 2, RAW, DESKTOP_SIZE))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, size):
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                raise Refused("the server closed the connection")
            data += part
        return data

    def key(self, keysym, down):
        self.socket.sendall(struct.pack(">BBxxI", 4, down, keysym))

    def type(self, text):
        for character in text:
            keysym = 0xFF0D if character == "\n" else ord(character)
            shifted = character.isupper() or character in '~!@#$%^&*()_+{}|:"<>?'
            if shifted:
                self.key(0xFFE1, True)
            self.key(keysym, True)
            self.key(keysym, False)
            if shifted:
                self.key(0xFFE1, False)

    def point(self, x, y, buttons=0):
        self.socket.sendall(struct.pack(">BBHH", 5, buttons, x, y))

    def request(self, incremental):
        self.socket.sendall(struct.pack(">BBHHHH", 3, incremental, 0, 0, self.width, self.height))

    def update(self, incremental=True):
        """Asks for what changed and takes it in; waits for a change if `incremental`."""
        self.request(incremental)
        while (kind := self.receive(1)[0]) != 0:
            if kind == 2:  # bell
                continue
            if kind != 3:
                raise Refused(f"unknown message {kind}")
            self.receive(3)
            self.receive(struct.unpack(">I", self.receive(4))[0])
        for _ in range(struct.unpack(">xH", self.receive(3))[0]):
            x, y, width, height, encoding = struct.unpack(">HHHHi", self.receive(12))
            if encoding == DESKTOP_SIZE:
                self.width, self.height = width, height
                self.sizes.append((width, height))
                self.pixels = bytearray(width * height * 4)
                continue
            data = self.receive(width * height * 4)
            for row in range(height):
                at = ((y + row) * self.width + x) * 4
                self.pixels[at:at + width * 4] = data[row * width * 4:(row + 1) * width * 4]

    def pixel(self, x, y):
        blue, green, red, _ = self.pixels[(y * self.width + x) * 4:(y * self.width + x) * 4 + 4]
        return red, green, blue
