#!/usr/bin/env python3
"""Opens an Intellistor backup with no code of Intellistor.

    decrypt.py manifest.json STORE | tar x            the whole backup, from all archives that the manifest names
    decrypt.py backup.tar.gz.enc > backup.tar.gz      one archive alone; that of a full backup has all files
    decrypt.py --manifest manifest.json               verifies a manifest and lists its entries

STORE is a folder laid out as a store is: archives are found in it by their keys. With `manifest: sealed`, entries.enc is
beside the manifest. The key is in INTELLISTOR_KEY, INTELLISTOR_KEY_FILE or INTELLISTOR_PASSPHRASE.

Needs Python 3.8 and the package `cryptography` (44 or later for passphrases). Every byte is authenticated before it is
written; the exit code is 0 only if all is whole, so use `set -o pipefail`. FORMAT.md describes what happens here.
"""
import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import tarfile
import zlib
from bisect import bisect_right
from functools import lru_cache
from itertools import chain

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LAST_IN_SEGMENT = 1 << 31
SEGMENT_HEAD = 4 + 32
TRAILER = len(',\n"hmac_sha256":""}\n') + 64
MOST_HASHED_HOLES = 1 << 30
unbase64 = base64.b64decode


def fail(reason):
    sys.exit(f"decrypt.py: {reason}")


# ---------------------------------------------------------------- Keys


def hkdf(key, info, salt=None):
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def unseal(key, nonce, sealed, associated_data, what):
    try:
        return AESGCM(key).decrypt(nonce, sealed, associated_data)
    except InvalidTag:
        fail(f"{what} was altered")


def user_key(wrap):
    """The 32 bytes that the user keeps, or None where this wrap asks for another kind of key."""
    if "argon2id" in wrap:
        passphrase = os.environ.get("INTELLISTOR_PASSPHRASE")
        if not passphrase:
            return None
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        p = wrap["argon2id"]
        salt = unbase64(p["salt"])
        kdf = Argon2id(salt=salt, length=32, iterations=p["passes"], lanes=p["lanes"], memory_cost=p["memory_kib"])
        return kdf.derive(passphrase.encode())
    text = os.environ.get("INTELLISTOR_KEY")
    if not text and os.environ.get("INTELLISTOR_KEY_FILE"):
        with open(os.environ["INTELLISTOR_KEY_FILE"]) as file:
            text = file.read()
    return unbase64(text.strip()) if text else None


def data_key(header):
    """Opens the first wrapped key that the configured user key made."""
    body = json.loads(header[9:])
    for wrap in body["keys"]:
        key = user_key(wrap)
        if key is None or hkdf(key, b"intellistor/v1/key-id")[:8].hex() != wrap["key_id"]:
            continue
        context = f"{body['backup_id']}/{wrap['key_id']}".encode()
        nonce, wrapped = unbase64(wrap["nonce"]), unbase64(wrap["wrapped"])
        return unseal(hkdf(key, b"intellistor/v1/wrap"), nonce, wrapped, context, "the wrapped key")
    fail("no configured key opens this backup; it is sealed with " + ", ".join(w["key_id"] for w in body["keys"]))


# ---------------------------------------------------------------- An archive from its first byte to its last


def exactly(file, n, what):
    data = file.read(n)
    if len(data) != n:
        fail(f"{what} is cut short")
    return data


def read_header(file, what):
    start = exactly(file, 9, what)
    magic, version, length = struct.unpack(">4sBI", start)
    if magic != b"ISBK" or version != 1 or length > 1 << 16:
        fail(f"{what} is not an Intellistor archive of version 1")
    return start + exactly(file, length, what)


def open_frame(key, header, previous_salt, number, salt, index, ends_segment, ends_archive, sealed, what):
    """Returns one gzip member."""
    backup_id = json.loads(header[9:])["backup_id"].encode()
    segment_key = hkdf(key, b"intellistor/v1/segment" + backup_id + struct.pack(">I", number), salt)
    place = struct.pack(">IIBB", number, index, ends_segment, ends_archive)
    associated_data = hashlib.sha256(header).digest() + previous_salt + place
    name = f"{what} is cut off after segment {number}, frame {index}, or that frame"
    return unseal(segment_key, struct.pack(">QI", 0, index), sealed, associated_data, name)


