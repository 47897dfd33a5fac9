"""Checks who includes whom (docs/architecture.md). Every quoted include in the product's folders must be rooted at
the repository, exist, and point to a folder that its own folder may use; Zydis, asmjit and the clients of the
composition root are confined to their places. Prints one line per wrong include and exits with 1 if there is one.

    layers.py [--stamp FILE]      FILE is touched on success, for the build
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Folder -> the folders it may include besides itself. The longest matching folder owns a file.
ALLOWED = {
    "core": set(),
    "mmu": {"core"},
    "jit": {"core", "mmu", "jit/interp"},
    "jit/interp": {"core", "mmu"},
    "jit/x64": {"core", "mmu", "jit", "jit/interp"},
    "jit/direct": {"core", "mmu", "jit", "jit/interp"},
    "devices": {"core"},
    "bios": {"core", "devices"},
    "core/machine": {"core", "mmu", "jit", "jit/interp", "jit/x64", "jit/direct", "devices", "bios"},
    "core/cli": {"core/machine"},
}
# Single headers that a folder may include although their folder is not allowed: contracts that live there.
ALLOWED_HEADERS = {
    "jit/interp": {"jit/insn.hpp", "jit/vcpu.hpp", "jit/zydis.hpp"},
    "core/cli": {"core/types.hpp", "core/log.hpp", "core/cpuid.hpp", "core/counters.hpp", "core/spelling.hpp",
                 "core/populate.hpp", "core/touch_ahead.hpp", "bios/boot_options.hpp", "bios/firmware_image.hpp"},
}
# Include path prefix -> the only files or folders that may include it.
CONFINED = {
    "Zydis/": ("jit/zydis.hpp",),
    "Zycore/": ("jit/zydis.hpp",),
    "asmjit/": ("jit/x64/", "jit/direct/"),
    "CLI/": ("core/cli/",),
    "spdlog/": ("core/",),
    "libnbd": ("devices/storage/",),
    "seccomp.h": ("core/machine/sandbox.cpp",),
    "slirp/": ("devices/net/",),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of(path):
    """The most specific layer a repository path belongs to, or None."""
    matches = [folder for folder in ALLOWED if path.startswith(folder + "/")]
    return max(matches, key=len, default=None)


def complaint(path, kind, target):
    """Why file `path` may not include `target`, or None."""
    for prefix, places in CONFINED.items():
        if target.startswith(prefix) and not path.startswith(places):
            return f"only {' and '.join(places)} may include {prefix}"
    if kind == "<":
        return None
    here, there = folder_of(path), folder_of(target)
    if not (ROOT / target).is_file():
        return "no such file from the repository's root"
    if there is None:
        return "outside the product's folders"
    if there == here or there in ALLOWED[here] or target in ALLOWED_HEADERS.get(here, ()):
        return None
    return f"{here} may include {', '.join(sorted(ALLOWED[here])) or 'nothing'}"


def sources():
    for top in sorted({folder.split("/")[0] for folder in ALLOWED}):
        for path in sorted((ROOT / top).rglob("*")):
            if path.suffix in (".hpp", ".cpp", ".inc"):
                yield path


def main():
    wrong = 0
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if match := INCLUDE.match(line):
                if reason := complaint(name, *match.groups()):
                    print(f"{name}:{number}: error: {match[2]}: {reason}", file=sys.stderr)
                    wrong += 1
    if wrong:
        sys.exit(1)
    if len(sys.argv) == 3 and sys.argv[1] == "--stamp":
        pathlib.Path(sys.argv[2]).touch()


main()
