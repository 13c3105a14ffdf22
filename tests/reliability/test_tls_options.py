"""What `ssl=`, `extra_ca=` and `client_cert=` take, with certificates that the `openssl` command makes."""

from __future__ import annotations

import datetime as dt
import shutil
import ssl
import subprocess
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from checks import connect
from support import KEY
from support.echo import EchoServer

from fal_realtime import HandshakeError, RealtimeClient, SyncRealtimeClient
from fal_realtime._client_options import ClientOptions

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl command")

LOOPBACK = ("-subj", "/CN=a test of fal-realtime", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
PASSWORD = "hidden-password"
BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


class Made:
    """A self-signed certificate and its key."""

    def __init__(self, directory: Path, name: str, *options: str) -> None:
        self.certificate, self.key = str(directory / f"{name}.pem"), str(directory / f"{name}.key")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", "-x509", *new_key, "-keyout", self.key, "-out", self.certificate, *options)

    def together(self) -> Path:
        """Both in one file."""
        file = Path(self.certificate).with_suffix(".both")
        file.write_text(Path(self.certificate).read_text() + Path(self.key).read_text())
        return file

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext], str]]:
    running: list[EchoServer] = []

    def start(context: ssl.SSLContext) -> str:
        running.append(EchoServer(ssl=context).__enter__())
        return running[-1].url

    yield start
    for server in running:
        server.__exit__(None, None, None)


@pytest.fixture
def self_signed(tmp_path: Path) -> Made:
    return Made(tmp_path, "server", *LOOPBACK)


async def works(url: str, **options: Any) -> None:
    async with connect(url, **options) as connection:
        assert (await connection.request({"n": 1}, timeout=60))["n"] == 1


async def refused(url: str, **options: Any) -> str:
    with pytest.raises(HandshakeError) as raised:
        await connect(url, open_timeout=5, **options)
    return str(raised.value)


@pytest.mark.parametrize("options", [(), ("-addext", "basicConstraints=critical,CA:FALSE")], ids=["ca", "not-ca"])
async def test_a_self_signed_certificate_made_with_one_line_is_trusted_where_it_is_named(tmp_path, serve, options):
    made = Made(tmp_path, "server", *LOOPBACK, *options)
    url = serve(made.context())
    await works(url, ssl=made.certificate)
    await works(url, extra_ca=made.certificate)
    await works(url, ssl=ssl.create_default_context(cafile=made.certificate) if not options else made.certificate)
    assert "unknown authority" in await refused(url) or "authority's certificate" in await refused(url)


