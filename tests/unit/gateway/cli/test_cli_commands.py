"""The command line: its words, its exit codes, and what people see of a stream."""

from __future__ import annotations

import io
from typing import Any

import pytest

from gateway import __main__ as entry
from gateway.cli.commands import Screen
from gateway.cli.parser import parser

COMMANDS = ("serve", "demo", "migrate", "stt", "start", "stop", "status", "tail", "export", "check")


def test_help_names_every_command_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    """design.md 4.2."""
    with pytest.raises(SystemExit) as done:
        parser().parse_args(["--help"])
    assert done.value.code == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n    {command} " in shown
        with pytest.raises(SystemExit) as done:
            parser().parse_args([command, "--help"])
        assert done.value.code == 0


@pytest.mark.parametrize("args", ["", "transcribe", "start", "export abc --format pdf", "stt --port x"])
def test_wrong_usage_ends_with_2(args: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        parser().parse_args(args.split())
    assert done.value.code == 2
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "env", "code", "said"),
    [
        (["serve"], {}, 2, "GATEWAY_API_TOKENS is not set"),
        (["serve"], {"GATEWAY_API_TOKENS": "t", "GATEWAY_HTTP_PORT": "x"}, 2, "GATEWAY_HTTP_PORT must be"),
        (
            ["serve"],
            {"GATEWAY_API_TOKENS": "t", "DATABASE_URL": "postgresql://u:hunter2@h/d?sslmode=odd"},
            2,
            "sslmode",
        ),
        (["demo", "--json"], {}, 2, "--json needs --once"),
        (["status", "--url", "http://127.0.0.1:1"], {}, 1, "no gateway answers at http://127.0.0.1:1"),
        (["tail", "abc", "--url", "http://127.0.0.1:1"], {}, 1, "is `gateway serve` running?"),
    ],
)
def test_what_goes_wrong_is_one_clear_line_and_an_exit_code(
    args: list[str],
    env: dict[str, str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Any,
) -> None:
    """1 for what failed, 2 for wrong usage or settings; no traceback, no secret."""
    for name in ("GATEWAY_API_TOKENS", "DATABASE_URL", "GATEWAY_HTTP_PORT", "GATEWAY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["gateway", *args])
    monkeypatch.setattr("gateway.logs.configure", lambda shape, level: None)
    with pytest.raises(SystemExit) as done:
        entry.main()
    err = capsys.readouterr().err
    assert (done.value.code, said in err) == (code, True), err
    assert "Traceback" not in err
    assert "hunter2" not in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


MESSAGES: list[dict[str, Any]] = [
    {"type": "hello", "data": {"state": "running"}},
    {"type": "transcript.partial", "data": {"text": "good"}},
    {"type": "transcript.partial", "data": {"text": ""}},
    {
        "type": "transcript.final",
        "seq": 1,
        "data": {"text": "Good morning.", "startMs": 1880, "participantName": None, "participantIdentity": "anna"},
    },
    {"type": "health", "data": {"status": "degraded", "reasons": ["the database is behind"]}},
    {"type": "health", "data": {"status": "ok", "reasons": []}},
    {"type": "gap", "data": {"fromSeq": 2, "toSeq": 3}},
    {"type": "error", "data": {"message": "no audio"}},
    {"type": "something.new", "data": {}},
    {"type": "session.state", "data": {"state": "stopped", "reason": "stopped by request"}},
]


def test_a_pipe_gets_one_line_a_message() -> None:
    """Unknown types are skipped, as the contract asks of every client."""
    out = io.StringIO()
    screen = Screen(out)
    for message in MESSAGES:
        screen.show(message)
    assert out.getvalue().splitlines() == [
        "      … good",
        "   1      1.88s  anna: Good morning.",
        "      ! the database is behind",
        "      ! finals 2 to 3 are not available any more",
        "      ! no audio",
        "      — stopped: stopped by request",
    ]


def test_a_terminal_rewrites_the_unsettled_line() -> None:
    out = Terminal()
    screen = Screen(out)
    for message in MESSAGES[:4]:
        screen.show(message)
    shown = out.getvalue()
    assert shown.count("\n") == 1
    assert shown.endswith("\r\x1b[K   1      1.88s  anna: Good morning.\n")
