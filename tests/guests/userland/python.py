"""Self-checks and printed results of the interpreter: integers, floats, decimals, text, digests, threads, processes."""

import array
import bisect
import cmath
import collections
import concurrent.futures
import ctypes
import datetime
import decimal
import fractions
import hashlib
import hmac
import itertools
import json
import lzma
import math
import os
import pickle
import random
import re
import signal
import sqlite3
import statistics
import struct
import subprocess
import threading
import time
import unittest
import zlib


def show(name, value):
    print(f"{name}: {value}", flush=True)


def digest(text):
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:24]


def integers():
    show("factorial", digest(str(math.factorial(700))))
    show("powers", digest(str([pow(3, n, 2**127 - 1) for n in range(1, 2000)])))
    a, b = 3**2000 + 7, 7**900 + 11
    show("division", [digest(str(divmod(a, b))), digest(str(divmod(-a, b))), math.gcd(a * b, b * 12), math.isqrt(a) % 10**20])
    show("bits", [a.bit_length(), a.bit_count(), digest((a ^ b << 77 | 5).to_bytes(420, "little"))])
    sieve = bytearray([1]) * 200000
    for i in range(2, 450):
        if sieve[i]:
            sieve[i * i :: i] = bytes(len(range(i * i, len(sieve), i)))
    show("primes", sum(sieve[2:]))


def floats():
    rng = random.Random(42)
    values = [rng.uniform(-1e3, 1e3) for _ in range(2000)]
    for f in (math.sin, math.tan, math.atan, math.sinh, math.erf, math.gamma, math.expm1, math.cbrt, math.floor, math.frexp):
        show(f.__name__, digest(repr([f(v / 97 + 0.01) for v in values])))
    for f in (math.sqrt, math.log, math.log2, math.log1p, math.lgamma):
        show(f.__name__, digest(repr([f(abs(v)) for v in values])))
    show("fsum", repr(math.fsum(values)))
    show("fmod", digest(repr([math.fmod(v, 3.7) for v in values] + [v % -3.7 for v in values])))
    show("complex", digest(repr([cmath.exp(complex(v / 1000, v / 7)) for v in values])))
    show("text", digest(repr([float(repr(v)) == v and f"{v:.17e}" for v in values])))
    show("special", [repr(float("inf") - float("inf")), 5e-324, 5e-324 / 2, 1.7976931348623157e308 * 2, -0.0, math.nextafter(1, 2)])
    show("statistics", [statistics.stdev(values), statistics.median(values), statistics.harmonic_mean(map(abs, values))])
    show("half", digest(struct.pack("<500e", *[v / 10 for v in values[:500]])))


def decimals():
    decimal.getcontext().prec = 60
    show("decimal", [decimal.Decimal(2).sqrt(), decimal.Decimal(10).ln(), decimal.Decimal("1.1") ** 77, decimal.Decimal(1) / 7])
    show("fraction", sum(fractions.Fraction(1, n) for n in range(1, 120)))


def texts():
    data = {"list": list(range(300)), "float": [1 / n for n in range(1, 300)], "text": "å∫ç𝄞" * 50, "none": None, "deep": {}}
    for i in range(40):
        data["deep"] = {str(i): data["deep"]}
    text = json.dumps(data, sort_keys=True)
    assert json.loads(text) == data and pickle.loads(pickle.dumps(data)) == data
    show("json", digest(text))
    words = re.findall(r"\b([a-z_]+)\(", open(os.__file__).read())
    show("words", collections.Counter(words).most_common(5))
    show("sub", digest(re.sub(r"(?P<a>\w+)\s+(?P<b>\w+)", r"\g<b> \g<a>", open(re.__file__.replace("__init__", "_parser")).read())))
    show("unicode", digest("".join(chr(c) for c in range(0x20, 0x2FFF)).upper().casefold()))
    show("dates", [str(datetime.date(2000, 1, 1) + datetime.timedelta(days=n)) for n in (59, 366, 9999)])


