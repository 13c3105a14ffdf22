"""The command line as a whole: its help, how it ends, and what it says when something is wrong."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from command_line import ran

from fal_realtime import cli
from fal_realtime.cli import _main
from fal_realtime.testing import LocalServer

COMMANDS = ["demo", "run", "probe", "bench", "record", "replay", "serve"]
ASKING = ["run", "probe", "bench", "record"]
KEY = "one:which-nobody-may-see"


@pytest.fixture
def server():
    with LocalServer() as running:
        yield running


def without_traceback(shown: pytest.CaptureFixture[str]) -> str:
    """All that was written."""
    out, err = shown.readouterr()
    assert "Traceback" not in out + err
    return out + err


def ask(command: str, app: str, *arguments: str) -> int:
    """Have the command ask the app something small."""
    given = {"run": ["--input", '{"n": 1}'], "probe": [], "bench": ["--seconds", "0.05"]}
    if command == "record":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "session.mcap"
            status = cli.main([command, app, str(file), *given["run"], *arguments])
            assert not file.exists(), "nothing was opened"
            return status
    return cli.main([command, app, *given[command], *arguments])


def test_it_is_installed_as_a_command():
    [command] = importlib.metadata.entry_points(group="console_scripts", name="fal-realtime")
    loaded: Any = command.load()
    assert loaded is cli.main


def test_without_a_command_it_shows_its_help(capsys: pytest.CaptureFixture[str]):
    assert cli.main([]) == 2
    shown = capsys.readouterr().out
    assert all(f"    {command} " in shown for command in COMMANDS)
    assert "exit status:" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_examples(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        cli.main([command, "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    examples = shown[shown.index("examples:") :]
    assert re.findall(rf"fal-realtime {command}\b", examples)
    assert shown.isascii()  # for terminals of any encoding


@pytest.mark.parametrize("command", COMMANDS)
def test_each_example_of_the_help_is_accepted(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    shown = capsys.readouterr().out
    examples = re.findall(r"fal-realtime ([^|<>#\n]*)", shown[shown.index("examples:") :])
    assert len(examples) >= 3
    for example in examples:
        _main._parser().parse_args(shlex.split(example))


def test_the_help_loads_nothing_that_it_does_not_need():
    program = (
        "import sys\nfrom fal_realtime.cli import main\n"
        "try:\n    main(['run', '--help'])\nexcept SystemExit:\n    pass\nprint(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True, timeout=40)
    loaded = set(done.stderr.split())
    assert "fal_realtime.cli.run" in loaded
    assert not loaded & {"asyncio", "ssl", "sqlite3", "rich", "fal_realtime.testing", "fal_realtime.batch"}


# --- what is wrong ---


@pytest.mark.parametrize("command", ASKING)
def test_without_a_key_nothing_is_asked_and_it_says_where_to_get_one(command: str, capsys: pytest.CaptureFixture[str]):
    assert ask(command, "fal-ai/some-app") == 2
    shown = without_traceback(capsys)
    assert "fal-ai/some-app on fal needs a key" in shown
    assert "what to do: set FAL_KEY to a key from https://" in shown


@pytest.mark.parametrize("command", ASKING)
def test_a_refused_key_is_named_by_its_variable_and_not_shown(
    command: str, server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAL_KEY", KEY)
    assert ask(command, "local/echo", "--base-url", server.base_url) == 1
    shown = without_traceback(capsys)
    assert "AuthenticationError" in shown
    assert "check FAL_KEY" in shown
    assert KEY not in shown


@pytest.mark.parametrize("command", ASKING)
def test_a_key_that_cannot_be_one_is_not_shown_either(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAL_KEY", f"Key {KEY}")
    assert ask(command, "fal-ai/some-app") == 2
    shown = without_traceback(capsys)
    assert "FAL_KEY must be a key" in shown
    assert KEY not in shown


@pytest.mark.parametrize("command", ASKING)
def test_an_app_that_is_not_there_is_named(
    command: str, server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAL_KEY", server.key)
    assert ask(command, "me/no-app", "--base-url", server.base_url) == 1
    assert "check the app id 'me/no-app'" in without_traceback(capsys)


@pytest.mark.parametrize("command", ASKING)
def test_where_nobody_listens_it_says_what_to_check(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, nobody: int
):
    monkeypatch.setenv("FAL_KEY", KEY)
    assert ask(command, "me/app", "--base-url", f"ws://127.0.0.1:{nobody}") == 1
    shown = without_traceback(capsys)
    assert "Connection refused" in shown
    assert re.search(r"(?i)what to do: check the (network|address)", shown)


@pytest.mark.parametrize("command", ASKING)
def test_programs_get_what_is_wrong_as_json(command: str, capsys: pytest.CaptureFixture[str]):
    assert ask(command, "fal-ai/some-app", "--json") == 2
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["type"] == "UsageError"
    assert "needs a key" in error["message"]
    assert "FAL_KEY" in error["advice"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "local/echo", "--connections", "0"], "--connections: must be at least 1"),
        (["run", "local/echo", "--input", "[1]"], "--input: must be a JSON object"),
        (["run", "local/echo", "--input", "{"], "--input: is no JSON"),
        (["run", "local/echo", "--input", "[" * 100_000], "--input: is no JSON: it is nested too deep"),
        (["run"], "the following arguments are required: APP"),
        (["bench", "--seconds", "inf"], "--seconds: must be greater than 0"),
        (["serve", "--port", "70000"], "--port: must be at most 65535"),
        (["serve", "--refuse", "200"], "--refuse: must be at least 300"),
        (["nothing"], "invalid choice: 'nothing'"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_a_wrong_argument_says_what_is_accepted(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    assert text in without_traceback(capsys)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "a/b", "--key", KEY], "unrecognized arguments: --key (the key is taken from the variable FAL_KEY)\n"),
        (["bench", f"--api-key={KEY}"], "unrecognized arguments: --api-key (the key is taken from the variable"),
        (["probe", "a/b", f"-k{KEY}"], "unrecognized arguments: -k\n"),
        (["serve", f"--fal-key={KEY}"], "unrecognized arguments: --fal-key\n"),
        (["probe", "a/b", KEY], "unrecognized arguments: 1 more than this command takes\n"),
        ([KEY], f"invalid choice: a value of {len(KEY)} characters"),
        (["serve", "--port", KEY], f"--port: invalid integer value: a value of {len(KEY)} characters\n"),
        (["serve", f"--port={KEY}"], f"--port: invalid integer value: a value of {len(KEY)} characters\n"),
        (["serve", "--token-form", KEY], f"--token-form: invalid choice: a value of {len(KEY)} characters"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_key_in_the_place_of_an_argument_is_not_shown(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == 2
    shown = without_traceback(capsys)
    assert text in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "local/echo", "nowhere.jpg"], "nowhere.jpg: there is no such file"),
        (["run", "local/echo", "--stream", "--connections", "2"], "--stream goes with one connection"),
        (["run", "local/echo", "--stream", "--resume", "x"], "--stream goes with no --resume"),
        (["run", "local/echo", "--retry-failed"], "there is none"),
        (["run", "local/echo", "--local", "--base-url", "ws://127.0.0.1"], "--local is a server of this process"),
        (["run", "no-app", "--local"], "name must be an app id"),
        (["serve", "--app", "me/app=nothing"], "it must be NAME=WHAT"),
        (["serve", "--app", "me/app=no_module:function"], "No module named 'no_module'"),
        (["serve", "--app", "app=echo"], "name must be an app id"),
        (["serve", "--app", "me/app=json:__doc__"], "--app me/app=json:__doc__: __doc__ of json is no function, but"),
        (["run", "local/echo", "--resume", ""], "--resume must name a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_arguments_that_do_not_go_together_say_what_to_do(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(arguments) == 2
    shown = without_traceback(capsys)
    assert text in shown
    assert "what to do: " in shown


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("run local/echo <&-", "standard input, which the inputs are to come from, is closed"),
        ("run local/echo - <&-", "standard input, which the inputs are to come from, is closed"),
        ("record local/echo x.mcap <&-", "standard input, which the inputs are to come from, is closed"),
        ("serve --control --port 0 <&-", "standard input, which --control takes commands from, is closed"),
        ("run local/echo --input '{}' >&-", "standard output is closed"),
        ("bench --seconds 0.1 >&-", "standard output is closed"),
        ("serve --port 0 --json >&-", "standard output is closed"),
    ],
)
def test_a_stream_that_is_closed_is_told_before_anything_is_done(command: str, text: str, tmp_path: Path):
    shell = subprocess.run(
        ["sh", "-c", f'exec "$0" -m fal_realtime {command}', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (shell.returncode, shell.stdout) == (2, "")
    assert text in shell.stderr
    assert "Traceback" not in shell.stderr
    assert not list(tmp_path.iterdir())


def test_a_key_goes_to_another_machine_in_clear_text_only_if_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAL_KEY", KEY)
    assert ask("run", "me/app", "--base-url", "ws://elsewhere.invalid") == 2
    assert "say --allow-cleartext" in without_traceback(capsys)


def test_it_is_a_module_too():
    done = ran("--version")
    assert done.stdout == f"fal-realtime {importlib.metadata.version('fal-realtime')}\n"
