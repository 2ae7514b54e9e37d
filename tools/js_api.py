"""The types of clients/js/server.js, from a gateway's OpenAPI document: clients/js/api.d.ts.

curl -s http://localhost:8080/openapi.json | python tools/js_api.py > clients/js/api.d.ts
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

_HEAD: Final = (
    "/** What the API takes and answers. Made from its OpenAPI document by tools/js_api.py: do not edit. */\n"
)
_PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
# Streams, what LiveKit calls, and pages for machines that are no JSON.
_LEFT_OUT: Final = ("/api/realtime/", "/api/livekit/", "/metrics", "/openapi.json")


def declarations(document: dict[str, Any]) -> str:
    """The whole file."""
    lines = [_HEAD, "export interface Schemas {"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += [*_told(schema, "  "), f"  {_key(name)}: {typescript(schema, '  ')};"]
    lines += ["}", "", "/** By method and path. */", "export interface Operations {"]
    for path, methods in sorted(document["paths"].items()):
        if path.startswith(_LEFT_OUT):
            continue
        for method, operation in methods.items():
            lines += [f"  /** {_comment(operation['summary'])} */", f"  '{method.upper()} {path}': {{"]
            lines += [*_operation(operation), "  };"]
    return "\n".join([*lines, "}", ""])


def _operation(operation: dict[str, Any]) -> Iterator[str]:
    for place in ("path", "query", "header"):
        found = [one for one in operation.get("parameters", []) if one["in"] == place]
        if found:
            optional = "" if any(one["required"] for one in found) else "?"
            yield f"    {place}{optional}: {{"
            for one in found:
                yield f"      /** {_comment(one['description'])} */"
                name = _key(one["name"]) + ("" if one["required"] else "?")
                yield f"      {name}: {typescript(one['schema'], '      ')};"
            yield "    };"
    if body := operation.get("requestBody"):
        schema = body["content"]["application/json"]["schema"]
        yield f"    body{'' if body['required'] else '?'}: {typescript(schema, '    ')};"
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    kinds = dict.fromkeys(kind for answer in answers for kind in _contents(answer))
    yield f"    answer: {' | '.join(kinds) or 'undefined'};"


def _contents(answer: dict[str, Any]) -> Iterator[str]:
    if "content" not in answer:
        yield "undefined"
    for media, content in answer.get("content", {}).items():
        yield typescript(content["schema"], "    ") if media == "application/json" else "string"


def typescript(schema: dict[str, Any], indent: str) -> str:
    """One JSON Schema as a type. Raises: KeyError for a kind that msgspec does not write."""
    match schema:
        case {"$ref": ref}:
            return f"Schemas['{ref.rpartition('/')[2]}']"
        case {"enum": values}:
            return " | ".join(map(_literal, values))
        case {"const": value}:
            return _literal(value)
        case {"anyOf": choices} | {"oneOf": choices}:
            return " | ".join(dict.fromkeys(typescript(one, indent) for one in choices))
        case {"type": list(kinds)}:
            return " | ".join(typescript({**schema, "type": kind}, indent) for kind in kinds)
        case {"type": "array"}:
            return f"Array<{typescript(schema.get('items') or {}, indent)}>"
        case {"type": "object"}:
            return _object(schema, indent)
        case {"type": kind}:
            return _PLAIN[kind]
        case _:
            return "unknown"


def _object(schema: dict[str, Any], indent: str) -> str:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not properties:
        values = schema.get("additionalProperties", {})
        return f"Record<string, {typescript(values, indent) if isinstance(values, dict) else 'unknown'}>"
    lines = ["{"]
    for name, value in properties.items():
        optional = "" if name in required else "?"
        lines += [
            *_told(value, indent + "  "),
            f"{indent}  {_key(name)}{optional}: {typescript(value, indent + '  ')};",
        ]
    return "\n".join([*lines, indent + "}"])


def _told(schema: dict[str, Any], indent: str) -> Iterator[str]:
    if text := schema.get("description"):
        yield f"{indent}/** {_comment(text)} */"


def _comment(text: str) -> str:
    return " ".join(text.split()).replace("*/", "* /")


def _key(name: str) -> str:
    return name if name.isidentifier() else f"'{name}'"


def _literal(value: Any) -> str:
    text: str = json.dumps(value)
    return f"'{value}'" if isinstance(value, str) and text == f'"{value}"' and "'" not in value else text


if __name__ == "__main__":
    sys.stdout.write(declarations(json.load(sys.stdin)))
