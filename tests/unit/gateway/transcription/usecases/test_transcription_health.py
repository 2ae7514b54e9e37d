"""What is wrong with a transcription is a state that a person can see."""

from __future__ import annotations

import asyncio

import pytest
from support.transcribing import SLUG, replica, start, told, watch
from support.waiting import until

from gateway.transcription.domain.link_state import LinkState
from gateway.transcription.usecases.run import NO_PUBLISHER_AFTER_S


async def test_trouble_and_waiting_are_states_that_a_person_can_see() -> None:
    """Health is told when it changes and once only; WAITING while the provider is full."""
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        track = there.source(SLUG).appear("anna")
        track.speak(1)
        await until(lambda: bool(there.transcriber.links))
        await asyncio.sleep(3)
        there.link.state = LinkState.WAITING
        await asyncio.sleep(3)
        there.link.state = LinkState.STREAMING
        track.complaint = "no audio; add an audio track"
        await asyncio.sleep(3)
        assert [state["state"] for state in told(screen, "session.state")] == [
            "starting",
            "running",
            "waiting",
            "running",
        ]
        assert [health["reasons"] for health in told(screen, "health")] == [
            ["the provider's concurrent sessions are all in use; audio is held"],
            ["no audio; add an audio track"],
        ]
        assert "WAITING" in there.records.tables.states
        assert [error["message"] for error in told(screen, "error")] == ["no audio; add an audio track"]


@pytest.mark.parametrize(
    ("source", "todo"), [("rtmp", "let an encoder send to ingest.rtmpUrl"), ("websocket", "ingest.websocketUrl")]
)
async def test_that_nobody_publishes_yet_is_said_with_what_to_do(source: str, todo: str) -> None:
    """After some seconds, so that who comes at once sees nothing of it; over as soon as somebody comes."""
    async with replica() as there:
        await there.service.start(start(source))
        screen = await watch(there)
        await asyncio.sleep(NO_PUBLISHER_AFTER_S - 1)
        assert not told(screen, "health")
        await asyncio.sleep(3)
        [said] = told(screen, "health")
        assert said["status"] == "degraded" and said["reasons"][0].startswith("nobody publishes yet: ")
        assert todo in said["reasons"][0] and "key-1" not in said["reasons"][0]
        track = there.source(SLUG).appear("anna")
        await asyncio.sleep(2)
        assert told(screen, "health")[1:] == [{"status": "ok", "reasons": []}]
        track.speak(1)
        await until(lambda: told(screen, "session.state")[-1]["state"] == "running")
        track.hang_up()
        await asyncio.sleep(NO_PUBLISHER_AFTER_S + 3)
        assert len(told(screen, "health")) == 2  # a pause of somebody who was there is another thing


async def test_what_the_source_knows_comes_before_that_nobody_publishes() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).complaint = "the room does not exist yet"
        await asyncio.sleep(NO_PUBLISHER_AFTER_S + 3)
        assert [health["reasons"] for health in told(screen, "health")] == [["the room does not exist yet"]]


async def test_a_provider_that_falls_mute_is_a_state_that_a_person_can_see() -> None:
    async with replica() as there:
        await there.service.start(start())
        screen = await watch(there)
        there.source(SLUG).appear("anna").speak(1)
        await until(lambda: bool(there.transcriber.links))
        there.link.is_mute = True
        await asyncio.sleep(3)
        there.link.is_mute = False
        await asyncio.sleep(3)
        assert [(health["status"], health["reasons"]) for health in told(screen, "health")] == [
            ("degraded", ["anna speaks and no text comes: the provider is mute, or it is only noise"]),
            ("ok", []),
        ]
