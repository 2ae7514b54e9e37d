"""What a speech engine is to the server: audio of one channel in, speech events out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from stt.errors import SttError


@dataclass(frozen=True, slots=True)
class Word:
    """`text` without spaces; `start` and `end` in seconds of the audio fed to the recogniser."""

    text: str
    start: float
    end: float
    confidence: float


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """`at` in seconds of the audio fed to the recogniser."""

    at: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """`at` in seconds of the audio fed to the recogniser."""

    at: float


@dataclass(frozen=True, slots=True)
class Heard:
    """The words of one utterance so far. Utterances count from 0; numbers of empty ones are left out."""

    utterance: int
    words: tuple[Word, ...]
    is_final: bool


@dataclass(frozen=True, slots=True)
class Stumbled:
    """The engine failed and goes on with a fresh decoder; `message` says what that costs."""

    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer to `finish`: nothing more will come."""


Event: TypeAlias = SpeechStarted | SpeechEnded | Heard | Stumbled | Finished
Hear: TypeAlias = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Listening:
    """How one channel wants to be heard. `endpointing_s`: the silence that closes an utterance."""

    endpointing_s: float = 0.05
    longest_s: float = 5.0
    partials: bool = True


class Recogniser(Protocol):
    """One channel of one session. No method blocks; events may come during a call or later."""

    @property
    def behind_s(self) -> float:
        """Seconds of audio fed and not yet heard."""

    def feed(self, pcm: bytes) -> None:
        """Take whole samples, 16 kHz mono s16le."""

    def finish(self) -> None:
        """No more audio will come: report what is left, then `Finished`."""

    def close(self) -> None:
        """Forget the channel. No event follows."""

    async def room(self) -> None:
        """Return when the engine is close enough behind the audio to be given more."""


class Engine(Protocol):
    """`languages`: the codes it understands, None for any."""

    name: str
    languages: frozenset[str] | None

    async def start(self) -> None:
        """Return when audio can be heard. Raises: EngineUnavailable."""

    async def close(self) -> None:
        """Let go of everything; recognisers that are open hear nothing more. Harmless before `start`."""

    def open(self, listening: Listening, hear: Hear) -> Recogniser:
        """Begin to hear one channel. `hear` is called from the event loop and must not wait."""

    def annotate(self, kind: str, words: tuple[Word, ...]) -> list[dict[str, Any]] | None:
        """`results` of an add-on message of this kind without `channel`, or None when this engine cannot tell."""

    def translate(self, text: str, target: str) -> str | None:
        """`text` in the language `target`, or None when this engine cannot translate."""


class EngineUnavailable(SttError):
    """The engine cannot be loaded; the message says why and what to do."""
