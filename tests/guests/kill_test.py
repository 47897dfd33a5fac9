"""A machine killed at a random moment keeps what its guest had flushed. The guest writes numbered files, syncs, and only
then says the number; after each kill the image must have every file whose number was said, and an intact file system.

    kill_test.py DOPPEL-PROGRAM GUESTS-FOLDER [ENGINE]       KILLS=100 in the environment for more than a few
"""

import os
import pathlib
import random
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import guest

KILLS = int(os.environ.get("KILLS", "4"))
SEED = int(os.environ.get("SEED", str(time.time_ns() % 100000)))
INIT = """#!/bin/busybox sh
export PATH=/bin
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
modprobe -a $(cat /disk-modules)
mkdir -p /mnt
for device in vda sda; do [ -b /dev/$device ] && disk=/dev/$device; done
mount -t ext4 $disk /mnt || { echo "@kill mount failed"; poweroff -f; }
n=$(cat /mnt/last 2> /dev/null || echo 0)
for old in $(seq 1 $n); do
  [ "$(md5sum < /mnt/f$((old % 50)) | cut -c1-32)" = "$(cat /mnt/s$((old % 50)))" ] || echo "@kill file $old is damaged"
done
echo "@kill ready $n"
while true; do
  n=$((n + 1))
  head -c $((n * 7919 % 200000 + 1)) /dev/urandom > /mnt/new
  md5sum < /mnt/new | cut -c1-32 > /mnt/newsum
  sync
  mv /mnt/new /mnt/f$((n % 50)); mv /mnt/newsum /mnt/s$((n % 50)); echo $n > /mnt/last.new; sync
  mv /mnt/last.new /mnt/last; sync
  echo "@kill synced $n"
done
"""


class Kill(unittest.TestCase):
    def test_kills(self):
        if not shutil.which("mkfs.ext4"):
            self.skipTest("mkfs.ext4 is missing (Debian package e2fsprogs)")
        print(f"seed {SEED}, {KILLS} kills")
        chance = random.Random(SEED)
        for interface, cache in (("virtio", "writeback"), ("ide", "writeback"), ("virtio", "writethrough")):
            with self.subTest(interface=interface, cache=cache), tempfile.TemporaryDirectory() as folder:
                self.kill_often(pathlib.Path(folder), interface, cache, chance)

    def kill_often(self, folder, interface, cache, chance):
        image = folder / "disk.img"
        with open(image, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        (folder / "kill-init").write_text(INIT)
        (folder / "kill-init").chmod(0o755)
        extra = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=folder, input=b"kill-init\n",
                               stdout=subprocess.PIPE, check=True).stdout
        initramfs = folder / "initramfs.cpio"
        initramfs.write_bytes(guest.initramfs.read_bytes() + (guest.guests / "disk_modules.cpio").read_bytes() + extra)
        engine = ["--engine", *guest.engine] if guest.engine else []
        synced = 0
        for _ in range(KILLS):
            with guest.Doppel("run", "--kernel", guest.kernel, "--initrd", initramfs, *engine,
                              "--append", "console=ttyS0 quiet rdinit=/kill-init",
                              "--disk", f"{image},if={interface},cache={cache}", terminal=False) as doppel:
                doppel.wait_for("@kill ready ", guest.BOOT_SECONDS)
                found = int(doppel.wait_for("\n"))
                self.assertGreaterEqual(found, synced, "what was flushed is gone")
                doppel.wait_for("@kill synced ", guest.BOOT_SECONDS)
                until = time.monotonic() + chance.uniform(0, 3)
                while time.monotonic() < until:
                    doppel._read(min(0.05, until - time.monotonic()))
                doppel.process.kill()
                doppel.process.wait()
                doppel.finish()
                self.assertNotRegex(doppel.shown, "damaged|mount failed")
                synced = max(map(int, re.findall(r"@kill synced (\d+)\n", doppel.shown)))
        # The journal is replayed first, as a mount does; then nothing may be wrong.
        subprocess.run(["e2fsck", "-p", image], stdout=subprocess.DEVNULL, check=False)
        checked = subprocess.run(["e2fsck", "-f", "-n", image], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout)
        print(f"{interface}, {cache}: {KILLS} kills, {synced} files were safe")


guest.main()
