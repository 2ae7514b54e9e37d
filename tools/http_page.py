"""docs/http.md from a gateway's OpenAPI document: every operation with what it takes, answers, and who may ask.

curl -s http://localhost:8080/openapi.json | python tools/http_page.py > docs/http.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

_HEAD: Final = """\
# HTTP

Every operation, by what it is about; `/docs` of a running gateway shows the same with all fields, and `/openapi.json`
is the document for generators. Made by `tools/http_page.py`: do not edit.

A credential goes into `Authorization: Bearer …`. *Service*: a token of `GATEWAY_API_TOKENS`. *User*: that, a user's
token, or the LiveKit token of the session's room. *Watch*: that too, also as `?token=`. *Anybody*: with any of these
or none; who is asked for what stands in [sessions](sessions.md#who-may-do-what). Errors are RFC 9457 problem
details: `type`, `title`, `status`, `detail`.
"""
_WHO: Final = {"service": "service", "watch": "watch", "user": "user", "livekit": "the LiveKit server's signature"}


def page(document: dict[str, Any]) -> str:
    """The whole file."""
    by_tag: dict[str, list[str]] = {}
    for path, methods in sorted(document["paths"].items()):
        for method, operation in methods.items():
            [tag] = operation["tags"]
            by_tag.setdefault(tag, []).append("\n".join(_operation(method, path, operation)))
    parts = [_HEAD]
    for tag, operations in sorted(by_tag.items()):
        parts += [f"## {tag.capitalize()}\n", *operations]
    parts += ["## Webhooks\n", "What the gateway sends ([webhooks](webhooks.md)):\n", *_webhooks(document)]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`\n"
    yield f"{_cell(operation['summary'])}. Asked by: {_who(operation['security'])}.\n"
    rows = [
        (one["name"], one["in"] + ("" if one["required"] else ", optional"), one["description"])
        for one in operation.get("parameters", [])
    ]
    if body := operation.get("requestBody"):
        name = _kind(body["content"]["application/json"]["schema"])
        rows.append(("body", "JSON" + ("" if body.get("required") else ", optional"), name))
    if rows:
        yield "| Takes | Where | |\n| --- | --- | --- |"
        yield from (f"| `{name}` | {place} | {_cell(meaning)} |" for name, place, meaning in rows)
        yield ""
    yield "Answers " + "; ".join(_answers(operation["responses"])) + ".\n"


def _who(security: list[dict[str, Any]]) -> str:
    names = [_WHO[name] for one in security for name in one]
    if not names:
        return "anybody"
    return " or ".join(names) + (", or nobody in particular" if {} in security else "")


def _answers(responses: dict[str, Any]) -> Iterator[str]:
    for status, answer in responses.items():
        kinds = [
            _kind(content["schema"]) if "json" in media else f"`{media}`"
            for media, content in answer.get("content", {}).items()
            if media != "application/problem+json"
        ]
        yield f"{status}" + (f" {' or '.join(dict.fromkeys(kinds))}" if kinds else "")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if schema.get("type") == "array":
        return f"a list of {_kind(schema.get('items') or {})}"
    choices = schema.get("anyOf", [])
    return " or ".join(dict.fromkeys(map(_kind, choices))) if choices else f"{schema.get('type', 'any')}"


def _webhooks(document: dict[str, Any]) -> Iterator[str]:
    yield "| Event | |\n| --- | --- |"
    for name, event in sorted(document["webhooks"].items()):
        yield f"| `{name}` | {_cell(event['post'].get('summary', ''))} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").rstrip(".")


if __name__ == "__main__":
    sys.stdout.write(page(json.load(sys.stdin)))
