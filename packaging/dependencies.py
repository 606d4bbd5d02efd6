"""What is linked into the programs, for `licences` and `sbom`: both are called with TARGET [ISAL FEATURE...].

ISA-L, of which Cargo does not know, is the folder that packaging/isal makes; it counts with the feature `isal`.
"""
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    """The target, the features, and the folder of ISA-L or None."""
    target, features = sys.argv[1], sys.argv[3:]
    return target, features, Path(sys.argv[2]) if "isal" in features else None


def linked(target, features):
    """The crates that the programs are linked from, the standard library's apart, and what each of them is linked from."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    command += ["--manifest-path", str(ROOT / "cli/Cargo.toml"), "--features", ",".join(features)]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    # Macros run in the compiler.
    in_program = {i for i, p in packages.items() if not any("proc-macro" in t["kind"] for t in p["targets"])}
    found, left = {}, [metadata["resolve"]["root"]]
    while left:
        identity = left.pop()
        if identity not in found:
            normal = [dep["pkg"] for dep in nodes[identity] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
            found[identity] = [dep for dep in normal if dep in in_program]
            left += found[identity]
    order = sorted(found, key=lambda i: (packages[i]["name"], packages[i]["version"]))
    return [packages[i] for i in order], {i: found[i] for i in order}
