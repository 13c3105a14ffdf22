"""The process that `local_handlers.py` measures: a `LocalServer` with an async handler that answers with its input.

Writes its port and its key as JSON, then what it has used so far after each line that it reads, and ends with them.
"""

from __future__ import annotations

import json
import resource
import sys
from typing import Any

from fal_realtime.testing import LocalServer


def used() -> str:
    """CPU seconds of all threads of this process, and how often one of them went to sleep."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return json.dumps({"cpu": usage.ru_utime + usage.ru_stime, "sleeps": usage.ru_nvcsw})


def main() -> None:
    """Serve until the input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = LocalServer()

    @server.app("local/handler")
    async def handler(value: Any) -> Any:
        return value

    with server:
        print(json.dumps({"port": server.port, "key": server.key}), flush=True)
        for _ in sys.stdin:
            print(used(), flush=True)


if __name__ == "__main__":
    main()
