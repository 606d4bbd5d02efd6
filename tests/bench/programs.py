"""The programs that the benchmarks run, each behind the same few calls, and what a run of one took."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

MIB = 1 << 20


@dataclass
class Run:
    seconds: float
    cpu: float  # seconds of processor time, which a busy machine falsifies less
    peak: float  # of resident memory, MiB
    output: bytes

    @property
    def report(self):
        """The JSON that our programs print."""
        return json.loads(self.output)


def apart(function, *arguments):
    """Calls `function` in a process of its own. The system counts the memory of whoever starts a program, at its peak,
    as that program's: whoever measures must stay small."""
    child = multiprocessing.get_context("fork").Process(target=function, args=arguments)
    child.start()
    child.join()
    if child.exitcode != 0:
        sys.exit(f"{function.__name__} failed")


def size_of(folder):
    """MiB of the files below it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MIB


class Server:
    """The S3 server of the tests, a process of its own."""

    def __init__(self, room, program):
        self.folder = room / "s3"
        self.folder.mkdir()
        self.child = subprocess.Popen([program, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.env = dict(self.child.stdout.readline().strip().split("=", 1) for _ in range(5))
        self.bucket = self.env["AWS_S3_BUCKET"]

    def place(self, name):
        return self.folder / self.bucket / name

    def stop(self):
        self.child.stdin.close()
        self.child.wait()


class Tool:
    """One program with its settings; it may be given several stores, each prepared once."""

    noted = ()  # exit codes of a run that did its work but wants to be looked at

    def __init__(self, room, server=None):
        self.room, self.server = room, server
        room.mkdir(exist_ok=True)

    def run(self, *command, cwd=None):
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            begun = time.monotonic()
            child = subprocess.Popen(
                [str(word) for word in command], cwd=cwd or self.room, env=self.env(), stdout=output, stderr=errors,
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.monotonic() - begun
            child.returncode = code = os.waitstatus_to_exitcode(status)
            output.seek(0)
            errors.seek(0)
            if code != 0:
                message = f"exit code {code} of {' '.join(map(str, command))}: {errors.read().decode(errors='replace')}"
                if code not in self.noted:
                    sys.exit(message)
                print(f"note: {message.strip()}", file=sys.stderr)
            return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output.read())

    def env(self):
        return {**os.environ, **(self.server.env if self.server else {})}

    def state(self):
        """What it keeps on the machine, which may not be there."""
        return self.room / "state"

    def forget_store(self):
        """The next store may have the name of one that was deleted."""
        if self.state().exists():
            shutil.rmtree(self.state())


class Intellistor(Tool):
    name = "intellistor"
    noted = (3,)

    def __init__(self, room, binaries, server=None, agent=False, compression=None):
        super().__init__(room, server)
        self.compression = compression
        if compression:
            self.name = f"intellistor, {compression}"
        self.client, self.agent = binaries / "backup-client", binaries / "intellistor-agent"
        if agent:
            self.name = "intellistor-agent"
        self.through_agent = agent
        self.run(self.client, "-q", "key-create", "--out", room / "key")

    def env(self):
        return {**super().env(), "INTELLISTOR_KEY_FILE": str(self.room / "key"), "INTELLISTOR_HOME": str(self.state())}

    def policy(self, store):
        return self.room / f"{store.name}.yaml"

    def prepare(self, tree, store):
        policy = self.policy(store)
        if self.server:
            url = f"s3://{self.server.bucket}/{store.name}"
        else:
            store.mkdir()
            url = f"file://{store}"
        policy.unlink(missing_ok=True)
        self.run(self.client, "-q", "policy-create", "--out", policy, "--policy-id", store.name,
                 "--paths", tree, "--store", url)
        if self.compression:
            text = policy.read_text()
            policy.write_text(text.replace("compression: fast", f"compression: {self.compression}"))

    def backup(self, tree, store):
        program = [self.agent, "-q", "run"] if self.through_agent else [self.client, "-q", "backup"]
        return self.run(*program, "--policy", self.policy(store))

    def restore(self, store, out, only=None, backup=None):
        which = ["--key", backup] if backup else ["--latest"]
        only = ["--only", only] if only else []
        return self.run(self.client, "-q", "restore", "--policy", self.policy(store), *which, "--out", out, *only)

    def backups(self, store):
        """What `restore` takes to name each backup, oldest first."""
        listed = self.run(self.client, "-q", "list", "--policy", self.policy(store)).report
        return [backup["key"] for backup in listed["backups"]]


class Restic(Tool):
    name = "restic"

    def env(self):
        return {**super().env(), "RESTIC_PASSWORD": "x", "RESTIC_CACHE_DIR": str(self.state())}

    def call(self, store, *command, cwd=None):
        if self.server:
            store = f"s3:{self.server.env['AWS_ENDPOINT_URL']}/{self.server.bucket}/{store.name}"
        return self.run("restic", "-q", "-o", "s3.bucket-lookup=path", "-r", store, *command, cwd=cwd)

    def prepare(self, tree, store):
        self.call(store, "init")

    def backup(self, tree, store):
        return self.call(store, "backup", ".", cwd=tree)

    def restore(self, store, out, only=None, backup=None):
        only = ["--include", f"/{only}"] if only else []
        return self.call(store, "restore", backup or "latest", "--target", out, *only)

    def backups(self, store):
        snapshots = json.loads(self.call(store, "snapshots", "--json").output)
        return [snapshot["id"] for snapshot in sorted(snapshots, key=lambda snapshot: snapshot["time"])]


class Borg(Tool):
    name = "borg (lz4)"

    def env(self):
        return {**super().env(), "BORG_PASSPHRASE": "x", "BORG_BASE_DIR": str(self.room / "borg-home")}

    def prepare(self, tree, store):
        self.run("borg", "init", "-e", "repokey", store)

    def backup(self, tree, store):
        return self.run("borg", "create", f"{store}::a", ".", cwd=tree)

    def restore(self, store, out, only=None):
        out.mkdir()
        return self.run("borg", "extract", f"{store}::a", *([only] if only else []), cwd=out)
