#!/usr/bin/env python3
"""Backs up and restores over a slow line, and prints the seconds.

    cargo build --release --workspace --all-targets
    python3 tests/bench/slow_line.py --rate 100000

The line is a proxy before the S3 server of the tests: --rate bytes a second each way, for all connections together.
"""

import argparse
import asyncio
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from programs import Intellistor, Server

PIECE = 4096


class Line:
    def __init__(self, server, rate):
        self.server, self.rate = server, rate
        self.free = {"up": 0.0, "down": 0.0}

    async def pass_on(self, way, reader, writer):
        try:
            while piece := await reader.read(PIECE):
                # Whoever sends next waits for whoever sent before.
                self.free[way] = max(self.free[way], time.monotonic()) + len(piece) / self.rate
                await asyncio.sleep(self.free[way] - time.monotonic())
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def connect(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(*self.server, limit=PIECE)
        await asyncio.gather(self.pass_on("up", reader, far_writer), self.pass_on("down", far_reader, writer))

    async def serve(self, listener):
        async with await asyncio.start_server(self.connect, sock=listener, limit=PIECE) as server:
            await server.serve_forever()


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    arguments.add_argument("--bin", default="target/release", help="where backup-client is")
    arguments.add_argument("--rate", type=float, default=100_000, help="bytes a second")
    arguments.add_argument("--bytes", type=int, default=31_000_000, help="how much to back up")
    options = arguments.parse_args()
    binaries, room = Path(options.bin).resolve(), Path(tempfile.mkdtemp(prefix="slow-line-"))
    server = Server(room, binaries / "examples" / "s3_server")
    try:
        host, port = server.env["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
        listener = socket.socket()
        # The system's own buffer would hide the line.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        listener.bind(("127.0.0.1", 0))
        line = Line((host, int(port)), options.rate)
        threading.Thread(target=lambda: asyncio.run(line.serve(listener)), daemon=True).start()
        server.env["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{listener.getsockname()[1]}"
        measure(room, binaries, server, options.bytes)
    finally:
        server.stop()
        shutil.rmtree(room)


def measure(room, binaries, server, count):
    tree, store, out = room / "tree", room / "slow", room / "out"
    tree.mkdir()
    (tree / "noise").write_bytes(os.urandom(count))
    tool = Intellistor(room / "tool", binaries, server)
    tool.prepare(tree, store)
    print(f"backup  {tool.backup(tree, store).seconds:.1f} s", flush=True)
    print(f"restore {tool.restore(store, out).seconds:.1f} s", flush=True)
    if (tree / "noise").read_bytes() != (out / "noise").read_bytes():
        sys.exit("what came back is not what was backed up")


if __name__ == "__main__":
    main()
