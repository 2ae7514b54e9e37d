"""What is asked for is stored, and read again by other processes: none of it may end them, nor their neighbours."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from integration.gateway_api.in_process import TOKEN, InProcess, running
from security.test_security_identities import call, created, user

from gateway.transcription.domain.transcription import Claimed
from gateway.transcription.infra.sources import Sources
from gateway.transcription.usecases import adoption
from stt.local.server import LocalServer


@pytest.fixture
async def gateway(
    database_url: str, provider: LocalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[InProcess]:
    monkeypatch.setattr(adoption, "HEIR_FIRST_S", 0.1)
    async with running(database_url, provider, tmp_path / "one", join_starts="nothing", join_per_minute=0) as found:
        yield found


async def guest_in(gateway: InProcess, slug: str) -> str:
    token: str = (await call(gateway, "GET", f"/{slug}/token?identity=gus&for=audio", None)).json["token"]
    assert (await call(gateway, "POST", f"/{slug}/participants/join", token)).status == 200
    return token


HOSTILE: Mapping[str, dict[str, Any]] = {
    "word": {"customVocabulary": ["\x00"]},
    "spaces": {"customVocabulary": ["Anna", " \u200b "]},
    "value": {"customVocabulary": [{"value": "\x00"}]},
    "value of a word": {"customVocabulary": [{"value": " "}]},
    "control": {"customVocabulary": [{"value": "a\nb"}]},
    "language": {"customVocabulary": [{"value": "a", "language": "\x00\x00"}]},
    "klingon": {"customVocabulary": [{"value": "a", "language": "klingon"}]},
    "pronunciations": {"customVocabulary": [{"value": "a", "pronunciations": ["\x00"]}]},
    "spelling": {"customSpelling": {"\x00": ["a"]}},
    "spelling of spaces": {"customSpelling": {"a": [" "]}},
    "of one": {"participants": {"gus": {"customVocabulary": [{"value": "\x00"}]}}},
    "context": {"translateTo": "de", "translation": {"context": "\x00"}},
    "model": {"model": "\x00"},
    "unknown": {"nothingReadsIt": ["\x00", 1e999]},
}


async def test_no_start_stores_what_cannot_be_read_back(gateway: InProcess) -> None:
    slug = await created(gateway)
    guest, member = await guest_in(gateway, slug), user("mia", "team")
    for name, asked in HOSTILE.items():
        body = {"source": "websocket", **asked}
        for token in (guest, member, TOKEN):
            answer = await call(gateway, "POST", f"/{slug}/transcription/start", token, **body)
            assert (answer.status, answer.kind) == (400, "application/problem+json"), (name, answer)
        again = {"sessionSlug": slug, **body}
        assert (await gateway.call("POST", "/api/transcription/start", again)).status == 400, name
        if wishes := {key: asked[key] for key in ("customVocabulary", "participants") if key in asked}:
            assert (await gateway.call("PATCH", f"/api/transcription/{slug}", wishes)).status == 400, name
        kept = {"words": asked.get("customVocabulary", []), "spelling": asked.get("customSpelling", {})}
        if any(kept.values()):
            answer = await gateway.call("PUT", "/api/spaces/team/vocabulary", kept, token=member)
            assert answer.status == 400, (name, answer)
    assert (await gateway.ok("GET", "/api/spaces/team/vocabulary")) == {"words": [], "spelling": {}}
    assert (await gateway.ok("GET", "/api/transcription"))["transcriptions"] == []
    assert (await call(gateway, "POST", f"/{slug}/transcription/start", guest, source="websocket")).status == 201
    assert (await gateway.call("GET", "/readyz")).status == 200


async def test_words_are_stored_as_they_were_checked(gateway: InProcess) -> None:
    words = [" Grace\u200b ", {"value": "Jose\u0301 ", "pronunciations": [" ho say "], "language": "es"}]
    kept = await gateway.ok("PUT", "/api/spaces/team/vocabulary", {"words": words, "spelling": {" A ": [" b", "b"]}})
    told = ["Grace", {"value": "Jos\u00e9", "pronunciations": ["ho say"], "language": "es"}]
    assert kept == {"words": told, "spelling": {"A": ["b"]}} == await gateway.ok("GET", "/api/spaces/team/vocabulary")


STORED: Mapping[str, str] = {
    "empty word": '{"customVocabulary": [{"value": ""}, "Anna"], "languages": ["de"]}',
    "word of a participant": '{"participants": {"anna": {"customVocabulary": [{"value": ""}]}}, "languages": ["de"]}',
    "of a newer version": '{"translation": {"model": "turbo"}, "languages": ["de"], "customSpelling": 5, "new": {}}',
    "other kinds": '{"languages": ["de", 5], "tags": 7, "participantIdentity": [], "participants": [], "model": {}}',
}


async def at_database(gateway: InProcess, statement: str, *values: object) -> Any:
    connection = await asyncpg.connect(gateway.database_url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


async def orphaned(gateway: InProcess, options: str, slug: str = "") -> str:
    """The slug of a session whose transcription has lost its owner and holds these options."""
    slug = slug or await created(gateway)
    async with gateway.records() as shelf:
        session = await shelf.told(slug, [], finish=False)
    await at_database(
        gateway,
        """UPDATE gateway.transcription SET options = $2::text::jsonb, source = 'websocket',
           lease_until = now() - interval '1 s' WHERE session_id = $1 AND state <> 'STOPPED'""",
        session.id,
        options,
    )
    return slug


async def settled(gateway: InProcess, slug: str) -> dict[str, Any]:
    """Once it is this replica's, or has ended."""
    async with asyncio.timeout(60):
        while True:
            told: dict[str, Any] = await gateway.ok("GET", f"/api/transcription/{slug}")
            if told["figures"] == "live" or told["state"] == "stopped":
                return told
            await asyncio.sleep(0.1)


