"""One participant of a LiveKit room who says a part of a sound file, as a browser's microphone would.

Run as `python -m gateway.cli.speak FILE FROM_S TO_S URL` with the access token on the first line of standard input. It
prints "there" once its microphone is published, speaks at the second line, and leaves the room.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

from livekit import rtc

from gateway.sound import read_sound

_RATE: Final = 48_000
_FRAME: Final = _RATE // 50  # 20 ms
_AHEAD_MS: Final = 1000
"""A browser speaks from a thread that never waits for Python. Where cores are busy, a tenth of that cut words."""


def _frames(file: str, from_s: float, to_s: float) -> list[rtc.AudioFrame]:
    pcm = read_sound(Path(file), _RATE, from_s, to_s)
    size = 2 * _FRAME
    return [rtc.AudioFrame(pcm[at : at + size], _RATE, 1, _FRAME) for at in range(0, len(pcm) - size + 1, size)]


async def speak(file: str, from_s: float, to_s: float, url: str) -> None:
    """See the module. Raises: what the LiveKit SDK raises when the room cannot be joined."""
    lines = iter(sys.stdin.readline, "")
    room, source = rtc.Room(), rtc.AudioSource(_RATE, 1, queue_size_ms=_AHEAD_MS)
    sound = _frames(file, from_s, to_s)
    await room.connect(url, next(lines).strip(), rtc.RoomOptions(auto_subscribe=False))
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await room.local_participant.publish_track(track, options)
    print("there", flush=True)
    if await asyncio.to_thread(next, lines, ""):
        for frame in sound:
            await source.capture_frame(frame)
        await source.wait_for_playout()
    await room.disconnect()
    await source.aclose()


if __name__ == "__main__":
    asyncio.run(speak(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))
