"""What the scenarios of days.py have in common: the programs, their figures, and the table."""

import os
import statistics
import sys
import time
from pathlib import Path

from programs import MIB, Intellistor, Restic

# A file as young as that when a backup begins is read again by the next one, as its time does not tell a change.
RACY_SECONDS = 3
NAMES = {"ours": "backup-client", "agent": "intellistor-agent", "restic": "restic"}


def make_tools(room, options):
    """The programs to measure, by the name of their column."""
    binaries = Path(options.bin).resolve()
    makers = {
        "ours": lambda: Intellistor(room / "ours", binaries),
        "agent": lambda: Intellistor(room / "agent", binaries, agent=True),
        "restic": lambda: Restic(room / "restic"),
    }
    return {key: makers[key]() for key in makers if key in (options.only or makers)}


def in_turn(tools, number):
    """Each program comes first, last and between in some round."""
    keys = list(tools)
    number %= len(keys)
    return keys[number:] + keys[:number]


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, file=sys.stderr, flush=True)


def facts(run):
    """A run, for --json."""
    record = {"seconds": round(run.seconds, 3), "cpu": round(run.cpu, 3), "peak_mib": round(run.peak, 1)}
    if run.output.startswith(b"{"):
        names = ("fetched_bytes", "bytes", "base", "changes", "warnings", "state")
        record |= {name: value for name, value in run.report.items() if name in names}
    return record


def median(runs, field="seconds"):
    return statistics.median(getattr(run, field) for run in runs)


def rest():
    """What one program wrote is not written back while the next one is timed."""
    os.sync()


def manifests(store):
    """MiB of each backup's manifest, oldest first: of all that is beside its archive."""
    names = (Path("manifest.json"), Path("entries.enc"))
    folders = sorted(path.parent for path in store.rglob("manifest.json"))  # named by time
    return [sum((folder / name).stat().st_size for name in names if (folder / name).exists()) / MIB for folder in folders]


def print_table(title, rows, tools):
    keys = list(tools)
    ratios = [key for key in keys if key != "restic"] if "restic" in keys else []
    print(f"\n{title}\n")
    heads = ["", "goal, at most", *(NAMES[key] for key in keys), *(["ratio to restic"] if ratios else [])]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for name, goal, unit, values in rows:
        if not values:
            continue
        cells = [name, goal, *(cell(values.get(key), unit) for key in keys)]
        if ratios:
            base = values.get("restic")
            cells.append(", ".join(f"{values[key] / base:.2f}" for key in ratios if base and unit and key in values))
        print("| " + " | ".join(cells) + " |", flush=True)


def cell(value, unit):
    if value is None:
        return ""
    if unit == "MiB" and value < 1:
        value, unit = value * 1024, "KiB"
    digits = {"s": 2, "times": 2, "MiB": 1 if value < 100 else 0, "KiB": 1}.get(unit, 0)
    return f"{value:,.{digits}f} {unit}".strip()
