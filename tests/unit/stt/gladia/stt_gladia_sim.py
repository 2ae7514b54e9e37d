"""A provider of one's own choosing in memory: no sockets, no clock, every order of events.

Its language: a word is 100 ms of one number, silence is zero. So it hears whole words, and only whole words.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from stt.gladia import messages as wire

RATE = 16_000
WORD = 1600
BETWEEN = 160
PAUSE = 2400
_ENDPOINT = 800

Samples = npt.NDArray[np.int16]


def say(words: list[int], silences: dict[int, int]) -> tuple[Samples, list[tuple[int, int]]]:
    """Audio of these words, a pause behind every third, and (word, first sample) of each.

    `silences`: so many samples of silence behind the n-th word.
    """
    pieces, said = [np.zeros(PAUSE, np.int16)], []
    at = PAUSE
    for n, word in enumerate(words):
        said.append((word, at))
        rest = silences.get(n, PAUSE if n % 3 == 2 else BETWEEN)
        pieces += [np.full(WORD, word, np.int16), np.zeros(rest, np.int16)]
        at += WORD + rest
    return np.concatenate([*pieces, np.zeros(PAUSE, np.int16)]), said


class SimSession:
    """One session at the provider. `out`: what it has said and the network has not yet carried."""

    def __init__(self, number: int) -> None:
        self.id = f"session-{number}"
        self.url = f"ws://{self.id}"
        self.out: deque[wire.Message] = deque()
        self.is_stopped = self.is_dead = False
        self._held: deque[Samples] = deque()
        self._heard = 0
        self.heard: list[Samples] = []
        self._pending = np.empty(0, np.int16)
        self._utterances: list[wire.SpokenUtterance] = []

    def receive(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            if self.is_stopped:
                self.out.append(wire.AudioRefused("stopped"))
            else:
                self._held.append(np.frombuffer(message, "<i2"))
        elif message == wire.STOP:
            self.stop()

    def acknowledge(self, count: int, *, lost: bool = False) -> None:
        """Hear the oldest messages that came; the acknowledgements may be lost."""
        for _ in range(min(count, len(self._held))):
            begin = self._heard
            self._hear(self._held.popleft())
            if not lost:
                self.out.append(wire.AudioAcknowledged(begin * 2, self._heard * 2))

    def cut(self, *, keep: bool, replay: bool) -> None:
        self.out = deque(m for m in self.out if replay and not isinstance(m, wire.AudioAcknowledged))
        if keep:
            while self._held:
                self._hear(self._held.popleft())
        self._held.clear()
        if not replay:
            self.out.clear()

    def stop(self) -> None:
        if not self.is_stopped:
            self.is_stopped = True
            self.acknowledge(len(self._held))
            self._finalise(self._pending)
            self._pending = np.empty(0, np.int16)
        self.out.append(wire.StopAcknowledged())
        self.out.append(wire.Concluded(self.result))
        self.out.append(wire.SessionEnded())

    @property
    def result(self) -> wire.Result:
        return wire.Result(
            wire._Metadata(audio_duration=round(self._heard / RATE, 3)),
            wire._Transcription(tuple(self._utterances)),
        )

    def _hear(self, audio: Samples) -> None:
        self._heard += len(audio)
        self.heard.append(audio)
        self._pending = np.concatenate([self._pending, audio])
        while (end := self._utterance_end()) is not None:
            self._finalise(self._pending[:end])
            self._pending = self._pending[end:]

    def _utterance_end(self) -> int | None:
        voiced = np.flatnonzero(self._pending)
        if not len(voiced):
            return None
        gaps = np.diff(np.append(voiced, len(self._pending)))
        long = np.flatnonzero(gaps > _ENDPOINT)
        return int(voiced[long[0]]) + _ENDPOINT if len(long) else None

    def _finalise(self, audio: Samples) -> None:
        offset = self._heard - len(self._pending)
        borders = np.flatnonzero(np.diff(audio)) + 1
        words = [
            wire._Word(f" {run[0]}", (offset + start) / RATE, (offset + start + WORD) / RATE, 0.9)
            for run, start in zip(np.split(audio, borders), [0, *borders.tolist()], strict=True)
            if len(run) == WORD and run[0]
        ]
        if not words:
            return
        text = "".join(word.word for word in words)
        spoken = wire.SpokenUtterance(text, words[0].start, words[-1].end, 0.9, 0, "en", tuple(words))
        number = len(self._utterances)
        self._utterances.append(spoken)
        self.out.append(wire.Transcribed(f"00_{number:08d}", False, spoken))
        self.out.append(wire.Transcribed(f"00_{number:08d}", True, spoken))
