#!/usr/bin/env python3
"""Times this tool beside whatever peers are installed, on a tree of its own making, and prints a table.

    cargo build --release --workspace --features intellistor-cli/isal
    python3 tests/bench/compare.py --dir /mnt/scratch

The tree has a fixed seed: small files like source code, larger ones like libraries, and noise; with --alike, so many
invoices of about 1 KiB and nothing else. With --s3 the stores are on the S3 server of the tests, on 127.0.0.1. Each round runs every tool
once, in turn, so that a machine that slows down slows them all; the table has medians, and ratios to restic. Everything
is below --dir, in a folder that goes in the end. Between rounds nothing is deleted, since ext4 is slow to reuse inodes
that were just freed, but with --delete: in /dev/shm memory that was never used is slow on a virtual machine.
"""

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from programs import MIB, Borg, Intellistor, Restic, Server, apart, size_of

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


def make_alike(tree, files):
    """Small files that differ little, a hundred to a folder."""
    text = b"<item><nome>Cadeira de escrit\xc3\xb3rio</nome><valor>1.234,56</valor></item>\n" * 13
    for number in range(files):
        folder = tree / f"{number // 10_000:03}" / f"{number // 100 % 100:02}"
        if number % 100 == 0:
            folder.mkdir(parents=True)
        (folder / f"nota fiscal {number}.xml").write_bytes(b"<nota>%d</nota>\n" % (number * 7919) + text[: 200 + number * 37 % 800])


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--dir", default=None, help="where to work; the temporary folder without it")
    arguments.add_argument("--bin", default="target/release", help="where backup-client is")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--files", type=int, default=41_600, help="how many small files")
    arguments.add_argument("--scale", type=float, default=1.0, help="of the larger files; 0 for none")
    arguments.add_argument("--alike", type=int, default=0, help="so many small files that are alike, instead of the tree")
    arguments.add_argument("--s3", action="store_true", help="stores on an S3 server of our tests, without borg")
    arguments.add_argument("--levels", action="store_true", help="also with compression balanced and best")
    arguments.add_argument("--delete", action="store_true", help="delete what each tool made before the next one runs")
    arguments.add_argument("--agent", action="store_true", help="also through the agent")
    arguments.add_argument("--alone", action="store_true", help="without peers")
    options = arguments.parse_args()
    room = Path(tempfile.mkdtemp(prefix="compare-", dir=options.dir))
    binaries = Path(options.bin).resolve()
    server = Server(room, binaries / "examples" / "s3_server") if options.s3 else None
    try:
        measure(room, binaries, server, options)
    finally:
        if server:
            server.stop()
        shutil.rmtree(room)


def tools_of(room, binaries, server, options):
    tools = [Intellistor(room / "a", binaries, server)]
    if options.levels:
        tools += [Intellistor(room / level, binaries, server, compression=level) for level in ("balanced", "best")]
    if options.agent:
        tools.append(Intellistor(room / "agent", binaries, server, agent=True))
    if not options.alone:
        peers = [Restic] if server else [Restic, Borg]
        tools += [tool(room, server) for tool in peers if shutil.which(tool.name.split()[0])]
    return tools


def measure(room, binaries, server, options):
    tree = room / "tree"
    if options.alike:
        apart(make_alike, tree, options.alike)
        one = "000/42/nota fiscal 4242.xml"
    else:
        apart(make_tree, tree, options.files, options.scale, random.Random(7))
        one = ONE if options.scale else "src/007/007/módulo 7.rs"
    tools = tools_of(room, binaries, server, options)
    figures = {tool.name: [] for tool in tools}
    for number in range(options.rounds):
        for tool in tools:
            name = f"store-{tools.index(tool)}-{number}"
            store = server.place(name) if server else room / name
            out = room / f"out-{tools.index(tool)}-{number}"
            tool.prepare(tree, store)
            backup = tool.backup(tree, store)
            restore = tool.restore(store, out / "all" if tool.name != "borg (lz4)" else out)
            single = tool.restore(store, out.with_suffix(".one"), one)
            peak = max(backup.peak, restore.peak, single.peak)
            figures[tool.name].append((backup.seconds, size_of(store), restore.seconds, single.seconds, peak))
            if options.delete:
                for made in (store, out, out.with_suffix(".one")):
                    shutil.rmtree(made)
            print(f"round {number + 1}: {tool.name} {backup.seconds:.2f} s, {restore.seconds:.2f} s, {single.seconds:.2f} s", file=sys.stderr)
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
    base = medians.get("restic")
    files = options.alike or options.files
    print(f"{files} small files, {size_of(tree):.0f} MiB, {os.cpu_count()} cores, medians of {options.rounds}\n")
    print("| tool | first backup | repository | full restore | one file | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, row in medians.items():
        cells = [f"{row[0]:.2f} s", f"{row[1]:.0f} MiB", f"{row[2]:.2f} s", f"{row[3]:.2f} s", f"{row[4]:.0f} MiB"]
        if base and name != "restic":
            cells = [f"{cell} ({value / of:.2f})" for cell, value, of in zip(cells, row, base)]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
