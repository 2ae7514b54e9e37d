"""A made-up spoken language that a machine hears exactly: every word is its own pattern of tones.

It lets tests send real audio through the real protocol and know to the word what must come back.

A word lasts 200 ms: four slots of 50 ms, each one pure tone. The first slot is the marker; the other three have nine
tones each, no tone in two slots, and the third is the sum of the first two (mod 9). So a word that is cut or spliced
is no word: with a slot missing, doubled or foreign, either the order of the slots or the sum is wrong. Tones lie
100 Hz apart in the band that telephone codecs pass and the WebRTC voice detector calls speech; multiples of 50 Hz are
orthogonal over the 20 ms window of the listener.

The jitter buffer of a media server's client stretches and squeezes what comes late or in bursts: 10 to 50 ms of a word
on a busy machine. An engine that allows for that still refuses words with a slot missing or foreign.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stt.local.recogniser import (
    Event,
    Finished,
    Hear,
    Heard,
    Listening,
    Recogniser,
    SpeechEnded,
    SpeechStarted,
    Word,
)

RATE: Final = 16_000
SLOT_S: Final = 0.05
WORD_S: Final = 4 * SLOT_S

_HOP: Final = 80  # 5 ms between looks
_WINDOW: Final = 320
_HOP_S: Final = _HOP / RATE
_WINDOW_S: Final = _WINDOW / RATE
_CHOICES: Final = 9  # tones of a slot
_MARKER: Final = 3 * _CHOICES
_TONES: Final = _MARKER + 1
_FREQUENCIES: Final = 950.0 + 100.0 * np.arange(_TONES)
_MIXED: Final = -1
_SILENT: Final = -2
_PURE: Final = 0.75  # share of a window's energy that its strongest tone must have
_QUIET: Final = 150.0  # RMS below which a window is silence (-47 dBFS)
_SLOT_LOOKS: Final = round((SLOT_S - _WINDOW_S) / _HOP_S) + 1  # windows that lie wholly inside one slot
_LOOKS_SLACK: Final = 3
_SHORTEST_S: Final = WORD_S - 0.02
_LONGEST_S: Final = WORD_S + 0.02
# Of audio from a jitter buffer:
_FEWEST_LOOKS: Final = 2
_LONGEST_HOLE: Final = 8  # looks of silence or of mixed tones inside a word
_LONGEST_STRETCHED_S: Final = 3 * WORD_S

_NAMES: Final = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliet kilo lima mike november oscar papa quebec romeo "
    "sierra tango uniform victor whiskey xray yankee zulu zero one two three four five six seven eight nine ten "
    "red orange yellow green blue violet black white north south east west spring summer autumn winter monday "
    "tuesday wednesday thursday friday saturday sunday apple cherry lemon melon peach river mountain valley ocean "
    "island forest desert meadow canyon glacier harbor bridge castle garden market station"
)


def _codebook() -> dict[str, tuple[int, int, int]]:
    pairs = [(a, b) for a in range(_CHOICES) for b in range(_CHOICES)]
    # Tone 3n + i belongs to slot i, so that every slot uses the whole band.
    return {
        name: (3 * a, 3 * b + 1, 3 * ((a + b) % _CHOICES) + 2)
        for name, (a, b) in zip(_NAMES.split(), pairs, strict=True)
    }


_CODES: Final = _codebook()
_WORDS: Final = {code: name for name, code in _CODES.items()}
VOCABULARY: Final = tuple(_CODES)


def speak(
    words: str | Sequence[str],
    *,
    gap_s: float = 0.03,
    lead_s: float = 0.0,
    tail_s: float = 0.0,
    pauses: Sequence[float] = (),
    amplitude: int = 8000,
) -> tuple[bytes, list[tuple[str, float, float]]]:
    """Say `words` (a sequence, or one string split at spaces), each of VOCABULARY.

    `lead_s` and `tail_s`: silence around them; `gap_s`: silence between two words, `pauses[i]` seconds more after
    word i. With the provider's default endpointing of 50 ms a gap of 30 ms keeps words in one utterance.

    Returns: 16 kHz mono s16le, and (word, start, end) in seconds.
    Raises: KeyError for a word that is not in VOCABULARY.
    """
    words = words.split() if isinstance(words, str) else words
    pieces: list[npt.NDArray[np.int16]] = [_silence(lead_s)]
    said: list[tuple[str, float, float]] = []
    at = len(pieces[0])
    for i, word in enumerate(words):
        sound = _sound(word, amplitude)
        said.append((word, at / RATE, (at + len(sound)) / RATE))
        rest = _silence((gap_s if i + 1 < len(words) else 0.0) + (pauses[i] if i < len(pauses) else 0.0))
        pieces += [sound, rest]
        at += len(sound) + len(rest)
    pieces.append(_silence(tail_s))
    return np.concatenate(pieces).astype("<i2").tobytes(), said


def _silence(seconds: float) -> npt.NDArray[np.int16]:
    return np.zeros(round(seconds * RATE), np.int16)


def _sound(word: str, amplitude: int) -> npt.NDArray[np.int16]:
    size = round(SLOT_S * RATE)
    ramp = np.minimum(1.0, np.arange(1, size + 1) / 32)  # 2 ms, against clicks
    shape = amplitude * ramp * ramp[::-1]
    time = np.arange(size) / RATE
    slots = [shape * np.sin(2 * np.pi * _FREQUENCIES[tone] * time) for tone in (_MARKER, *_CODES[word])]
    sound: npt.NDArray[np.int16] = np.rint(np.concatenate(slots)).astype(np.int16)
    return sound


class ScriptedEngine:
    """Hears what `speak` says, in the calling thread, several hundred times faster than real time."""

    name = "scripted"
    languages: frozenset[str] | None = None

    def __init__(self, *, jittery: bool = False) -> None:
        """`jittery`: the audio has been through a jitter buffer, so words may be stretched or squeezed."""
        self._jittery = jittery

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to stop."""

    def open(self, listening: Listening, hear: Hear) -> Recogniser:
        """A recogniser that calls `hear` within `feed` and `finish`."""
        return (JitteryRecogniser if self._jittery else ScriptedRecogniser)(listening, hear)

    def annotate(self, kind: str, words: tuple[Word, ...]) -> list[dict[str, Any]] | None:
        """Days of the week are dates; a sentence with summer in it is happy, one with winter is not."""
        if kind == "named_entity_recognition":
            return [
                {"entity_type": "DATE", "text": word.text, "start": word.start, "end": word.end}
                for word in words
                if word.text.endswith("day")
            ]
        said = {word.text for word in words}
        sentiment = "positive" if "summer" in said else "negative" if "winter" in said else "neutral"
        emotion = {"positive": "positive_excitement", "negative": "sadness", "neutral": "neutral"}[sentiment]
        text = " ".join(word.text for word in words)
        return [
            {"sentiment": sentiment, "emotion": emotion, "text": text, "start": words[0].start, "end": words[-1].end}
        ]

    def translate(self, text: str, target: str) -> str | None:
        """Every language of this engine is English in capitals."""
        return text.upper()


