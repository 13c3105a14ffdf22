"""Data URIs (RFC 2397), and plain base64."""

from __future__ import annotations

import binascii
import contextlib
from urllib.parse import unquote_to_bytes

from ._content_types import declared


def to_data_uri(content_type: str, data: bytes) -> str:
    """`data:image/jpeg;base64,…`."""
    return f"data:{content_type};base64,{binascii.b2a_base64(data, newline=False).decode('ascii')}"


def from_data_uri(uri: str) -> tuple[str | None, bytes]:
    """The content type that a data URI declares, and its bytes.

    Raises:
        ValueError: It is none.
    """
    head, comma, body = uri.partition(",")
    if not comma:
        message = "the data URI has no comma, after which its data would be"
        raise ValueError(message)
    kind, *parameters = head[len("data:") :].split(";")
    is_base64 = any(parameter.strip().lower() == "base64" for parameter in parameters)
    if not is_base64:
        return declared(kind), unquote_to_bytes(body)
    return declared(kind), from_base64(unquote_to_bytes(body).decode("ascii", "replace") if "%" in body else body)


def from_base64(text: str) -> bytes:
    """The bytes; white space and missing padding at the end are nothing wrong.

    Raises:
        ValueError: It is no base64.
    """
    compact = "".join(text.split())
    encoded = compact.encode("utf-8", "surrogatepass")
    digits = encoded.rstrip(b"=")
    # What is no base64 is skipped by `a2b_base64`, as is what follows padding; `strict_mode` is there from Python 3.11.
    if not digits.translate(None, _ALPHABET):
        with contextlib.suppress(binascii.Error):
            return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4))
    message = f"it is no base64 ({len(text)} characters)"
    raise ValueError(message)


_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
