"""Everything that the provider offers can be asked for, and what it finds reaches the watchers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from integration.gateway_api.in_process import InProcess, running, speech_server
from support.gateway import publish, write_wav

from stt.local.scripted import speak

ASKED: dict[str, Any] = {
    "language": "en",
    "languages": ["en", "fr"],
    "codeSwitching": True,
    "customVocabulary": [
        "Zugspitze",
        {"value": "Gladia", "intensity": 0.4, "pronunciations": ["gladja"], "language": "de"},
    ],
    "vocabularyIntensity": 0.3,
    "customSpelling": {"Anna": ["Ana", "Hannah"]},
    "translateTo": ["fr", "de"],
    "translation": {
        "model": "enhanced",
        "matchOriginalUtterances": False,
        "lipsync": False,
        "contextAdaptation": True,
        "context": "a call about alps",
        "informal": True,
    },
    "namedEntities": True,
    "sentiment": True,
    "endpointing": 0.15,
    "maximumDurationWithoutEndpointing": 12,
    "speechThreshold": 0.5,
    "audioEnhancer": True,
    "model": "solaria-1",
    "region": "us-west",
}
REQUEST = {
    "language_config": {"languages": ["en", "fr"], "code_switching": True},
    "endpointing": 0.15,
    "maximum_duration_without_endpointing": 12.0,
    "model": "solaria-1",
    "pre_processing": {"speech_threshold": 0.5, "audio_enhancer": True},
    "realtime_processing": {
        "custom_vocabulary": True,
        "custom_vocabulary_config": {"vocabulary": ASKED["customVocabulary"], "default_intensity": 0.3},
        "custom_spelling": True,
        "custom_spelling_config": {"spelling_dictionary": {"Anna": ["Ana", "Hannah"]}},
        "translation": True,
        "translation_config": {
            "target_languages": ["fr", "de"],
            "model": "enhanced",
            "match_original_utterances": False,
            "lipsync": False,
            "context_adaptation": True,
            "context": "a call about alps",
            "informal": True,
        },
        "named_entity_recognition": True,
        "sentiment_analysis": True,
    },
}


async def billed(gateway: InProcess, slug: str) -> dict[str, Any]:
    """The bill comes after the stop, which does not wait for it."""
    async with asyncio.timeout(60):
        while True:
            usage: dict[str, Any] = await gateway.ok("GET", f"/api/transcription/{slug}/usage")
            if usage["billing"]["providerSessions"] and not usage["billing"]["unbilled"]:
                billing: dict[str, Any] = usage["billing"]
                return billing
            await asyncio.sleep(0.1)


async def test_all_options_of_start_reach_the_provider_and_its_findings_the_watchers(
    database_url: str, tmp_path: Path
) -> None:
    pcm, _ = speak("sunday summer", lead_s=0.3, tail_s=0.5)
    sound = write_wav(tmp_path / "speech.wav", pcm)
    async with speech_server() as server, running(database_url, server, tmp_path / "data") as gateway:
        slug = await gateway.session()
        url = (await gateway.start(slug, **ASKED))["ingest"]["rtmpUrl"]
        async with gateway.watch(slug) as stream:
            publisher = await publish(sound, url)
            [final] = await stream.until("transcript.final")
            translations = await stream.until("translation", 2)
            entities, mood = await stream.until("annotation", 2)
            assert await publisher.wait() == 0
        assert (await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug}))["finalsComplete"]
        [live] = server.sessions.values()
        billing = await billed(gateway, slug)
        sent = live.audio_bytes / 32_000
        assert billing["sentSeconds"] == pytest.approx(sent, abs=0.001)
        assert billing["billedSeconds"] == pytest.approx(sent, abs=0.001)
        assert abs(billing["differencePercent"]) < 0.1
        assert (billing["resentSeconds"], billing["open"]) == (0.0, 0)
        [session] = billing["providerSessions"]
        assert (session["id"], session["participantIdentity"], session["outcome"]) == (live.id, "rtmp", "closed")
        assert await gateway.metric("gateway_provider_bills_total") == 1
        assert await gateway.metric("gateway_provider_bills_differing_total") == 0
        assert {key: live.config.params[key] for key in REQUEST} == REQUEST
        assert live.config.region == "us-west"
        assert set(live.config.metadata) == {"transcription", "identity", "process"}
        said = final["data"]
        assert said["text"] == "sunday summer"
        assert {(one["data"]["targetLanguage"], one["data"]["text"]) for one in translations} == {
            ("fr", "SUNDAY SUMMER"),
            ("de", "SUNDAY SUMMER"),
        }
        day, whole = said["words"][0], said
        assert entities["data"] == {
            "utteranceId": said["utteranceId"],
            "kind": "namedEntities",
            "results": [
                {"entityType": "DATE", "text": "sunday", "startMs": day["startMs"], "endMs": day["endMs"]},
            ],
            "participantIdentity": "rtmp",
            "participantName": None,
        }
        [found] = mood["data"]["results"]
        assert mood["data"]["kind"] == "sentiment"
        assert (found["sentiment"], found["text"]) == ("positive", "sunday summer")
        assert (found["startMs"], found["endMs"]) == (whole["startMs"], whole["endMs"])
        assert "seq" not in entities and "seq" not in mood


async def test_what_is_lost_in_a_cut_is_neither_metered_nor_billed_and_the_resend_is_named(
    database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The provider forgets what it had not acknowledged at a cut, so it bills once what was sent twice."""
    pcm, _ = speak("alpha bravo charlie", lead_s=0.3, tail_s=0.5, pauses=[0.5] * 3)
    sound = write_wav(tmp_path / "speech.wav", pcm)
    async with speech_server() as server:
        cut = {"acks": {"lag_bytes": 16_000}, "cuts": [{"at_byte": 40_000}]}
        server.faults = {"every": {**cut, "result_delay_s": 3.0}}
        async with running(database_url, server, tmp_path / "data") as gateway:
            slug = await gateway.session()
            publisher = await publish(sound, (await gateway.start(slug))["ingest"]["rtmpUrl"])
            assert await publisher.wait() == 0
            await gateway.ok("POST", "/api/transcription/stop", {"sessionSlug": slug})
            usage = await gateway.ok("GET", f"/api/transcription/{slug}/usage")
            assert usage["billing"]["unbilled"] == 1  # the stop waits for no bill
            billing = await billed(gateway, slug)
            assert billing["resentSeconds"] >= 0.0
            assert abs(billing["differencePercent"]) < 0.5
            assert await gateway.metric("gateway_provider_bills_differing_total") == 0
    assert "were sent again after cuts" not in caplog.text
