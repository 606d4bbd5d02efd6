#!/usr/bin/env python3
"""Times this tool beside whatever peers are installed, on a tree of its own making, and prints a table.

    cargo build --release --workspace --features intellistor-cli/isal
    python3 tests/bench/compare.py --dir /mnt/scratch

The tree has a fixed seed: small files like source code, larger ones like libraries, and noise. Each round runs every tool
once, in turn, so that a machine that slows down slows them all; the table has medians, and ratios to restic. Everything
lies below --dir, in a folder that goes in the end: nothing is deleted between rounds, since ext4 is slow to reuse inodes
that were just freed.
"""

import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MIB = 1 << 20
ONE = "lib/3.so"


def words(rng):
    """A vocabulary whose words are as unevenly used as those of programs."""
    letters = "etaoinsrhldcumfpgwybvk_"
    names = ["".join(rng.choices(letters, k=rng.randint(2, 11))) for _ in range(6_000)]
    weights = [1 / (rank + 2) for rank in range(len(names))]
    return names, weights


def make_tree(tree, files, scale, rng):
    """`files` small ones of 14 KiB on average, and at scale 1 900 MiB of libraries and 400 MiB of noise."""
    names, weights = words(rng)
    marks = ["(", ")", " = ", ";\n    ", ", ", ".", "::", " -> ", "{\n", "}\n\n", "\n        "]
    lines = []
    for _ in range(20_000):
        tokens = rng.choices(names, weights, k=rng.randint(3, 12))
        lines.append("".join(token + rng.choice(marks) for token in tokens))
    for number in range(files):
        folder = tree / "src" / f"{number % 200:03}" / f"{number % 1_000:03}"
        folder.mkdir(parents=True, exist_ok=True)
        size = int(rng.lognormvariate(8.9, 1.1))
        parts, length = [], 0
        while length < size:
            parts.append(lines[int(rng.paretovariate(0.25)) % len(lines)])
            length += len(parts[-1])
        (folder / f"módulo {number}.rs").write_text("".join(parts)[:size])
    (tree / "lib").mkdir()
    patterns = [rng.randbytes(rng.randint(4, 24)) for _ in range(3_000)]
    for number in range(round(90 * scale)):
        parts, length = [], 0
        while length < 10 * MIB:
            if rng.random() < 0.22:
                parts.append(rng.randbytes(rng.randint(2, 20)))
            else:
                parts.append(patterns[int(rng.paretovariate(0.7)) % len(patterns)])
            length += len(parts[-1])
        (tree / "lib" / f"{number}.so").write_bytes(b"".join(parts)[: 10 * MIB])
    (tree / "noise").mkdir()
    for number in range(round(40 * scale)):
        (tree / "noise" / f"{number}.bin").write_bytes(rng.randbytes(10 * MIB))


