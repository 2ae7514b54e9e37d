"""What this room raises. One base class, then one class per reaction of a caller."""

from __future__ import annotations

from typing import Any


class IngestError(Exception):
    """Base of everything raised by `ingest`."""


class CannotListen(IngestError, OSError):
    """The address is taken or not ours: choose another port, or end the program that holds it."""

    def __init__(self, host: str, port: int, cause: OSError) -> None:
        super().__init__(
            cause.errno,
            f"cannot listen for RTMP on {host}:{port} ({cause.strerror or cause}); "
            "free the port or set GATEWAY_RTMP_PORT to another one (0 turns RTMP off)",
        )


class PublishRefused(IngestError):
    """A publish with the right key that cannot be taken here now. The publisher is told the text."""


class UnsupportedCodec(IngestError):
    """The encoder sends audio that cannot be decoded here; only its owner can change that."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        super().__init__(
            f"the encoder sends {codec} audio, which is not supported; "
            "set its audio codec to AAC (or MP3, or Opus over Enhanced RTMP)"
        )


class Undecodable(IngestError):
    """One packet could not be decoded. The next one may be fine: count it and go on."""


class ProtocolError(IngestError):
    """The peer broke the protocol or a limit: close this one connection.

    `reason` is one of a few fixed phrases, fit for a counter; the message may add figures, never a key. `before`: what
    the parser that raised it had read of the same bytes, of the kind that it returns.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        self.before: list[Any] = []
        super().__init__(f"{reason}: {detail}" if detail else reason)


class RoomTrouble(IngestError):
    """A LiveKit room cannot be joined now; trying again can help. The text says what is wrong and what to do."""
