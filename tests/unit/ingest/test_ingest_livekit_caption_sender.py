"""In which shapes a caption goes into a room."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest
from livekit import rtc
from support.waiting import until

from ingest.livekit_caption_sender import CaptionSender
from ingest.livekit_captions import RoomCaption

PERSON = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


@pytest.mark.parametrize(
    ("there", "packets"),
    [
        ([(PERSON, 3)], 0),
        ([(PERSON, 4), (PERSON, 2)], 1),
        ([(PERSON, 0)], 1),
        ([(AGENT, 0), (PERSON, 3)], 0),
        ([], 0),
    ],
)
async def test_packets_are_sent_while_a_person_reads_them(there: list[tuple[Any, int]], packets: int) -> None:
    people = {
        str(n): SimpleNamespace(kind=kind, _info=SimpleNamespace(client_protocol=protocol))
        for n, (kind, protocol) in enumerate(there)
    }
    local = SimpleNamespace(stream_text=AsyncMock(), publish_transcription=AsyncMock())
    room = cast(rtc.Room, SimpleNamespace(remote_participants=people, local_participant=local))
    sender = CaptionSender(room, monotonic=asyncio.get_running_loop().time)
    task = asyncio.create_task(sender.run())
    sender.put(RoomCaption("anna", "TR_1", "s1", "The final.", True))
    sender.put(RoomCaption("anna", "TR_1", "s2", "Another.", True))
    await until(lambda: local.stream_text.await_count == 2)
    await until(lambda: local.publish_transcription.await_count == 2 * packets)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert local.publish_transcription.await_count == 2 * packets
    assert sender.failed == 0
