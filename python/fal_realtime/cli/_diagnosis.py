"""What the steps to an app say of it, in a sentence."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from ._advice import advice_for, described

_COLD = 1.0
"""Seconds that an app takes to its first result, beyond those to its second one, from which on it was cold."""


@dataclass(frozen=True)
class Stage:
    """A step on the way to an app."""

    name: str
    seconds: float
    detail: str = ""
    error: Exception | None = None
    """Why it failed; None: it did not."""


@dataclass(frozen=True)
class Verdict:
    """What all of them say."""

    ok: bool
    what: str
    """What is so, in a sentence."""
    advice: str = ""
    """What to do about it; empty: nothing."""
    cold_start: float | None = None
    """Seconds that the app took to start; 0: it was warm; None: nobody knows."""


def verdict(app: str, stages: list[Stage]) -> Verdict:
    """The first step that failed, or whether the app was cold."""
    for stage in stages:
        if stage.error is not None:
            return _failure(app, stage)
    seconds = {stage.name: stage.seconds for stage in stages}
    if "first result" not in seconds:
        return Verdict(ok=True, what=f"the app {app} can be reached; no input was sent")
    # The connection's own TCP and TLS are part of its handshake.
    lines = 2 * seconds.get("TCP", 0.0) + seconds.get("TLS", 0.0)
    opening = seconds["handshake"] - lines
    first = seconds["first result"] - seconds["second result"]
    cold = (opening if opening > _COLD else 0.0) + (first if first > _COLD else 0.0)
    warm = f"a warm result takes {seconds['second result'] * 1000:.0f} ms"
    if cold:
        where = "before the handshake was answered" if opening > first else "before the first result"
        return Verdict(
            ok=True,
            what=f"the app {app} works; it was cold, and took about {cold:.1f} s to start {where}; {warm}",
            advice="keep a connection open, or a runner warm, where the first result must come soon",
            cold_start=round(cold, 3),
        )
    return Verdict(ok=True, what=f"the app {app} works, and was warm: {warm}", cold_start=0.0)


def _failure(app: str, stage: Stage) -> Verdict:
    error = stage.error
    if stage.name == "name lookup":
        what = f"the name of the server cannot be found: {error}"
        advice = "check the address (--base-url, FAL_RUN_HOST) and the name servers of this machine"
    elif stage.name == "TCP":
        what = f"the server takes no connection ({stage.detail}): {_reason(error)}"
        advice = "check the address and the port, and whether a firewall or a missing proxy (HTTPS_PROXY) is in the way"
    elif stage.name == "TLS":
        what = f"the server's certificate is not accepted, or it speaks no TLS: {_reason(error)}"
        advice = "give the authority to trust with --ca, and check the name in the address and this machine's clock"
    elif error is not None:
        what = f"{_WHAT_FAILED[stage.name]}: {described(error)}"
        advice = advice_for(error, app)
    else:
        what, advice = "", ""
    return Verdict(ok=False, what=what, advice=advice)


def _reason(error: Exception | None) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, ssl.SSLError):
        return getattr(error, "verify_message", "") or error.reason or str(error)
    return getattr(error, "strerror", None) or str(error)


_WHAT_FAILED = {
    "token": "there is no token for the app",
    "handshake": "the app does not take the connection",
    "first result": "the app took the connection, but gives no result for this input",
    "second result": "the app gave one result, but no second one",
    "ping": "the app gives results, but no ping was answered",
}
