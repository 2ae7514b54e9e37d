"""Usage of one participant: audio seconds and money, from counted samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

SAMPLE_RATE: Final = 16_000


def whole_seconds(samples: int) -> int:
    """Samples at 16 kHz as whole seconds, halves up."""
    return (samples * 2 + SAMPLE_RATE) // (SAMPLE_RATE * 2)


def started_minutes(seconds: int) -> int:
    """Minutes begun: the ceiling, as the app bills."""
    return -(-seconds // 60)


def exceeds(cost: float, cap: float) -> bool:
    """Whether money is above a cap. Sums of binary fractions are not exact: 0.1 + 0.2 is not above 0.3."""
    return round(cost - cap, 6) > 0


@dataclass(frozen=True, slots=True)
class Listened:
    """Samples of one track or participant.

    `heard` came from the source, digital silence included. `speech`: what the voice detector calls so. `silent`: what
    the gate takes for no part of speech. `withheld`: what was not sent to the provider: all of `silent` when the gate
    is on, else what the source itself left out.
    """

    heard: int = 0
    speech: int = 0
    silent: int = 0
    withheld: int = 0

    def __add__(self, other: Listened) -> Listened:
        return Listened(
            self.heard + other.heard,
            self.speech + other.speech,
            self.silent + other.silent,
            self.withheld + other.withheld,
        )


class Usage(msgspec.Struct, frozen=True, rename={"withheld_s": "kept_s"}):
    """A meter's reading, in the columns of `TranscriptionUsage`; then what a receipt needs besides.

    It also lies in the spool, hence `kept_s`, and the defaults: the first versions wrote no receipt.
    """

    id: str
    identity: str
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: int
    duration_minutes: int
    audio_chunks_sent: int
    transcripts_received: int
    final_transcripts: int
    partial_transcripts: int
    cost_per_minute: float
    total_cost: float
    errors_count: int
    gate: str = "off"
    heard_s: float = 0.0
    speech_s: float = 0.0
    silent_s: float = 0.0
    withheld_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What a list shows of a transcription. `cost`: USD."""

    finals: int = 0
    partials: int = 0
    cost: float = 0.0

    @classmethod
    def of(cls, used: Sequence[Usage]) -> Figures:
        """The sum over all participants."""
        return cls(
            sum(one.final_transcripts for one in used),
            sum(one.partial_transcripts for one in used),
            round(sum(one.total_cost for one in used), 6),
        )