async def test_what_cannot_be_read_is_left_out_and_neither_it_nor_its_neighbours_end(gateway: InProcess) -> None:
    slugs = [await orphaned(gateway, options) for options in STORED.values()]
    everything = await gateway.ok("GET", "/api/transcription")
    assert {*slugs} <= {one["sessionSlug"] for one in everything["transcriptions"]}
    for name, slug in zip(STORED, slugs, strict=True):
        told = await settled(gateway, slug)
        assert (told["state"], told["languages"]) == ("starting", ["de"]), (name, told)
        assert (await gateway.ok("GET", f"/api/transcription/{slug}/usage"))["rows"] == []
        await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        assert (await call(gateway, "POST", f"/{slug}/participants/join", user("mia", "team"))).status == 200
        again = await call(gateway, "POST", f"/{slug}/transcription/start", user("mia", "team"), source="websocket")
        assert again.status == 201, (name, again)
    assert (await gateway.call("GET", "/readyz")).status == 200


async def test_a_pause_and_a_cap_that_cannot_be_read_hold(gateway: InProcess) -> None:
    some = await orphaned(gateway, '{"pauses": {"gus": {"since": "soon"}, "ida": 5}}')
    everybody, capped = await orphaned(gateway, '{"pauses": "all"}'), await orphaned(gateway, '{"costCapUsd": "5"}')
    assert (await settled(gateway, some))["paused"] == {"everybody": False, "participants": ["gus", "ida"]}
    resumed = await gateway.ok("POST", f"/api/transcription/{some}/resume", {"participantIdentity": "gus"})
    assert resumed["paused"] == ["ida"]
    assert (await settled(gateway, everybody))["paused"]["everybody"] is True
    await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": capped})
    assert (await call(gateway, "POST", f"/{capped}/participants/join", user("mia", "team"))).status == 200
    again = await call(gateway, "POST", f"/{capped}/transcription/start", user("mia", "team"), source="websocket")
    assert again.status == 402


