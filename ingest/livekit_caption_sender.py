"""Captions sent into one LiveKit room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from livekit import rtc
from livekit.rtc.participant import PublishTranscriptionError

from ingest.livekit_captions import CaptionQueue, RoomCaption

log = logging.getLogger(__name__)

CAPTION_TOPIC: Final = "lk.transcription"
SEND_S: Final = 5.0
STREAMS_ONLY: Final = 3
"""Clients of this protocol and later need no packets of transcription: they read the text streams."""


class CaptionSender:
    """Sends one caption after the other; `run` is its only task. A caption that cannot be sent is counted and left."""

    def __init__(self, room: rtc.Room, *, monotonic: Callable[[], float]) -> None:
        self.failed = 0
        self._room = room
        self._monotonic = monotonic
        self._queue = CaptionQueue()
        self._was_put = asyncio.Event()

    def put(self, caption: RoomCaption) -> None:
        """Have it sent; never waits. A newer version of the same segment may replace it before."""
        self._queue.put(caption)
        self._was_put.set()

    def forget(self, identity: str) -> None:
        """The speaker has left."""
        self._queue.forget(identity)

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            caption = self._queue.take(self._monotonic())
            if caption is not None:
                await self._send(caption)
                continue
            self._was_put.clear()
            try:
                async with asyncio.timeout(self._queue.wait_s(self._monotonic())):
                    await self._was_put.wait()
            except TimeoutError:
                continue

    async def _send(self, caption: RoomCaption) -> None:
        """One text stream a version, as LiveKit's own agents do it; the speaker is its sender.

        Older clients read packets instead (`TranscriptionReceived`), which are sent while one of them is in the room.
        """
        try:
            async with asyncio.timeout(SEND_S):
                writer = await self._room.local_participant.stream_text(
                    topic=CAPTION_TOPIC,
                    sender_identity=caption.identity,
                    attributes={
                        "lk.segment_id": caption.segment_id,
                        "lk.transcribed_track_id": caption.track_sid,
                        "lk.transcription_final": "true" if caption.is_final else "false",
                    },
                )
                await writer.write(caption.text)
                await writer.aclose()
                if any(map(_reads_packets, self._room.remote_participants.values())):
                    await self._room.local_participant.publish_transcription(_packet(caption))
        except (TimeoutError, rtc.StreamError, PublishTranscriptionError) as error:
            if not self.failed:
                log.warning("a caption could not be sent into the room: %s", error or "no answer")
            self.failed += 1


def _reads_packets(participant: rtc.RemoteParticipant) -> bool:
    """The SDK keeps what a participant's client speaks, and has no property for it."""
    is_person = participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    return is_person and participant._info.client_protocol < STREAMS_ONLY


def _packet(caption: RoomCaption) -> rtc.Transcription:
    segment = rtc.TranscriptionSegment(
        id=caption.segment_id, text=caption.text, start_time=0, end_time=0, language="", final=caption.is_final
    )
    return rtc.Transcription(participant_identity=caption.identity, track_sid=caption.track_sid, segments=[segment])
