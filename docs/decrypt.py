#!/usr/bin/env python3
"""Opens an Intellistor archive with no code of Intellistor: writes its tar.gz to standard output.

    INTELLISTOR_KEY=... python3 decrypt.py backup.tar.gz.enc | tar xz
    INTELLISTOR_PASSPHRASE=... python3 decrypt.py backup.tar.gz.enc > backup.tar.gz
    INTELLISTOR_KEY=... python3 decrypt.py --manifest manifest.json     verifies a manifest and lists its entries

Needs Python 3.8 and the package `cryptography` (44 or later for passphrases). Every byte is authenticated
before it is written; the exit code is 0 only if the archive is whole. FORMAT.md describes what happens here.
"""
import base64
import hashlib
import hmac
import json
import os
import struct
import sys

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LAST_IN_SEGMENT = 1 << 31


def fail(reason):
    sys.exit(f"decrypt.py: {reason}")


def hkdf(key, info, salt=None):
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(key)


def user_key(wrap):
    """The 32 bytes that the user keeps, or None where this wrap asks for another kind of key."""
    if "argon2id" in wrap:
        passphrase = os.environ.get("INTELLISTOR_PASSPHRASE")
        if not passphrase:
            return None
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

        p = wrap["argon2id"]
        salt = base64.b64decode(p["salt"])
        kdf = Argon2id(salt=salt, length=32, iterations=p["passes"], lanes=p["lanes"], memory_cost=p["memory_kib"])
        return kdf.derive(passphrase.encode())
    text = os.environ.get("INTELLISTOR_KEY")
    if not text and os.environ.get("INTELLISTOR_KEY_FILE"):
        with open(os.environ["INTELLISTOR_KEY_FILE"]) as file:
            text = file.read()
    return base64.b64decode(text.strip()) if text else None


def data_key(header):
    """Opens the first wrapped key that the configured user key made."""
    body = json.loads(header[9:])
    for wrap in body["keys"]:
        key = user_key(wrap)
        if key is None or hkdf(key, b"intellistor/v1/key-id")[:8].hex() != wrap["key_id"]:
            continue
        context = f"{body['backup_id']}/{wrap['key_id']}".encode()
        sealed = base64.b64decode(wrap["wrapped"])
        return AESGCM(hkdf(key, b"intellistor/v1/wrap")).decrypt(base64.b64decode(wrap["nonce"]), sealed, context)
    fail("no configured key opens this backup; it is sealed with " + ", ".join(w["key_id"] for w in body["keys"]))


def exactly(file, n):
    data = file.read(n)
    if len(data) != n:
        fail("the archive is cut short")
    return data


def read_header(file):
    start = exactly(file, 9)
    magic, version, length = struct.unpack(">4sBI", start)
    if magic != b"ISBK" or version != 1:
        fail("this is not an Intellistor archive of version 1")
    return start + exactly(file, length)


def frames(file):
    """Yields the gzip members of the archive, in order."""
    header = read_header(file)
    digest = hashlib.sha256(header).digest()
    key = data_key(header)
    backup_id = json.loads(header[9:])["backup_id"].encode()
    previous_salt, number, ahead = bytes(32), 0, exactly(file, 4)
    while ahead:
        number += 1
        if struct.unpack(">I", ahead)[0] != number:
            fail(f"there is another segment in place of segment {number}")
        salt = exactly(file, 32)
        info = b"intellistor/v1/segment" + backup_id + struct.pack(">I", number)
        cipher = AESGCM(hkdf(key, info, salt))
        index, last_in_segment = 0, False
        while not last_in_segment:
            field = struct.unpack(">I", exactly(file, 4))[0]
            last_in_segment = bool(field & LAST_IN_SEGMENT)
            sealed = exactly(file, field & ~LAST_IN_SEGMENT)
            if last_in_segment:
                ahead = file.read(4)
            place = struct.pack(">IIBB", number, index, last_in_segment, last_in_segment and not ahead)
            nonce = struct.pack(">QI", 0, index)
            try:
                yield cipher.decrypt(nonce, sealed, digest + previous_salt + place)
            except InvalidTag:
                fail(f"segment {number}, frame {index} was altered, or the archive is cut off after it")
            index += 1
        previous_salt = salt


def check_manifest(path):
    with open(path, "rb") as file:
        document = file.read()
    covered, trailer = document[:-84], document[-84:]
    if not trailer.startswith(b',\n"hmac_sha256":"') or not trailer.endswith(b'"}\n'):
        fail("the manifest is cut short")
    manifest = json.loads(document)
    key = data_key(base64.b64decode(manifest["header"]))
    mac = hmac.new(hkdf(key, b"intellistor/v1/manifest" + manifest["backup_id"].encode()), covered, "sha256")
    if not hmac.compare_digest(mac.hexdigest(), manifest["hmac_sha256"]):
        fail("the manifest was altered")
    for entry in manifest["entries"]:
        print(entry.get("sha256", "-" * 64), entry["size"], entry["relative_path"])


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--manifest":
        check_manifest(sys.argv[2])
    elif len(sys.argv) == 2:
        with open(sys.argv[1], "rb") as file:
            for member in frames(file):
                sys.stdout.buffer.write(member)
        sys.stdout.buffer.flush()
    else:
        fail("usage: decrypt.py backup.tar.gz.enc | decrypt.py --manifest manifest.json")


if __name__ == "__main__":
    main()
