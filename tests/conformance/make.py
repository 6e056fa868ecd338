#!/usr/bin/env python3
"""Makes the stored policies again, by the commands in manifest.json: make.py [--store] [FILE ...]

Without --store it builds into target/conformance and compares; toolchains differ from machine to machine, so a
difference says nothing about the stored file, which stays as it is. With --store it writes the file, and the size and the
digest of what it holds: only for one that is new, never for one that belongs to a released contract. Needs the tools that
`make guests-extra` and `make cargo-component` install, and target/debug/witgate.
"""

import hashlib
import json
import lzma
import os
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILT = ROOT / "target" / "conformance"
PACKED = ".xz"


def build(entry):
    """The guest that the command makes."""
    out = BUILT / entry["file"].removesuffix(PACKED)
    BUILT.mkdir(parents=True, exist_ok=True)
    target = ROOT / "target"
    guests = target / "guests-extra"
    tools = ["debug", "toolchains/bin", "venv/bin", "npm/node_modules/.bin", "cargo-component/bin"]
    # Texts of panics name places in the source.
    cargo = os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")
    remapped = f"--remap-path-prefix={ROOT}=/witgate --remap-path-prefix={cargo}=/cargo"
    environment = {
        **os.environ,
        "PATH": ":".join([*(str(target / folder) for folder in tools), os.environ["PATH"]]),
        "CARGO_TARGET_DIR": str(guests / "cargo"),
        "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS": remapped,
        "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS": remapped,
        "GOCACHE": str(guests / "go"),
        "ZIG_GLOBAL_CACHE_DIR": str(guests / "zig"),
    }
    command = entry["command"].replace("OUTPUT", shlex.quote(str(out)))
    subprocess.run(command, shell=True, check=True, cwd=ROOT, env=environment)
    guest = out.read_bytes()
    if str(ROOT).encode() in guest:
        sys.exit(f"{entry['file']}: it holds the path {ROOT}, which is nobody else's business; build it without")
    return guest


def store(entry, guest):
    packed = lzma.compress(guest, preset=9 | lzma.PRESET_EXTREME) if entry["file"].endswith(PACKED) else guest
    (HERE / entry["file"]).write_bytes(packed)
    entry["bytes"], entry["sha256"] = len(guest), hashlib.sha256(guest).hexdigest()


def main():
    arguments = sys.argv[1:]
    storing, wanted = "--store" in arguments, [name for name in arguments if name != "--store"]
    manifest = json.loads((HERE / "manifest.json").read_text())
    for entry in manifest["policies"]:
        if wanted and entry["file"] not in wanted:
            continue
        guest = build(entry)
        same = "the same" if hashlib.sha256(guest).hexdigest() == entry.get("sha256") else "different"
        if storing:
            store(entry, guest)
        print(f"{entry['file']}: {len(guest)} bytes, {'stored' if storing else same}")
    if storing:
        (HERE / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
