"""One language of a session, read by programs and pages: on the stream, as files, after the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from integration.gateway_api.in_process import FRIEND, TOKEN, InProcess, running

from gateway.transcription.usecases.journal import TranslationToStore
from storage.postgres.documents import Documents
from storage.postgres.pool import open_pool
from storage.postgres.sessions import Sessions
from storage.postgres.url import parse_database_url
from stt.local.scripted import speak
from stt.local.server import LocalServer

TEXTS = ["Good morning.", "How are you?", "Fine."]
GERMAN = {1: "Guten Morgen.", 3: "Gut."}


async def translated(gateway: InProcess, *, ended: bool = False) -> str:
    """A session in which this was said on another replica; its second final has no translation."""
    slug = await gateway.session()
    async with gateway.records() as shelf:
        session = await shelf.told(slug, TEXTS)
        fresh = []
        for seq, text in GERMAN.items():
            data = {"utteranceId": f"p:{seq}", "language": "en", "targetLanguage": "de", "text": text}
            fresh.append(TranslationToStore("any", session.id, slug, f"p:{seq}", "de", json.dumps(data).encode()))
        assert len(await shelf.records.translations.store(fresh)) == 2
        if ended:
            assert await shelf.sessions.end(session.id, session.created_at)
    return slug


def numbers(messages: list[dict[str, Any]]) -> list[tuple[int, int, str]]:
    return [(one["data"]["seq"], one["data"]["ofSeq"], one["data"]["text"]) for one in messages]


async def test_a_reader_of_one_language_gets_what_it_lacks(gateway: InProcess) -> None:
    """All of it at first; then what came after the point that it resumes from."""
    slug = await translated(gateway)
    async with gateway.watch(slug, lang="de") as stream:
        assert numbers(await stream.until("translation", 2)) == [(1, 1, "Guten Morgen."), (2, 3, "Gut.")]
        assert stream.seqs == [1, 2, 3]
        epoch = stream.messages[0]["epoch"]
    async with gateway.watch(slug, lang="de", since=f"{epoch}:3:1") as stream:
        assert numbers(await stream.until("translation")) == [(2, 3, "Gut.")]
        assert stream.seqs == []
    async with gateway.watch(slug, lang="de", since=f"{epoch}:1") as stream:
        await stream.until("translation", 2)
        assert stream.seqs == [2, 3]


async def test_the_session_has_ended_once_its_translations_are_out(gateway: InProcess) -> None:
    """As server-sent events their ids say which translation there was; an EventSource that has all is told so."""
    slug = await translated(gateway, ended=True)
    async with gateway.watch(slug, lang="de") as stream:
        assert (await stream.closed())[0] == 4510
        assert len(await stream.until("translation", 2)) == 2
    url = f"{gateway.url}/api/realtime/transcribe?session={slug}&lang=de&token={TOKEN}"
    headers = {"Accept": "text/event-stream"}
    async with gateway.http.get(url, headers=headers) as answer:
        lines = (await answer.text()).split("\n")
    [*_, last] = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")]
    assert last.endswith(":3:2")
    async with gateway.http.get(url, headers=headers | {"Last-Event-ID": last}) as answer:
        assert answer.status == 204
    async with gateway.http.get(url, headers=headers | {"Last-Event-ID": f"{last[:-2]}:1"}) as answer:
        assert answer.status == 200
        told = await answer.text()
        assert told.count("event: translation") == 1
        assert "event: transcript.final" not in told


async def test_a_language_that_nobody_asked_for_is_refused(gateway: InProcess) -> None:
    """With what there is. Where nothing has been said yet it may still be asked for."""
    slug = await translated(gateway)
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        async with gateway.watch(slug, lang="fr"):
            pass
    assert error.value.status == 400
    async with gateway.watch(slug, lang="fr", headers={"Origin": FRIEND}) as stream:
        code, reason = await stream.closed()
        assert code == 4500
        assert "there are de" in reason
    answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?lang=fr")
    assert answer.status == 400
    assert "translateTo" in answer.json["detail"]
    async with gateway.watch(await gateway.session(), lang="fr") as stream:
        assert (await stream.next())["type"] == "hello"


async def test_a_language_that_was_asked_for_one_participant_is_there_before_a_word_is_said(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(
        slug, source="websocket", participants={"anna": {"translateTo": "fr"}, "ben": {"language": "de"}}
    )
    await gateway.ok("PATCH", f"/api/transcription/{slug}", {"participants": {"ida": {"translateTo": ["es", "it"]}}})
    for language in ("fr", "es", "it"):
        async with gateway.watch(slug, lang=language) as stream:
            assert (await stream.next())["type"] == "hello"
    told = await gateway.ok("GET", f"/api/sessions/{slug}/transcript")
    assert sorted(told["translatedTo"]) == ["es", "fr", "it"]


async def test_files_come_in_the_language(gateway: InProcess) -> None:
    slug = await translated(gateway)

    async def file(kind: str) -> str:
        answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?format={kind}&lang=de")
        assert answer.status == 200
        return answer.body.decode()

    finals = json.loads(await file("json"))["finals"]
    assert [(one["text"], one.get("translations")) for one in finals] == [
        ("Good morning.", {"de": "Guten Morgen."}),
        ("How are you?", None),
        ("Fine.", {"de": "Gut."}),
    ]
    for kind in ("vtt", "srt", "txt"):
        text = await file(kind)
        places = [text.index(said) for said in ("Guten Morgen.", "How are you?", "Gut.")]
        assert places == sorted(places)
        assert "Fine." not in text


async def test_the_document_has_them(gateway: InProcess) -> None:
    slug = await translated(gateway)
    async with open_pool(parse_database_url(gateway.database_url), size=1) as database:
        session = await Sessions(database).by_slug(slug)
        assert session is not None
        rows = await Documents(database).segments(session.id)
    assert [json.loads(row.translations) if row.translations else {} for row in rows] == [
        {"de": "Guten Morgen."},
        {},
        {"de": "Gut."},
    ]


async def test_spoken_words_are_translated_kept_and_erased(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """Through the speech server; another reader, without `lang`, is told the same numbers."""
    async with running(database_url, provider, tmp_path) as gateway:
        slug = await gateway.session()
        started = await gateway.start(slug, source="websocket", language="en", translateTo=["fr", "de"])
        assert started["state"]
        url = f"{gateway.url}/api/realtime/audio?session={slug}&identity=anna&token={TOKEN}"
        async with gateway.watch(slug, lang="fr") as reader, gateway.watch(slug) as other:
            async with gateway.http.ws_connect(url) as sender:
                await sender.send_str('{"type":"start","sampleRate":16000,"channels":1}')
                await sender.send_bytes(speak("alpha bravo", tail_s=1)[0])
                await sender.send_str('{"type":"stop"}')
                assert numbers(await reader.until("translation")) == [(1, 1, "ALPHA BRAVO")]
            heard = await other.until("translation", 2)
            assert {(one["data"]["targetLanguage"], one["data"]["seq"]) for one in heard} == {("fr", 1), ("de", 1)}
        await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
        answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?format=txt&lang=fr")
        assert "ALPHA BRAVO" in answer.body.decode()
        async with gateway.records() as shelf:
            session = await shelf.records.sessions.by_slug(slug)
            assert session is not None
            assert await shelf.sessions.delete(session.id, session.created_at)
            assert await shelf.records.translations.languages(session.id) == []
