"""The stream as server-sent events (WHATWG HTML, 9.2): text over a plain HTTP answer that does not end. Pure."""

from __future__ import annotations

from typing import Final

from gateway.live.protocol import Message

MEDIA_TYPE: Final = "text/event-stream"
RETRY_MS: Final = 2_000
HEARTBEAT: Final = b":\n\n"


def retry(after_ms: int = 0) -> bytes:
    """How long an EventSource waits before it comes back: RETRY_MS and `after_ms`, since browsers do not spread it by
    themselves. It holds until the next one, which every answer begins with."""
    return b"retry: %d\n\n" % (RETRY_MS + after_ms)


def in_event(message: Message) -> bytes:
    """`event`, `id` where there is one, `data`: JSON has no raw line break, so one line holds it."""
    head = f"event: {message.kind}\n" + (f"id: {message.point}\n" if message.point is not None else "") + "data: "
    return head.encode() + message.payload + b"\n\n"


def in_chunk(message: Message) -> bytes:
    """The same for HTTP/1.1."""
    return chunk(message.framed(in_event))


def chunk(data: bytes) -> bytes:
    """One chunk of a body whose length is not known (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)
