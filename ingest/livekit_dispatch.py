"""Audio frames of the LiveKit SDK straight to the stream that wants them, instead of past every stream's filter.

The SDK tests every native event against the filter of every live stream: with N streams that is N² tests a frame time,
holding a lock and the interpreter. Here the frames of attached streams are looked up by their handle; everything else
goes the SDK's own way. This knows the SDK from the inside, so it only acts on the version it was written for: with any
other, `attach` does nothing, which is correct and slower.

To remove it: delete this module and its two calls in `livekit_visit`. docs/livekit.md has what it saves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from livekit import rtc
from livekit.rtc._ffi_client import FfiClient

log = logging.getLogger(__name__)

KNOWN_VERSION: Final = "1.2.1"

_streams: Final[dict[int, tuple[asyncio.AbstractEventLoop, Callable[[Any], None]]]] = {}


def attach(stream: rtc.AudioStream) -> None:
    """From now on frames of `stream` are looked up. Frames until now have gone the other way, in order."""
    if rtc.__version__ != KNOWN_VERSION:
        return
    queue = FfiClient.instance.queue
    if "put" not in vars(queue):
        queue.put = _put_by_handle(queue.put)
        log.info("LiveKit audio frames are dispatched by handle")
    _streams[stream._ffi_handle.handle] = stream._loop, stream._ffi_queue.put_nowait


def detach(stream: rtc.AudioStream) -> None:
    """After the stream is closed."""
    _streams.pop(stream._ffi_handle.handle, None)


def _put_by_handle(put: Callable[[Any], None]) -> Callable[[Any], None]:
    """Called on the SDK's own threads."""

    def put_by_handle(event: Any) -> None:
        if event.WhichOneof("message") == "audio_stream_event":
            found = _streams.get(event.audio_stream_event.stream_handle)
            if found is not None:
                loop, deliver = found
                try:
                    loop.call_soon_threadsafe(deliver, event)
                except RuntimeError:
                    log.debug("an audio frame came after its loop was closed")
                return
        put(event)

    return put_by_handle