def digests():
    data = bytes(random.Random(1).randbytes(200000))
    for name in ("md5", "sha1", "sha256", "sha512", "sha3_384", "blake2b", "blake2s"):
        show(name, hashlib.new(name, data).hexdigest()[:32])
    show("hmac", hmac.new(b"key", data, "sha256").hexdigest()[:32])
    show("crc", [zlib.crc32(data), zlib.adler32(data)])
    assert zlib.decompress(zlib.compress(data, 9)) == data and lzma.decompress(lzma.compress(data[:50000])) == data[:50000]
    show("zlib", digest(zlib.compress(bytes(itertools.chain.from_iterable(itertools.repeat(data[:999], 40))), 6)))


def objects():
    class Node:
        __slots__ = ("key", "left", "right")

        def __init__(self, key):
            self.key, self.left, self.right = key, None, None

        def insert(self, key):
            side = "left" if key < self.key else "right"
            child = getattr(self, side)
            if child:
                child.insert(key)
            else:
                setattr(self, side, Node(key))

        def __iter__(self):
            if self.left:
                yield from self.left
            yield self.key
            if self.right:
                yield from self.right

    keys = random.Random(7).sample(range(10**6), 5000)
    tree = Node(keys[0])
    for key in keys[1:]:
        tree.insert(key)
    assert list(tree) == sorted(keys)
    show("bisect", bisect.bisect(sorted(keys), 500000))
    show("array", sum(array.array("d", (k / 3 for k in keys))))
    total = 0
    for i in range(20000):
        try:
            if i % 3 == 0:
                raise KeyError(i)
            total += i
        except KeyError as error:
            total -= error.args[0]
    show("exceptions", total)


def system():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        show("threads", sum(pool.map(lambda n: zlib.crc32(bytes([n % 256]) * 20000), range(200))))
    lock, count = threading.Lock(), [0]

    def add():
        for _ in range(5000):
            with lock:
                count[0] += 1

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    show("locks", count[0])
    seen = []
    signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
    limit = time.monotonic() + 20
    while len(seen) < 10 and time.monotonic() < limit:
        sum(range(1000))
    signal.setitimer(signal.ITIMER_REAL, 0)
    show("signals", len(seen) >= 10)
    show("process", subprocess.run(["/bin/echo", "child"], capture_output=True, text=True, check=True).stdout.strip())
    libc = ctypes.CDLL(None)
    libc.strtod.restype, libc.strtod.argtypes = ctypes.c_double, [ctypes.c_char_p, ctypes.c_void_p]
    show("ctypes", [libc.strtod(b"0x1.8p3", None), libc.abs(-5)])
    compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
    numbers = (ctypes.c_int * 9)(5, 1, 8, -3, 9, 2, 0, 7, -6)
    libc.qsort(numbers, 9, 4, compare(lambda a, b: a[0] - b[0]))  # calls code that libffi writes
    show("callback", list(numbers))
    db = sqlite3.connect(":memory:")
    db.execute("create table t(a, b)")
    db.executemany("insert into t values (?, ?)", ((i, i * i % 1009) for i in range(5000)))
    show("sqlite", db.execute("select sum(a), max(b), count(distinct b) from t where b > 500").fetchone())


class SelfCheck(unittest.TestCase):
    def test_identities(self):
        for v in [random.Random(3).uniform(0, 50) for _ in range(500)]:
            self.assertAlmostEqual(math.sin(v) ** 2 + math.cos(v) ** 2, 1)
            self.assertAlmostEqual(math.exp(math.log(v + 1)), v + 1)
            self.assertEqual(float.fromhex(v.hex()), v)

    def test_sort(self):
        values = random.Random(4).choices(range(1000), k=3000)
        self.assertEqual(sorted(values), list(itertools.chain.from_iterable([k] * n for k, n in sorted(collections.Counter(values).items()))))


for section in (integers, floats, decimals, texts, digests, objects, system):
    section()
result = unittest.TextTestRunner(stream=open(os.devnull, "w")).run(unittest.defaultTestLoader.loadTestsFromTestCase(SelfCheck))
show("unittest", [result.testsRun, len(result.failures), len(result.errors)])
