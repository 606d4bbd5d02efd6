#!/usr/bin/env python3
"""Writes a full backup and an incremental one as docs/FORMAT.md says, with no code of Intellistor.

    by_hand.py FOLDER plain|sealed       makes FOLDER/store, and FOLDER/source as the second backup has it

The programs must restore what this writes: then FORMAT.md says all that it takes. The key is 32 bytes of 7.
"""
import base64
import hashlib
import hmac
import io
import json
import os
import random
import sys
import tarfile
import uuid
import zlib
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

USER_KEY = bytes([7] * 32)
POLICY = "by-hand"
MTIME_NS = 1_709_296_496_123_456_789
FRAME, FRAMES = 50_000, 3  # tar bytes of a frame, frames of a segment: small ones, so that there are several
noise = random.Random(14)


def b64(data):
    return base64.b64encode(data).decode()


def hkdf(key, info, salt=None):
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def seal(key, text, context):
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, text, context)


def gzip_member(text):
    packer = zlib.compressobj(wbits=31)
    return packer.compress(text) + packer.flush()


class Backup:
    """An archive and a manifest that are being written."""

    def __init__(self, timestamp, base=None):
        self.timestamp, self.id, self.base = timestamp, str(uuid.uuid4()), base
        self.key, self.tar, self.entries = os.urandom(32), io.BytesIO(), []
        key_id = hkdf(USER_KEY, b"intellistor/v1/key-id")[:8].hex()
        wrapped = seal(hkdf(USER_KEY, b"intellistor/v1/wrap"), self.key, f"{self.id}/{key_id}".encode())
        wrap = {"key_id": key_id, "nonce": b64(wrapped[:12]), "wrapped": b64(wrapped[12:])}
        self.name = {"policy_id": POLICY, "timestamp": timestamp, "backup_id": self.id}
        body = json.dumps({**self.name, "frame_bytes": 1 << 20, "keys": [wrap]}).encode()
        self.header = b"ISBK\x01" + len(body).to_bytes(4, "big") + body
        self.folder = f"backups/{POLICY}/{timestamp}/{self.id}"

    def derive(self, what):
        return hkdf(self.key, b"intellistor/v1/" + what + self.id.encode())

    def seal_frames(self, texts, key):
        """The bytes of an archive, and its table of segments. `texts` has the plaintext of each frame."""
        out, table, salt = self.header, [], bytes(32)
        groups = [texts[at : at + FRAMES] for at in range(0, len(texts), FRAMES)]
        for number, group in enumerate(groups, 1):
            previous, salt = salt, os.urandom(32)
            count = number.to_bytes(4, "big")
            cipher = AESGCM(hkdf(key, b"intellistor/v1/segment" + self.id.encode() + count, salt))
            part, frames = count + salt, []
            for index, text in enumerate(group):
                ends = index + 1 == len(group)
                flags = bytes([ends, ends and number == len(groups)])
                place = count + index.to_bytes(4, "big") + flags
                nonce = bytes(8) + index.to_bytes(4, "big")
                sealed = cipher.encrypt(nonce, gzip_member(text), hashlib.sha256(self.header).digest() + previous + place)
                part += (len(sealed) | ends << 31).to_bytes(4, "big") + sealed
                frames.append([len(sealed), len(text)])
            offset = 0 if number == 1 else len(out)
            out += part
            segment = {"number": number, "offset": offset, "bytes": len(out) - offset, "salt": b64(salt)}
            table.append({**segment, "sha256": hashlib.sha256(out[offset:]).hexdigest(), "frames": frames})
        digest = hashlib.sha256(b"".join(bytes.fromhex(segment["sha256"]) for segment in table)).hexdigest()
        return out, digest, table

    def member(self, name, content=b"", **fields):
        """Adds a member to the tar, and returns the extent of its content."""
        info = tarfile.TarInfo(name)
        info.size, info.mtime = len(content), MTIME_NS // 10**9
        for field, value in fields.items():
            setattr(info, field, value)
        self.tar.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8"))
        extent = {"archive": 0, "offset": self.tar.tell(), "length": len(content)}
        self.tar.write(content + bytes(-len(content) % 512))
        return extent

    def piece(self, content):
        return self.member(f".intellistor/pieces/{self.tar.tell()}", content, pax_headers={"INTELLISTOR.piece": "1"})

    def entry(self, path, kind, size=0, **members):
        mode = 0o755 if kind == "directory" else 0o644
        unix = {"mode": mode, "uid": os.getuid(), "gid": os.getgid()}
        self.entries.append({"relative_path": path, "kind": kind, "size": size, "mtime_ns": MTIME_NS, "unix": unix, **members})
        return self.entries[-1]

    def file(self, path, content, extents, **members):
        sha256 = hashlib.sha256(content).hexdigest()
        return self.entry(path, "file", len(content), sha256=sha256, extents=extents, **members)

    def statement(self, kind, **members):
        said = {"time": "2026-03-02T05:00:00Z", "by": "by-hand (by_hand.py)", **members}
        text = json.dumps({"statement": kind, "version": 1, "header": b64(self.header), **said})[:-1].encode()
        mac = hmac.new(self.derive(b"statement"), text, "sha256").hexdigest()
        return text + f',"hmac_sha256":"{mac}"}}\n'.encode()

    def finish(self, store, sealed):
        tar = self.tar.getvalue()
        texts = [tar[at : at + FRAME] for at in range(0, len(tar), FRAME)] + [bytes(1024)]
        archive, digest, table = self.seal_frames(texts, self.key)
        own = {"backup_id": self.id, "key": f"{self.folder}/backup.tar.gz.enc", "bytes": len(archive), "live_bytes": 0}
        self.record = {**own, "sha256": digest, "segments": table}
        archives = [self.record]
        if self.base:
            key = seal(self.derive(b"sealed-keys"), self.base.key, f"data key/{self.base.id}".encode())
            archives.append({**self.base.record, "header": b64(self.base.header), "data_key": b64(key)})
        for number, archive_record in enumerate(archives):
            files = [entry for entry in self.entries if entry["kind"] == "file"]
            of_it = [e for entry in files for e in entry.get("extents", []) if e["archive"] == number]
            archive_record["live_bytes"] = sum(extent["length"] for extent in of_it)
        self.record["content_bytes"] = self.record["live_bytes"]
        files = [entry for entry in self.entries if entry["kind"] in ("file", "hardlink")]
        totals = {"entries": len(self.entries), "files": len(files), "directories": 0, "symlinks": 0, "bytes": 0}
        totals.update(skipped=0, changed=0, notes=0)
        for entry in self.entries:
            totals["bytes"] += entry["size"] if entry["kind"] == "file" else 0
            totals["directories"] += entry["kind"] == "directory"
            totals["symlinks"] += entry["kind"] == "symlink"
        counts = ("unchanged", "changed", "new", "moved", "deleted", "bytes_read", "bytes_stored", "bytes_referenced")
        head = {**self.name, "host": "by-hand", "os": "linux", "tool": "by_hand.py"}
        contents = {"began_ms": 1_709_300_000_000}
        if self.base:
            contents["base"] = {"backup_id": self.base.id, "manifest_sha256": self.base.sha256, "full": self.base.timestamp}
            roots = {"empty_roots": ["/by/foot"], "replaced": True}
            contents["brake"] = {"since": self.timestamp, "why": "of 9 files, 2 are left", "files_before": 9, **roots}
        contents["roots"] = [{"path": "/by/hand", "prefix": "", "files": len(files)}]
        contents.update(totals=totals, changes=dict.fromkeys(counts, 0), archives=archives)
        content_key = seal(self.derive(b"sealed-keys"), bytes([9] * 32), b"content key/")
        contents["content_key"] = b64(content_key)
        lists = '"entries":[\n' + ",\n".join(json.dumps(entry) for entry in self.entries) + '\n],\n"problems":[\n],\n"notes":[\n]'
        folder = store / self.folder
        folder.mkdir(parents=True)
        if sealed:
            lists = lists.encode()
            texts = [lists[at : at + 300] for at in range(0, len(lists), 300)]
            enclosed, _, _ = self.seal_frames(texts, self.derive(b"entries"))
            digest = hashlib.sha256(enclosed).hexdigest()
            contents["entries_enc"] = {"key": f"{self.folder}/entries.enc", "bytes": len(enclosed), "sha256": digest}
            (folder / "entries.enc").write_bytes(enclosed)
        text = f'{{"format":"intellistor-manifest",\n"version":1,\n"header":"{b64(self.header)}",\n'
        text += json.dumps(head)[1:-1] + ",\n" + json.dumps(contents)[1:-1]
        text = (text if sealed else text + ",\n" + lists).encode()
        mac = hmac.new(self.derive(b"manifest"), text, "sha256").hexdigest()
        text += f',\n"hmac_sha256":"{mac}"}}\n'.encode()
        self.sha256 = hashlib.sha256(text).hexdigest()
        (folder / "backup.tar.gz.enc").write_bytes(archive)
        if self.base:
            (folder / "hold.json").write_bytes(self.statement("hold", why="caça ao \"bug\"", held=True))
            (folder / "confirmed.json").write_bytes(self.statement("confirmed"))
        (folder / "manifest.json").write_bytes(text)


