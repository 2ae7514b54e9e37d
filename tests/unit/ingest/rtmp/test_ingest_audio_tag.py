"""FLV audio bodies, old and enhanced."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ProtocolError
from ingest.rtmp.audio_tag import AudioTags

ASC_48K_STEREO = b"\x11\x90"
OPUS_HEAD = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"


def test_aac_announces_itself_before_its_frames() -> None:
    """The configuration makes no packet; frames after it carry its facts."""
    tags = AudioTags()
    assert tags.read(b"\xaf\x00" + ASC_48K_STEREO) is None
    packet = tags.read(b"\xaf\x01frame")
    assert packet is not None
    format, payload = packet
    assert (format.codec, format.extradata, format.sample_rate, format.channels) == ("aac", ASC_48K_STEREO, 48_000, 2)
    assert payload == b"frame"
    assert format.supported


def test_a_repeated_configuration_keeps_the_format_a_changed_one_does_not() -> None:
    """A decoder is rebuilt only for a reason."""
    tags = AudioTags()
    seen = []
    for config in (ASC_48K_STEREO, ASC_48K_STEREO, b"\x12\x08"):
        tags.read(b"\xaf\x00" + config)
        packet = tags.read(b"\xaf\x01x")
        assert packet
        seen.append(packet[0])
    assert seen[0] is seen[1]
    assert (seen[2].sample_rate, seen[2].channels) == (44_100, 1)


def test_an_aac_frame_without_configuration_is_passed_on_for_the_decoder_to_complain() -> None:
    """It is not lost silently."""
    packet = AudioTags().read(b"\xaf\x01frame")
    assert packet is not None
    assert packet[0].codec == "aac"
    assert packet[0].extradata == b""


@pytest.mark.parametrize("between", [b"\xaf\x01frame", b"\x91Opusframe"])
def test_a_codec_that_comes_again_behind_another_is_known_again(between: bytes) -> None:
    """Its first byte says so, though it is the same as before."""
    tags = AudioTags()
    read = [tags.read(body) for body in (b"\x2fa", between, b"\x2fb")]
    assert [packet[0].codec for packet in read if packet] == ["mp3", "aac" if between[0] == 0xAF else "opus", "mp3"]


@pytest.mark.parametrize(
    ("first", "codec", "rate", "channels", "supported"),
    [
        (0x2F, "mp3", None, None, True),
        (0xE6, "mp3", None, None, True),
        (0x72, "pcm_alaw", 8_000, 1, True),
        (0x83, "pcm_mulaw", 8_000, 2, True),
        (0x3F, "pcm_s16le", 44_100, 2, True),
        (0x34, "pcm_u8", 11_025, 1, True),
        (0x06, "pcm_s16le", 11_025, 1, True),
        (0xB2, "speex", None, None, False),
        (0x6A, "nellymoser", None, None, False),
        (0x1F, "adpcm_swf", None, None, False),
        (0xDF, "audio format 13", None, None, False),
    ],
)
def test_the_old_codecs(first: int, codec: str, rate: int | None, channels: int | None, supported: bool) -> None:
    """Those we cannot decode are named, not hidden."""
    packet = AudioTags().read(bytes((first,)) + b"data")
    assert packet is not None
    format, payload = packet
    assert (format.codec, format.sample_rate, format.channels, format.supported) == (codec, rate, channels, supported)
    assert payload == b"data"


@pytest.mark.parametrize(
    ("fourcc", "extradata", "codec", "rate", "supported"),
    [
        (b"Opus", OPUS_HEAD, "opus", 48_000, True),
        (b"mp4a", ASC_48K_STEREO, "aac", 48_000, True),
        (b".mp3", b"", "mp3", None, True),
        (b"fLaC", b"fLaC....", "flac", None, False),
        (b"ac-3", b"", "ac3", None, False),
        (b"zzzz", b"", "zzzz", None, False),
    ],
)
def test_enhanced_codecs(fourcc: bytes, extradata: bytes, codec: str, rate: int | None, supported: bool) -> None:
    """Sequence start, coded frames, sequence end."""
    tags = AudioTags()
    assert tags.read(b"\x90" + fourcc + extradata) is None
    packet = tags.read(b"\x91" + fourcc + b"data")
    assert packet is not None
    assert (packet[0].codec, packet[0].sample_rate, packet[0].supported) == (codec, rate, supported)
    assert packet[0].extradata == extradata
    assert packet[1] == b"data"
    assert tags.read(b"\x92" + fourcc) is None
    assert tags.read(b"\x94" + fourcc + b"\x01\x02") is None


@pytest.mark.parametrize(
    "body",
    [
        b"\x97\x02\x00\x00\x05\x01Opusdata",  # ModEx with 3 bytes (nanoseconds), then coded frames
        b"\x97\xff\x00\xff" + bytes(256) + b"\x01Opusdata",  # ModEx with a long size
        b"\x97\x00\x00\x07\x00\x00\x01Opusdata",  # two of them
        b"\x95\x01Opus\x00data",  # multitrack, one track
        b"\x95\x11Opus\x01\x00\x00\x02xx\x00\x00\x00\x04data",  # many tracks, ours second
        b"\x95\x21fLaC\x01\x00\x00\x02xxOpus\x00\x00\x00\x04data",  # many tracks, many codecs
    ],
)
def test_enhanced_extensions(body: bytes) -> None:
    """Modifiers are stepped over; of several tracks, number 0 is taken."""
    packet = AudioTags().read(body)
    assert packet is not None
    assert (packet[0].codec, packet[1]) == ("opus", b"data")


def test_another_track_is_not_ours() -> None:
    """OBS sends a second track for recordings."""
    assert AudioTags().read(b"\x95\x01Opus\x01data") is None


@pytest.mark.parametrize("body", [b"", b"\xaf", b"\xaf\x01", b"\xaf\x00", b"\x2f", b"\x91Opus"])
def test_bodies_without_audio_mean_nothing(body: bytes) -> None:
    """Some encoders send empty messages to keep time."""
    assert AudioTags().read(body) is None


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_garbage_raises_nothing_else(bodies: list[bytes]) -> None:
    """Also with the enhanced marker, where lengths are read from the data."""
    tags = AudioTags()
    for body in bodies:
        for first in (b"", b"\x95", b"\x97"):
            with contextlib.suppress(ProtocolError):
                tags.read(first + body)
