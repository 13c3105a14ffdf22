"""A client's TLS options for the standard library's HTTP."""

from __future__ import annotations

import os
import ssl
from typing import Any

from fal_realtime._client import RealtimeClient
from fal_realtime._tls import InsecureForLocalTests, client_cert_as_native, paths


def context_of(client: RealtimeClient) -> ssl.SSLContext:
    """Whom the client trusts and what it shows, as far as the standard library can do it.

    Raises:
        ValueError: A file does not exist, or is none of the kind.
    """
    options = client._options  # noqa: SLF001 - our own package
    trust: Any = options.ssl
    if isinstance(trust, ssl.SSLContext):
        return trust
    # `create_default_context` loads the system's authorities unless it is given others.
    context = ssl.create_default_context() if trust is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if isinstance(trust, InsecureForLocalTests):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust is not None:
        _load(context, paths("ssl", trust, "PEM files"))
    if options.extra_ca is not None:
        _load(context, paths("extra_ca", options.extra_ca, "PEM files"))
    if (shown := client_cert_as_native(options.client_cert)) is not None:
        certificate, key, password = shown
        context.load_cert_chain(certificate, key, password)
    return context


def _load(context: ssl.SSLContext, files: list[str]) -> None:
    for file in files:
        if os.path.isdir(file):  # noqa: PTH112 - as elsewhere in this package
            context.load_verify_locations(capath=file)
        else:
            context.load_verify_locations(cafile=file)
