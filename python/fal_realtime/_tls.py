"""The options of TLS: whom to trust, and who we are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from . import _checks as check
from ._secrets import Hidden

if TYPE_CHECKING:
    import ssl

__tracebackhide__ = True
"""As in `_checks`."""

PathOrPaths: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]]
"""A PEM file, a directory of PEM files, or several of both."""

ClientCert: TypeAlias = (
    str
    | PathLike[str]
    | tuple[str | PathLike[str], str | PathLike[str]]
    | tuple[str | PathLike[str], str | PathLike[str], str | None]
)
"""A PEM file with a certificate and its key, or the two files, or these and the password of the key."""


_BASE64_BEGINNINGS = ("MII", "MIG", "MHc", "LS0t")
"""What certificates and keys begin with in Base64: as DER, long and short ones, and as PEM."""

_LONGEST_FILE_NAME = 255
"""Characters; no file system takes more."""


class InsecureForLocalTests:
    """Given as `ssl=`, accepts any certificate. Whoever stands between can read and change everything: tests only."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InsecureForLocalTests)

    def __hash__(self) -> int:
        return hash(InsecureForLocalTests)

    def __repr__(self) -> str:
        return "InsecureForLocalTests()"


Trust: TypeAlias = "PathOrPaths | ssl.SSLContext | InsecureForLocalTests"
"""Whose certificates are accepted."""


def trust_as_native(trust: object) -> dict[str, Any]:
    """The native core's arguments for `ssl=`."""
    native: dict[str, Any] = {"insecure": False, "check_hostname": True, "ca": None, "ca_der": None}
    if trust is None:
        return native
    if isinstance(trust, InsecureForLocalTests):
        return {**native, "insecure": True}
    import ssl

    if isinstance(trust, ssl.SSLContext):
        return {**native, **_context_as_native(trust)}
    expected = (
        "None, a PEM file, a directory of PEM files, several of these, an ssl.SSLContext or InsecureForLocalTests()"
    )
    return {**native, "ca": paths("ssl", trust, expected)}


def _context_as_native(context: ssl.SSLContext) -> dict[str, Any]:
    import ssl

    if context.protocol == ssl.PROTOCOL_TLS_SERVER:
        message = (
            "ssl is an SSLContext of a server (PROTOCOL_TLS_SERVER, as Purpose.CLIENT_AUTH makes it), which checks no "
            "server's certificate: give one of ssl.create_default_context() without a purpose, or the file of its "
            "authorities itself"
        )
        raise ValueError(message)
    if not context.verify_mode:  # `ssl.CERT_NONE`
        return {"insecure": True}
    if not (certificates := context.get_ca_certs(binary_form=True)):
        message = (
            "ssl is an SSLContext that shows no certificates of authorities (those of a directory are loaded when they "
            "are needed): give the file or the directory itself, or None for the system's"
        )
        raise ValueError(message)
    return {"ca_der": certificates, "check_hostname": context.check_hostname}


def paths(name: str, value: object, expected: str) -> list[str]:
    """One path or several, each of which exists."""
    several: Sequence[object] = (value,)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        several = cast("Sequence[object]", value)
    if not several:
        message = f"{name} must be {expected}, not empty"
        raise ValueError(message)
    return [_path(name, each, expected) for each in several]


def _path(name: str, value: object, expected: str, *, may_be_shown: bool = True) -> str:
    check.instance(name, value, (str, os.PathLike), expected)
    path = os.fspath(cast("str | PathLike[str]", value))
    check.instance(name, path, str, expected)
    if os.path.exists(path):  # noqa: PTH110 - `pathlib` would be imported for this alone
        return path
    if _is_content(path):
        message = f"{name} takes the path of a PEM file, not what is in it"
    elif may_be_shown:
        message = f"{name} names a file that does not exist: {path!r}"
    else:  # a password may have been given in its place
        message = (
            f"{name} names a key file that does not exist: the second of the tuple is its path, the third the password"
        )
    raise ValueError(message)


def _is_content(path: str) -> bool:
    """Whether a path that does not exist looks like a certificate or a key itself."""
    if "-----BEGIN" in path or "\n" in path or path.startswith(_BASE64_BEGINNINGS):
        return True
    return any(len(part) > _LONGEST_FILE_NAME for part in path.replace("\\", "/").split("/"))


def hidden_password(client_cert: object) -> object:
    """`client_cert` with its password, if it holds one, out of sight."""
    if not isinstance(client_cert, tuple):
        return client_cert
    parts = cast("tuple[object, ...]", client_cert)
    if parts[2:] and isinstance(parts[-1], str):
        return *parts[:-1], Hidden(parts[-1])
    return parts


def client_cert_as_native(client_cert: object) -> tuple[str, str, str | None] | None:
    """The native core's argument for `client_cert=`: the certificate, the key, and its password."""
    expected = "None, a PEM file, or a tuple (certificate, key) or (certificate, key, password)"
    if client_cert is None:
        return None
    if not isinstance(client_cert, tuple):
        file = _path("client_cert", client_cert, expected)
        return file, file, None
    parts = cast("tuple[object, ...]", client_cert)
    if len(parts) not in (2, 3):
        message = f"client_cert must be {expected}"
        raise ValueError(message)
    certificate = _path("client_cert", parts[0], expected)
    key = _path("client_cert", parts[1], expected, may_be_shown=False)
    password = parts[2] if len(parts) > 2 else None  # noqa: PLR2004 - the third
    if isinstance(password, Hidden):
        password = password.reveal()
    if password is not None:
        check.instance("client_cert", password, str, f"{expected}, where the password is a str or None")
    return certificate, key, cast("str | None", password)
