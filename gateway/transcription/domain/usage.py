"""The meter: audio seconds and money, from counted samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from gateway.transcription.domain.receipt import Listened

SAMPLE_RATE = 16_000


def whole_seconds(samples: int) -> int:
    """Samples at 16 kHz as whole seconds, halves up."""
    return (samples * 2 + SAMPLE_RATE) // (SAMPLE_RATE * 2)


def started_minutes(seconds: int) -> int:
    """Minutes begun: the ceiling, as the app bills."""
    return -(-seconds // 60)


def exceeds(cost: float, cap: float) -> bool:
    """Whether money is above a cap. Sums of binary fractions are not exact: 0.1 + 0.2 is not above 0.3."""
    return round(cost - cap, 6) > 0


@dataclass(slots=True)
class Meter:
    """Counters of one participant in one transcription. They only grow.

    `samples_sent` went to the provider (sent again counts again, since it is billed again). `cost_per_minute`: USD, as
    it was when the meter began; a row has one price.
    """

    usage_id: str
    identity: str
    name: str | None
    started_at: datetime
    cost_per_minute: float
    listened: Listened = field(default_factory=Listened)
    listened_before: Listened = field(default_factory=Listened)  # by tracks of this participant that have ended
    samples_sent: int = 0
    samples_sent_before: int = 0
    chunks_sent: int = 0
    chunks_sent_before: int = 0
    finals: int = 0
    partials: int = 0
    errors: int = 0
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """A meter read at one moment, in the columns of `TranscriptionUsage`; then what a receipt needs besides.

    What a former version wrote to disk has no receipt, hence the defaults.
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
    kept_s: float = 0.0

    def shown(self) -> dict[str, object]:
        return {
            "participantIdentity": self.identity,
            "durationSeconds": self.duration_seconds,
            "durationMinutes": self.duration_minutes,
            "audioChunksSent": self.audio_chunks_sent,
            "transcriptsReceived": self.transcripts_received,
            "finalTranscripts": self.final_transcripts,
            "partialTranscripts": self.partial_transcripts,
            "costPerMinute": self.cost_per_minute,
            "totalCost": self.total_cost,
            "errorsCount": self.errors_count,
        }


def read(meter: Meter, gate: str = "off") -> Usage:
    seconds = whole_seconds(meter.samples_sent)
    minutes = started_minutes(seconds)
    return Usage(
        id=meter.usage_id,
        identity=meter.identity,
        started_at=meter.started_at,
        ended_at=meter.ended_at,
        duration_seconds=seconds,
        duration_minutes=minutes,
        audio_chunks_sent=meter.chunks_sent,
        transcripts_received=meter.finals + meter.partials,
        final_transcripts=meter.finals,
        partial_transcripts=meter.partials,
        cost_per_minute=meter.cost_per_minute,
        total_cost=round(minutes * meter.cost_per_minute, 6),
        errors_count=meter.errors,
        gate=gate,
        heard_s=_seconds(meter.listened.heard),
        speech_s=_seconds(meter.listened.speech),
        silent_s=_seconds(meter.listened.silent),
        kept_s=_seconds(meter.listened.kept),
    )


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
