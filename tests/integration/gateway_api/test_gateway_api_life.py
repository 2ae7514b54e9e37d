"""The control API against its own document: sessions, transcriptions, transcripts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from integration.gateway_api.in_process import InProcess, Relay, room_token, running, user_token
from support.subtitles import read_srt, read_vtt
from support.tools import needs

from stt.local.server import LocalServer

TEXTS = ["Good morning.", "How are you --> today & <now>?", "日本語も話します。", "x" * 100]


async def test_a_session_is_created_with_a_slug_of_its_own(gateway: InProcess) -> None:
    made = [await gateway.ok("POST", "/api/sessions", {}) for _ in range(3)]
    assert all(set(one) == {"slug"} and len(one["slug"]) == 8 for one in made)
    assert len({one["slug"] for one in made}) == 3
    refused = await gateway.call("POST", "/api/sessions", {"spaceId": "no such space"})
    assert (refused.status, refused.kind) == (400, "application/problem+json")


async def test_start_is_idempotent_and_says_where_to_publish(gateway: InProcess) -> None:
    """201 once, 200 afterwards, also at the same moment; the same key each time."""
    slug = await gateway.session()
    body = {"sessionSlug": slug, "source": "rtmp", "language": "en", "participantIdentity": "anna"}
    answers = await asyncio.gather(*(gateway.call("POST", "/api/transcription/start", body) for _ in range(10)))
    assert sorted(answer.status for answer in answers) == [200] * 9 + [201]
    told = [answer.json for answer in answers]
    assert {one["transcriptionId"] for one in told} == {told[0]["transcriptionId"]}
    assert {one["ingest"]["streamKey"] for one in told} == {told[0]["ingest"]["streamKey"]}
    first = next(one for one in told if one["created"])
    assert (first["state"], first["sessionSlug"], first["source"]) == ("starting", slug, "rtmp")
    assert first["ingest"]["rtmpUrl"].endswith("/live/" + first["ingest"]["streamKey"])


async def test_a_transcription_is_seen_stopped_and_seen_again(gateway: InProcess) -> None:
    slug = await gateway.session()
    assert (await gateway.call("GET", f"/api/transcription/{slug}")).status == 404
    started = await gateway.start(slug)
    [listed] = (await gateway.ok("GET", "/api/transcription"))["transcriptions"]
    seen = await gateway.ok("GET", f"/api/transcription/{slug}")
    assert listed == seen
    assert (seen["transcriptionId"], seen["state"], seen["engine"]) == (
        started["transcriptionId"],
        "starting",
        "gladia",
    )
    assert (seen["health"], seen["tracks"], seen["cost"], seen["lastSeq"]) == (
        {"status": "ok", "reasons": []},
        [],
        0.0,
        0,
    )
    stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert (stopped["state"], stopped["finalsComplete"]) == ("stopped", True)
    assert stopped["usage"]["totals"]["durationSeconds"] == 0
    again = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert again == stopped
    seen = await gateway.ok("GET", f"/api/transcription/{slug}")
    assert (seen["state"], seen["reason"], seen["finalsComplete"]) == ("stopped", "stopped by request", True)
    assert (await gateway.ok("GET", "/api/transcription"))["transcriptions"] == []
    usage = await gateway.ok("GET", f"/api/transcription/{slug}/usage")
    assert {**usage, "billing": None} == stopped["usage"]  # a stop does not wait for the bill


async def test_stop_without_waiting_is_accepted(gateway: InProcess) -> None:
    slug = await gateway.session()
    await gateway.start(slug)
    answer = await gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug, "wait": False})
    assert (answer.status, answer.json) == (202, {"state": "stopping"})
    async with asyncio.timeout(60):
        while (await gateway.ok("GET", f"/api/transcription/{slug}"))["state"] != "stopped":
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"sessionSlug": "nowhere1"}, 404),
        ({"sessionId": "another"}, 404),
        ({"source": "livekit"}, 503),
        ({"costCapUsd": 0.005}, 402),
    ],
)
async def test_a_start_that_cannot_be_is_refused_with_what_to_do(
    gateway: InProcess, body: dict[str, Any], status: int
) -> None:
    slug = await gateway.session()
    answer = await gateway.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp", **body})
    assert (answer.status, answer.kind) == (status, "application/problem+json")
    assert answer.json["hint"]
    assert (await gateway.call("GET", f"/api/transcription/{slug}")).status == 404


async def test_an_ended_session_is_not_transcribed(gateway: InProcess) -> None:
    slug = await gateway.session()
    async with gateway.records() as shelf:
        session = await shelf.told(slug, ["Good bye."])
        await shelf.sessions.end(session.id, session.created_at)
    answer = await gateway.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
    assert (answer.status, answer.json["title"]) == (409, "Session is over")


async def test_a_transcription_elsewhere_is_shown_but_not_stopped(gateway: InProcess) -> None:
    """Another replica holds its lease: 503 with a hint, and start says that it runs."""
    slug = await gateway.session()
    async with gateway.records() as shelf:
        await shelf.told(slug, ["Good morning."], finish=False)
    assert (await gateway.ok("GET", f"/api/transcription/{slug}"))["lastSeq"] == 1
    assert not (await gateway.start(slug))["created"]
    answer = await gateway.call("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert (answer.status, answer.json["title"]) == (503, "Another replica holds this transcription")


async def test_audio_that_was_given_up_is_told_after_the_stop(gateway: InProcess) -> None:
    slug = await gateway.session()
    async with gateway.records() as shelf:
        session = await shelf.records.sessions.by_slug(slug)
        assert session is not None
        claimed, _ = await shelf.records.leases.claim(session, "rtmp", {}, None, "another replica", 600)
        assert claimed is not None
        await shelf.records.leases.set_lost_audio(claimed.lease, 2.50049)
        for _ in ("while it runs elsewhere", "once it has stopped"):
            for path in ("", "/usage", "/timeline"):
                assert (await gateway.ok("GET", f"/api/transcription/{slug}{path}"))["lostAudioSeconds"] == 2.5
            await shelf.records.leases.finish(claimed.lease, "stopped by request", True)
    stopped = await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    assert stopped["usage"]["lostAudioSeconds"] == 2.5


async def test_a_wrong_provider_key_refuses_the_start(database_url: str, provider: LocalServer, tmp_path: Path) -> None:
    async with running(database_url, provider, tmp_path, gladia_api_key="wrong") as gateway:
        slug = await gateway.session()
        answer = await gateway.call("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"})
        assert (answer.status, answer.json["title"]) == (503, "Speech provider refused")
        assert "wrong" not in answer.body.decode()


# --- transcripts --------------------------------------------------------------------------------------------


async def told(gateway: InProcess, texts: list[str]) -> str:
    slug = await gateway.session()
    async with gateway.records() as shelf:
        await shelf.told(slug, texts)
    return slug


async def test_a_transcript_comes_in_every_format(gateway: InProcess) -> None:
    slug = await told(gateway, TEXTS)
    base = f"/api/sessions/{slug}/transcript"
    whole = await gateway.call("GET", base)
    assert whole.kind == "application/json" and whole.body.endswith(b"]}\n")  # a file of lines, as the others are
    assert whole.json["sessionSlug"] == slug
    assert [(one["seq"], one["text"]) for one in whole.json["finals"]] == list(enumerate(TEXTS, start=1))
    assert whole.json["finals"][0]["participantName"] == "Anna"
    vtt = await gateway.call("GET", f"{base}?format=vtt")
    assert vtt.kind == "text/vtt"
    cues = read_vtt(vtt.body.decode())
    assert {cue.speaker for cue in cues} == {"Anna"}
    assert "".join("".join(cue.lines) for cue in cues).replace(" ", "") == "".join(TEXTS).replace(" ", "")
    srt = await gateway.call("GET", f"{base}?format=srt")
    assert srt.kind == "application/x-subrip"
    assert len(read_srt(srt.body.decode())) == len(cues)
    text = await gateway.call("GET", f"{base}?format=txt")
    assert text.kind == "text/plain"
    assert text.body.decode().splitlines()[0] == "[00:00:02.000] Anna: Good morning."
    assert f'filename="{slug}.txt"' in text.headers["Content-Disposition"]
    assert text.headers["Cache-Control"] == "no-store"


async def test_a_transcript_begins_after_a_number(gateway: InProcess) -> None:
    slug = await told(gateway, TEXTS)
    for since in ("2", "k3f9:2"):
        part = await gateway.ok("GET", f"/api/sessions/{slug}/transcript?since={since}")
        assert [one["seq"] for one in part["finals"]] == [3, 4]
    assert (await gateway.ok("GET", f"/api/sessions/{slug}/transcript?since=4"))["finals"] == []
    for since in ("-1", "x", "1.5", "²", "9" * 16):
        answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?since={since}")
        assert (answer.status, answer.kind) == (400, "application/problem+json")
    answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?format=pdf")
    assert (answer.status, answer.kind) == (406, "application/problem+json")


async def test_a_transcript_is_read_page_by_page_both_ways(gateway: InProcess) -> None:
    """Number n is said from 2n s to 2n + 1.5 s."""
    slug = await told(gateway, [f"Number {number}." for number in range(1, 31)])

    async def seqs(query: str) -> list[int]:
        part = await gateway.ok("GET", f"/api/sessions/{slug}/transcript?{query}")
        assert part["lastSeq"] == 30
        return [one["seq"] for one in part["finals"]]

    assert await seqs("before=31&limit=4") == await seqs("before=9999&limit=4") == [27, 28, 29, 30]
    assert await seqs("before=27&limit=4") == [23, 24, 25, 26]
    assert await seqs("before=3&limit=4") == [1, 2]
    assert await seqs("before=1") == await seqs("before=0") == []
    assert await seqs("since=4&limit=3") == [5, 6, 7]
    assert await seqs("around=10&limit=5") == [8, 9, 10, 11, 12]
    assert await seqs("around=30&limit=5") == [26, 27, 28, 29, 30]
    assert await seqs("at=21000&limit=3") == [9, 10, 11]  # 10 is being said
    assert await seqs("at=21700&limit=3") == [10, 11, 12]  # 11 comes next
    assert await seqs("at=9999999&limit=2") == [29, 30]
    assert len(await seqs("around=15")) == 30
    text = await gateway.call("GET", f"/api/sessions/{slug}/transcript?format=txt&before=31&limit=1")
    assert text.body.decode().count("Number") == 1
    for query in ("since=1&before=3", "limit=0", "limit=1001", "limit=x", "before=-1", "around=", "at=1.5"):
        answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?{query}")
        assert (answer.status, answer.kind) == (400, "application/problem+json"), query


async def test_a_session_that_said_nothing_has_an_empty_transcript(gateway: InProcess) -> None:
    slug = await gateway.session()
    assert (await gateway.ok("GET", f"/api/sessions/{slug}/transcript"))["finals"] == []
    assert (await gateway.call("GET", f"/api/sessions/{slug}/transcript?format=vtt")).body == b"WEBVTT\n\n"
    assert (await gateway.call("GET", f"/api/sessions/{slug}/transcript?format=srt")).body == b""


async def test_a_long_transcript_is_whole(gateway: InProcess) -> None:
    """Three pages of the database, one valid document."""
    slug = await told(gateway, [f"Number {number}." for number in range(1, 1202)])
    whole = await gateway.ok("GET", f"/api/sessions/{slug}/transcript")
    assert [one["seq"] for one in whole["finals"]] == list(range(1, 1202))
    srt = await gateway.call("GET", f"/api/sessions/{slug}/transcript?format=srt")
    assert len(read_srt(srt.body.decode())) == 1201


async def test_a_transcript_is_for_those_who_may_watch(gateway: InProcess) -> None:
    """A member of the space, or whoever is in the room; the token may stand in the query."""
    slug = await told(gateway, TEXTS)
    path = f"/api/sessions/{slug}/transcript"
    for token, status in (
        (user_token("default"), 200),
        (user_token("another space"), 403),
        (user_token(), 403),
        (user_token("default", lifetime_s=-60), 401),
        (user_token("default", secret="another-secret-of-at-least-32-bytes!"), 401),
        (room_token(slug), 200),
        (room_token("another-room"), 403),
    ):
        assert (await gateway.call("GET", path, token=token)).status == status
        assert (await gateway.call("GET", f"{path}?token={token}", token=None)).status == status


@pytest.mark.parametrize(("kind", "decoder"), [("srt", "srt"), ("vtt", "webvtt")])
async def test_ffmpeg_reads_every_cue(gateway: InProcess, tmp_path: Path, kind: str, decoder: str) -> None:
    """A parser that is not ours: it takes the file without a warning and finds as many cues as we wrote."""
    ffmpeg = needs("ffmpeg")
    slug = await told(gateway, [*TEXTS, "Two\nlines, {\\an8} <i>not italic", " ".join(f"Word{n}" for n in range(100))])
    answer = await gateway.call("GET", f"/api/sessions/{slug}/transcript?format={kind}")
    file = tmp_path / f"transcript.{kind}"
    file.write_bytes(answer.body)
    copied = {"srt": "srt", "vtt": "webvtt"}[kind]
    process = await asyncio.create_subprocess_exec(
        *(ffmpeg, "-hide_banner", "-v", "warning", "-f", decoder, "-i", str(file), "-c", "copy", "-f", copied, "-"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        out, complaints = await process.communicate()
    assert (process.returncode, complaints.decode()) == (0, "")
    expected = answer.body.decode().count(" --> ")
    assert expected > len(TEXTS)
    assert out.decode().count(" --> ") == expected


# --- trouble ------------------------------------------------------------------------------------------------


async def test_a_database_that_is_away_is_said_and_waited_for(
    database_url: str, provider: LocalServer, tmp_path: Path
) -> None:
    """503 with Retry-After while it is away, not ready with the reason, and all is well when it is back."""
    relay = Relay(database_url)
    await relay.mend()
    async with running(relay.url, provider, tmp_path) as gateway:
        slug = await gateway.session()
        await relay.cut()
        for method, path, body in (
            ("POST", "/api/sessions", {}),
            ("POST", "/api/transcription/start", {"sessionSlug": slug, "source": "rtmp"}),
            ("GET", "/api/transcription", None),
            ("GET", f"/api/sessions/{slug}/transcript", None),
            ("GET", f"/api/realtime/transcribe?session={slug}", None),
        ):
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"} if "realtime" in path else {}
            answer = await gateway.call(method, path, body, headers=headers)
            assert (answer.status, answer.kind) == (503, "application/problem+json"), path
            assert int(answer.headers["Retry-After"]) > 0
        ready = await gateway.call("GET", "/readyz", token=None)
        assert ready.status == 503
        assert ready.json["reasons"] == ["the database does not answer"]
        assert (await gateway.call("GET", "/healthz", token=None)).status == 200
        await relay.mend()
        async with asyncio.timeout(60):
            while (await gateway.call("GET", "/readyz", token=None)).status != 200:
                await asyncio.sleep(0.05)
        assert (await gateway.start(slug))["created"]
        assert json.loads((await gateway.call("GET", "/readyz", token=None)).body)["reasons"] == []
        await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
    await relay.cut()
