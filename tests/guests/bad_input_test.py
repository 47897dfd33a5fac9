"""Every mistake on the command line or in an input file ends with status 2 and one sentence that names it."""

import os
import pathlib
import shutil
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
    ("run --kernel {t}/pipe", "pipe"),
    ("run --kernel /dev/zero", "device"),
    ("run --kernel {k} --initrd {t}", "directory"),
    ("run --kernel {k} --initrd {t}/empty", "empty"),
    ("run --kernel {k} --initrd {t}/pipe", "pipe"),
    ("run --kernel {k} --initrd /dev/zero", "device"),
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
    ("run --bios {t}/text", "multiple of 4 KiB"),
    ("run --bios {t}/empty", "multiple of 4 KiB"),
    ("run --bios {t}/huge", "at most 16 MiB"),
    ("run --bios {t}", "directory"),
    ("run --bios {t}/pipe", "pipe"),
    ("run --disk {t}/missing", "no such file"),
    ("run --disk {t}", "directory"),
    ("run --disk {t}/empty", "truncate"),
    ("run --disk {t}/pipe", "neither a file nor a block device"),
    ("run --disk /dev/zero", "neither a file nor a block device"),
    ("run --disk {t}/corrupt.qcow2", "qcow2"),
    ("run --disk {t}/cut.qcow2", "qcow2"),
    ("run --disk {t}/pipe,format=qcow2", "neither a file nor a block device"),
    ("run --disk {t}/text,format=qcow2", "qcow2"),
    ("run --cdrom {t}/missing", "no such file"),
    ("run --cdrom {t}", "directory"),
    ("run --cdrom {t}/empty", "get it again"),
    ("run --cdrom {t}/pipe", "neither a file nor a block device"),
    ("run --cdrom {t}/disc.bin", "2352"),
    ("run --floppy {t}/missing", "no such file"),
    ("run --floppy {t}", "directory"),
    ("run --floppy {t}/empty", "empty"),
    ("run --floppy {t}/pipe", "neither a file nor a block device"),
    ("run --floppy {t}/huge", "no floppy disk has"),
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
        os.mkfifo(folder / "pipe")
        (folder / "corrupt.qcow2").write_bytes(b"QFI\xfb" + b"\xff" * 4000)
        (folder / "cut.qcow2").write_bytes(b"QFI\xfb\0\0\0\3" + bytes(32))
        (folder / "disc.bin").write_bytes((b"\0" + b"\xff" * 10 + b"\0" + bytes(2340)) * 20)

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

    def test_no_permission(self):
        """As a user whom files refuse: root would be let in."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            folder.chmod(0o755)
            program = folder / "doppel"
            shutil.copy(guest.program, program)
            for file, mode in (("secret", 0o600), ("fixed", 0o444)):
                (folder / file).write_bytes(bytes(1 << 20))
                (folder / file).chmod(mode)
            other = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
            secret, fixed = folder / "secret", folder / "fixed"
            if not other:
                secret.chmod(0)
            for options, mentioned in (
                (["--kernel", secret], "Permission denied"),
                (["--kernel", guest.kernel, "--initrd", secret], "Permission denied"),
                (["--bios", secret], "Permission denied"),
                (["--disk", secret], "cannot be written: Permission denied"),
                (["--disk", f"{secret},readonly"], "Permission denied"),
                (["--disk", f"{fixed}"], ",readonly"),
                (["--disk", f"{fixed},format=vmdk"], "Permission denied"),
                (["--cdrom", secret], "Permission denied"),
                (["--floppy", secret], "cannot be written: Permission denied"),
            ):
                with self.subTest(options):
                    run = subprocess.run([program, "run", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                         timeout=SECONDS, check=False, **other)
                    self.assertEqual((run.returncode, run.stdout), (USAGE, ""), run.stderr)
                    self.assertIn(mentioned, run.stderr)
                    self.assertEqual(run.stderr.count("\n"), 1, run.stderr)

    def test_in_use(self):
        """QEMU's locks are seen."""
        if not shutil.which("qemu-system-x86_64"):
            self.skipTest("qemu-system-x86_64 is missing (Debian package qemu-system-x86)")
        image = pathlib.Path(self.folder.name) / "used.img"
        image.write_bytes(bytes(1 << 20))
        qemu = subprocess.Popen(["qemu-system-x86_64", "-S", "-display", "none", "-monitor", "stdio", "-drive",
                                 f"file={image},format=raw"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            qemu.stdin.write(b"info block\n")  # answered when its disks are open
            qemu.stdin.flush()
            while b"used.img (raw)" not in (line := qemu.stdout.readline()):
                self.assertNotEqual(line, b"")
            run = subprocess.run([guest.program, "run", "--disk", image], stdin=subprocess.DEVNULL, capture_output=True,
                                 text=True, timeout=SECONDS, check=False)
        finally:
            qemu.kill()
            qemu.communicate()
        self.assertEqual(run.returncode, USAGE)
        self.assertIn("in use by another program", run.stderr)

    def test_short_images_are_taken(self):
        short = pathlib.Path(self.folder.name) / "short.img"
        short.write_bytes(b"x" * 1000)
        for option in ("--disk", "--cdrom", "--floppy"):
            with self.subTest(option):
                run = subprocess.run([guest.program, "run", option, short, "--timeout", "1", "--serial", "null"],
                                     stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)
                self.assertEqual(run.returncode, TIMEOUT, run.stderr)
        self.assertEqual(short.stat().st_size, 1000)

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