def gzip_members(file, what, header=None, key=None):
    """Yields all of them in order. A manifest says what header and key must be; without one the header names the key."""
    found = read_header(file, what)
    if header not in (None, found):
        fail(f"{what} belongs to another backup")
    key = key or data_key(found)
    previous_salt, number, ahead = bytes(32), 0, exactly(file, 4, what)
    while ahead:
        number += 1
        if ahead != struct.pack(">I", number):
            fail(f"{what} has something else in place of segment {number}")
        salt = exactly(file, 32, what)
        index, ends_segment = 0, False
        while not ends_segment:
            field = struct.unpack(">I", exactly(file, 4, what))[0]
            ends_segment = bool(field & LAST_IN_SEGMENT)
            sealed = exactly(file, field & ~LAST_IN_SEGMENT, what)
            if ends_segment:
                ahead = file.read(4)
            ends = ends_segment, ends_segment and not ahead
            yield open_frame(key, found, previous_salt, number, salt, index, *ends, sealed, what)
            index += 1
        previous_salt = salt


# ---------------------------------------------------------------- An archive at any place


class Archive:
    """The tar of an archive, by what a verified manifest says of it."""

    def __init__(self, record, header, key, store):
        self.what, self.header, self.key = record["key"], header, key
        self.file = open(os.path.join(store, *self.what.split("/")), "rb")
        if os.fstat(self.file.fileno()).st_size != record["bytes"] or read_header(self.file, self.what) != header:
            fail(f"{self.what} is not the archive that the manifest names")
        self.starts, self.frames, self.tar_bytes, previous_salt = [], [], 0, bytes(32)
        for segment in record["segments"]:
            number, salt, sizes = segment["number"], unbase64(segment["salt"]), segment["frames"]
            offset = segment["offset"] + (len(header) if number == 1 else 0) + SEGMENT_HEAD
            for index, (sealed_bytes, tar_bytes) in enumerate(sizes):
                ends_segment = index + 1 == len(sizes)
                ends_archive = ends_segment and number == len(record["segments"])
                self.starts.append(self.tar_bytes)
                place = previous_salt, number, salt, index, ends_segment, ends_archive
                self.frames.append((offset + 4, sealed_bytes, tar_bytes, place))
                offset, self.tar_bytes = offset + 4 + sealed_bytes, self.tar_bytes + tar_bytes
            previous_salt = salt

    def read(self, offset, length):
        """Yields the bytes of an extent."""
        if offset + length > self.tar_bytes:
            fail(f"the manifest names bytes beyond the end of {self.what}")
        while length:
            number = bisect_right(self.starts, offset) - 1
            start = offset - self.starts[number]
            piece = tar_of_frame(self, number)[start : start + length]
            yield piece
            offset, length = offset + len(piece), length - len(piece)


@lru_cache(maxsize=64)
def tar_of_frame(archive, number):
    """At most 1 MiB. Those that were opened last are kept: files that follow each other share frames."""
    offset, sealed_bytes, tar_bytes, place = archive.frames[number]
    archive.file.seek(offset)
    sealed = exactly(archive.file, sealed_bytes, archive.what)
    tar = zlib.decompress(open_frame(archive.key, archive.header, *place, sealed, archive.what), wbits=31)
    if len(tar) != tar_bytes:
        fail(f"{archive.what} has a frame of another size than the manifest says")
    return tar


# ---------------------------------------------------------------- The manifest


def lines(blocks):
    rest = b""
    for block in blocks:
        *whole, rest = (rest + block).split(b"\n")
        yield from whole
    yield rest


