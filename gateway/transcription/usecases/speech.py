"""The way to the speech provider, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.transcription.domain.captions import Utterance
from gateway.transcription.domain.receipt import Listened
from gateway.transcription.domain.speech import SpeechOptions


@dataclass(frozen=True, slots=True)
class Translation:
    utterance_id: str
    original_language: str | None
    target_language: str
    text: str


@dataclass(frozen=True, slots=True)
class Annotation:
    """What else the provider found in an utterance. `kind`: namedEntities or sentiment.

    `results` as the provider tells them, but `start` and `end` are seconds since the track's anchor.
    """

    utterance_id: str
    kind: str
    results: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The partials of this utterance get no final; their audio is heard again under another id."""

    utterance_id: str


@dataclass(frozen=True, slots=True)
class SpeechLost:
    """Audio was given up before the provider could hear it: seconds on the track's clock."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class ProviderComplaint:
    message: str


Speech = Utterance | Translation | Annotation | Withdrawn | SpeechLost | ProviderComplaint


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """One session at the provider, reported when opened and when over."""

    id: str
    over: bool
    seconds_sent: float
    outcome: str
    seconds_resent: float = 0.0
    url: str = field(default="", repr=False)
    """Carries the session's credential: for the books only."""


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """`complete`: no final can be missing. `refused`: why the provider would not work for us at all."""

    complete: bool
    refused: str | None


class SpeechLink(Protocol):
    """One track's way to the provider."""

    def send(self, offset: int, pcm: bytes) -> None: ...
    def finish(self, flush_s: float) -> None: ...
    async def run(self) -> LinkEnd: ...

    @property
    def state(self) -> str:
        """idle, creating, waiting, connecting, streaming, flushing, fetching."""

    @property
    def sent_samples(self) -> int: ...
    @property
    def messages_sent(self) -> int: ...
    @property
    def backlog_s(self) -> float: ...
    @property
    def listened(self) -> Listened:
        """What of this track's chunks was speech, silent, and kept from the provider."""

    @property
    def is_mute(self) -> bool:
        """Speech has gone to the provider for too long without any text coming back."""


class Transcriber(Protocol):
    @property
    def engine(self) -> str:
        """What is shown to people: `gladia`, `pocketsphinx`, …"""

    @property
    def trouble(self) -> str | None:
        """Why the provider serves nobody now; None while it answers."""

    @property
    def gate(self) -> str:
        """The mode of the voice-activity gate: off, shadow or on."""

    async def check_key(self) -> None:
        """Raises: ProviderRefusedKey when the provider is known to refuse us."""

    def open(
        self,
        options: SpeechOptions,
        labels: Mapping[str, str],
        hear: Callable[[Speech], None],
        report: Callable[[ProviderSession], None],
    ) -> SpeechLink: ...
