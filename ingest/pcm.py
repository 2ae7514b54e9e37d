"""The one audio format downstream of ingest: 16 kHz, mono, signed 16-bit little-endian PCM in 100 ms chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

SAMPLE_RATE: Final = 16_000
SAMPLE_BYTES: Final = 2
CHUNK_SAMPLES: Final = SAMPLE_RATE // 10
CHUNK_BYTES: Final = CHUNK_SAMPLES * SAMPLE_BYTES


class Piece(Protocol):
    """A piece of one track, as `Chunk` is one: what the gate needs of it."""

    @property
    def offset(self) -> int:
        """Samples since the track's anchor."""

    @property
    def pcm(self) -> bytes:
        """s16le, 16 kHz, mono."""

    @property
    def samples(self) -> int:
        """Length of `pcm`."""

    @property
    def end(self) -> int:
        """Offset of the sample after the last one."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of one track.

    `offset` counts samples since the track's anchor, gaps included: it is the only clock downstream, so
    `offset / SAMPLE_RATE` seconds after the anchor is when the first sample of `pcm` was spoken.
    `pcm` holds whole samples; every chunk is CHUNK_BYTES long except the last one before a gap or the end. An empty one
    says that the source has stopped delivering for now, a second one that it still does not. One behind a gap says that
    there was nothing to deliver.
    """

    offset: int
    pcm: bytes

    @property
    def samples(self) -> int:
        """Length of `pcm`."""
        return len(self.pcm) // SAMPLE_BYTES

    @property
    def end(self) -> int:
        """Offset of the sample after the last one."""
        return self.offset + self.samples

    def until(self, end: int) -> list[Chunk]:
        """What of it lies before that offset: the chunk, a shorter one or none."""
        if self.end <= end:
            return [self]
        return [Chunk(self.offset, self.pcm[: SAMPLE_BYTES * (end - self.offset)])] if self.offset < end else []


class Chunker:
    """Cuts a stream of PCM into chunks and stamps each with its place on the track's clock."""

    def __init__(self, offset: int = 0) -> None:
        self._offset = offset
        self._held = bytearray()

    @property
    def position(self) -> int:
        """Offset of the next sample that will be pushed."""
        return self._offset + len(self._held) // SAMPLE_BYTES

    @property
    def cut_to(self) -> int:
        """Offset behind the last chunk."""
        return self._offset

    def stall(self) -> list[Chunk]:
        """The source delivers nothing for now: what is left, and the empty chunk that says so."""
        return [*self.flush(), Chunk(self._offset, b"")]

    def push(self, pcm: bytes) -> list[Chunk]:
        """Take whole samples, return the full chunks they complete.

        Raises: ValueError when `pcm` splits a sample.
        """
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes do not hold whole 16-bit samples")
        self._held += pcm
        full = len(self._held) // CHUNK_BYTES
        return [self._take(CHUNK_BYTES) for _ in range(full)]

    def flush(self) -> list[Chunk]:
        """Return what is left as one short chunk, or nothing."""
        return [self._take(len(self._held))] if self._held else []

    def skip(self, samples: int) -> list[Chunk]:
        """Leave a gap of `samples` on the clock. Returns the short chunk that stood before it, if any.

        Raises: ValueError when `samples` is negative.
        """
        if samples < 0:
            raise ValueError("the track's clock never runs backwards")
        before = self.flush()
        self._offset += samples
        return before

    def _take(self, size: int) -> Chunk:
        chunk = Chunk(self._offset, bytes(self._held[:size]))
        del self._held[:size]
        self._offset += chunk.samples
        return chunk