class Manifest:
    """Nothing of it but its header is used before all of it has been verified."""

    def __init__(self, path):
        self.path, self.file = path, open(path, "rb")
        self.size = os.fstat(self.file.fileno()).st_size
        self.file.seek(max(0, self.size - TRAILER))
        trailer = self.file.read()
        if not trailer.startswith(b',\n"hmac_sha256":"') or not trailer.endswith(b'"}\n'):
            fail("the manifest is cut short")
        self.file.seek(0)
        first, version, header = (self.file.readline(1 << 17) for _ in range(3))
        if first != b'{"format":"intellistor-manifest",\n' or version != b'"version":1,\n':
            fail("this is not a manifest of version 1")
        self.header = unbase64(json.loads(b"{" + header.rstrip(b",\n") + b"}")["header"])
        self.name, self.key = json.loads(self.header[9:]), data_key(self.header)
        mac = hmac.new(self.derive("manifest"), digestmod="sha256")
        for block in self.blocks(self.size - TRAILER):
            mac.update(block)
        if not hmac.compare_digest(mac.hexdigest().encode(), trailer[-67:-3]):
            fail("the manifest was altered")
        head = []
        for line in lines(self.blocks(self.size)):
            if line == b'"entries":[':
                head[-1] = head[-1].rstrip(b",") + b"}"
                break
            head.append(line)
        self.head = json.loads(b"".join(head))
        if "entries_enc" in self.head:
            with open(self.beside("entries.enc"), "rb") as file:
                digest = hashlib.sha256()
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
            if digest.hexdigest() != self.head["entries_enc"]["sha256"]:
                fail("entries.enc is not the one that the manifest names")
            for _ in self.sealed_lists():
                pass

    def derive(self, purpose):
        return hkdf(self.key, f"intellistor/v1/{purpose}{self.name['backup_id']}".encode())

    def beside(self, name):
        return os.path.join(os.path.dirname(self.path), name)

    def blocks(self, length):
        self.file.seek(0)
        while length > 0:
            block = exactly(self.file, min(length, 1 << 20), self.path)
            length -= len(block)
            yield block

    def sealed_lists(self):
        """Yields the text of the lists, where it is in entries.enc."""
        with open(self.beside("entries.enc"), "rb") as file:
            for member in gzip_members(file, "entries.enc", self.header, self.derive("entries")):
                yield zlib.decompress(member, wbits=31)

    def entries(self):
        text = lines(self.sealed_lists() if "entries_enc" in self.head else self.blocks(self.size))
        while next(text) != b'"entries":[':
            pass
        for line in text:
            if line.startswith(b"]"):
                return
            if line:
                yield json.loads(line.rstrip(b","))

    def archives(self, store):
        """The backup's own, and those that it depends on, which are of the same policy."""
        found = []
        for record in self.head["archives"]:
            header, key = self.header, self.key
            if found:
                header, sealed = unbase64(record["header"]), unbase64(record["data_key"])
                context = b"data key/" + record["backup_id"].encode()
                key = unseal(self.derive("sealed-keys"), sealed[:12], sealed[12:], context, "a sealed key")
            name = json.loads(header[9:])
            folder = f"backups/{self.name['policy_id']}/{name['timestamp']}/{name['backup_id']}"
            if record["key"] != f"{folder}/backup.tar.gz.enc":
                fail(f"the manifest names {record['key']}, which is no archive of its policy")
            found.append(Archive(record, header, key, store))
        return found


# ---------------------------------------------------------------- One complete tar

KINDS = {"file": tarfile.REGTYPE, "directory": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}
KINDS["stream"] = tarfile.REGTYPE
WINDOWS_FLAGS = {"rdonly": 1, "hidden": 2, "system": 4, "arch": 32}


def padding(length):
    return bytes(-length % 512)


def block_of(offset):
    return offset // 512 * 512


def seconds(ns):
    return b"%s%d.%09d" % (b"-" if ns < 0 else b"", *divmod(abs(ns), 10**9))


def pax_record(key, value):
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest + len(str(rest))))  # it counts its own digits
    return b"%d %s=%s\n" % (length, key, value)


def raw(entry, text, raw_text):
    """A name as it was found: it need not be UTF-8."""
    return unbase64(entry[raw_text]) if raw_text in entry else entry.get(text, "").encode()


def ustar(kind, name, link=b"", **fields):
    info = tarfile.TarInfo(name.decode("latin-1"))
    info.type, info.linkname = kind, link.decode("latin-1")
    for field, value in fields.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.USTAR_FORMAT, "latin-1", "strict")