def of_an_unknown_authority(file: Path, **validity: Any) -> ssl.SSLContext:
    """A server's context; its certificate alone is written to the file."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf = trustme.CA().issue_cert("127.0.0.1", **validity)
    leaf.configure_cert(context)
    file.write_bytes(leaf.cert_chain_pems[0].bytes())
    return context


async def test_a_certificate_that_an_unknown_authority_signed_is_trusted_where_it_is_named(tmp_path, serve):
    await works(serve(of_an_unknown_authority(tmp_path / "leaf.pem")), ssl=tmp_path / "leaf.pem")


async def test_another_certificate_of_the_same_name_is_not_trusted(tmp_path, serve, self_signed):
    url = serve(Made(tmp_path, "impostor", *LOOPBACK).context())
    reason = await refused(url, ssl=self_signed.certificate)
    assert any(words in reason for words in ("authority's certificate", "signature", "unknown authority"))
    assert "Other" not in reason


async def test_the_name_of_a_named_certificate_is_checked_all_the_same(tmp_path, serve):
    made = Made(tmp_path, "server", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=DNS:elsewhere.example")
    assert "for another host" in await refused(serve(made.context()), ssl=made.certificate)


async def test_a_certificate_without_names_is_said_to_have_none(tmp_path, serve):
    made = Made(tmp_path, "server", "-subj", "/CN=127.0.0.1")
    assert "it has no subjectAltName" in await refused(serve(made.context()), ssl=made.certificate)


async def test_the_dates_of_a_named_certificate_are_checked_all_the_same(tmp_path, serve):
    yesterday = dt.datetime.now(dt.timezone.utc) - dt.timedelta(days=1)
    context = of_an_unknown_authority(tmp_path / "leaf.pem", not_before=yesterday, not_after=yesterday)
    assert "has expired" in await refused(serve(context), ssl=tmp_path / "leaf.pem")


async def test_an_authoritys_certificate_that_nobody_named_is_refused_in_words(serve, self_signed, tmp_path):
    other = Made(tmp_path, "other", "-subj", "/CN=other")
    reason = await refused(serve(self_signed.context()), ssl=other.certificate)
    assert "give that very certificate as ssl=" in reason


async def test_a_directory_and_several_files_are_taken(tmp_path, serve, self_signed):
    url = serve(self_signed.context())
    directory = tmp_path / "authorities"
    directory.mkdir()
    (directory / "README").write_text("not a certificate")
    shutil.copy(self_signed.certificate, directory / "a.pem")
    other = Made(tmp_path, "other", *LOOPBACK)
    await works(url, ssl=directory)
    await works(url, ssl=[other.certificate, directory])
    await works(url, ssl=other.certificate, extra_ca=[Path(self_signed.certificate)])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        lambda: ssl.create_default_context(ssl.Purpose.CLIENT_AUTH),
    ],
    ids=["bare", "by its purpose"],
)
def test_a_context_of_a_server_which_checks_nobody_is_refused(make):
    with pytest.raises(ValueError, match=r"SSLContext of a server \(PROTOCOL_TLS_SERVER"):
        RealtimeClient(KEY, ssl=make())


async def test_of_an_ssl_context_the_authorities_and_the_checks_are_taken(tmp_path, serve):
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    url = serve(context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ValueError, match="shows no certificates of authorities"):
        RealtimeClient("key", ssl=client)
    authority.configure_trust(client)
    assert "for another host" in await refused(url, ssl=client)
    client.check_hostname = False
    await works(url, ssl=client)
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trustme.CA().configure_trust(stranger)
    stranger.check_hostname = False
    assert "TLS with 127.0.0.1 failed" in await refused(url, ssl=stranger)
    stranger.verify_mode = ssl.CERT_NONE
    await works(url, ssl=stranger)


@pytest.fixture
def mutual(serve: Callable[[ssl.SSLContext], str], self_signed: Made) -> Callable[[Made], str]:
    """Starts a server that wants this certificate of its clients."""

    def start(client: Made) -> str:
        context = self_signed.context()
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client.certificate)
        return serve(context)

    return start


async def test_a_client_certificate_is_shown_to_who_asks_for_one(tmp_path, mutual, self_signed):
    client = Made(tmp_path, "client", "-subj", "/CN=client")
    together = client.together()
    url = mutual(client)
    trust = {"ssl": self_signed.certificate}
    await works(url, **trust, client_cert=(client.certificate, client.key))
    await works(url, **trust, client_cert=(client.certificate, Path(client.key), None))
    await works(url, **trust, client_cert=together)
    await refused(url, **trust)


async def test_the_key_of_a_client_certificate_may_be_encrypted(tmp_path, mutual, self_signed):
    client = Made(tmp_path, "client", "-subj", "/CN=client")
    encrypted = str(tmp_path / "encrypted.key")
    openssl("pkcs8", "-topk8", "-in", client.key, "-out", encrypted, "-passout", f"pass:{PASSWORD}")
    url, trust = mutual(client), {"ssl": self_signed.certificate}
    await works(url, **trust, client_cert=(client.certificate, encrypted, PASSWORD))
    for password, why in (
        (None, "is encrypted, and no password was given"),
        ("wrong", "this password does not decrypt"),
    ):
        with pytest.raises(ValueError, match=why) as raised:
            RealtimeClient(KEY, client_cert=(client.certificate, encrypted, password)).connect("local/echo")
        assert "client_cert" in str(raised.value)


def test_the_password_of_a_key_is_in_no_repr(self_signed):
    options = ClientOptions(KEY, client_cert=(self_signed.certificate, self_signed.key, PASSWORD))
    client = RealtimeClient(KEY, client_cert=(self_signed.certificate, self_signed.key, PASSWORD))
    assert PASSWORD not in repr(options) + repr(vars(options)) + repr(vars(client)) + repr(client)


@pytest.mark.parametrize(
    ("option", "content", "why"),
    [
        ("ssl", "nothing", "holds no certificate in PEM form"),
        ("extra_ca", "nothing", "holds no certificate in PEM form"),
        ("ssl", f"{BEGIN}\nAAAA\n{END}\n", "holds a bad certificate: what the PEM form holds is no X.509 certificate"),
        ("extra_ca", f"{BEGIN}\nAAAA\n", "is no good PEM file: .* are not both there, each as a line of its own"),
        ("extra_ca", f"{BEGIN}\n%%%%\n{END}\n", "is no good PEM file: .* is not Base64"),
        ("client_cert", "nothing", "holds no certificate in PEM form"),
        ("client_cert", f"{BEGIN}\nAAAA\n", "cannot be read: .* are not both there, each as a line of its own"),
    ],
)
@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_a_file_that_is_not_what_it_should_be_is_named(tmp_path, client, option, content, why):
    file = tmp_path / "file.pem"
    file.write_text(content)
    with pytest.raises(ValueError, match=why) as raised:
        client(KEY, **{option: file}).connect("local/echo")
    assert str(raised.value).startswith(option)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize("between", ["", " ", r"\n"])
def test_a_key_whose_line_breaks_were_lost_is_not_repeated(tmp_path, self_signed, between):
    lines = Path(self_signed.key).read_text().splitlines()
    key = tmp_path / "key"
    for text in (between.join(lines), between.join(lines[:-1]), "\n".join([lines[0] + lines[1], *lines[2:]])):
        key.write_text(text + "\n")
        with pytest.raises(ValueError, match="holds no ") as raised:
            RealtimeClient(KEY, client_cert=(self_signed.certificate, key)).connect("local/echo")
        shown = "".join(traceback.format_exception(raised.value))
        for secret in lines[1:-1]:
            for piece in (secret[:16], ", ".join(str(byte) for byte in secret[:16].encode())):
                assert piece not in shown


@pytest.mark.parametrize("client", [RealtimeClient, SyncRealtimeClient])
def test_a_key_or_password_that_is_given_as_a_path_is_not_repeated(self_signed, client):
    certificate, key = self_signed.certificate, Path(self_signed.key).read_text()
    for options in (
        {"ssl": key},
        {"extra_ca": [certificate, key]},
        {"client_cert": key},
        {"client_cert": (certificate, key)},
        {"client_cert": (certificate, key.replace("\n", " "))},
        {"client_cert": (certificate, PASSWORD)},
        {"client_cert": (certificate, PASSWORD, self_signed.key)},
    ):
        with pytest.raises(ValueError, match=r"takes the path of a PEM file|names a key file") as raised:
            client(KEY, **options)
        shown = "".join(traceback.format_exception(raised.value, chain=True))
        assert PASSWORD not in shown
        assert key.splitlines()[1][:16] not in shown


def test_a_directory_without_certificates_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no file in .* holds a certificate"):
        RealtimeClient(KEY, ssl=tmp_path).connect("local/echo")


def test_a_key_that_is_not_the_certificates_is_refused(tmp_path, self_signed):
    other = Made(tmp_path, "other", *LOOPBACK)
    with pytest.raises(ValueError, match="do not go together: it is the key of another certificate"):
        RealtimeClient(KEY, client_cert=(self_signed.certificate, other.key)).connect("local/echo")


def test_a_key_in_the_old_encryption_is_refused_with_what_to_do(tmp_path, self_signed):
    old = tmp_path / "old.key"
    old.write_text("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n")
    with pytest.raises(ValueError, match="openssl pkcs8 -topk8"):
        RealtimeClient(KEY, client_cert=(self_signed.certificate, old, "x")).connect("local/echo")
