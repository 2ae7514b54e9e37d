"""The command line: its words, its exit codes, and what people see of a stream."""

from __future__ import annotations

import asyncio
import io
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from aiohttp import web
from rich.cells import cell_len as columns_of

from gateway import __main__ as entry
from gateway.cli import remote
from gateway.cli.errors import ApiRefused
from gateway.cli.parser import parser
from gateway.cli.plain import plain_json
from gateway.cli.screen import Screen

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


async def test_a_table_that_is_cut_in_the_middle_is_an_error() -> None:
    """Chunked, or of a length that was said before."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        head = b"Transfer-Encoding: chunked\r\n\r\n3\r\n" if b"tag=chunked" in asked else b"Content-Length: 9\r\n\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + "é\n".encode())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for kind in ("chunked", "length"):
            asked = parser().parse_args(["usage", "--format", "csv", "--tag", kind, "--url", url, "--token", "t"])
            with pytest.raises(ApiRefused, match="IncompleteRead"):
                await asyncio.to_thread(lambda asked=asked: asyncio.run(remote.usage(asked)))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ANNA = {"participantName": None, "participantIdentity": "anna"}
DANA = {"participantName": "👩\u200d💻 Dana", "participantIdentity": "dana"}
MESSAGES: list[dict[str, Any]] = [
    {"type": "hello", "data": {"state": "running"}},
    {"type": "transcript.partial", "data": {"text": "good", **ANNA}},
    {"type": "transcript.partial", "data": {"text": "", **ANNA}},
    {"type": "transcript.final", "seq": 1, "data": {"text": "Good morning.", "startMs": 1880, **ANNA}},
    {"type": "health", "data": {"status": "degraded", "reasons": ["the database is behind"]}},
    {"type": "health", "data": {"status": "ok", "reasons": []}},
    {"type": "gap", "data": {"fromSeq": 2, "toSeq": 3}},
    {"type": "error", "data": {"message": "no audio"}},
    {"type": "something.new", "data": {}},
    {"type": "session.state", "data": {"state": "stopped", "reason": "stopped by request"}},
]
LINES = [
    "   1      1.88s  anna: Good morning.",
    "      ! the database is behind",
    "      ! finals 2 to 3 are not available any more",
    "      ! no audio",
    "      — stopped: stopped by request",
]


def shown(out: io.StringIO, messages: list[dict[str, Any]], **options: Any) -> str:
    with Screen(out, **options) as screen:
        for message in messages:
            screen.show(message)
    return out.getvalue()


def test_a_pipe_gets_one_line_a_final() -> None:
    """Unknown types are skipped, as the contract asks of every client; words under way have to be asked for."""
    assert shown(io.StringIO(), MESSAGES).splitlines() == LINES
    assert shown(io.StringIO(), MESSAGES, partials=True).splitlines() == ["      … anna: good", *LINES]


def test_translations_stand_below_their_finals_where_they_are_asked_for() -> None:
    translation = {"ofSeq": 1, "targetLanguage": "de", "text": "Guten Morgen.", **ANNA}
    messages = [MESSAGES[3], {"type": "translation", "data": {**translation, "seq": 1}}]
    unnumbered = {"type": "translation", "data": {"targetLanguage": "de", "text": "Guten Morgen.", **ANNA}}
    assert shown(io.StringIO(), messages).splitlines() == LINES[:1]
    told = shown(io.StringIO(), [*messages, unnumbered], translations=True)
    assert told.splitlines() == [LINES[0], "         1 de: Guten Morgen."]


def emulated(text: str, columns: int) -> list[str]:
    """What is left on a terminal so wide: as much of one as the library writes."""
    lines, row, column = [""], 0, 0
    for code, letter in re.findall(r"\x1b\[([?\d;]*[A-Za-z])|(.)", text, re.DOTALL):
        if code.endswith("A"):
            row -= int(code[:-1] or 1)
        elif code == "2K":
            lines[row] = ""
        elif letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
        elif letter:
            lines[row] = lines[row][:column].ljust(column) + letter + lines[row][column + 1 :]
            column += 1
            assert columns_of(lines[row]) <= columns, "the terminal would wrap it"
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "80"), ("LINES", "24")):
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def test_words_under_way_leave_nothing_behind_at_80_columns(terminal: Terminal) -> None:
    """However long they are, and whoever else speaks."""
    words = [
        {"type": "transcript.partial", "data": {"text": "word " * count + "中文字" * count, **who}}
        for count in range(1, 60)
        for who in (ANNA, DANA)
    ]
    text = shown(terminal, [*MESSAGES[:4], *words, *MESSAGES[4:]])
    assert emulated(text, 80) == LINES
    assert "\x1b[?25h" in text, "the cursor is back"


def test_words_under_way_say_who_speaks(terminal: Terminal) -> None:
    with Screen(terminal) as screen:
        screen.show({"type": "transcript.partial", "data": {"text": "good", **ANNA}})
        screen.show({"type": "transcript.partial", "data": {"text": "x" * 200 + " the newest words", **DANA}})
        first, second = emulated(terminal.getvalue(), 80)
    assert first == "      … anna: good"
    assert second.startswith("      … 👩\u200d💻 Dana: … ") and second.endswith("the newest words")


def test_a_long_final_goes_on_below_its_beginning(terminal: Terminal) -> None:
    final = {"type": "transcript.final", "seq": 1, "data": {"text": "中文字 " * 30, "startMs": 0, **ANNA}}
    lines = emulated(shown(terminal, [final]), 80)
    assert len(lines) > 1
    assert all(line.startswith(" " * 17) for line in lines[1:])


@pytest.mark.parametrize("partials", [True, False])
@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_nothing_that_a_terminal_obeys_comes_from_a_name_or_a_text(
    kind: type[io.StringIO], partials: bool, terminal: Terminal
) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\r\n\u202e[red]x"
    who = {"participantName": evil, "participantIdentity": evil}
    messages = [
        {"type": "transcript.partial", "data": {"text": evil, **who}},
        {"type": "transcript.final", "seq": 1, "data": {"text": evil, "startMs": 0, **who}},
        {"type": "session.state", "data": {"state": "stopped", "reason": evil}},
        {"type": "health", "data": {"status": "degraded", "reasons": [evil]}},
        {"type": "error", "data": {"message": evil}},
    ]
    text = shown(kind(), messages, partials=partials)
    assert not re.search("[\x07\x9b\u202e]|\x1b[^[]|\r[^\x1b\n]", text)
    assert "[red]x" in text


def test_json_for_people_has_no_control_characters() -> None:
    told = {"name": "a\x1b\x9b\x7f\u202e\u2028é👩\u200d💻"}
    text = plain_json(json.dumps(told, ensure_ascii=False))
    assert json.loads(text) == told
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028-\u202e]", text)
    assert "é👩\u200d💻" in text


@pytest.mark.parametrize(
    "slug",
    ["plain-1", "team standup", "a/b", "a%2Fb", "100%", "a+b", "日", "x?y&z=1", "h#ash", ".", "..", "a;b", "a\\b"],
)
async def test_a_slug_is_one_part_of_the_path(slug: str, capsys: pytest.CaptureFixture[str]) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"sessionSlug": request.match_info["slug"]})

    app = web.Application()
    app.router.add_get("/api/transcription/{slug}", answer)
    app.router.add_get("/api/sessions/{slug}/transcript", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        for command in ("status", "export"):
            args = parser().parse_args([command, "--url", url, "--", slug])
            run = getattr(remote, command)
            assert await asyncio.to_thread(lambda run=run, args=args: asyncio.run(run(args))) == 0
            assert json.loads(capsys.readouterr().out)["sessionSlug"] == slug
    finally:
        await runner.cleanup()


async def test_one_or_all_are_paused_and_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.path, await request.json()))
        return web.json_response({"state": "running", "paused": ["anna"]})

    app = web.Application()
    app.router.add_post("/api/transcription/{slug}/{what}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        for words in (["pause", "abc", "anna"], ["resume", "abc", "anna"], ["pause", "abc"]):
            args = parser().parse_args([*words, "--url", url])
            run = getattr(remote, args.command)
            assert await asyncio.to_thread(lambda run=run, args=args: asyncio.run(run(args))) == 0
            assert json.loads(capsys.readouterr().out)["paused"] == ["anna"]
    finally:
        await runner.cleanup()
    anna = {"participantIdentity": "anna"}
    assert asked == [
        ("/api/transcription/abc/pause", anna),
        ("/api/transcription/abc/resume", anna),
        ("/api/transcription/abc/pause", {}),
    ]


@pytest.mark.parametrize(
    ("args", "libraries"),
    [
        (["--version"], set()),
        (["--help"], set()),
        (["status", "--url", "http://127.0.0.1:1"], set()),
        (["export", "x", "--url", "http://127.0.0.1:1"], set()),
        (["tail", "x", "--url", "http://127.0.0.1:1"], {"websockets", "rich"}),
    ],
)
def test_a_command_loads_what_it_needs(args: list[str], libraries: set[str]) -> None:
    """Each library costs its start a tenth of a second or more."""
    heavy = {
        "aiohttp",
        "asyncpg",
        "av",
        "icu4py",
        "livekit",
        "msgspec",
        "numpy",
        "redis",
        "rich",
        "stt",
        "storage",
        "uvloop",
        "websockets",
    }
    script = f"""import sys
try:
    sys.argv = ['gateway', *{args!r}]
    import gateway.__main__ as entry
    entry.main()
except SystemExit:
    print(*sorted({heavy!r} & set(sys.modules)), sep=',', file=sys.stderr)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    assert set(filter(None, told.splitlines()[-1].split(","))) <= libraries
