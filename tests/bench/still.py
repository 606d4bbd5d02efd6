"""Scenarios whose files do not change: many small ones, and large ones."""

import random
import time

from programs import MIB, Intellistor, size_of
from scenario import RACY_SECONDS, facts, in_turn, make_tools, manifests, median, rest, say


class Still:
    """The other scenarios: files that do not change, backed up again and again."""

    def __init__(self, room, options, make, only=None):
        self.room, self.options, self.make, self.tree = room, options, make, room / "tree"
        room.mkdir()
        self.tools = {key: tool for key, tool in make_tools(room, options).items() if only is None or key in only}
        self.first, self.again, self.added, self.manifests = {}, {}, {}, {}

    def run(self):
        self.make(self.tree)
        say(f"{self.tree} is there")
        time.sleep(RACY_SECONDS)
        for key, tool in self.tools.items():
            tool.prepare(self.tree, self.store(key))
            rest()
            self.first[key] = tool.backup(self.tree, self.store(key))
            say(f"first: {key} {self.first[key].seconds:.2f} s, {self.first[key].peak:.0f} MiB of memory")
        for number in range(self.options.rounds):
            for key in in_turn(self.tools, number):
                tool = self.tools[key]
                before = size_of(self.store(key))
                rest()
                run = tool.backup(self.tree, self.store(key))
                self.again.setdefault(key, []).append(run)
                self.added[key] = size_of(self.store(key)) - before
                say(f"unchanged: {key} {run.seconds:.2f} s, {run.peak:.0f} MiB of memory, {self.added[key]:.1f} MiB added")
        for key, tool in self.tools.items():
            if isinstance(tool, Intellistor):
                self.manifests[key] = manifests(self.store(key))

    def store(self, key):
        return self.room / f"store-{key}"

    def rows(self):
        yield "first backup", "", "s", {key: run.seconds for key, run in self.first.items()}
        yield "unchanged run", "1/2 of restic", "s", {key: median(runs) for key, runs in self.again.items()}
        yield "unchanged run: bytes added", "", "MiB", self.added
        yield "memory of the first backup", "128 MiB", "MiB", {key: run.peak for key, run in self.first.items()}
        peaks = {key: max(run.peak for run in runs) for key, runs in self.again.items()}
        yield "memory of an unchanged run", "128 MiB", "MiB", peaks
        states = {key: size_of(tool.state()) for key, tool in self.tools.items() if tool.state().exists()}
        yield "state on the machine", "", "MiB", states

    def facts(self):
        return {key: {"first": facts(self.first[key]), "unchanged": [facts(run) for run in self.again[key]],
                      "added_mib": self.added[key], "manifests_mib": self.manifests.get(key)} for key in self.tools}


class Large(Still):
    """Files of 100 MB that are a hole but for their first 256 KiB: a list of the chunks of that alone is longer than what a
    manifest has of a file, so it shows in the bytes if it is in there."""

    def __init__(self, room, options):
        super().__init__(room, options, self.make_sparse, only=("ours", "agent"))

    def make_sparse(self, tree):
        words = [random.Random(number).randbytes(16) for number in range(4_096)]
        for number in range(self.options.large):
            folder = tree / f"{number // 100:03}"
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / f"disco {number:05}.img", "wb") as file:
                file.write(b"".join(random.Random(number).choices(words, k=16 << 10)))
                file.truncate(100_000_000)

    def rows(self):
        of = self.options.large / MIB
        yield "manifest of the first backup, for each file", "", "bytes", {key: all[0] / of for key, all in self.manifests.items()}
        yield "manifest of the next one, for each file", "no more", "bytes", {key: all[1] / of for key, all in self.manifests.items()}
        yield from super().rows()
