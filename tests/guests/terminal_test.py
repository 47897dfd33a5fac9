"""How `doppel run` starts and ends: on a terminal, without one, by key, signal, time limit, reset and power-off."""

import signal
import time
import unittest

import guest

POWER_OFF, RESET, QUIT, TIMEOUT = 0, 4, 10, 124  # core/machine/exit_status.hpp


def wait_until_raw(doppel):
    """Until doppel has taken the terminal over."""
    deadline = time.monotonic() + guest.COMMAND_SECONDS
    while doppel.terminal_restored():
        if time.monotonic() > deadline or doppel.process.poll() is not None:
            raise AssertionError("doppel did not switch the terminal to raw mode")
        time.sleep(0.02)


class Terminal(unittest.TestCase):
    def test_quit_key(self):
        with guest.Doppel(*guest.linux()) as doppel:
            wait_until_raw(doppel)
            doppel.type("\x01x")
            self.assertEqual(doppel.finish(), QUIT)
            self.assertTrue(doppel.terminal_restored())

    def test_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number), guest.Doppel(*guest.linux()) as doppel:
                wait_until_raw(doppel)
                doppel.process.send_signal(number)
                self.assertEqual(doppel.finish(), QUIT)
                self.assertTrue(doppel.terminal_restored())

    def test_time_limit(self):
        with guest.Doppel(*guest.linux("--timeout", "1")) as doppel:
            start = time.monotonic()
            self.assertEqual(doppel.finish(), TIMEOUT)
            self.assertLess(time.monotonic() - start, 5)
            self.assertTrue(doppel.terminal_restored())

    def test_pipes(self):
        with guest.Doppel(*guest.linux(), terminal=False) as doppel:
            doppel.boot()
            self.assertIn("x86_64", doppel.command("uname -m"))
            doppel.type("poweroff -f\n")
            self.assertEqual(doppel.finish(), POWER_OFF)

    def test_reset(self):
        with guest.Doppel(*guest.linux("--no-reboot"), terminal=False) as doppel:
            doppel.boot()
            doppel.type("reboot -f\n")
            self.assertEqual(doppel.finish(), RESET)


guest.main()
