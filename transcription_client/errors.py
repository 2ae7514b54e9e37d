"""How a stream ends when it does not end well: one class per reaction of a caller."""

from __future__ import annotations


class TranscriptError(Exception):
    """The stream is over. The text says what to do."""


class Refused(TranscriptError):
    """The gateway will not serve this stream: another try would be refused, too.

    `code`: the close code, 4500 to 4999; an HTTP status is told as the close code that docs/stream.md puts beside it.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Unavailable(TranscriptError):
    """No gateway has answered for as long as the caller wanted to wait. Go on later, from the stream's `position`."""
