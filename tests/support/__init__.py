"""What the tests of the client's behaviour share: a scripted server, and ways to wait for what it saw."""

from .peer import Peer
from .session import Session, SessionEnded
from .tokens import Answer, TokenEndpoint
from .waiting import LIMIT, Log, Records, gather, result_of

__all__ = [
    "LIMIT",
    "Answer",
    "Log",
    "Peer",
    "Records",
    "Session",
    "SessionEnded",
    "TokenEndpoint",
    "gather",
    "result_of",
]
