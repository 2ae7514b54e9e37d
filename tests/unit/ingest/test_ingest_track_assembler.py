"""Packets in, chunks out: what is heard, and where on the clock."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.pcm import CHUNK_BYTES, Chunk
from ingest.track_assembler import TrackAssembler

EncodeTone = Callable[..., list[AudioPacket]]
Pitch = Callable[..., float]


def assemble(
    packets: list[AudioPacket], batch: int = 4, arrival: Callable[[AudioPacket], float] | None = None
) -> tuple[list[Chunk], TrackAssembler]:
    assembler = TrackAssembler()
    first = packets[0].timestamp_ms
    when = arrival or (lambda packet: (packet.timestamp_ms - first) / 1000)
    chunks: list[Chunk] = []
    for at in range(0, len(packets), batch):
        chunks += assembler.feed(packets[at : at + batch], when(packets[min(at + batch, len(packets)) - 1]))
    chunks += assembler.flush(when(packets[-1]))
    return chunks, assembler


def timeline(chunks: list[Chunk]) -> np.ndarray:
    """The whole track, gaps as zeros; fails when chunks overlap or run backwards."""
    sound = np.zeros(chunks[-1].end, np.int16)
    end = 0
    for chunk, after in zip(chunks, [*chunks[1:], None], strict=True):
        assert chunk.offset >= end
        assert len(chunk.pcm) == CHUNK_BYTES or after is None or after.offset > chunk.end
        sound[chunk.offset : chunk.end] = np.frombuffer(chunk.pcm, "<i2")
        end = chunk.end
    return sound


def moved(packets: list[AudioPacket], by_ms: int) -> list[AudioPacket]:
    return [replace(packet, timestamp_ms=packet.timestamp_ms + by_ms) for packet in packets]


def loud(sound: np.ndarray, start_s: float, end_s: float) -> bool:
    part = sound[round(start_s * 16_000) : round(end_s * 16_000)].astype(float)
    return bool(np.sqrt(np.mean(part**2)) > 1000)


@pytest.mark.parametrize("batch", [1, 4, 1000])
@pytest.mark.parametrize(
    ("codec", "rate"), [("aac", 48_000), ("aac", 44_100), ("libmp3lame", 44_100), ("libopus", 48_000)]
)
def test_two_seconds_in_two_seconds_out(
    codec: str, rate: int, batch: int, encode_tone: EncodeTone, pitch: Pitch
) -> None:
    """The same PCM however the packets are grouped."""
    chunks, assembler = assemble(encode_tone(codec, hz=700, rate=rate, seconds=2), batch)
    sound = timeline(chunks)
    assert len(sound) / 16_000 == pytest.approx(2.0, abs=0.08)
    assert pitch(sound.tobytes()) == pytest.approx(700, abs=1)
    assert assembler.stats.samples == len(sound)
    assert assembler.stats.gaps == assembler.stats.decode_errors == assembler.stats.reanchors == 0


def test_lost_packets_are_heard_as_silence_of_their_length(encode_tone: EncodeTone) -> None:
    """Words after the gap keep their time; the silence itself is not sent on."""
    packets = encode_tone("aac", seconds=4)
    kept = [packet for packet in packets if not 1000 <= packet.timestamp_ms < 2500]
    chunks, assembler = assemble(kept)
    sound = timeline(chunks)
    assert len(sound) / 16_000 == pytest.approx(4.0, abs=0.08)
    assert loud(sound, 0.1, 0.9)
    assert not loud(sound, 1.1, 2.4)
    assert loud(sound, 2.6, 3.9)
    assert assembler.stats.gaps == 1
    assert assembler.stats.gap_samples / 16_000 == pytest.approx(1.5, abs=0.03)
    assert sum(chunk.samples for chunk in chunks) / 16_000 == pytest.approx(2.5, abs=0.08)


def test_a_long_pause_is_left_out_of_the_audio_but_not_of_the_clock(encode_tone: EncodeTone) -> None:
    """A minute without audio is not sent to the provider; the words after it are a minute later."""
    before, after = encode_tone("aac", seconds=1), encode_tone("aac", seconds=1, first_ms=61_000)
    chunks, assembler = assemble(before + after)
    sound = timeline(chunks)
    (end,) = [chunk.end for chunk, follower in pairwise(chunks) if follower.offset > chunk.end]
    assert end == pytest.approx(len(before) * 1024 / 3, abs=1), "the resampler kept the last words for after the gap"
    assert len(sound) / 16_000 == pytest.approx(62.0, abs=0.1)
    assert sum(chunk.samples for chunk in chunks) / 16_000 == pytest.approx(2.0, abs=0.1)
    assert loud(sound, 0.1, 0.9)
    assert loud(sound, 61.1, 61.9)
    assert assembler.stats.gaps == 1
    assert assembler.stats.reanchors == 0


def test_timestamps_that_start_over_go_on_at_the_time_of_arrival(encode_tone: EncodeTone) -> None:
    """Nothing is lost and nothing overlaps."""
    packets = encode_tone("aac", seconds=2, first_ms=500_000)
    again = encode_tone("aac", seconds=1)
    arrivals = {id(packet): n * 0.02133 for n, packet in enumerate(packets)}
    arrivals |= {id(packet): 5 + n * 0.02133 for n, packet in enumerate(again)}
    chunks, assembler = assemble(packets + again, batch=1, arrival=lambda packet: arrivals[id(packet)])
    sound = timeline(chunks)
    assert assembler.stats.gaps == 1
    assert loud(sound, 5.1, 5.9)
    assert not loud(sound, 2.2, 4.9)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_undecodable_packets_are_counted_and_replaced_by_time(
    share: float, encode_tone: EncodeTone, pitch: Pitch
) -> None:
    """The track goes on, and is as long as it was."""
    dice = random.Random(1)
    packets = encode_tone("aac", seconds=10)
    broken = set(dice.sample(range(5, len(packets)), round(share * len(packets))))
    sent = [replace(p, payload=b"\x00" * 30) if n in broken else p for n, p in enumerate(packets)]
    chunks, assembler = assemble(sent)
    sound = timeline(chunks)
    assert assembler.stats.decode_errors == len(broken)
    assert len(sound) / 16_000 == pytest.approx(10.0, abs=0.12)
    assert pitch(sound.tobytes()) == pytest.approx(440, abs=1)


def test_garbage_from_the_first_packet_on_is_counted_and_gives_nothing(encode_tone: EncodeTone) -> None:
    """No exception, no chunk."""
    packets = [replace(packet, payload=random.Random(n).randbytes(50)) for n, packet in enumerate(encode_tone("aac"))]
    chunks, assembler = assemble(packets)
    assert assembler.stats.decode_errors > len(packets) // 2
    assert sum(chunk.samples for chunk in chunks) <= 16_000 * 1.2


def test_a_changed_configuration_brings_a_new_decoder_and_keeps_the_clock(
    encode_tone: EncodeTone, pitch: Pitch
) -> None:
    """48 kHz stereo becomes 44.1 kHz mono, then MP3, without a seam in time."""
    packets = encode_tone("aac", hz=400, seconds=2)
    for codec, hz, rate, start in (("aac", 800, 44_100, 2048), ("libmp3lame", 1200, 44_100, 4100)):
        packets += encode_tone(codec, hz=hz, rate=rate, channels=1, seconds=2, first_ms=start)
    chunks, assembler = assemble(packets)
    sound = timeline(chunks)
    assert len(sound) / 16_000 == pytest.approx(6.15, abs=0.12)
    for hz, at in ((400, 1.0), (800, 3.0), (1200, 5.0)):
        assert pitch(sound[round((at - 0.5) * 16_000) : round((at + 0.5) * 16_000)].tobytes()) == pytest.approx(
            hz, abs=2
        )
    assert assembler.stats.decode_errors == 0
    assert assembler.stats.reanchors == 0


def test_an_unsupported_codec_ends_the_track_after_what_came_before(encode_tone: EncodeTone) -> None:
    """Nothing heard so far is lost."""
    speex = AudioFormat("speex", b"", None, None, False)
    packets = encode_tone("aac", seconds=1) + [AudioPacket(1000 + n, b"x", speex) for n in range(5)]
    chunks, assembler = assemble(packets, batch=1000)
    assert assembler.stats.unsupported_codec == "speex"
    assert timeline(chunks).size / 16_000 == pytest.approx(1.0, abs=0.08)


def test_timestamps_that_run_fast_change_nothing_of_the_sound(encode_tone: EncodeTone) -> None:
    """9 % fast, in real time: the track is the audio, sample for sample."""
    packets = encode_tone("aac", hz=600, seconds=20)
    fast = [replace(packet, timestamp_ms=round(packet.timestamp_ms * 1.09)) for packet in packets]
    true = {id(packet): n * 1024 / 48_000 for n, packet in enumerate(fast)}
    chunks, assembler = assemble(fast, arrival=lambda packet: true[id(packet)])
    assert chunks == assemble(packets)[0]
    assert assembler.stats.drift_samples / 16_000 == pytest.approx(20 * 0.09, abs=0.05)


def test_audio_that_can_be_decoded_late_keeps_its_time(encode_tone: EncodeTone) -> None:
    """The configuration comes after three seconds: the first word that is heard was not said at 0."""
    packets = encode_tone("aac", seconds=5)
    bare = replace(packets[0].format, extradata=b"")
    sent = [replace(packet, format=bare) if packet.timestamp_ms < 3000 else packet for packet in packets]
    chunks, assembler = assemble(sent)
    assert assembler.stats.decode_errors > 100
    assert chunks[0].offset / 16_000 == pytest.approx(3.0, abs=0.05)
    assert chunks[-1].end / 16_000 == pytest.approx(5.0, abs=0.08)


def test_pcm_at_our_own_rate_passes_unchanged_up_to_full_scale() -> None:
    """Nothing wraps, nothing is scaled."""
    format = AudioFormat("pcm_s16le", b"", 16_000, 1, True)
    square = (np.tile([32_767] * 80 + [-32_768] * 80, 100)).astype("<i2").tobytes()
    chunks, _ = assemble([AudioPacket(n * 1000, square, format) for n in range(2)])
    assert timeline(chunks).tobytes() == square * 2


def test_loud_sound_is_limited_not_wrapped(encode_tone: EncodeTone) -> None:
    """Encoders overshoot full scale; the sign must not change."""
    chunks, assembler = assemble(encode_tone("aac", hz=200, level=1.2))
    sound = timeline(chunks).astype(int)
    assert sound.max() == 32_767
    assert sound.min() == -32_768
    assert np.abs(np.diff(sound)).max() < 10_000
    assert assembler.stats.decode_errors == 0
