"""Cutting PCM into stamped chunks."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.pcm import CHUNK_BYTES, CHUNK_SAMPLES, Chunker


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=20))
def test_offsets_and_bytes_add_up(steps: list[tuple[int, int]]) -> None:
    """Whatever is pushed and skipped: no sample lost, none moved, chunks full unless a gap or the end follows."""
    chunker, chunks, expected, position = Chunker(), [], {}, 0
    for samples, gap in steps:
        pcm = bytes(value % 251 for value in range(samples * 2))
        chunks += chunker.push(pcm)
        expected[position] = pcm
        position += samples
        if gap:
            chunks += chunker.skip(gap)
            position += gap
        assert chunker.position == position
    chunks += chunker.flush()
    assert all(a.end <= b.offset for a, b in pairwise(chunks))
    for chunk, after in pairwise(chunks):
        assert chunk.samples == CHUNK_SAMPLES or after.offset > chunk.end
    heard = {chunk.offset + n: chunk.pcm[2 * n : 2 * n + 2] for chunk in chunks for n in range(chunk.samples)}
    for start, pcm in expected.items():
        assert b"".join(heard[start + n] for n in range(len(pcm) // 2)) == pcm
    assert len(heard) == sum(len(pcm) // 2 for pcm in expected.values())


def test_half_samples_and_negative_gaps_are_mistakes() -> None:
    """They raise instead of shifting everything after them."""
    with pytest.raises(ValueError, match="whole"):
        Chunker().push(b"abc")
    with pytest.raises(ValueError, match="backwards"):
        Chunker().skip(-1)


def test_a_chunk_is_a_tenth_of_a_second() -> None:
    """3,200 bytes, as the provider is sent them."""
    (chunk,) = Chunker(offset=7).push(bytes(CHUNK_BYTES))
    assert (chunk.offset, chunk.end, chunk.samples) == (7, 1607, 1600)
