"""Meters: what each participant of a transcription has used, counted over its tracks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gateway.transcription.domain.captions import Speaker
from gateway.transcription.domain.handover import Counted
from gateway.transcription.domain.usage import SAMPLE_RATE, Listened, Usage, started_minutes, whole_seconds


@dataclass(slots=True)
class Meter:
    """Counters of one participant in one transcription. They only grow.

    `samples_sent`: received by the provider, again when heard again: that is billed again. `cost_per_minute`: USD;
    it stays as it was when the meter began, because a row has one price. `…_before`: by tracks that have ended.
    """

    usage_id: str
    identity: str
    name: str | None
    started_at: datetime
    cost_per_minute: float
    listened: Listened = field(default_factory=Listened)
    listened_before: Listened = field(default_factory=Listened)
    samples_sent: int = 0
    samples_sent_before: int = 0
    chunks_sent: int = 0
    chunks_sent_before: int = 0
    finals: int = 0
    partials: int = 0
    errors: int = 0
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What one track has counted since it began."""

    identity: str
    listened: Listened
    samples_sent: int
    chunks_sent: int


class Meters:
    """One meter a participant. Any number of its tracks may feed it, at once (after a takeover) or in turn."""

    def __init__(self, cost_per_minute: float, row_id: Callable[[str], str], earlier: Iterable[Usage] = ()) -> None:
        """`row_id`: the usage row of an identity. `earlier`: the last readings of a former owner, to go on from."""
        self._cost_per_minute = cost_per_minute
        self._row_id = row_id
        self._meters = {usage.identity: resumed(usage) for usage in earlier}
        self._former = {identity: _counted(meter) for identity, meter in self._meters.items()}

    def __len__(self) -> int:
        """Participants whose audio has ever come in."""
        return len(self._meters)

    @property
    def identities(self) -> frozenset[str]:
        """Participants whose audio has ever come in."""
        return frozenset(self._meters)

    def of(self, speaker: Speaker, now: datetime) -> Meter:
        """The speaker's meter, begun at `now` when it is the first time."""
        if speaker.identity not in self._meters:
            self._meters[speaker.identity] = Meter(
                self._row_id(speaker.identity), speaker.identity, speaker.name, now, self._cost_per_minute
            )
        return self._meters[speaker.identity]

    def recover(self, finals: Mapping[str, int], began: datetime) -> None:
        """Count what a former owner has stored since its last reading. `finals`: all that it has, by identity. `began`:
        the transcription, and with it a meter that had no reading yet."""
        for identity, count in finals.items():
            meter = self.of(Speaker(identity, None), began)
            meter.finals = max(meter.finals, count)

    def learn(self, counted: Iterable[Counted], began: datetime) -> None:
        """What the former owner has counted in all by now: what is new in it is added. `began`: as for `recover`."""
        for now in counted:
            meter = self.of(Speaker(now.identity, now.name), began)
            before = self._former.get(now.identity) or Counted(now.identity, now.name, 0, 0, 0, 0, 0, 0, 0, 0)
            meter.samples_sent_before += now.samples_sent - before.samples_sent
            meter.chunks_sent_before += now.chunks_sent - before.chunks_sent
            meter.partials += now.partials - before.partials
            meter.errors += now.errors - before.errors
            meter.listened_before += Listened(
                now.heard - before.heard,
                now.speech - before.speech,
                now.silent - before.silent,
                now.withheld - before.withheld,
            )
            self._former[now.identity] = now

    def counted(self) -> tuple[Counted, ...]:
        """As of the last `read`, for the next owner."""
        return tuple(_counted(meter) for meter in self._meters.values())

    def read(self, running: Iterable[Reading]) -> None:
        """Bring every meter up to date with the tracks that run now."""
        for meter in self._meters.values():
            meter.listened = meter.listened_before
            meter.samples_sent, meter.chunks_sent = meter.samples_sent_before, meter.chunks_sent_before
        for reading in running:
            meter = self._meters[reading.identity]
            meter.listened += reading.listened
            meter.samples_sent += reading.samples_sent
            meter.chunks_sent += reading.chunks_sent

    def close(self, ended: Reading) -> None:
        """A track has ended with this reading, and is not among the running ones any more."""
        meter = self._meters[ended.identity]
        meter.listened_before += ended.listened
        meter.samples_sent_before += ended.samples_sent
        meter.chunks_sent_before += ended.chunks_sent

    def end(self, now: datetime) -> None:
        """The transcription is over."""
        for meter in self._meters.values():
            meter.ended_at = now

    def usage(self, gate: str) -> list[Usage]:
        """As of the last `read`. `gate`: mode of the voice-activity gate, for the receipt."""
        return [read(meter, gate) for meter in self._meters.values()]

    @property
    def seconds_sent(self) -> int:
        """Of all participants, as of the last `read`."""
        return sum(whole_seconds(meter.samples_sent) for meter in self._meters.values())

    def cost_after(self, seconds: int) -> float:
        """USD that the transcription will have cost when every participant has sent so many seconds more."""
        return sum(
            started_minutes(whole_seconds(meter.samples_sent) + seconds) * meter.cost_per_minute
            for meter in self._meters.values()
        )


def read(meter: Meter, gate: str = "off") -> Usage:
    """A meter at this moment, in the columns of its row."""
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
        withheld_s=_seconds(meter.listened.withheld),
    )


def resumed(usage: Usage) -> Meter:
    """A meter that goes on where a former owner's last reading stood; the audio sent since then is not in it.

    A reading is rounded, and rounded again in the end: the least that it can stand for keeps the sum from being more
    than the provider has received.
    """
    samples = max(usage.duration_seconds * SAMPLE_RATE - SAMPLE_RATE // 2, 0)
    seconds = (usage.heard_s, usage.speech_s, usage.silent_s, usage.withheld_s)
    listened = Listened(*(round(one * SAMPLE_RATE) for one in seconds))
    return Meter(
        usage.id,
        usage.identity,
        None,
        usage.started_at,
        usage.cost_per_minute,
        listened=listened,
        listened_before=listened,
        samples_sent=samples,
        samples_sent_before=samples,
        chunks_sent=usage.audio_chunks_sent,
        chunks_sent_before=usage.audio_chunks_sent,
        finals=usage.final_transcripts,
        partials=usage.partial_transcripts,
        errors=usage.errors_count,
    )


def _counted(meter: Meter) -> Counted:
    listened = meter.listened
    return Counted(
        meter.identity,
        meter.name,
        meter.samples_sent,
        meter.chunks_sent,
        meter.partials,
        meter.errors,
        listened.heard,
        listened.speech,
        listened.silent,
        listened.withheld,
    )


def _seconds(samples: int) -> float:
    return round(samples / SAMPLE_RATE, 3)