async def test_a_row_that_cannot_be_gone_on_with_ends_and_nothing_else_does(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    slug, neighbour = await created(gateway), await created(gateway)
    opened = Sources.open

    def fails(sources: Sources, claimed: Claimed, *more: Any) -> Any:
        if claimed.slug == slug:
            raise ZeroDivisionError
        return opened(sources, claimed, *more)

    monkeypatch.setattr(Sources, "open", fails)
    body = {"sessionSlug": slug, "source": "websocket"}
    assert (await gateway.call("POST", "/api/transcription/start", body)).status == 500
    told = await settled(gateway, slug)
    assert (told["state"], told["reason"]) == ("stopped", adoption.UNREADABLE)
    await orphaned(gateway, "{}", slug), await orphaned(gateway, "[1]", neighbour)
    assert (await settled(gateway, neighbour))["state"] == "starting"
    told = await settled(gateway, slug)
    assert (told["state"], told["reason"]) == ("stopped", adoption.UNREADABLE)
    assert (await gateway.call("GET", "/readyz")).status == 200


async def test_a_vocabulary_that_cannot_be_read_loses_that_word_alone(gateway: InProcess) -> None:
    kept = {"words": ["Anna", {"value": "Ben"}], "spelling": {"Gladia": ["gladya"]}}
    await gateway.ok("PUT", "/api/spaces/team/vocabulary", kept)
    await at_database(
        gateway,
        """UPDATE gateway.space_vocabulary SET words = words || '[{"value": ""}, 5]'::jsonb,
           spelling = spelling || '{"y": 5}'::jsonb WHERE space_id = 'team' RETURNING 1""",
    )
    assert await gateway.ok("GET", "/api/spaces/team/vocabulary") == kept
    slug = await created(gateway)
    assert (await call(gateway, "POST", f"/{slug}/participants/join", user("mia", "team"))).status == 200
    started = await call(gateway, "POST", f"/{slug}/transcription/start", user("mia", "team"), source="websocket")
    assert started.status in (200, 201), started


ODD = (
    "\x00",
    "a\x00b",
    " ",
    "\u200b",
    "\x1b[2J",
    "a\nb",
    "\u202egnp",
    "\ufffe",
    "e\u0301",
    "klingon",
    "de",
    "anna",
    "",
)


class Maker:
    """Bodies by the document that the gateway tells of itself; one text in three is odd."""

    def __init__(self, document: dict[str, Any], seed: int) -> None:
        self._document = document
        self.random = random.Random(seed)

    def value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        choice = self.random
        if "$ref" in schema:
            return self.value(self._document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], depth)
        if "anyOf" in schema:
            return self.value(choice.choice(schema["anyOf"]), depth)
        if "enum" in schema:
            return choice.choice(schema["enum"])
        match schema.get("type"):
            case "string":
                odd = choice.choice(ODD) * choice.choice((1, 1, max(schema.get("minLength", 1), 1)))
                return odd if choice.random() < 0.4 else choice.choice(("de", "en", "anna", "2026-01-05T10:00:00Z"))
            case "integer" | "number":
                return choice.choice((0, 1, 5, 30, 0.4))
            case "boolean":
                return choice.random() < 0.5
            case "array":
                return [self.value(schema.get("items", {}), depth + 1) for _ in range(choice.randrange(3))]
            case "object":
                known, required = schema.get("properties", {}), schema.get("required", ())
                named = [name for name in known if name in required or choice.random() < 2 / (len(known) + 1)]
                more = schema.get("additionalProperties")
                free = [choice.choice(ODD) for _ in range(choice.randrange(2))] if isinstance(more, dict) else []
                return {name: self.value(known.get(name, more), depth + 1) for name in (*named, *free)}
            case _:
                return None


async def test_whatever_text_a_body_brings_it_is_refused_or_can_be_read_again(gateway: InProcess) -> None:
    document = await gateway.ok("GET", "/openapi.json")
    slug = await created(gateway)
    guest, member = await guest_in(gateway, slug), user("mia", "team")
    make, taken = Maker(document, 5), Counter[str]()
    operations = [
        (method.upper(), path, told["requestBody"]["content"]["application/json"]["schema"])
        for path, methods in document["paths"].items()
        for method, told in methods.items()
        if "requestBody" in told and not path.startswith("/debug")
    ]
    assert len(operations) > 15
    for method, path, schema in operations * 10:
        place = path.replace("{slug}", slug).replace("{id}", "team")
        body = make.value(schema) or {}
        if "sessionSlug" in body:
            body |= {"sessionSlug": slug, "sessionId": None}
        if "source" in body:
            body["source"] = "websocket"
        answer = await gateway.call(method, place, body, token=make.random.choice((guest, member, TOKEN)))
        assert answer.status < 500 or answer.status == 503, (place, body, answer)
        assert answer.status >= 400 or "\\u0000" not in json.dumps(body), (place, body, answer)
        taken[f"{method} {path}"] += answer.status < 300
    for path in ("/api/transcription", "/api/sessions", "/api/webhooks", "/api/audit", f"/api/sessions/{slug}/segments",
                 f"/api/sessions/{slug}/participants?all=1", "/api/spaces/team/vocabulary", "/api/spaces/team/limits",
                 "/readyz"):  # fmt: skip
        assert (await gateway.call("GET", path)).status == 200, path
    never = [name for name, count in taken.items() if not count]
    assert len(never) < len(taken) / 2, never