class ScriptedRecogniser:
    """Cuts the audio into looks of 20 ms every 5 ms, names each look's tone, and reads words off runs of tones."""

    def __init__(self, listening: Listening, hear: Hear) -> None:
        self._listening, self._hear = listening, hear
        self._held = np.empty(0, np.int16)  # samples not yet looked at, and the window's overlap
        self._look = 0  # number of the look that `_held` starts with
        self._tone, self._since, self._length = _SILENT, 0, 0  # the current run
        self._runs: list[tuple[int, int, int]] = []  # tone, first look, looks: of the word being heard
        self._utterance = 0
        self._began: float | None = None
        self._voiced_until = 0.0
        self._words: list[Word] = []

    def feed(self, pcm: bytes) -> None:
        self._held = np.concatenate([self._held, np.frombuffer(pcm, "<i2")])
        looks = (len(self._held) - _WINDOW) // _HOP + 1
        if looks > 0:
            for tone in _name_tones(self._held, looks):
                self._step(tone)
            self._held = self._held[looks * _HOP :].copy()

    def finish(self) -> None:
        self.feed(bytes(2 * _WINDOW))  # lets the last window see the end
        self._end_run()
        self._close_utterance()
        self._hear(Finished())

    def close(self) -> None:
        self._hear = _deaf

    @property
    def behind_s(self) -> float:
        return 0.0

    async def room(self) -> None:
        """Never behind."""

    def _step(self, tone: int) -> None:
        start = self._look * _HOP_S
        if tone != _SILENT:
            self._voiced_until = start + _WINDOW_S
            if self._began is None:
                # Only the far end of a first window is loud; a slot earlier than half a window is not possible.
                self._began = start + _WINDOW_S / 2
                self._hear(SpeechStarted(self._began))
        if tone != self._tone:
            self._end_run()
            self._tone, self._since, self._length = tone, self._look, 0
        self._length += 1
        self._look += 1
        if self._began is not None:
            silence = start + _WINDOW_S - self._voiced_until
            spoken = start - self._began
            overlong = spoken >= self._listening.longest_s and not self._inside_word(start)
            if silence >= self._listening.endpointing_s or overlong:
                self._end_run()
                self._close_utterance()

    def _inside_word(self, now: float) -> bool:
        first = self._runs[0][1] if self._runs else self._since if self._tone == _MARKER else None
        return first is not None and now - first * _HOP_S < _LONGEST_S

    def _end_run(self) -> None:
        """The tone changed: does the run that ends here begin, continue, complete or spoil a word?"""
        tone, first, length = self._tone, self._since, self._length
        self._length = 0
        if length == 0 or tone == _MIXED:
            return  # windows across two slots are mixed; they separate runs but say nothing
        # Where audio was cut, the same tone may stand before a word or behind it: the word's own slot counts.
        if tone == _MARKER and length > _SLOT_LOOKS:
            first, length = first + length - _SLOT_LOOKS, _SLOT_LOOKS
        elif len(self._runs) == 3 and length > _SLOT_LOOKS:
            length = _SLOT_LOOKS
        if abs(length - _SLOT_LOOKS) > _LOOKS_SLACK:
            self._runs.clear()
        elif tone == _MARKER:
            self._runs = [(tone, first, length)]
        elif self._runs and tone != _SILENT:
            self._runs.append((tone, first, length))
            if len(self._runs) == 4:
                self._end_word()
        else:
            self._runs.clear()

    def _is_word_long(self, seconds: float) -> bool:
        return _SHORTEST_S <= seconds <= _LONGEST_S

    def _end_word(self) -> None:
        runs, self._runs = self._runs, []
        name = _WORDS.get((runs[1][0], runs[2][0], runs[3][0]))
        # The middle of a run is the middle of its slot, whatever the alignment of the windows.
        middles = [(first + (length - 1) / 2) * _HOP_S + _WINDOW_S / 2 for _, first, length in runs]
        start, end = middles[0] - SLOT_S / 2, middles[3] + SLOT_S / 2
        if name is None or not self._is_word_long(end - start):
            return
        self._words.append(Word(name, round(max(start, 0.0), 3), round(end, 3), 0.99))
        if self._listening.partials:
            self._hear(Heard(self._utterance, tuple(self._words), is_final=False))

    def _close_utterance(self) -> None:
        if self._began is None:
            return
        self._runs.clear()
        events: list[Event] = [SpeechEnded(max(self._voiced_until - _WINDOW_S / 2, self._began))]
        if self._words:
            events.append(Heard(self._utterance, tuple(self._words), is_final=True))
        self._began, self._words = None, []
        self._utterance += 1
        for event in events:
            self._hear(event)


