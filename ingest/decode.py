"""Compressed packets to samples, by FFmpeg's decoders through PyAV."""

from __future__ import annotations

from typing import Final, NamedTuple, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.codec.codec import UnknownCodecError
from av.error import FFmpegError

from ingest.audio_packet import AudioFormat
from ingest.downmix import Downmix
from ingest.errors import Undecodable, UnsupportedCodec

Mono = npt.NDArray[np.float32]

_FRONT_CHANNELS: Final = 3  # left, right and centre come first in FFmpeg's order
_SAMPLE_FORMATS: Final[dict[str, tuple[type[np.generic], float, float]]] = {  # type, zero level, full scale
    "flt": (np.float32, 0, 1),
    "s16": (np.int16, 0, 1 << 15),
    "s32": (np.int32, 0, 1 << 31),
    "u8": (np.uint8, 1 << 7, 1 << 7),
}


class Run(NamedTuple):
    """Consecutive samples, mono, full scale 1, at `sample_rate` Hz."""

    sample_rate: int
    samples: Mono

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.sample_rate


class PacketDecoder:
    """One codec with one configuration; a changed `AudioFormat` needs a new decoder.

    The work is done inside the codec, which releases the GIL: about 20 us for a packet of AAC.
    """

    def __init__(self, format: AudioFormat) -> None:
        """Raises: UnsupportedCodec."""
        if not format.supported:
            raise UnsupportedCodec(format.codec)
        try:
            codec = cast(AudioCodecContext, av.CodecContext.create(format.codec, "r"))
        except UnknownCodecError as error:  # a build of FFmpeg without it
            raise UnsupportedCodec(format.codec) from error
        codec.thread_count = 1
        if format.extradata:
            codec.extradata = format.extradata
        if format.codec.startswith("pcm_"):  # nothing in the packets says so
            codec.sample_rate = format.sample_rate or 8_000
            codec.layout = "stereo" if format.channels == 2 else "mono"
        self._codec = codec
        self._downmix: Downmix | None = None

    def decode(self, payload: bytes | None) -> list[Run]:
        """The samples of one packet: usually one run, none while the decoder fills. None empties the decoder.

        Raises: Undecodable; the next packet may be fine.
        """
        try:
            frames = self._codec.decode(None if payload is None else av.Packet(payload))
            return [Run(frame.sample_rate, self._mono(frame)) for frame in frames]
        except (FFmpegError, ValueError, KeyError) as error:
            raise Undecodable(str(error)) from error

    def _mono(self, frame: AudioFrame) -> Mono:
        """Of two channels what `Downmix` makes of them, else the mean of the front ones."""
        tracks = _front(frame)
        if len(tracks) == 2:
            if self._downmix is None:
                self._downmix = Downmix(frame.sample_rate)
            return self._downmix.mix(*tracks)
        mono = tracks[0].copy()
        for track in tracks[1:]:
            mono += track
        mono /= len(tracks)
        return mono


def _front(frame: AudioFrame) -> list[Mono]:
    """The front channels, full scale 1."""
    name = frame.format.name
    planar = frame.format.is_planar
    type, zero, scale = _SAMPLE_FORMATS[name[:-1] if planar else name]
    channels = frame.layout.nb_channels
    front = min(channels, _FRONT_CHANNELS)
    if planar:
        tracks = [np.frombuffer(memoryview(plane), type, frame.samples) for plane in frame.planes[:front]]
    else:
        together = np.frombuffer(memoryview(frame.planes[0]), type, frame.samples * channels).reshape(-1, channels)
        tracks = [together[:, channel] for channel in range(front)]
    if type is np.float32:
        return tracks
    return [((track.astype(np.float32) - zero) / scale) for track in tracks]
