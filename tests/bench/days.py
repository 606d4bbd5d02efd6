#!/usr/bin/env python3
"""Backs up a small company day after day with this tool and restic, and prints what each backup and restore took.

    cargo build --release --workspace --features intellistor-cli/isal
    python3 tests/bench/days.py --dir /mnt/scratch --days 30 --many --large --delete

The files and what a day changes in them are in company.py. Every program has a store of its own and runs in turn, so
that a machine that slows down slows them all. First backups, unchanged runs and restores are medians of --rounds, days are
medians of the days, and what was restored is compared with the source. With --many there is a second table, of so many small
files that do not change; with --large a third, of the manifest of so many files of 100 MB. Without --delete everything
remains, in a folder below --dir. --before names programs built from an earlier commit, to compare the first backup with.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from compare import make_alike
from company import Company
from programs import Intellistor, apart, size_of
from scenario import NAMES, RACY_SECONDS, facts, in_turn, make_tools, manifests, median, print_table, rest, say
from still import Large, Still


def write_listing(tree, file):
    """What a restore has to bring back."""
    lines = []
    for path in sorted(tree.rglob("*")):
        about = path.lstat()
        digest = ""
        if path.is_file():
            with open(path, "rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        lines.append(f"{path.relative_to(tree)} {about.st_mode:o} {about.st_mtime_ns if digest else ''} {digest}\n")
    file.write_text("".join(lines))


def compare_listing(tree, file):
    restored = file.with_name("restored.txt")
    write_listing(tree, restored)
    ours, wanted = restored.read_text(), file.read_text()
    if ours != wanted:
        differ = sorted(set(ours.splitlines()) ^ set(wanted.splitlines()))
        sys.exit(f"{tree} is not what {file} lists; {len(differ)} lines differ:\n" + "\n".join(differ[:10]))


class Days:
    """The first scenario: every program backs up the same days."""

    def __init__(self, room, options):
        self.room, self.options, self.tree = room, options, room / "tree"
        self.tools = make_tools(room, options)
        self.before = Intellistor(room / "before", Path(options.before).resolve()) if options.before else None
        self.firsts_before = []
        self.company = Company(self.tree, options.scale)
        self.runs = {key: {"first": [], "unchanged": [], "days": []} for key in self.tools}
        self.figures = {key: {"restored": {}, "added": []} for key in self.tools}

    def store(self, key):
        return self.room / f"store-{key}"

    def backup(self, key, kind):
        """A backup into the program's store; gives the MiB that it added."""
        before = size_of(self.store(key))
        rest()
        run = self.tools[key].backup(self.tree, self.store(key))
        self.runs[key][kind].append(run)
        added = size_of(self.store(key)) - before
        say(f"{kind}: {key} {run.seconds:.2f} s, cpu {run.cpu:.2f} s, {added:.1f} MiB added, {run.peak:.0f} MiB of memory")
        return added

    def restore(self, key, day, store=None, backup=None):
        out = self.room / f"out-{key}"
        rest()
        run = self.tools[key].restore(store or self.store(key), out, backup=backup)
        if self.options.verify_trees:
            apart(compare_listing, out, self.listing(day))
        shutil.rmtree(out)
        say(f"restore: {key} {run.seconds:.2f} s, cpu {run.cpu:.2f} s, {run.peak:.0f} MiB of memory")
        return run

    def listing(self, day):
        return self.room / f"listing-{day}.txt"

    def run(self):
        options = self.options
        apart(self.company.make)
        say(f"the tree has {size_of(self.tree):.0f} MiB")
        self.settle(0)
        for number in range(options.rounds):
            if self.before:
                self.first_before()
            for key in in_turn(self.tools, number):
                tool = self.tools[key]
                if number:
                    self.store(key).rename(self.room / "old")
                    shutil.rmtree(self.room / "old")
                    tool.forget_store()
                tool.prepare(self.tree, self.store(key))
                self.figures[key]["first_mib"] = self.backup(key, "first")
        for number in range(options.rounds):
            for key in in_turn(self.tools, number):
                self.figures[key]["unchanged_mib"] = self.backup(key, "unchanged")
        for day in range(1, options.days + 1):
            say(f"day {day}")
            apart(self.company.day, day)
            self.settle(day)
            for key in in_turn(self.tools, day):
                self.figures[key]["added"].append(self.backup(key, "days"))
            if day in (3, options.days):
                self.restore_latest(day)
        for key, tool in self.tools.items():
            self.figures[key]["store_mib"] = size_of(self.store(key))
            self.figures[key]["manifests"] = manifests(self.store(key))
            if tool.state().exists():
                self.figures[key]["state_mib"] = size_of(tool.state())
        if options.restore_all:
            self.restore_all()

    def first_before(self):
        store = self.room / "store-before"
        self.before.prepare(self.tree, store)
        rest()
        run = self.before.backup(self.tree, store)
        self.firsts_before.append(run)
        shutil.rmtree(store)
        say(f"first: the client of --before {run.seconds:.2f} s, cpu {run.cpu:.2f} s, {run.peak:.0f} MiB of memory")

    def settle(self, day):
        """The listing of the day, and then a little time, as between people's work and a nightly backup."""
        changed = time.monotonic()
        if self.options.verify_trees and (day in (3, self.options.days) or self.options.restore_all):
            apart(write_listing, self.tree, self.listing(day))
        time.sleep(max(0, RACY_SECONDS - (time.monotonic() - changed)))

    def restore_latest(self, day):
        for number in range(self.options.rounds):
            for key in in_turn(self.tools, number):
                self.figures[key]["restored"].setdefault(day, []).append(self.restore(key, day))
        for key, tool in self.tools.items():
            if isinstance(tool, Intellistor) and not tool.through_agent:
                full = self.room / f"full-{day}"
                tool.prepare(self.tree, full)
                tool.backup(self.tree, full)
                self.figures[key].setdefault("full", {})[day] = self.restore(key, day, store=full)
                shutil.rmtree(full)

    def restore_all(self):
        """Every backup that was kept: the first and the unchanged ones are all of day 0."""
        for key, tool in self.tools.items():
            backups = tool.backups(self.store(key))
            for number, backup in enumerate(backups):
                self.restore(key, max(0, number - self.options.rounds), backup=backup)
            self.figures[key]["restorable"] = len(backups)
            say(f"{key}: all of {len(backups)} backups were restored")

    def rows(self):
        """The table: a title, a goal, a unit, and the value of each program that has one."""
        days, runs, figures = self.options.days, self.runs, self.figures
        yield "first backup", "", "s", {key: median(runs[key]["first"]) for key in runs}
        if self.before and "ours" in runs:
            ratio = median(runs["ours"]["first"]) / median(self.firsts_before)
            yield "first backup, of that of --before", "1.08", "times", {"ours": ratio}
        yield "store of it", "", "MiB", {key: figures[key]["first_mib"] for key in runs}
        yield "unchanged run", "1/3 of restic; the agent 1.3 of the client", "s", {key: median(runs[key]["unchanged"]) for key in runs}
        yield "unchanged run: bytes added", "", "MiB", {key: figures[key]["unchanged_mib"] for key in runs}
        if days:
            yield "one day", "1/3 of restic", "s", {key: median(runs[key]["days"]) for key in runs}
            yield "one day: bytes added", "1/4 of restic", "MiB", {key: statistics.median(figures[key]["added"]) for key in runs}
            lists = {key: figures[key]["manifests"][-1] for key in runs if figures[key]["manifests"]}
            yield "one day: manifest among them", "", "MiB", lists
        full = figures.get("ours", {}).get("full", {})
        for day in sorted({day for key in runs for day in figures[key]["restored"]}):
            restored = {key: figures[key]["restored"][day] for key in runs}
            yield f"restore after {day} days", "1/2 of restic", "s", {key: median(restored[key]) for key in runs}
            if day in full:
                fetched = {key: restored[key][0].report["fetched_bytes"] for key in runs if key != "restic"}
                of = full[day].report["fetched_bytes"]
                yield f"restore after {day} days: bytes read, of a full's", "2", "times", {key: value / of for key, value in fetched.items()}
                yield f"restore of a full of day {day}", "", "s", {"ours": full[day].seconds}
        if days:
            yield f"store, {days} days and all before kept", "0.6 of restic", "MiB", {key: figures[key]["store_mib"] for key in runs}
        yield "state on the machine", "", "MiB", {key: figures[key]["state_mib"] for key in runs if "state_mib" in figures[key]}
        if self.options.restore_all:
            yield "backups restored and compared", "all", "", {key: figures[key]["restorable"] for key in runs}
        backups = {key: [run for kind in runs[key].values() for run in kind] for key in runs}
        yield "memory of a backup", "128 MiB", "MiB", {key: max(run.peak for run in backups[key]) for key in runs}
        if days:
            restores = {key: [run for day in figures[key]["restored"].values() for run in day] for key in runs}
            yield "memory of a restore", "128 MiB", "MiB", {key: max(run.peak for run in restores[key]) for key in runs}

    def facts(self):
        record = {}
        for key, figures in self.figures.items():
            record[key] = {name: value for name, value in figures.items() if name not in ("restored", "full")}
            record[key] |= {kind: [facts(run) for run in runs] for kind, runs in self.runs[key].items()}
            record[key]["restored"] = {day: [facts(run) for run in runs] for day, runs in figures["restored"].items()}
            record[key]["full"] = {day: facts(run) for day, run in figures.get("full", {}).items()}
        if self.firsts_before:
            record["before"] = {"first": [facts(run) for run in self.firsts_before]}
        return record


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--dir", default=None, help="where to work; the temporary folder without it")
    arguments.add_argument("--bin", default="target/release", help="where backup-client and intellistor-agent are")
    arguments.add_argument("--before", help="where a backup-client of earlier is, whose first backup is measured too")
    arguments.add_argument("--days", type=int, default=3, help="how many; 0 for first backups and unchanged runs only")
    arguments.add_argument("--rounds", type=int, default=3, help="of first backups, unchanged runs and restores")
    arguments.add_argument("--scale", type=float, default=1.0, help="of the company")
    arguments.add_argument("--only", action="append", choices=NAMES, help="one program; may be given again")
    arguments.add_argument("--verify-trees", action=argparse.BooleanOptionalAction, default=True,
                           help="compare what was restored with the source")
    arguments.add_argument("--restore-all", action="store_true", help="restore every backup at the end, not only the newest")
    arguments.add_argument("--many", type=int, nargs="?", const=1_000_000, default=0, help="also so many small files")
    arguments.add_argument("--large", type=int, nargs="?", const=10_000, default=0, help="also so many files of 100 MB")
    arguments.add_argument("--still", action="store_true", help="only what --many and --large ask for")
    arguments.add_argument("--delete", action="store_true", help="delete everything that was made, at the end")
    arguments.add_argument("--json", type=Path, help="a file for every figure")
    options = arguments.parse_args()
    if shutil.which("restic") is None and "restic" not in (options.only or []):
        options.only = options.only or ["ours", "agent"]
    room = Path(tempfile.mkdtemp(prefix="days-", dir=options.dir)).resolve()
    try:
        measure(room, options)
    finally:
        if options.delete:
            shutil.rmtree(room)
        else:
            say(f"everything is in {room}")


def measure(room, options):
    record = {"cores": os.cpu_count(), "load": os.getloadavg(), "options": {**vars(options), "json": None}}
    on = f"{os.cpu_count()} cores"
    if not options.still:
        days = Days(room, options)
        days.run()
        record["days"] = days.facts()
        title = f"A company of {size_of(days.tree):.0f} MiB, {options.days} days, {on}, medians of {options.rounds}"
        print_table(title, days.rows(), days.tools)
        if options.delete:
            for part in [path for path in room.iterdir() if path.is_dir()]:
                shutil.rmtree(part)
    scenarios = []
    if options.many:
        make = lambda tree: apart(make_alike, tree, options.many)
        scenarios.append(("many", f"{options.many:,} small files", lambda: Still(room / "many", options, make)))
    if options.large:
        scenarios.append(("large", f"{options.large:,} files of 100 MB", lambda: Large(room / "large", options)))
    for name, title, scenario in scenarios:
        scenario = scenario()
        scenario.run()
        record[name] = scenario.facts()
        print_table(f"{title}, {on}, medians of {options.rounds}", scenario.rows(), scenario.tools)
        if options.delete:
            shutil.rmtree(scenario.room)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1, default=str) + "\n")


if __name__ == "__main__":
    main()
