"""A loopback device of its own for the benchmark, where the system's sends at a pace.

Some systems come with `bbr` as the TCP congestion control. It measures a bandwidth and sends in its rhythm, by timers:
on a loopback device, which has none, that is what would be measured of large messages, of all clients alike. A new
network namespace has its own setting, and touches nobody else's.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

SETTING = Path("/proc/sys/net/ipv4/tcp_congestion_control")
PACING = ("bbr",)
"""Beginnings of the names of congestion controls that send at a pace."""
UNPACED = "reno"
"""The one that every Linux has and that anyone may choose."""

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def _new_namespace() -> None:
    """Move this process into a new network namespace; without the right to, into a new user namespace too."""
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(CLONE_NEWNET)
    except PermissionError:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def _bring_up(device: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sh14x", device, 0))
        (flags,) = struct.unpack_from("h", request, 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", device, flags | IFF_UP))


def unpaced_loopback() -> str:
    """Leave a system's paced TCP, with all processes started from here on. Returns what is used, for the report.

    To be called while the process has one thread.
    """
    if sys.platform != "linux":
        return "the system's"
    try:
        usual = SETTING.read_text().strip()
    except OSError:
        return "unknown"
    if not usual.startswith(PACING):
        return usual
    try:
        _new_namespace()
        _bring_up(b"lo")
        SETTING.write_text(UNPACED)
    except OSError as error:
        return f"{usual}, which sends at a pace (it could not be avoided: {error})"
    return f"{UNPACED}, in a network namespace of the benchmark's own (the system's {usual} sends at a pace)"
