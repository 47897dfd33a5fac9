"""ISOLINUX at its prompt and what it loads: iPXE, which also has a CD of its own, and Debian's installer in text mode up to
its first dialogue (that one needs `./dev guests --all`)."""

import unittest

import guest
from screen import Screen

CD, IPXE_CD, INSTALLER = (guest.guests / name for name in ("isolinux.iso", "ipxe.iso", "installer.iso"))
INSTALLER_SECONDS = 300


class Isolinux(unittest.TestCase):
    def cd(self, image, *options):
        if not image.exists():
            self.skipTest(f"no {image.name}: run ./dev guests (or ./dev guests --all)")
        return Screen("--cdrom", image, *options)

    def ipxe_shell(self, screen):
        screen.wait_for("Ctrl-B")
        screen.press("ctrl+b")
        screen.wait_for("iPXE>")
        screen.type("show version\n")
        self.assertRegex(screen.wait_for("version:string"), r"version:string = 1\.\d")
        screen.type("iseq ${platform} pcbios && echo on a ${platform}\n")
        screen.wait_for("on a pcbios")

    def test_prompt(self):
        with self.cd(CD) as screen:
            shown = screen.wait_for("boot:")
            self.assertIn("ISOLINUX 6", shown)
            self.assertIn("Doppel's CD.", shown)
            screen.type("nothing\n")
            screen.wait_for("Loading nothing... failed: No such file or directory")
            screen.type("ipxe\n")
            self.ipxe_shell(screen)

    def test_ipxe_cd(self):
        with self.cd(IPXE_CD) as screen:
            self.ipxe_shell(screen)

    def test_installer(self):
        with self.cd(INSTALLER, "-m", "1G") as screen:
            screen.wait_for("boot:")
            screen.type("install\n")
            shown = screen.wait_for("Select a language", INSTALLER_SECONDS)
            self.assertIn("Choose the language to be used for the installation process.", shown)
            self.assertIn("English", shown)


guest.main(needs_guest=False)
