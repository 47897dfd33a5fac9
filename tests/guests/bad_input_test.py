"""Every mistake on the command line or in an input file ends with status 2 and one sentence that names it."""

import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

import guest

USAGE = 2
TIMEOUT = 124
SECONDS = 30

# Arguments ({k}: a good kernel, {i}: a good initramfs, {t}: the folder of bad files), and what stderr must mention.
TABLE = [
    ("run", "--kernel"),
    ("run --kernel {t}/missing", "missing"),
    ("run --kernel {t}", "directory"),
    ("run --kernel {t}/empty", "empty"),
    ("run --kernel {t}/text", "not a kernel"),
    ("run --kernel {t}/truncated", "truncated"),
    ("run --kernel {k} --initrd {t}/missing", "missing"),
    ("run --kernel {k} --initrd {i} -m 4", "-m"),
    ("run --kernel {k} -m 0", "-m"),
    ("run --kernel {k} -m lots", "lots"),
    ("run --kernel {k} -m 12Q", "12Q"),
    ("run --kernel {k} -m -5", "-5"),
    ("run --kernel {k} -m 99999999G", "-m"),
    ("run --kernel {k} --initrd {t}/huge -m 128M", "-m"),
    ("run --kernel {k} --cpu x86-64-v9", "x86-64-v"),
    ("run --kernel {k} --cpu x86-64-v2,+sse4_3", "sse4_"),
    ("run --kernel {k} --engine qemu", "engine"),
    ("run --kernel {k} --direct maybe", "direct"),
    ("run --kernel {k} --engine interp --direct on", "--engine jit"),
    ("run --bios {t}/missing", "missing"),
    ("run --bios {t}/text", "64 KiB"),
    ("run --bios {t}/empty", "64 KiB"),
    ("run --bios {t}/huge", "16 MiB"),
    ("run --kernel {k} --bios {t}/text", "--bios"),
    ("run --boot x", "\"x\""),
    ("run --boot d,meny=on", "menu"),
    ("run --kernel {k} --boot d", "--boot"),
    ("run --kernel {k} --serial tcp:1", "serial"),
    ("run --kernel {k} --serial file:{t}/no/such/folder", "no/such/folder"),
    ("run --kernel {k} --timeout soon", "soon"),
    ("run --kernel {k} --timeout -1", "timeout"),
    ("run --kernel {k} --debug everything", "everything"),
    ("run --kernel {k} --dump-block here", "here"),
    ("run --kernel {k} --dump-block 0x1,-2", "-2"),
    ("run --kernel {k} --trace-blocks={t}/no/such/folder", "no/such/folder"),
    ("run --kernel {k} --no-opt jump-cash", "jump-cache"),
    ("run --kernal {k}", "--kernel"),
    ("run --kernel {k} -nographic", "-nographic"),
    ("run {k}", "vmlinuz"),
    ("ran", "run"),
]


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.folder.name)
        (folder / "empty").touch()
        (folder / "text").write_text("This is no kernel.\n" * 100)
        (folder / "truncated").write_bytes(guest.kernel.read_bytes()[:3000])
        with open(folder / "huge", "wb") as huge:
            huge.truncate(1 << 30)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_table(self):
        for line, mentioned in TABLE:
            arguments = line.format(k=guest.kernel, i=guest.initramfs, t=self.folder.name).split()
            with self.subTest(line):
                run = subprocess.run(
                    [guest.program, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                    timeout=SECONDS, check=False)
                self.assertEqual(run.returncode, USAGE, run.stderr)
                self.assertIn(mentioned, run.stderr)
                self.assertEqual(run.stdout, "")
                sentences = run.stderr.strip().splitlines()
                self.assertEqual(len(sentences), 1, run.stderr)
                self.assertTrue(sentences[0].startswith("doppel: "), run.stderr)
                self.assertRegex(sentences[0], r"[.?]$")

    def test_nobody_listens(self):
        for arguments in (["run", "--kernel", f"{self.folder.name}/missing"], ["run", "--help"], ["run", "--kernel", guest.kernel,
                          "--serial", "null", "--stats", "--timeout", "1"]):
            with self.subTest(arguments):
                reader, writer = os.pipe()
                os.close(reader)
                run = subprocess.run([guest.program, *arguments], stdin=subprocess.DEVNULL, stdout=writer, stderr=writer,
                                     timeout=SECONDS, check=False)
                os.close(writer)
                self.assertIn(run.returncode, (0, USAGE, TIMEOUT, -signal.SIGPIPE))

    def test_help(self):
        for arguments in (["--help"], ["run", "--help"], ["version"], ["--version"]):
            with self.subTest(arguments):
                run = subprocess.run(
                    [guest.program, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)
                self.assertEqual((run.returncode, run.stderr), (0, ""))
                self.assertNotEqual(run.stdout, "")


guest.main()
