"""The side-by-side benchmark: the same Linux, the same programs, natively, under Doppel and under QEMU's TCG.

Every time is taken here, from when a line of bench/workloads/driver.c arrives to when the next does, so that no guest's
clock is believed; the guest's own figure is only compared with it. What the programs print must be equal everywhere.
"""

import argparse
import json
import math
import os
import platform
import re
import selectors
import shutil
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent
ENGINES = ("native", "doppel", "qemu")
EVENT = re.compile(rb"@bench (ready|go|stop|result|done)\b ?([^\r\n]*)")


class Workload:
    def __init__(self, line, quick):
        self.name, full, small, self.command = line.split(None, 3)
        self.size = int(small if quick else full)


class Failure(Exception):
    """An engine stopped, or stopped talking, before it was done."""


class Image:
    """What bench/make_image.sh made."""

    def __init__(self, directory, kernel):
        self.root, self.initramfs, self.boot = directory / "root", directory / "initramfs.cpio", directory / "boot.cpio"
        self.kernel = kernel


def native_command(options, image, initrd, jobs):
    namespace = ["unshare", "--map-root-user", "--mount"]
    allowed = subprocess.run([*namespace, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    enter = [*namespace, f"--root={image.root}"] if allowed else ["chroot", str(image.root)]
    return [*enter, "/usr/bin/env", f"BENCH={jobs}", "/bench/driver"]


def kernel_line(jobs):
    return f"console=ttyS0 quiet panic=-1 BENCH={jobs}"


def doppel_command(options, image, initrd, jobs):
    return [
        options.doppel, "run", "--kernel", str(image.kernel), "--initrd", str(initrd), "--append", kernel_line(jobs),
        "-m", options.memory, "--no-reboot", *options.doppel_args.split(),
    ]  # fmt: skip


def qemu_command(options, image, initrd, jobs):
    return [
        options.qemu, "-accel", "tcg", "-cpu", "max", "-m", options.memory, "-nographic", "-nic", "none", "-no-reboot",
        "-kernel", str(image.kernel), "-initrd", str(initrd), "-append", kernel_line(jobs), *options.qemu_args.split(),
    ]  # fmt: skip


COMMANDS = {"native": native_command, "doppel": doppel_command, "qemu": qemu_command}


class Run:
    """One process of an engine. Iterating gives (time, event, words) as its lines arrive; leaving ends it."""

    def __init__(self, command, log, timeout):
        self.log, self.timeout = open(log, "ab"), timeout
        self.log.write(f"\n$ {' '.join(command)}\n".encode())
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def __iter__(self):
        with selectors.DefaultSelector() as ready:
            ready.register(self.process.stdout, selectors.EVENT_READ)
            pending = b""
            while ready.select(self.timeout):
                data = os.read(self.process.stdout.fileno(), 65536)
                now = time.monotonic()
                if not data:
                    raise Failure(f"the engine ended with status {self.process.wait()}")
                self.log.write(data)
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    if found := EVENT.search(line):
                        yield now, found[1].decode(), found[2].decode(errors="replace").split()
        raise Failure(f"nothing from the engine for {self.timeout} s")


class Bench:
    def __init__(self, options, workloads, image):
        self.options, self.workloads, self.image = options, workloads, image
        self.samples = {}  # workload -> engine -> [{"seconds", ...}]
        self.errors, self.warnings = [], []

    def say(self, engine, turn, name, text):
        turns = self.options.runs
        print(f"  {turn}/{turns} {engine:7} {name:15} {text}", file=sys.stderr, flush=True)

    def start(self, engine, initrd, jobs):
        command = COMMANDS[engine](self.options, self.image, initrd, jobs)
        return Run(command, self.options.out / f"{engine}.log", self.options.timeout)

    def keep(self, name, engine, sample):
        self.samples.setdefault(name, {}).setdefault(engine, []).append(sample)

    def boot(self, engine, turn):
        try:
            with self.start(engine, self.image.boot, "") as run:
                ready = next(now for now, event, _ in run if event == "ready")
                self.keep("boot", engine, {"seconds": ready - run.started})
                self.say(engine, turn, "boot", f"{ready - run.started:.3f} s")
        except Failure as failure:
            self.fail(engine, turn, "boot", str(failure))

    def fail(self, engine, turn, name, text):
        self.errors.append(f"{name} on {engine}: {text}")
        self.say(engine, turn, name, f"FAILED: {text}")

    def work(self, engine, turn, workloads):
        """All workloads in one machine; a machine that dies in one is started again for those after it."""
        while workloads:
            jobs = ",".join(f"{w.name}:{w.size}" for w in workloads)
            went = stopped = None
            done = 0
            try:
                with self.start(engine, self.image.initramfs, jobs) as run:
                    for now, event, words in run:
                        if event == "go":
                            went = now
                        elif event == "stop":
                            stopped = now
                        elif event == "result":
                            self.finish(engine, turn, stopped - went, words)
                            done += 1
                        elif event == "done":
                            break
                return
            except Failure as failure:
                if went is None:
                    self.fail(engine, turn, "user land", f"never reached: {failure}")
                    return
                self.fail(engine, turn, workloads[done].name if done < len(workloads) else "the end", str(failure))
                workloads = workloads[done + 1 :]

    def finish(self, engine, turn, seconds, words):
        name, status, nanoseconds, digest, length, *text = words
        guest = int(nanoseconds) / 1e9
        if status != "0":
            self.fail(engine, turn, name, f"exit status {status}, output {' '.join(text)}")
            return
        if abs(guest - seconds) > 0.05 + 0.05 * seconds:
            self.warnings.append(f"{name} on {engine}: the guest's clock says {guest:.3f} s, the host's {seconds:.3f} s")
        self.keep(name, engine, {
            "seconds": seconds, "guest_seconds": guest, "hash": digest, "length": int(length), "text": " ".join(text),
        })  # fmt: skip
        self.say(engine, turn, name, f"{seconds:.3f} s")

    def verify(self):
        for workload in self.workloads:
            answers = {}
            for engine, samples in self.samples.get(workload.name, {}).items():
                for sample in samples:
                    answers.setdefault((sample["hash"], sample["length"], sample["text"]), []).append(engine)
            if len(answers) > 1:
                said = "; ".join(
                    f"{', '.join(sorted(set(who)))}: {length} bytes, {digest}, ...{text}"
                    for (digest, length, text), who in answers.items()
                )
                self.errors.append(f"{workload.name}: different output. {said}")

    def run(self):
        for turn in range(1, self.options.runs + 1):
            for engine in self.options.engines:
                if engine != "native" and "boot" in self.options.names:
                    self.boot(engine, turn)
                self.work(engine, turn, self.workloads)
        self.verify()

    def seconds(self, name, engine):
        samples = self.samples.get(name, {}).get(engine)
        return statistics.median(sample["seconds"] for sample in samples) if samples else None


def geometric_mean(values):
    values = [value for value in values if value]
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def cell(value, form):
    return form.format(value) if value is not None else "-"


def table(bench):
    """Rows of text: header, one for each workload, the geometric means."""
    engines = bench.options.engines
    ratios = [pair for pair in (("qemu", "doppel"), ("doppel", "native"), ("qemu", "native")) if set(pair) <= set(engines)]
    rows = [["workload", *(f"{e} s" for e in engines), *(f"{over}/{under}" for over, under in ratios)]]
    columns = {pair: [] for pair in ratios}
    for name in bench.options.names:
        seconds = {engine: bench.seconds(name, engine) for engine in engines}
        row = [name, *(cell(seconds[engine], "{:.3f}") for engine in engines)]
        for over, under in ratios:
            value = seconds[over] / seconds[under] if seconds[over] and seconds[under] else None
            columns[over, under].append(value)
            row.append(cell(value, "{:.2f}"))
        rows.append(row)
    means = (cell(geometric_mean(columns[pair]), "{:.2f}") for pair in ratios)
    rows.append(["geometric mean", *("" for _ in engines), *means])
    return rows


def text_table(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(value.ljust(width) if i == 0 else value.rjust(width) for i, (value, width) in enumerate(zip(row, widths)))
        for row in rows
    )


def markdown_table(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "| --- |" + " ---: |" * (len(rows[0]) - 1), *lines[1:]])


def output_of(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.split("\n")[0].strip()


def machine(options, image):
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    facts = {
        "date": date.today().isoformat(),
        "host CPU": f"{cpu}, {os.cpu_count()} visible",
        "host kernel": f"{platform.system()} {platform.release()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "guest kernel": re.split(rb"[\0 ]", kernel_version(image.kernel))[0].decode(),
        "guest RAM": options.memory,
        "runs": f"{options.runs}, median{', quick sizes' if options.quick else ''}",
    }
    if "doppel" in options.engines:
        revision = output_of("git", "-C", str(TOP), "describe", "--always", "--dirty")
        facts["Doppel"] = f"{revision} {options.doppel_args}".strip()
    if "qemu" in options.engines:
        facts["QEMU"] = f"{output_of(options.qemu, '--version')}, -accel tcg -cpu max {options.qemu_args}".strip()
    return facts


def kernel_version(path):
    """The version text of a bzImage (Linux, Documentation/arch/x86/boot.rst: kernel_version)."""
    data = path.read_bytes()
    return data[int.from_bytes(data[0x20E:0x210], "little") + 0x200 :][:80]


def report(bench, facts, rows):
    lines = [
        "# The last full comparison",
        "",
        "`./dev bench` runs the same Linux kernel and programs natively, under Doppel and under QEMU's translator, and",
        "writes this page. Seconds by the host's clock, less is better; qemu/doppel above 1: Doppel is faster.",
        "bench/workloads/table.txt says what each workload does.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        markdown_table(rows),
        "",
        *([f"**{error}**" for error in bench.errors] or ["All engines printed the same in every workload."]),
    ]
    (HERE / "RESULTS.md").write_text("\n".join(lines) + "\n")


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n")[0])
    parser.add_argument("--only", metavar="NAMES", help="workloads, separated by commas ('boot' is one)")
    parser.add_argument("--engines", metavar="NAMES", default=",".join(ENGINES), help="default: %(default)s")
    parser.add_argument("--runs", type=int, metavar="N", help="rounds; the median counts (default 3, quick 1)")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--keep", action="store_true", help="write bench/RESULTS.md though the run was not a full one")
    parser.add_argument("--doppel", metavar="PATH", default=str(TOP / "build/core/cli/doppel"), help="the program")
    more = "more options for `doppel run`; --doppel-args=TEXT if it is one word"
    parser.add_argument("--doppel-args", metavar="TEXT", default="--cpu max", help=more + " (default: --cpu max, as QEMU's)")
    parser.add_argument("--qemu", metavar="PATH", default="qemu-system-x86_64")
    parser.add_argument("--qemu-args", metavar="TEXT", default="")
    parser.add_argument("--kernel", metavar="PATH", type=Path, default=TOP / "build/guests/vmlinuz")
    parser.add_argument("--memory", metavar="SIZE", default="1G", help="guest RAM (default %(default)s)")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", default=300, help="of silence (default 300)")
    parser.add_argument("--out", metavar="DIRECTORY", type=Path, default=TOP / "build/bench", help="image, logs, JSON")
    options = parser.parse_args()
    options.engines = options.engines.split(",")
    options.runs = options.runs or (1 if options.quick else 3)
    if unknown := set(options.engines) - set(ENGINES):
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}")
    if "qemu" in options.engines and not shutil.which(options.qemu):
        parser.error(f"{options.qemu} is missing: apt-get install qemu-system-x86, or use --engines native,doppel")
    if "doppel" in options.engines and not shutil.which(options.doppel):
        parser.error(f"{options.doppel} is missing: run ./dev build, or name another with --doppel")
    if set(options.engines) - {"native"} and not options.kernel.is_file():
        parser.error(f"{options.kernel} is missing: run ./dev guests, or name another with --kernel")
    lines = [line for line in (HERE / "workloads/table.txt").read_text().split("\n") if line and line[0] != "#"]
    workloads = [Workload(line, options.quick) for line in lines]
    options.every_name = ["boot", *(workload.name for workload in workloads)]
    wanted = options.only.split(",") if options.only else options.every_name
    if unknown := set(wanted) - set(options.every_name):
        parser.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(options.every_name)}")
    options.names = [name for name in options.every_name if name in wanted]
    return options, [workload for workload in workloads if workload.name in wanted]


def main():
    options, workloads = arguments()
    subprocess.run([HERE / "make_image.sh", options.out], check=True)
    for engine in options.engines:
        (options.out / f"{engine}.log").write_bytes(b"")
    image = Image(options.out.resolve(), options.kernel)
    facts = machine(options, image)
    bench = Bench(options, workloads, image)
    bench.run()

    rows = table(bench)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), text_table(rows), sep="\n\n")
    for warning in bench.warnings:
        print(f"warning: {warning}")
    for error in bench.errors:
        print(f"ERROR: {error}")
    record = {"machine": facts, "samples": bench.samples, "table": rows, "warnings": bench.warnings, "errors": bench.errors}
    (options.out / "compare.json").write_text(json.dumps(record, indent=1) + "\n")
    full = not options.quick and options.names == options.every_name and set(options.engines) == set(ENGINES)
    if full or options.keep:
        report(bench, facts, rows)
    print(f"\nlogs and all samples: {options.out}")
    return 1 if bench.errors else 0


if __name__ == "__main__":
    sys.exit(main())
