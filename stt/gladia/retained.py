"""Audio of one track that may still have to be sent, or sent again. Positions are samples on the track's clock."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

SAMPLE_RATE: Final = 16_000
SAMPLE_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the track, `end` exclusive."""

    start: int
    end: int


class Retained:
    """A bounded window over the end of a track.

    It holds the pieces as they came, so that in steady state the very bytes of a chunk go to the socket.
    A full window gives up its oldest audio; whether that was a loss is the caller's to judge.
    """

    def __init__(self, limit_samples: int) -> None:
        self._limit = limit_samples
        self._starts: list[int] = []
        self._pieces: list[bytes] = []
        self._held = 0
        self._forgotten = 0  # end of the newest piece that has left the window
        self.end = 0
        """Position after the newest sample; 0 before any audio came."""
        self.left_out_to = 0  # nothing before will come any more
        self.given_up_to = 0  # end of the newest piece that left because the window was full
        self.silences: dict[int, int] = {}
        """Samples that are to be heard as silence, by the position that they come before."""

    @property
    def start(self) -> int:
        """Position of the oldest sample that is still here."""
        return self._starts[0] if self._starts else self._forgotten

    @property
    def held(self) -> int:
        """Samples in memory, never more than the limit plus one piece."""
        return self._held

    def append(self, offset: int, pcm: bytes) -> list[Span]:
        """Add the next piece of the track. Returns the stretches given up to make room.

        Raises: ValueError when `offset` lies before audio already here.
        """
        if offset < self.end:
            raise ValueError(f"audio at {offset} comes after {self.end}: the track's clock ran backwards")
        self.left_out_to = offset
        self._starts.append(offset)
        self._pieces.append(pcm)
        samples = len(pcm) // SAMPLE_BYTES
        self.end = offset + samples
        self._held += samples
        lost: list[Span] = []
        while self._held > self._limit and len(self._pieces) > 1:
            start, piece = self._starts.pop(0), self._pieces.pop(0)
            end = start + len(piece) // SAMPLE_BYTES
            self._held -= end - start
            self._forgotten = self.given_up_to = end
            if lost and lost[-1].end == start:
                lost[-1] = Span(lost[-1].start, end)
            else:
                lost.append(Span(start, end))
        if lost:
            self._forget_silence()
        return lost

    def leave_out(self, to: int) -> None:
        """The track goes on without its audio before `to`: none from before it will be appended."""
        self.left_out_to = max(self.left_out_to, to)

    def fall_silent(self, samples: int) -> None:
        """So much silence is to be heard behind the newest sample. It takes no time on the track's clock."""
        self.silences[self.end] = self.silences.get(self.end, 0) + samples

    def silence_at(self, position: int) -> int:
        """Samples of silence to be heard right before the audio at `position`."""
        return self.silences.get(position, 0)

    def read(self, position: int, most: int) -> tuple[int, bytes] | None:
        """The first audio at or after `position`; None when there is none.

        Returns: where it starts, and up to `most` samples (s16le) without a gap, nor silence, in between.
        """
        if position >= self.end:
            return None
        if self._starts and position == self._starts[-1] and self.end - position <= most:  # as ever
            return position, self._pieces[-1]
        index = bisect_right(self._starts, position) - 1
        if index < 0:
            index = 0
        while index < len(self._pieces):
            start, piece = self._starts[index], self._pieces[index]
            inside = max(position - start, 0)
            if inside * SAMPLE_BYTES < len(piece):
                break
            index += 1
        else:
            return None
        first = start + inside
        if inside == 0 and len(piece) == most * SAMPLE_BYTES:
            return first, piece
        parts = [piece[inside * SAMPLE_BYTES : (inside + most) * SAMPLE_BYTES]]
        size = len(parts[0]) // SAMPLE_BYTES
        while (
            size < most
            and index + 1 < len(self._pieces)
            and self._starts[index + 1] == first + size
            and first + size not in self.silences
        ):
            index += 1
            parts.append(self._pieces[index][: (most - size) * SAMPLE_BYTES])
            size += len(parts[-1]) // SAMPLE_BYTES
        return first, b"".join(parts) if len(parts) > 1 else parts[0]

    def forget(self, before: int) -> None:
        """Drop whole pieces that end at or before `before`."""
        count = 0
        for start, piece in zip(self._starts, self._pieces, strict=True):
            end = start + len(piece) // SAMPLE_BYTES
            if end > before:
                break
            count += 1
            self._held -= end - start
            self._forgotten = end
        if count:
            del self._starts[:count]
            del self._pieces[:count]
            self._forget_silence()

    def _forget_silence(self) -> None:
        if self.silences:
            self.silences = {at: samples for at, samples in self.silences.items() if at >= self._forgotten}
