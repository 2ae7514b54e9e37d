"""The body of an RTMP audio message: which codec, and the packet inside.

Sources: Adobe, "Video File Format Specification 10.1", E.4.2; Veovera, "Enhanced RTMP v2", ExAudioTagHeader.
"""

from __future__ import annotations

from typing import Final

from ingest.audio_packet import AudioFormat
from ingest.errors import ProtocolError

_RATES: Final = (5_512, 11_025, 22_050, 44_100)
_AAC: Final = 10
_ENHANCED: Final = 9
_LEGACY: Final = {  # SoundFormat -> codec, supported; AAC and PCM are told apart below
    1: ("adpcm_swf", False),
    2: ("mp3", True),
    4: ("nellymoser", False),
    5: ("nellymoser", False),
    6: ("nellymoser", False),
    7: ("pcm_alaw", True),
    8: ("pcm_mulaw", True),
    11: ("speex", False),
    14: ("mp3", True),
}
_FOURCC: Final = {
    b"Opus": ("opus", True),
    b"mp4a": ("aac", True),
    b".mp3": ("mp3", True),
    b"fLaC": ("flac", False),
    b"ac-3": ("ac3", False),
    b"ec-3": ("eac3", False),
}
_SEQUENCE_START: Final = 0
_CODED_FRAMES: Final = 1
_MULTITRACK: Final = 5
_MOD_EX: Final = 7
_ONE_TRACK: Final = 0
_MANY_CODECS: Final = 2

_ASC_RATES: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
)  # fmt: skip


class AudioTags:
    """Reads the audio messages of one publish in order and remembers the format they announced.

    Of several tracks (Enhanced RTMP multitrack) only track 0 is heard, as players do.
    """

    def __init__(self) -> None:
        self._format = AudioFormat("none", b"", None, None, False)
        self._announced = -1  # first byte of the last legacy message, if the format is that one's

    def read(self, body: bytes) -> tuple[AudioFormat, bytes] | None:
        """The packet in one message body; None when it carries a configuration, another track or nothing.

        Raises: ProtocolError when a header is cut short.
        """
        if not body:
            return None
        first = body[0]
        sound = first >> 4
        if sound == _AAC:
            if len(body) > 2 and body[1] == 1:
                if self._format.codec != "aac":  # the configuration never came; let the decoder say so
                    self._become("aac", True, b"", None, None)
                return self._format, body[2:]
            if len(body) > 2 and body[1] == 0:
                self._become("aac", True, body[2:], *_aac_shape(body[2:]))
            return None
        if sound == _ENHANCED:
            return self._enhanced(body)
        if first != self._announced:
            self._legacy(first)
            self._announced = first
        return (self._format, body[1:]) if len(body) > 1 else None

    def _legacy(self, first: int) -> None:
        sound, wide, channels = first >> 4, first & 2, (first & 1) + 1
        if sound in (0, 3):
            self._become("pcm_s16le" if wide else "pcm_u8", True, b"", _RATES[first >> 2 & 3], channels)
        elif sound in (7, 8):
            self._become(*_LEGACY[sound], b"", 8_000, channels)
        else:
            codec, supported = _LEGACY.get(sound, (f"audio format {sound}", False))
            self._become(codec, supported, b"", None, None)

    def _enhanced(self, body: bytes) -> tuple[AudioFormat, bytes] | None:
        kind = body[0] & 0x0F
        at = 1
        while kind == _MOD_EX:
            size = _byte(body, at) + 1
            at += 1
            if size == 256:
                size = (_byte(body, at) << 8 | _byte(body, at + 1)) + 1
                at += 2
            kind = _byte(body, at + size) & 0x0F
            at += size + 1
        end = len(body)
        if kind == _MULTITRACK:
            tracks, kind = _byte(body, at) >> 4, _byte(body, at) & 0x0F
            at += 1
            if tracks != _MANY_CODECS:
                fourcc, at = _fourcc(body, at)
            while True:
                if at >= end:
                    return None  # track 0 is not in this message
                if tracks == _MANY_CODECS:
                    fourcc, at = _fourcc(body, at)
                track = _byte(body, at)
                at += 1
                size = end - at
                if tracks != _ONE_TRACK:
                    size = _byte(body, at) << 16 | _byte(body, at + 1) << 8 | _byte(body, at + 2)
                    at += 3
                if track == 0:
                    end = min(end, at + size)
                    break
                at += size
        else:
            fourcc, at = _fourcc(body, at)
        codec, supported = _FOURCC.get(fourcc, (fourcc.decode("ascii", "replace"), False))
        if kind == _SEQUENCE_START:
            extradata = body[at:end]
            shape = _aac_shape(extradata) if codec == "aac" else _opus_shape(extradata)
            self._become(codec, supported, extradata, *shape)
        elif kind == _CODED_FRAMES and at < end:
            if self._format.codec != codec:
                self._become(codec, supported, b"", None, None)
            return self._format, body[at:end]
        return None

    def _become(
        self, codec: str, supported: bool, extradata: bytes, sample_rate: int | None, channels: int | None
    ) -> None:
        """Keep the object when nothing changed: encoders repeat their configuration."""
        self._announced = -1
        format = AudioFormat(codec, extradata, sample_rate, channels, supported)
        if format != self._format:
            self._format = format


def _aac_shape(config: bytes) -> tuple[int | None, int | None]:
    """Rate (Hz) and channels of an AudioSpecificConfig; the decoder may still double either (SBR, PS).

    Source: ISO/IEC 14496-3, 1.6.2.1: 5 bits object type, 4 bits rate index, 4 bits channels.
    """
    if len(config) < 2:
        return None, None
    bits = config[0] << 8 | config[1]
    index, channels = bits >> 7 & 0x0F, bits >> 3 & 0x0F
    if bits >> 11 == 31 or index >= len(_ASC_RATES):  # escape codes: rare, and the decoder reads them
        return None, None
    return _ASC_RATES[index], channels or None


def _opus_shape(head: bytes) -> tuple[int | None, int | None]:
    """Opus always decodes at 48 kHz; channels stand in the tenth byte of OpusHead (RFC 7845, 5.1)."""
    return (48_000, head[9]) if head[:8] == b"OpusHead" and len(head) > 9 else (None, None)


def _byte(body: bytes, at: int) -> int:
    if at >= len(body):
        raise ProtocolError("malformed audio", "its header is cut short")
    return body[at]


def _fourcc(body: bytes, at: int) -> tuple[bytes, int]:
    _byte(body, at + 3)
    return body[at : at + 4], at + 4
