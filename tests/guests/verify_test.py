"""Debian's kernel boots to a shell, works and powers off under `--engine verify`: translated code and the interpreter
agree about every block on the way. About two minutes of processor time."""

import re
import unittest

import guest

SECONDS = 1500  # the guest is some fifty times slower than translated
LEAST_BLOCKS = 20_000_000

WORK = [
    ("head -c 20000 /dev/urandom > /tmp/a; gzip -c /tmp/a | gunzip | cmp - /tmp/a && echo same", "same\n"),
    ("awk 'BEGIN { for (i = 1; i <= 300; i++) s += 1 / i; printf \"%.9f\", s }'", f"{sum(1 / i for i in range(1, 301)):.9f}"),
    ("printf abc | sha256sum", "ba7816bf 8f01cfea 414140de 5dae2223 b00361a3 96177a9c b410ff61 f20015ad".replace(" ", "")),
]


class Verify(unittest.TestCase):
    def test_boot(self):
        with guest.Doppel(*guest.linux("--engine", "verify", "--stats")) as doppel:
            doppel.wait_for(guest.PROMPT, SECONDS)
            doppel.command("stty columns 500", SECONDS)
            for command, expected in WORK:
                self.assertIn(expected, doppel.command(command, SECONDS))
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(SECONDS), 0, doppel.shown[-10000:])
            compared = re.search(r"(\d+) verify\.blocks compared", doppel.shown)
            self.assertGreater(int(compared[1]), LEAST_BLOCKS)


guest.main()