class Tool:
    def __init__(self, room):
        self.room = room

    def run(self, *command, cwd=None):
        """Seconds and the peak of resident memory in MiB."""
        begun = time.monotonic()
        child = subprocess.Popen(
            [str(word) for word in command], cwd=cwd or self.room, env=self.env(),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        told = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        if status != 0:
            sys.exit(f"{command} failed: {told.decode(errors='replace')}")
        return time.monotonic() - begun, usage.ru_maxrss / 1024

    def env(self):
        return dict(os.environ)


class Intellistor(Tool):
    name = "intellistor"

    def __init__(self, room, binaries, agent=False):
        super().__init__(room)
        self.client, self.agent = binaries / "backup-client", binaries / "intellistor-agent"
        if agent:
            self.name = "intellistor-agent"
        self.through_agent = agent
        self.run(self.client, "-q", "key-create", "--out", room / "key")

    def env(self):
        return {**os.environ, "INTELLISTOR_KEY_FILE": str(self.room / "key"), "INTELLISTOR_HOME": str(self.room / "home")}

    def prepare(self, tree, store):
        self.policy = store.with_suffix(".yaml")
        store.mkdir()
        self.run(self.client, "-q", "policy-create", "--out", self.policy, "--policy-id", store.name,
                 "--paths", tree, "--store", f"file://{store}")

    def backup(self, tree, store):
        program = [self.agent, "-q", "run"] if self.through_agent else [self.client, "-q", "backup"]
        return self.run(*program, "--policy", self.policy)

    def restore(self, store, out, only=None):
        only = ["--only", only] if only else []
        return self.run(self.client, "-q", "restore", "--policy", self.policy, "--latest", "--out", out, *only)


class Restic(Tool):
    name = "restic"

    def env(self):
        return {**os.environ, "RESTIC_PASSWORD": "x"}

    def prepare(self, tree, store):
        self.run("restic", "-q", "init", "-r", store)

    def backup(self, tree, store):
        return self.run("restic", "-q", "-r", store, "backup", ".", cwd=tree)

    def restore(self, store, out, only=None):
        only = ["--include", f"/{only}"] if only else []
        return self.run("restic", "-q", "-r", store, "restore", "latest", "--target", out, *only)


class Borg(Tool):
    name = "borg (lz4)"

    def env(self):
        return {**os.environ, "BORG_PASSPHRASE": "x", "BORG_BASE_DIR": str(self.room / "borg-home")}

    def prepare(self, tree, store):
        self.run("borg", "init", "-e", "repokey", store)

    def backup(self, tree, store):
        return self.run("borg", "create", f"{store}::a", ".", cwd=tree)

    def restore(self, store, out, only=None):
        out.mkdir()
        return self.run("borg", "extract", f"{store}::a", *([only] if only else []), cwd=out)


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--dir", default=None, help="where to work; the temporary folder without it")
    arguments.add_argument("--bin", default="target/release", help="where backup-client is")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--files", type=int, default=41_600, help="how many small files")
    arguments.add_argument("--scale", type=float, default=1.0, help="of the larger files; 0 for none")
    arguments.add_argument("--agent", action="store_true", help="also through the agent")
    arguments.add_argument("--alone", action="store_true", help="without peers")
    options = arguments.parse_args()
    room = Path(tempfile.mkdtemp(prefix="compare-", dir=options.dir))
    try:
        measure(room, options)
    finally:
        shutil.rmtree(room)


def measure(room, options):
    tree = room / "tree"
    make_tree(tree, options.files, options.scale, random.Random(7))
    tools = [Intellistor(room, Path(options.bin).resolve())]
    if options.agent:
        (room / "a").mkdir()
        tools.append(Intellistor(room / "a", Path(options.bin).resolve(), agent=True))
    if not options.alone:
        tools += [tool(room) for tool in (Restic, Borg) if shutil.which(tool.name.split()[0])]
    one = ONE if options.scale else "src/007/007/módulo 7.rs"
    figures = {tool.name: [] for tool in tools}
    for number in range(options.rounds):
        for tool in tools:
            store = room / f"store-{tools.index(tool)}-{number}"
            out = room / f"out-{tools.index(tool)}-{number}"
            tool.prepare(tree, store)
            backup, peak_b = tool.backup(tree, store)
            restore, peak_r = tool.restore(store, out / "all" if tool.name != "borg (lz4)" else out)
            single, peak_s = tool.restore(store, out.with_suffix(".one"), one)
            figures[tool.name].append((backup, size_of(store), restore, single, max(peak_b, peak_r, peak_s)))
            print(f"round {number + 1}: {tool.name} {backup:.2f} s, {restore:.2f} s, {single:.2f} s", file=sys.stderr)
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
    base = medians.get("restic")
    print(f"{options.files} small files, {size_of(tree):.0f} MiB, {os.cpu_count()} cores, medians of {options.rounds}\n")
    print("| tool | first backup | repository | full restore | one file | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in medians.items():
        cells = [f"{row[0]:.2f} s", f"{row[1]:.0f} MiB", f"{row[2]:.2f} s", f"{row[3]:.2f} s", f"{row[4]:.0f} MiB"]
        if base and name != "restic":
            cells = [f"{cell} ({value / of:.2f})" for cell, value, of in zip(cells, row, base)]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