def write_sparse(path, content):
    with open(path, "wb") as file:
        for at in range(0, len(content), 4096):
            if content[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(content[at : at + 4096])
        file.truncate(len(content))


def write_source(source, entries, contents):
    for entry in entries:
        path = source / entry["relative_path"]
        if entry["kind"] == "directory":
            path.mkdir(parents=True, exist_ok=True)
        elif entry["kind"] == "symlink":
            path.symlink_to(entry["link_target"])
        elif entry["kind"] == "hardlink":
            os.link(source / entry["link_target"], path)
        else:
            write_sparse(path, contents[entry["relative_path"]])
        if entry["kind"] != "symlink":
            path.chmod(entry["unix"]["mode"])
    for entry in reversed(entries):
        os.utime(source / entry["relative_path"], ns=(MTIME_NS, MTIME_NS), follow_symlinks=False)


def inside(extent, offset, length, archive=1, **at):
    """A part of an extent, as a later backup names it."""
    return {"archive": archive, "offset": extent["offset"] + offset, "length": length, **at}


def main():
    folder, sealed = Path(sys.argv[1]), sys.argv[2] == "sealed"
    large, text = noise.randbytes(400_000), "maçã\n".encode() * 100
    full = Backup("20260301T020000Z")
    full.entry(".", "directory")
    whole = full.member("grande.bin", large)
    full.file("grande.bin", large, [whole])
    same = full.member("texto.txt", text)
    full.file("texto.txt", text, [same])
    full.finish(folder / "store", sealed)

    # The next day: bytes inserted in the middle, a hole, a copy, a file moved, a hard link, a link.
    more, islands = noise.randbytes(70_000), [noise.randbytes(5000), noise.randbytes(3000)]
    changed = large[:100_000] + more + large[250_000:] + large[:50_000]
    sparse = bytes((1 << 20) + 100) + islands[0] + bytes(7) + islands[1] + bytes(1 << 20)
    day = Backup("20260302T020000Z", full)
    day.entry(".", "directory")
    new = day.member("cópia.txt", b"novo\n")
    day.file("cópia.txt", b"novo\n", [new])
    extents = [{**day.piece(islands[0]), "at": (1 << 20) + 100}, {**day.piece(islands[1]), "at": (1 << 20) + 5107}]
    day.file("esparso.img", sparse, extents)
    pieces = [day.piece(more[:40_000]), day.piece(more[40_000:])]
    day.file("grande.bin", changed, [inside(whole, 0, 100_000), *pieces, inside(whole, 250_000, 150_000), inside(whole, 0, 50_000)])
    day.entry("ligação", "symlink", link_target="novo.txt")
    day.file("movido.txt", text, [inside(same, 0, len(text))])
    day.member("novo.txt", pax_headers={"INTELLISTOR.copy": "1"}, type=tarfile.LNKTYPE, linkname="cópia.txt")
    first = day.file("novo.txt", b"novo\n", [new])
    day.entry("pasta", "directory")
    day.entry("pasta/outro nome.txt", "hardlink", 5, sha256=first["sha256"], extents=[new], link_target="novo.txt")
    day.entry("vazio.txt", "file", sha256=hashlib.sha256(b"").hexdigest())
    day.finish(folder / "store", sealed)
    contents = {"cópia.txt": b"novo\n", "esparso.img": sparse, "grande.bin": changed, "movido.txt": text}
    write_source(folder / "source", day.entries, {**contents, "novo.txt": b"novo\n", "vazio.txt": b""})
    (folder / "keys.json").write_text(json.dumps([f"{backup.folder}/backup.tar.gz.enc" for backup in (full, day)]))


main()
