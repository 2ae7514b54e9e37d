"""The commands that talk to a running gateway. Every function returns the process's exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any, Final
from urllib.parse import urlencode

from gateway.cli.errors import DONE
from gateway.cli.plain import plain, plain_json
from gateway.cli.request import call, parts, quoted, text
from gateway.settings import VARIABLES
from gateway.variables import WrongSettings, as_names

API_TOKENS: Final = next(variable for variable in VARIABLES if variable.name == "GATEWAY_API_TOKENS")


def where(args: argparse.Namespace) -> tuple[str, str]:
    """URL and token of the gateway that is asked. Raises: WrongSettings."""
    url = args.url or os.environ.get("GATEWAY_URL") or "http://localhost:8080"
    return url, args.token or _first_token()


def _first_token() -> str:
    """Of GATEWAY_API_TOKENS, or of the file that GATEWAY_API_TOKENS_FILE names. Raises: WrongSettings."""
    try:
        return next(iter(as_names(API_TOKENS.given(os.environ))), "")
    except ValueError as error:
        raise WrongSettings([f"{API_TOKENS.name} {error}"]) from None


async def start(args: argparse.Namespace) -> int:
    """Prints the start's answer. With `--create` SLUG is the title of a new session. Raises: ApiRefused."""
    slug = args.slug
    if args.create:
        slug = call(*where(args), "POST", "/api/sessions", {"title": args.slug})["slug"]
    body = {"sessionSlug": slug, "source": args.source, "languages": args.language}
    _show(call(*where(args), "POST", "/api/transcription/start", body))
    return DONE


async def stop(args: argparse.Namespace) -> int:
    """Prints the stop's answer."""
    body = {"sessionSlug": args.slug, "wait": not args.no_wait}
    _show(call(*where(args), "POST", "/api/transcription/stop", body))
    return DONE


async def pause(args: argparse.Namespace) -> int:
    """Nothing is heard of one participant, or of anybody. Prints who is paused. Raises: ApiRefused."""
    return _steer(args, "pause")


async def resume(args: argparse.Namespace) -> int:
    """The end of a pause. Prints who is paused still. Raises: ApiRefused."""
    return _steer(args, "resume")


def _steer(args: argparse.Namespace, what: str) -> int:
    body = {} if args.identity is None else {"participantIdentity": args.identity}
    _show(call(*where(args), "POST", f"/api/transcription/{quoted(args.slug)}/{what}", body))
    return DONE


async def status(args: argparse.Namespace) -> int:
    """Prints one transcription, or all that are not stopped."""
    one = "" if args.slug is None else f"/{quoted(args.slug)}"
    _show(call(*where(args), "GET", f"/api/transcription{one}"))
    return DONE


async def export(args: argparse.Namespace) -> int:
    """Writes the transcript to standard output: into a file as it came, to a terminal without control characters."""
    language = f"&lang={quoted(args.lang)}" if args.lang is not None else ""
    told = text(*where(args), "GET", f"/api/sessions/{quoted(args.slug)}/transcript?format={args.format}{language}")
    sys.stdout.write("\n".join(map(plain, told.split("\n"))) if sys.stdout.isatty() else told)
    return DONE


async def tail(args: argparse.Namespace) -> int:
    """Prints the stream until the transcription has stopped or the session has ended."""
    from gateway.cli.client import Client  # both load libraries that no other command needs
    from gateway.cli.screen import Screen

    with Screen(sys.stdout, partials=args.partials, translations=args.lang is not None) as screen:
        async for message in Client(*where(args)).follow(args.slug, args.since, args.lang):
            if args.json:
                print(plain_json(json.dumps(message, ensure_ascii=False)), flush=True)
            else:
                screen.show(message)
    return DONE


async def usage(args: argparse.Namespace) -> int:
    """Prints the accountant's report. Raises: ApiRefused."""
    asked = {"from": args.since, "to": args.until, "groupBy": args.by, "spaceId": args.space, "userId": args.user}
    asked |= {"tag": args.tag, "format": "csv" if args.format == "csv" else "json"}
    query = {name: value for name, value in asked.items() if value is not None}
    if args.format == "csv":
        for part in parts(*where(args), "GET", f"/api/usage?{urlencode(query)}"):
            sys.stdout.buffer.write(part)
        return DONE
    page = call(*where(args), "GET", f"/api/usage?{urlencode(query)}")
    rows, totals = page["rows"], page["totals"]
    while page["nextCursor"] is not None:
        page = call(*where(args), "GET", f"/api/usage?{urlencode({**query, 'cursor': page['nextCursor']})}")
        rows += page["rows"]
    if args.format == "json":
        _show({"rows": rows, "totals": totals})
        return DONE
    name = {"day": "day", "month": "month", "space": "spaceId", "user": "userId", "session": "sessionSlug"}[args.by]
    print(f"{args.by:<28} {'minutes':>9} {'USD':>10} {'billed min':>11} {'saved USD':>10}")
    for row in [*rows, {**totals, name: "in all"}]:
        billed = "" if row["billedSeconds"] is None else f"{row['billedSeconds'] / 60:.1f}"
        title = f" {row['title']}" if row.get("title") else ""
        key = plain(f"{row[name] or 'nobody signed in'}{title}")
        print(
            f"{key:<28.28} {row['durationMinutes']:>9} {row['totalCost']:>10.2f} {billed:>11} {row['costSaved']:>10.2f}"
        )
    return DONE


def _show(answer: Any) -> None:
    print(plain_json(json.dumps(answer, indent=2, ensure_ascii=False)))
