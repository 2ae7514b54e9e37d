"""One session as the replica sees it that runs it: right to act, links, queues, and where its finals' time went.

For operators at night, not for programs: fields come and go. No words, no keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.live.hub import Hub
from gateway.transcription.domain.timing import Timing
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.status import Seen
from gateway.transcription.usecases.track import SAMPLE_RATE, LiveTrack


class TrackInside(msgspec.Struct, rename="camel"):
    """`complaints`: kinds of what the provider complains of. `unread`: its messages that could not be used."""

    participant_identity: str
    link: str
    is_speaking: bool
    is_paused: bool
    is_mute: bool
    backlog_seconds: float
    seconds_heard: float
    seconds_sent: float
    messages_sent: int
    unread: int
    complaints: Sequence[str]
    has_trouble: bool
    facts: Mapping[str, object]


class LeaseInside(msgspec.Struct, rename="camel"):
    """`may_act`: it is certainly ours now."""

    transcription_id: str
    owner: str
    fence: int | None = None
    may_act: bool = False


class QueuesInside(msgspec.Struct, rename="camel"):
    """`finals_pending`: of this transcription, not in the database; of the whole replica beside. Of its watchers here:
    how many lag behind, and partials on screen."""

    finals_pending: int
    finals_pending_of_all: int
    database_behind_seconds: float
    watchers: int
    watchers_elsewhere: int
    watchers_lagging: int
    is_delivered: bool
    partials_under_way: int


class Inside(msgspec.Struct, rename="camel"):
    """Of a session that runs nowhere: what the database says of it, and no tracks, queues and finals."""

    session_slug: str
    state: str
    reason: str | None
    health: Sequence[str]
    lease: LeaseInside
    epoch: str | None = None
    last_seq: int = 0
    queues: QueuesInside | None = None
    tracks: Sequence[TrackInside] = ()
    finals: Sequence[Timing] = ()


@dataclass(frozen=True, slots=True)
class Insight:
    """`may_act`: whether what runs here is certainly this replica's."""

    hub: Hub
    recorder: Recorder
    may_act: bool

    def of(self, seen: Seen) -> Inside:
        """As it is now."""
        record, run = seen.record, seen.run
        lease = LeaseInside(record.id, record.owner)
        if run is None or run.finished.is_set():
            return Inside(record.slug, record.state, record.stop_reason, (), lease, last_seq=record.last_seq)
        lease.fence, lease.may_act = run.claimed.lease.fence, self.may_act
        return Inside(
            record.slug,
            run.state.shown,
            run.reason,
            run.health,
            lease,
            run.claimed.numbering.epoch,
            run.last_seq,
            self._queues(run),
            [_track(live) for live in run.tracks],
            run.timeline.finals(),
        )

    def _queues(self, run: Run) -> QueuesInside:
        slug, recorder = run.claimed.slug, self.recorder
        channel = self.hub.channel(slug)
        return QueuesInside(
            recorder.pending_of(run.claimed.lease.transcription_id),
            recorder.pending,
            round(recorder.behind_s, 3),
            len(channel.audience),
            self.hub.watching_elsewhere(slug),
            len(channel.lagging),
            channel.is_delivered,
            len(channel.partials),
        )


def _track(live: LiveTrack) -> TrackInside:
    link = live.link
    return TrackInside(
        live.track.speaker.identity,
        link.state,
        link.is_speaking,
        live.is_silenced,
        link.is_mute,
        round(link.backlog_s, 3),
        round(link.listened.heard / SAMPLE_RATE, 3),
        round(link.sent_samples / SAMPLE_RATE, 3),
        link.messages_sent,
        live.unread,
        list(live.complaints),
        live.trouble is not None,
        dict(live.track.facts()),
    )
