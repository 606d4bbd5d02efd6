#!/usr/bin/env python3
"""Which backups of a year remain, by the rules of docs/RETENTION.md and with no code of Intellistor.

    retention_calendar.py                        the examples of docs/RETENTION.md as JSON: timestamp, reasons
    retention_calendar.py --check FILE...        fails unless each file has every line of every example
    retention_calendar.py RULES                  reads timestamps from standard input, prints those that remain; RULES is
                                                 JSON, as {"keep_daily": 7, "keep_within": 14, "timezone": "UTC"}

`keep_within` is in days here. A timestamp is YYYYMMDDThhmmssZ. The examples have one backup at 02:00 in America/Sao_Paulo
each night from 2025-11-28 to 2026-11-27, all without problems and without holds; the store's clock is at the newest.
"""
import json
import re
import sys
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

STAMP = "%Y%m%dT%H%M%SZ"
# A name for each period, that no other of its length has.
PERIODS = {
    "hourly": lambda t: f"{t:%Y-%m-%d %H}h {t.utcoffset()}",
    "daily": lambda t: f"{t:%Y-%m-%d}",
    "weekly": lambda t: "{:04}-W{:02}".format(*t.isocalendar()),
    "monthly": lambda t: f"{t:%Y-%m}",
    "yearly": lambda t: f"{t:%Y}",
}
ZONE = "America/Sao_Paulo"
EXAMPLES = {
    "office": {"keep_daily": 7, "keep_weekly": 5, "keep_monthly": 12, "timezone": ZONE},
    "audited": {"keep_daily": 7, "keep_weekly": 5, "keep_monthly": 12, "keep_yearly": 5, "timezone": ZONE},
    "workstation": {"keep_last": 10, "keep_within": 14, "timezone": ZONE},
}


def remaining(times, rules):
    """The times that a rule keeps, newest first, each with its reasons."""
    zone = ZoneInfo(rules.get("timezone") or "UTC")
    newest_first = sorted(set(times), reverse=True)
    reasons = {time: [] for time in newest_first}
    reasons[newest_first[0]].append("the newest")
    for number, time in enumerate(newest_first[: rules.get("keep_last", 0)], 1):
        reasons[time].append(f"last {number} of {rules['keep_last']}")
    if "keep_within" in rules:
        for time in newest_first:
            if time >= newest_first[0] - timedelta(days=rules["keep_within"]):
                reasons[time].append(f"within {rules['keep_within']}d of the newest")
    for period, name_of in PERIODS.items():
        wanted, seen = rules.get(f"keep_{period}", 0), []
        for time in newest_first:
            name = name_of(time.astimezone(zone))
            if len(seen) == wanted:
                break
            if name not in seen:
                seen.append(name)
                reasons[time].append(f"{period} {len(seen)} of {wanted}, {name}")
            elif time == newest_first[-1]:
                reasons[time].append(f"the oldest, while {period} has {len(seen)} of {wanted}")
    return [(time, why) for time, why in reasons.items() if why]


def year():
    """A night's 02:00 in the zone, as UTC, for each date of the year."""
    nights = (date(2025, 11, 28) + timedelta(days=day) for day in range(365))
    return [datetime(d.year, d.month, d.day, 2, tzinfo=ZoneInfo(ZONE)).astimezone(timezone.utc) for d in nights]


def lines(rules):
    """As the guides have them: without what the date says already."""
    for time, why in remaining(year(), rules):
        local = time.astimezone(ZoneInfo(ZONE))
        short = [re.sub(r"(of \d+), .*| of the newest$", lambda m: m[1] or "", reason) for reason in why]
        yield f"{local:%Y-%m-%d}  {time.strftime(STAMP)}  {'; '.join(short[1:] if short[0] == 'the newest' else short)}"


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["--check"]:
        for name in arguments[1:]:
            with open(name, encoding="utf-8") as file:
                text = file.read()
            for example, rules in EXAMPLES.items():
                block = "\n".join(lines(rules))
                if f"\n{block}\n```" not in text:
                    sys.exit(f"{name} does not have the calendar of {example!r}, which is:\n{block}")
    elif arguments:
        stamps = [datetime.strptime(line, STAMP).replace(tzinfo=timezone.utc) for line in sys.stdin.read().split()]
        for time, why in remaining(stamps, json.loads(arguments[0])):
            print(time.strftime(STAMP), "; ".join(why), sep="  ")
    else:
        calendars = {
            example: [{"timestamp": time.strftime(STAMP), "reasons": why} for time, why in remaining(year(), rules)]
            for example, rules in EXAMPLES.items()
        }
        print(json.dumps(calendars, indent=1))


if __name__ == "__main__":
    main()
