#!/usr/bin/env python3
"""Makes the stored policies again, by the commands in manifest.json: make.py [--store] [FILE ...]

Without --store it builds into target/conformance and compares; toolchains differ from machine to machine, so a
difference says nothing about the stored file, which stays as it is. With --store it writes the file, its size and its
digest: only for one that is new, never for one that belongs to a released contract. Needs the tools that `make
guests-extra` installs, and target/debug/witgate.
"""

import gzip
import hashlib
import json
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "target" / "conformance"


def build(entry):
    """The bytes that the command makes; a stored `.gz` holds them compressed, without a date."""
    name = entry["file"].removesuffix(".gz")
    out = BUILT / name
    BUILT.mkdir(parents=True, exist_ok=True)
    tools = [ROOT / "target" / "debug", ROOT / "target" / "toolchains" / "bin", ROOT / "target" / "venv" / "bin",
             ROOT / "target" / "npm" / "node_modules" / ".bin"]
    guests = ROOT / "target" / "guests-extra"
    environment = {**os.environ, "PATH": ":".join([*map(str, tools), os.environ["PATH"]]),
                   "CARGO_TARGET_DIR": str(guests / "cargo"), "ZIG_GLOBAL_CACHE_DIR": str(guests / "zig")}
    command = entry["command"].replace("OUTPUT", shlex.quote(str(out)))
    subprocess.run(command, shell=True, check=True, cwd=ROOT, env=environment)
    content = out.read_bytes()
    return gzip.compress(content, 9, mtime=0) if entry["file"].endswith(".gz") else content


def main():
    arguments = sys.argv[1:]
    store, wanted = "--store" in arguments, [name for name in arguments if name != "--store"]
    manifest = json.loads((HERE / "manifest.json").read_text())
    for entry in manifest["policies"]:
        if wanted and entry["file"] not in wanted:
            continue
        content = build(entry)
        digest = hashlib.sha256(content).hexdigest()
        if store:
            (HERE / entry["file"]).write_bytes(content)
            entry["bytes"], entry["sha256"] = len(content), digest
        same = "the same" if digest == entry.get("sha256") else "different"
        print(f"{entry['file']}: {len(content)} bytes, {'stored' if store else same}")
    if store:
        (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
