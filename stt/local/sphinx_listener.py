"""Cuts one channel's audio into utterances and has a PocketSphinx decoder read them.

Frames of 20 ms; measured choices from the project's engine study: WebRTC detection in mode 2, 300 ms of pre-roll (no
onset lost), a slow gain towards -26 dBFS (the decoder's features follow loudness), the decoder kept for the whole
channel with its cepstral mean carried from utterance to utterance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final, Protocol

import numpy as np

from stt.local.sphinx_wire import Ended, Open, Started, Text

RATE: Final = 16_000
FRAME: Final = 320
FRAME_BYTES: Final = 2 * FRAME
FRAME_S: Final = FRAME / RATE
PRE_ROLL: Final = 15  # frames
OPENS_ON: Final = 3  # voiced frames ...
OPENS_IN: Final = 5  # ... out of this many
DEAF_FRAMES: Final = 6  # the detector calls the first 100 ms of every track speech
SHORTEST_ENDPOINTING_S: Final = 0.3  # below that this decoder loses more words than it wins time
PARTIAL_FRAMES: Final = 5  # the more often words are seen, the surer it is soon which of them stay
TARGET_RMS: Final = 1642.0  # -26 dBFS
GAIN_RANGE: Final = (0.25, 16.0)
LEVEL_PACE: Final = 0.01  # share of a new frame in the running level: about 2 s of speech


class Detector(Protocol):
    """`pocketsphinx.Vad`."""

    def is_speech(self, frame: bytes) -> bool:
        """Whether a frame of FRAME samples (s16le) is speech."""


class Decoders(Protocol):
    """Loaded decoders, handed out and taken back."""

    def take(self) -> Any:
        """A decoder with nothing heard yet; loading one takes half a second."""

    def give_back(self, decoder: Any) -> None:
        """Outside an utterance; the next holder finds it as fresh."""


class Listener:
    """States: idle (no utterance), speaking (`_began` is the utterance's first sample)."""

    def __init__(self, how: Open, decoders: Decoders, detector: Detector) -> None:
        self._how, self._decoders, self._detector = how, decoders, detector
        self._decoder: Any = None
        self._held = b""
        self._start = self._position = how.position
        self.utterance = how.utterance
        self._ring: deque[tuple[bytes, bool]] = deque(maxlen=PRE_ROLL)
        self._began: int | None = None
        self._last_voiced = 0
        self._frames = 0
        self._shown = ""
        self._level: float | None = None

    @property
    def heard(self) -> int:
        """Samples since the channel's beginning that were pushed."""
        return self._position + len(self._held) // 2

    @property
    def settled(self) -> int:
        """Samples before the utterance in progress, or before what may become its pre-roll."""
        return self._position - len(self._ring) * FRAME if self._began is None else self._began

    def push(self, pcm: bytes, *, partials: bool) -> Iterable[Started | Ended | Text]:
        """Take whole samples of 16 kHz mono s16le."""
        data = self._held + pcm
        whole = len(data) - len(data) % FRAME_BYTES
        self._held = data[whole:]
        for at in range(0, whole, FRAME_BYTES):
            yield from self._frame(data[at : at + FRAME_BYTES], partials)

    def finish(self) -> Iterable[Started | Ended | Text]:
        """The audio is over: close what is open."""
        if self._held:
            yield from self.push(bytes(FRAME_BYTES - len(self._held)), partials=False)
        if self._began is not None:
            yield from self._close()

    def close(self) -> None:
        """Give the decoder back. Nothing may be pushed any more."""
        if self._decoder is not None:
            if self._began is not None:
                self._decoder.end_utt()
            self._decoders.give_back(self._decoder)
            self._decoder = None

    def _frame(self, frame: bytes, partials: bool) -> Iterable[Started | Ended | Text]:
        voiced = self._detector.is_speech(frame) and self._position - self._start >= DEAF_FRAMES * FRAME
        self._position += FRAME
        if self._began is None:
            self._ring.append((frame, voiced))
            recent = list(self._ring)[-OPENS_IN:]
            if sum(loud for _, loud in recent) >= OPENS_ON:
                yield self._begin()
            return
        self._read(frame, voiced)
        silence = (self._position - self._last_voiced) / RATE
        ended = silence >= max(self._how.endpointing_s, SHORTEST_ENDPOINTING_S)
        if ended or (self._position - self._began) / RATE >= self._how.longest_s:
            yield from self._close()
        elif partials and self._frames % PARTIAL_FRAMES == 0:
            yield from self._partial()

    def _begin(self) -> Started:
        if self._decoder is None:
            self._decoder = self._decoders.take()
        self._began = self._position - len(self._ring) * FRAME
        self._last_voiced = self._position
        self._frames, self._shown = 0, ""
        if self._level is None:
            loud = [_rms(frame) for frame, voiced in self._ring if voiced]
            self._level = sum(loud) / len(loud)
        self._decoder.start_utt()
        for frame, voiced in self._ring:
            self._decode(frame, voiced)
        self._ring.clear()
        return Started(self._began / RATE, self.utterance)

    def _read(self, frame: bytes, voiced: bool) -> None:
        if voiced:
            self._last_voiced = self._position
        self._decode(frame, voiced)

    def _decode(self, frame: bytes, voiced: bool) -> None:
        self._frames += 1
        level = self._level or TARGET_RMS
        if voiced:
            level += LEVEL_PACE * (_rms(frame) - level)
            self._level = level
        gain = min(max(TARGET_RMS / max(level, 1.0), GAIN_RANGE[0]), GAIN_RANGE[1])
        louder = np.clip(np.frombuffer(frame, "<i2") * np.float32(gain), -32768, 32767)
        self._decoder.process_raw(louder.astype("<i2").tobytes())

    def _partial(self) -> Iterable[Text]:
        hypothesis = self._decoder.hyp()
        text = hypothesis.hypstr if hypothesis is not None else ""
        if text != self._shown:
            self._shown = text
            words = self._words()
            if words:
                yield Text(self.utterance, words, is_final=False)

    def _close(self) -> Iterable[Ended | Text]:
        self._decoder.end_utt()
        words = self._words()
        yield Ended(self._last_voiced / RATE)
        if words:
            yield Text(self.utterance, words, is_final=True)
        self._began = None
        self.utterance += 1

    def _words(self) -> tuple[tuple[str, float, float, float], ...]:
        if self._decoder.hyp() is None or self._began is None:
            return ()
        zero = self._began / RATE
        return tuple(
            (
                # "read(2)" is the second way to pronounce "read".
                segment.word.partition("(")[0],
                round(zero + segment.start_frame / 100, 3),
                round(zero + (segment.end_frame + 1) / 100, 3),
                round(min(max(segment.prob, 0.0), 1.0), 3),
            )
            for segment in self._decoder.seg()
            if segment.word[0] not in "<[+"
        )


def _rms(frame: bytes) -> float:
    samples = np.frombuffer(frame, "<i2").astype(np.float32)
    return float(np.sqrt(np.mean(samples * samples)))
