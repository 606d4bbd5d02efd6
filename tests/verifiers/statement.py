#!/usr/bin/env python3
"""Reads and writes statements as docs/FORMAT.md says; of the programs' code it has nothing, of docs/decrypt.py the keys.

    statement.py read STORE KEY                     proves a statement, and prints what it says as JSON
    statement.py standing STORE FOLDER              `listed`, `forgotten` or `sweeping`, by the table of what counts
    statement.py write STORE FOLDER KIND MEMBERS    makes a statement of MEMBERS, a JSON object, about the backup in FOLDER

STORE is a folder laid out as a store is. KEY is the object's, such as backups/docs/20261126T050000Z/0196.../hold.json, and
FOLDER what is before its last `/`. KIND is `forgotten`, `hold` or `confirmed`. The user key is in INTELLISTOR_KEY, as for
decrypt.py. What proves nothing is refused with exit code 1 and the reason.
"""
import base64
import hmac
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "docs"))
import decrypt  # noqa: E402

TAG = b',"hmac_sha256":"'
MOST_BYTES = 128 << 10
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
MEMBERS = {
    "forgotten": {"id": str, "time": TIME, "by": str, "why": str, "prunable_from": TIME, "sweeping": bool},
    "hold": {"time": TIME, "by": str, "why": str, "held": bool},
    "confirmed": {"time": TIME, "by": str},
}
OPTIONAL = {"forgotten": {"put": TIME}, "hold": {"unforgets": list}}


class Unproven(Exception):
    """The statement says nothing."""


def mac_of(header, covered):
    """HMAC of the bytes before the comma that precedes it, under the statement key."""
    backup_id = json.loads(header[9:])["backup_id"]
    key = decrypt.hkdf(decrypt.data_key(header), b"intellistor/v1/statement" + backup_id.encode())
    return hmac.new(key, covered, "sha256").hexdigest().encode()


def fits(value, kind):
    return isinstance(value, kind) if isinstance(kind, type) else isinstance(value, str) and re.fullmatch(kind, value)


def prove(data, key):
    """What the object under `key` says, once all of it was checked."""
    folder, _, name = key.rpartition("/")
    kind = name.removesuffix(".json")
    if len(data) > MOST_BYTES:
        raise Unproven("it is larger than 128 KiB")
    try:
        says = json.loads(data)
        header = base64.b64decode(says["header"], validate=True)
        names = json.loads(header[9:])
        of = f"backups/{names['policy_id']}/{names['timestamp']}/{names['backup_id']}"
    except (ValueError, KeyError, TypeError) as error:
        raise Unproven(f"it cannot be read: {error}") from error
    if says.get("statement") != kind or says.get("version") != 1:
        raise Unproven(f"it is no {kind} of version 1")
    if header[:5] != b"ISBK\x01" or int.from_bytes(header[5:9], "big") != len(header) - 9:
        raise Unproven("its header is no header of version 1")
    if of != folder:
        raise Unproven(f"it is about {of}")
    covered, tag, rest = data.rpartition(TAG)
    if not tag or len(rest) != 67 or rest[64:] != b'"}\n':
        raise Unproven("it does not end as a statement does")
    if not hmac.compare_digest(mac_of(header, covered), rest[:64]):
        raise Unproven("it was altered, or made without the key")
    members, optional = MEMBERS[kind], OPTIONAL.get(kind, {})
    said = {name: value for name, value in says.items() if name in members or name in optional}
    for name, value in members.items():
        if name not in said or not fits(said[name], value):
            raise Unproven(f"its {name} is not as described")
    return said


def standing(store, folder):
    """The table of what counts."""

    def proven(name):
        path = store / folder / name
        try:
            return prove(path.read_bytes(), f"{folder}/{name}") if path.exists() else None
        except Unproven:
            return None

    forgotten, hold = proven("forgotten.json"), proven("hold.json")
    if forgotten is None:
        return "listed"
    if forgotten["sweeping"]:
        return "sweeping"
    if hold and (hold["held"] or forgotten["id"] in hold.get("unforgets", [])):
        return "listed"
    return "forgotten"


def header_of(folder):
    """The archive's header, from the manifest or, where that is gone, from the archive."""
    manifest, archive = folder / "manifest.json", folder / "backup.tar.gz.enc"
    if manifest.exists():
        with open(manifest, "rb") as file:
            line = [file.readline(1 << 17) for _ in range(3)][2]
        return base64.b64decode(json.loads(b"{" + line.rstrip(b",\n") + b"}")["header"])
    with open(archive, "rb") as file:
        return decrypt.read_header(file, str(archive))


def statement(header, kind, members):
    opening = {"statement": kind, "version": 1, "header": base64.b64encode(header).decode(), **members}
    covered = json.dumps(opening, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return covered + TAG + mac_of(header, covered) + b'"}\n'


def main():
    match sys.argv[1:]:
        case ["read", store, key]:
            print(json.dumps(prove((Path(store) / key).read_bytes(), key)))
        case ["standing", store, folder]:
            print(standing(Path(store), folder.rstrip("/")))
        case ["write", store, folder, kind, members]:
            path, name = Path(store) / folder, f"{kind}.json"
            (path / name).write_bytes(statement(header_of(path), kind, json.loads(members)))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main()
    except Unproven as reason:
        sys.exit(f"statement.py: {reason}")
