"""The work that a profile is made of (`scripts/profile`): sparse traffic, and one connection as fast as it goes.

`python benches/training.py DIRECTORY` runs it with a fal_realtime that counts, whose counts go to DIRECTORY/sparse and
DIRECTORY/dense.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from common import HERE, Spec, echo_server

STYLES = ("fal-realtime/callback", "fal-realtime/recv", "fal-realtime/request")


def sparse() -> Iterator[Spec]:
    """Many connections, each now and then a message."""
    for style in STYLES:
        for scheme, size in (("ws", "200B"), ("ws", "image"), ("wss", "200B")):
            yield Spec(style, "sparse", scheme, size, connections=50, think_ms=50.0, seconds=1.5)


def dense() -> Iterator[Spec]:
    """One message after the other, and many in flight."""
    for style in (*STYLES, "fal-realtime/sync"):
        for scheme, size in (("ws", "200B"), ("ws", "10KB"), ("ws", "100KB"), ("wss", "10KB")):
            yield Spec(style, "roundtrip", scheme, size, seconds=0.3)
            yield Spec(style, "pipeline", scheme, size, window=64, seconds=0.3)


def main(directory: Path) -> None:
    """Run all of it."""
    with echo_server() as server:
        for kind, specs in (("sparse", sparse()), ("dense", dense())):
            for work in specs:
                spec = replace(work, **server.addresses(work.scheme))
                environment = {**os.environ, "LLVM_PROFILE_FILE": str(directory / kind / "%p.profraw")}
                if spec.ca_file:
                    environment["SSL_CERT_FILE"] = spec.ca_file
                command = [sys.executable, "-m", "peers.worker", spec.to_json()]
                subprocess.run(command, cwd=HERE, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=120)
                print(f"{kind}: {spec.peer}, {spec.work}, {spec.scheme} {spec.size}")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
