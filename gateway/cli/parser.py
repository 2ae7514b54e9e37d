"""The command line: names, options, help. What the commands do is in `commands` and `demo`."""

from __future__ import annotations

import argparse
from math import nan
from typing import Final

from gateway.version import VERSION

_ABOUT = """\
A real-time transcription gateway: live audio in, one deduplicated, numbered and metered transcript out.

Settings come from the environment (docs/settings.md lists them all).
Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""

MOST_WORKERS: Final = 256


def _workers(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= MOST_WORKERS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_WORKERS}")
    return int(text)


def _seconds(text: str) -> float:
    if not (seconds := _number(text)) >= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 1 on")
    return seconds


def _share(text: str) -> float:
    if not 0.0 <= (share := _number(text)) <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return share


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return nan


def parser() -> argparse.ArgumentParser:
    """Its result has `command`, and the options of that command under their own names."""
    top = argparse.ArgumentParser(
        prog="gateway", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=VERSION, help="show the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    serve = commands.add_parser("serve", help="run the gateway until SIGTERM or Ctrl-C")
    serve.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes on the same ports, each a replica; as many as cores at most (default: 1; docs/replicas.md)",
    )
    serve.add_argument("--worker", type=int, default=None, help=argparse.SUPPRESS)
    serve.add_argument("--line", type=int, default=None, help=argparse.SUPPRESS)

    demo = commands.add_parser("demo", help="run everything embedded on a bundled sample of speech")
    demo.add_argument("--once", action="store_true", help="end after the sample instead of serving on")
    demo.add_argument("--json", action="store_true", help="with --once: one JSON object on standard output")

    commands.add_parser("migrate", help="bring the database up to date, then end")

    commands.add_parser("maintain", help="end quiet sessions, expire stale ones, clear what is too old, once; for cron")

    stt = commands.add_parser("stt", help="run the local Gladia-compatible speech server")
    stt.add_argument("--engine", default="pocketsphinx", help="pocketsphinx (default) or scripted")
    stt.add_argument("--host", default="127.0.0.1")
    stt.add_argument("--port", type=int, default=8089)
    stt.add_argument(
        "--api-key",
        default=None,
        help="accept only this key (default: GLADIA_API_KEY; without it any). Others can "
        "see it in the list of processes: better set the variable",
    )
    stt.add_argument("--allow-origin", action="append", default=[], help="pages of this origin may call it; * for all")
    stt.add_argument("--private-callbacks", action="store_true", help="callbacks may go to addresses of this network")
    stt.add_argument("--max-sessions", type=int, default=None, help="answer 429 above so many open sessions")
    stt.add_argument("--workers", type=int, default=None, help="recogniser processes (default: one a core)")
    stt.add_argument("--faults", metavar="FILE", default=None, help="a fault plan: docs/local-stt.md")

    _of_sessions(commands)
    _usage(commands)
    _canary(commands)
    commands.add_parser("version", help="show the version, and whether this one is compiled (docs/deploy.md)")
    commands.add_parser("check", help="look at settings, database, providers and rooms: ok, or what to do")
    commands.add_parser("doctor", help="check, and more: speak a sentence to the provider, look at disk and clocks")
    return top


def _of_sessions(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, about in (
        ("start", "start transcribing a session"),
        ("stop", "drain and stop"),
        ("pause", "hear nothing of a participant, or of anybody, until it is resumed"),
        ("resume", "hear them again"),
        ("status", "state of one transcription, or of all"),
        ("tail", "follow the live stream"),
        ("export", "write the transcript to standard output"),
    ):
        command = commands.add_parser(name, help=about)
        command.add_argument("slug", nargs="?" if name == "status" else None, help="the session's slug")
        _asks(command)
        if name == "start":
            command.add_argument("--source", choices=("livekit", "rtmp", "websocket"), default="rtmp")
            command.add_argument("--language", action="append", default=[], help="may be repeated")
            command.add_argument("--create", action="store_true", help="SLUG is a title: create a session first")
        if name == "stop":
            command.add_argument("--no-wait", action="store_true", help="do not wait for the last finals")
        if name in {"pause", "resume"}:
            command.add_argument("identity", nargs="?", default=None, help="the participant (default: everybody)")
        if name == "tail":
            command.add_argument("--since", default=None, help="EPOCH:SEQ of the last final you have")
            command.add_argument("--lang", default=None, help="translations into this language, below their finals")
            command.add_argument("--json", action="store_true", help="messages as they come, one a line")
            command.add_argument("--partials", action="store_true", help="into a pipe, too: words under way")
        if name == "export":
            command.add_argument("--format", choices=("json", "vtt", "srt", "txt"), default="txt")
            command.add_argument("--lang", default=None, help="translations into this language")


def _usage(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    usage = commands.add_parser("usage", help="what was used and what it costs, over all sessions")
    usage.add_argument("--from", dest="since", default=None, help="a day or an instant (default: this month)")
    usage.add_argument("--to", dest="until", default=None, help="the same, exclusive (default: now)")
    usage.add_argument("--by", choices=("day", "month", "space", "user", "session"), default="day")
    usage.add_argument("--space", default=None, help="only this space")
    usage.add_argument("--user", default=None, help="only what this user said")
    usage.add_argument("--tag", default=None, help="only transcriptions started with this tag")
    usage.add_argument("--format", choices=("table", "csv", "json"), default="table")
    _asks(usage)


def _canary(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    canary = commands.add_parser("canary", help="speak a sentence through a running gateway each minute, with metrics")
    canary.add_argument("--once", action="store_true", help="one round, a line for each step; exit code 1 if one fails")
    canary.add_argument("--every", type=_seconds, default=60.0, metavar="S", help="from round to round (default: 60)")
    canary.add_argument("--words", type=_share, default=0.5, metavar="SHARE", help="that must come back (default: 0.5)")
    canary.add_argument("--host", default="127.0.0.1", help="address of its metrics (default: 127.0.0.1)")
    canary.add_argument("--port", type=int, default=9465, help="port of its metrics, at /metrics (default: 9465)")
    _asks(canary)


def _asks(command: argparse.ArgumentParser) -> None:
    """It talks to a running gateway."""
    command.add_argument("--url", default=None, help="the gateway (default: GATEWAY_URL or http://localhost:8080)")
    command.add_argument("--token", default=None, help="a service token (default: the first of GATEWAY_API_TOKENS)")
