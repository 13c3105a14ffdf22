"""What the tests share: servers that do what a test tells them to, and waits that are bounded.

`Peer` follows a script, connection by connection. `AppServer` does what its inputs say, and `AppServerProcess` likewise
in a process of its own. In modules of their own: `echo`, which records and echoes, `raw_server`, which says bytes as
they are, `killable`, which is started and killed again and again, `fault_proxy`, which stands before any of them,
`native_threads`, which says what the system knows of threads, and `scale`, which says how much is to be done.
"""

from .accounts import Watcher, accounted, check
from .app_server import OPTIONS, AppServer, AppServerProcess
from .ending import end_all_tasks
from .peer import KEY, Peer
from .ports import HeldPort
from .session import Session, SessionEnded
from .tokens import Answer, TokenEndpoint
from .waiting import LIMIT, LOOPS, Changes, Log, Records, gather, result_of, run_in, until, until_sync

__all__ = [
    "KEY",
    "LIMIT",
    "LOOPS",
    "OPTIONS",
    "Answer",
    "AppServer",
    "AppServerProcess",
    "Changes",
    "HeldPort",
    "Log",
    "Peer",
    "Records",
    "Session",
    "SessionEnded",
    "TokenEndpoint",
    "Watcher",
    "accounted",
    "check",
    "end_all_tasks",
    "gather",
    "result_of",
    "run_in",
    "until",
    "until_sync",
]