class JitteryRecogniser(ScriptedRecogniser):
    """Reads the order of the tones of a word and not their lengths; a short hole within a tone is bridged."""

    def _is_word_long(self, seconds: float) -> bool:
        return seconds <= _LONGEST_STRETCHED_S

    def _end_run(self) -> None:
        tone, first, length = self._tone, self._since, self._length
        self._length = 0
        if tone in (_MIXED, _SILENT):
            if length > _LONGEST_HOLE:
                self._runs.clear()
        elif length < _FEWEST_LOOKS:
            return
        elif tone == _MARKER and not (self._runs and self._runs[-1][0] == _MARKER):
            self._runs = [(tone, first, length)]
        elif self._runs and tone == self._runs[-1][0]:
            begin = self._runs[-1][1]
            self._runs[-1] = (tone, begin, first + length - begin)
        elif self._runs:
            self._runs.append((tone, first, length))
            if len(self._runs) == 4:
                self._end_word()


def _deaf(event: Event) -> None:
    """Where events of a closed recogniser go."""


def _basis() -> npt.NDArray[np.float32]:
    phase = 2 * np.pi * np.arange(_WINDOW)[:, None] * _FREQUENCIES[None, :] / RATE
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32)


_BASIS: Final = _basis()


def _name_tones(samples: npt.NDArray[np.int16], looks: int) -> list[int]:
    """For each of the first `looks` windows: the number of its tone, _MIXED or _SILENT."""
    used = samples[: (looks - 1) * _HOP + _WINDOW]
    if not used.any():
        return [_SILENT] * looks
    windows = np.lib.stride_tricks.sliding_window_view(used.astype(np.float32), _WINDOW)[::_HOP]
    energy = np.einsum("ij,ij->i", windows, windows)
    parts = windows @ _BASIS
    power = parts[:, :_TONES] ** 2 + parts[:, _TONES:] ** 2
    best = power.argmax(axis=1)
    share = power[np.arange(looks), best] * (2 / _WINDOW) / np.maximum(energy, 1.0)
    named = np.where(share >= _PURE, best, _MIXED)
    found: list[int] = np.where(energy < _QUIET**2 * _WINDOW, _SILENT, named).tolist()
    return found