def tar_header(entry, sparse=()):
    """What precedes an entry's content; `sparse` has the start and end of each region of a file that has holes."""
    kind, unix, records = KINDS[entry["kind"]], entry.get("unix", {}), {b"mtime": seconds(entry["mtime_ns"])}
    path = raw(entry, "relative_path", "path_bytes") + b"/" * (kind == tarfile.DIRTYPE)
    link = raw(entry, "link_target", "link_target_bytes")
    if entry["kind"] == "stream":
        # An alternate data stream of Windows: a file of its own, under a name that says whose it is.
        path, records[b"INTELLISTOR.stream"] = b".intellistor/streams/" + path.replace(b"//:", b":", 1), b"1"
    size, sparse_map = entry["size"] if kind == tarfile.REGTYPE else 0, b""
    if sparse:
        # GNU's form 1.0: before the data a map in decimal numbers, of where each region begins and how long it is.
        regions = [(start, end - start) for start, end in sparse]
        sparse_map = b"".join(b"%d\n" % number for number in [len(regions), *chain(*regions)])
        sparse_map += padding(len(sparse_map))
        records.update({b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.name": path})
        records[b"GNU.sparse.realsize"] = b"%d" % entry["size"]
        size, path = len(sparse_map) + sum(length for _, length in regions), b"GNUSparseFile.0/x"
    for key, name in ((b"path", path), (b"linkpath", link)):
        if len(name) > 99 or max(name, default=0) > 127:
            records[key] = name
    if "windows" in entry:
        flags = [name for name, bit in WINDOWS_FLAGS.items() if entry["windows"]["attributes"] & bit]
        records[b"SCHILY.fflags"] = ",".join(flags).encode()
        records[b"LIBARCHIVE.creationtime"] = seconds(entry["windows"]["created_ns"])
    for xattr in entry.get("xattrs", []) if kind != tarfile.LNKTYPE else []:
        records[b"SCHILY.xattr." + unbase64(xattr["name"])] = unbase64(xattr["value"])
    fields = {"mode": unix.get("mode", 0o755 if kind == tarfile.DIRTYPE else 0o644)}
    for key, value, most in (("uid", unix.get("uid", 0), 8**7), ("gid", unix.get("gid", 0), 8**7), ("size", size, 8**11)):
        fields[key] = value if value < most else 0
        if value >= most:
            records[key.encode()] = b"%d" % value
    pax = b"".join(pax_record(key, value) for key, value in records.items())
    blocks = ustar(tarfile.XHDTYPE, b"PaxHeaders.0/x", size=len(pax)) + pax + padding(len(pax))
    return blocks + ustar(kind, path[:99], link[:99], **fields) + sparse_map


def write_file(entry, archives, out):
    """A file, from extents that may be in any archives in any order."""
    size, end, holes, sparse, pieces = entry["size"], 0, 0, [], []
    for extent in entry.get("extents", []):
        start = extent.get("at", end)
        if start < end or start + extent["length"] > size:
            fail(f"the extents of {entry['relative_path']!r} are not those of a file")
        holes, end = holes + start - end, start + extent["length"]
        pieces.append((start, end, extent))
        # To tar a hole is of whole blocks.
        if not sparse or sparse[-1][1] < block_of(start):
            sparse.append((block_of(start), 0))
        sparse[-1] = sparse[-1][0], min(size, block_of(end + 511))
    holes += size - end
    sparse = [*sparse, (size, size)] if holes else ()
    out.write(tar_header(entry, sparse))
    digest, written, end, zeros = hashlib.sha256(), 0, 0, bytes(1 << 16)
    for start, next_end, extent in [*pieces, (size, size, None)]:
        # Holes are hashed as zeros, unless there are more of them than anyone would wait for.
        passed = start - end if holes <= MOST_HASHED_HOLES else 0
        for at in range(0, passed, len(zeros)):
            digest.update(zeros[: passed - at])
        # Of a hole, what is in the same blocks as data: after the data before it, and before the data behind it.
        region_end, region_start = min(size, block_of(end + 511)), block_of(start) if extent else size
        fill = start - end if region_start <= region_end else region_end - end + start - region_start
        out.write(bytes(fill))
        written += fill + next_end - start
        for piece in archives[extent["archive"]].read(extent["offset"], extent["length"]) if extent else ():
            digest.update(piece)
            out.write(piece)
        end = next_end
    out.write(padding(written))
    if digest.hexdigest() != entry["sha256"]:
        fail(f"the content of {entry['relative_path']!r} is not what was backed up")


def write_tar(manifest, store, out):
    archives = manifest.archives(store)
    for entry in manifest.entries():
        if entry["kind"] in ("file", "stream"):
            write_file(entry, archives, out)
        else:
            out.write(tar_header(entry))
    out.write(bytes(1024))


def main():
    arguments, out = sys.argv[1:], sys.stdout.buffer
    if len(arguments) == 2 and arguments[0] == "--manifest":
        for entry in Manifest(arguments[1]).entries():
            out.write(f"{entry.get('sha256', '-' * 64)} {entry['size']} {entry['relative_path']}\n".encode())
    elif len(arguments) == 2:
        write_tar(Manifest(arguments[0]), arguments[1], out)
    elif len(arguments) == 1:
        with open(arguments[0], "rb") as file:
            for member in gzip_members(file, "the archive"):
                out.write(member)
    else:
        fail("it takes two arguments:\n" + __doc__)
    out.flush()


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        fail(error)
