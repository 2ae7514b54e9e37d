"""The way to the speech provider, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from gateway.transcription.domain.captions import Utterance
from gateway.transcription.domain.link_state import LinkState
from gateway.transcription.domain.speech import SpeechOptions
from gateway.transcription.domain.usage import Listened
from gateway.transcription.usecases.audio import AudioChunk


@dataclass(frozen=True, slots=True)
class Translation:
    """An utterance in another language. Language codes, for example `en`; `original_language` None: not told."""

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
    """Audio was given up before the provider could hear it. Seconds since the track's anchor.

    `kind`: why, as in `domain/lost_audio.py`.
    """

    start: float
    end: float
    kind: str = "overdue"


@dataclass(frozen=True, slots=True)
class ProviderComplaint:
    """The provider reports an error; the session goes on, or another one follows. `kind`: what it is about."""

    message: str
    kind: str = "engine"


@dataclass(frozen=True, slots=True)
class Unread:
    """A message of the provider could not be used. `may_be_final`: the words of a final may have been in it."""

    kind: str
    may_be_final: bool


Speech = Utterance | Translation | Annotation | Withdrawn | SpeechLost | ProviderComplaint | Unread


@dataclass(frozen=True, slots=True)
class ProviderSession:
    """One session at the provider, reported when it is opened (`over` False) and when it is over.

    Seconds of audio; `seconds_resent` is part of `seconds_sent`. `outcome`: how it ended, for people.
    """

    id: str
    over: bool
    seconds_sent: float
    outcome: str
    seconds_resent: float = 0.0
    url: str = field(default="", repr=False)
    """Carries the session's credential: for the ledger only."""
    is_current: bool = True
    """It was opened with what its link was asked for last."""


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """How a link has ended. `complete`: no final can be missing. `refused`: why the provider refuses this account."""

    complete: bool
    refused: str | None


class SpeechLink(Protocol):
    """One track's way to the provider. It survives cuts and lost sessions: audio without a final is sent again."""

    def send(self, chunk: AudioChunk) -> None:
        """Take the track's next chunk; in order. Never waits.

        What the provider does not take is held, bounded; then the oldest is given up and told as SpeechLost.
        """

    def change(self, options: SpeechOptions, *, at_once: bool = True) -> None:
        """From the next provider session on these are asked for. `at_once`: one takes over at the next pause, and hears
        again what has no final yet."""

    def rest(self) -> None:
        """Nobody is to be heard for now. What was sent gets its finals, and the provider session is ended; the next
        chunk, which leaves a gap, opens another."""

    def finish(self, flush_s: float) -> None:
        """No more audio comes: `run` returns when the last finals are there, within about `flush_s`."""

    def succeed(self, former: Self) -> int:
        """Take the place of a link that has failed, before anything else: hear again what it has no final for.

        Returns: the sample of the track up to which audio is held.
        """

    def unheard(self) -> Iterator[tuple[int, bytes]]:
        """The audio without a final that is held: offset in the track and s16le, in order, a second each at most."""

    def hear_again(self, offset: int, pcm: bytes) -> None:
        """As `send`, of what another link has held: its gate has let it through, and it was counted there."""

    async def run(self) -> LinkEnd:
        """Work until finished or refused. Once. When cancelled, it ends the provider session."""

    @property
    def state(self) -> LinkState:
        """What it is doing now."""

    @property
    def sent_samples(self) -> int:
        """Received by the provider, again when heard again. It only grows, as do the next two."""

    @property
    def messages_sent(self) -> int:
        """Messages with audio in them."""

    @property
    def listened(self) -> Listened:
        """What of this track's chunks was speech, silent, and withheld from the provider."""

    @property
    def is_speaking(self) -> bool:
        """Somebody speaks, or has just done so: not the moment to interrupt."""

    @property
    def is_in_word(self) -> bool:
        """Speech may be cut in the middle of a word now; not in the short pause behind one."""

    def sent_at(self, sample: int) -> float | None:
        """When that sample of the track was written to the provider's socket last, monotonic; None: not known."""

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that wait to be sent."""

    @property
    def silent_s(self) -> float:
        """Seconds since the provider should have answered on an open connection, and did not."""

    @property
    def is_mute(self) -> bool:
        """Speech has gone to the provider for too long without any text coming back."""


class Transcriber(Protocol):
    """The account at the speech provider."""

    @property
    def engine(self) -> str:
        """What is shown to people: `gladia`, `pocketsphinx`, …"""

    @property
    def trouble(self) -> str | None:
        """Why the provider serves no one now; None while it answers."""

    @property
    def gate(self) -> str:
        """The mode of the voice-activity gate: off, shadow or on."""

    async def check_key(self) -> None:
        """Ask the provider whether it takes our key, unless that is known. May be repeated.

        Raises: ProviderRefusedKey. A provider that does not answer is no reason to refuse: the link will wait for it.
        """

    def open(
        self,
        options: SpeechOptions,
        labels: Mapping[str, str],
        hear: Callable[[Speech], None],
        report: Callable[[ProviderSession], None],
    ) -> SpeechLink:
        """A link for one track; nothing is opened at the provider before there is speech. Never waits.

        `labels` go into the provider session's metadata: `transcription` and `identity`. `hear` is called with what
        the provider says, `report` when a session is opened or over; both from the event loop, and must not wait.
        """
