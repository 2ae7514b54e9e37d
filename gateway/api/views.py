"""What the service knows, in the shapes of the API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.api import schemas, session_schemas
from gateway.moment import timestamp
from gateway.sessions.domain.video_session import Participant, Segment, VideoSession
from gateway.transcription.domain.billing import Bill, balance
from gateway.transcription.domain.preferences import Preferences
from gateway.transcription.domain.receipt import receipt
from gateway.transcription.domain.transcription import Ingest, TranscriptionState, tags_of
from gateway.transcription.domain.usage import Usage

if TYPE_CHECKING:
    from gateway.sessions.usecases.ports import Begun
    from gateway.transcription.usecases.records import Participation, TranscriptionRecord
    from gateway.transcription.usecases.run import Run
    from gateway.transcription.usecases.status import Seen
    from gateway.transcription.usecases.track import LiveTrack
    from gateway.transcription.usecases.transcriptions import Started

_SAMPLE_RATE: Final = 16_000
_STATES: Final[Mapping[str, schemas.State]] = {
    TranscriptionState.STARTING: "starting",
    TranscriptionState.RUNNING: "running",
    TranscriptionState.WAITING: "waiting",
    TranscriptionState.STOPPING: "stopping",
    TranscriptionState.STOPPED: "stopped",
}


def started(answer: Started, warnings: list[str]) -> schemas.StartAnswer:
    """Of `POST /api/transcription/start`. `warnings`: of fields without effect; left out when there are none."""
    return schemas.StartAnswer(
        transcription_id=answer.record.id,
        session_slug=answer.record.slug,
        state=_state(answer.state),
        source=answer.record.source,
        created=answer.created,
        started_at=timestamp(answer.record.started_at),
        ingest=ingest(answer.record.source, answer.ingest),
        warnings=warnings or msgspec.UNSET,
    )


def begun(answer: Begun, warnings: list[str]) -> schemas.StartAnswer:
    """The same of a start by a participant, which may have gone to another gateway."""
    return schemas.StartAnswer(
        transcription_id=answer.transcription_id,
        session_slug=answer.slug,
        state=_state(answer.state),
        source=answer.source,
        created=answer.created,
        started_at=timestamp(answer.started_at),
        ingest=ingest(answer.source, answer.ingest),
        warnings=warnings or msgspec.UNSET,
    )


def ingest(source: str, ingest: Ingest | None) -> schemas.IngestView | None:
    """Where a publisher sends its audio; null for rooms, whose audio is fetched."""
    if source == "livekit" or ingest is None:
        return None
    return schemas.IngestView(ingest.rtmp_url, ingest.stream_key, ingest.websocket_url)


def session(
    found: VideoSession, require_join_token: bool, guest_minutes: bool, join_token_made_at: datetime | None
) -> session_schemas.SessionView:
    """The app's row without its secrets."""
    return session_schemas.SessionView(
        id=found.id,
        slug=found.slug,
        title=found.title,
        created_by_user_id=found.created_by_user_id,
        space_id=found.space_id,
        status=found.status,
        created_at=timestamp(found.created_at),
        started_at=_moment(found.started_at),
        ended_at=_moment(found.ended_at),
        last_activity_at=_moment(found.last_activity_at),
        raw_transcript_blob_url=found.raw_transcript_blob_url,
        raw_transcript_size_bytes=found.raw_transcript_size_bytes,
        raw_transcript_ready_at=_moment(found.raw_transcript_ready_at),
        require_join_token=require_join_token,
        guest_minutes=guest_minutes,
        join_token_made_at=_moment(join_token_made_at),
    )


def participant(found: Participant) -> session_schemas.ParticipantView:
    """The app's row; `leftAt` is null while the participant is present."""
    return session_schemas.ParticipantView(
        id=found.id,
        video_session_id=found.session_id,
        user_id=found.user_id,
        identity=found.identity,
        name=found.name,
        role=found.role,
        joined_at=timestamp(found.joined_at),
        left_at=_moment(found.left_at),
    )


def segment(found: Segment) -> session_schemas.SegmentView:
    """The app's row of one utterance; `endedAt` is null while it is not final."""
    return session_schemas.SegmentView(
        utterance_id=found.utterance_id,
        text=found.text,
        language=found.language,
        is_final=found.is_final,
        started_at=timestamp(found.started_at),
        ended_at=_moment(found.ended_at),
        participant_identity=found.identity,
        participant_name=found.name,
    )


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else timestamp(moment)


def timeline(seen: Seen) -> schemas.TimelineView:
    """Of one that runs here; without finals otherwise."""
    finals = list(seen.run.timeline.finals()) if seen.run is not None else []
    return schemas.TimelineView(seen.record.id, seen.record.slug, finals, _lost(seen.record, seen.run))


def _lost(record: TranscriptionRecord, run: Run | None) -> float:
    """Seconds; where it does not run here, as last stored."""
    return round(record.lost_audio_s if run is None else run.counts.lost_audio_s, 3)


def usage(
    record: TranscriptionRecord,
    used: Sequence[Usage],
    people: Mapping[str, Participation],
    bills: Sequence[Bill] | None = None,
    run: Run | None = None,
) -> schemas.UsageView:
    """One row for each of `used`, their totals, and what the gate saved. `people`: by identity. `billing` is null
    without `bills`. `run`: where it runs here.
    """
    tags = list(tags_of(record.options))
    rows = [
        schemas.UsageRowView(
            participant_identity=one.identity,
            participant_name=people[one.identity].name if one.identity in people else None,
            user_id=people[one.identity].user_id if one.identity in people else None,
            tags=tags,
            started_at=timestamp(one.started_at),
            ended_at=None if one.ended_at is None else timestamp(one.ended_at),
            duration_seconds=one.duration_seconds,
            duration_minutes=one.duration_minutes,
            audio_chunks_sent=one.audio_chunks_sent,
            transcripts_received=one.transcripts_received,
            final_transcripts=one.final_transcripts,
            partial_transcripts=one.partial_transcripts,
            cost_per_minute=one.cost_per_minute,
            total_cost=one.total_cost,
            errors_count=one.errors_count,
        )
        for one in used
    ]
    totals = schemas.UsageTotals(
        duration_seconds=sum(row.duration_seconds for row in rows),
        duration_minutes=sum(row.duration_minutes for row in rows),
        audio_chunks_sent=sum(row.audio_chunks_sent for row in rows),
        transcripts_received=sum(row.transcripts_received for row in rows),
        final_transcripts=sum(row.final_transcripts for row in rows),
        partial_transcripts=sum(row.partial_transcripts for row in rows),
        total_cost=round(sum(row.total_cost for row in rows), 6),
        errors_count=sum(row.errors_count for row in rows),
    )
    billed = None if bills is None else billing(bills)
    figures: schemas.FiguresState = "live" if run is not None and not run.finished.is_set() else "stored"
    lost_s = _lost(record, run)
    return schemas.UsageView(record.id, record.slug, rows, totals, _receipt(used), billed, figures, lost_s)


def billing(bills: Sequence[Bill]) -> schemas.BillingView:
    """What the provider billed beside what was sent to it, in seconds, of each provider session and in all."""
    total = balance(bills)
    return schemas.BillingView(
        sent_seconds=round(total.sent, 3),
        resent_seconds=round(total.resent, 3),
        billed_seconds=round(total.billed, 3),
        difference_percent=total.percent,
        open=total.open,
        unbilled=total.unbilled,
        provider_sessions=[
            schemas.ProviderSessionView(
                id=bill.id,
                participant_identity=bill.identity,
                opened_at=timestamp(bill.opened_at),
                closed_at=None if bill.closed_at is None else timestamp(bill.closed_at),
                outcome=bill.outcome,
                sent_seconds=round(bill.seconds_sent, 3),
                resent_seconds=round(bill.seconds_resent, 3),
                billed_seconds=bill.billing_seconds,
                difference=None if bill.difference is None else round(bill.difference, 3),
            )
            for bill in bills
        ],
    )


def _receipt(used: Sequence[Usage]) -> schemas.ReceiptView:
    made = receipt(used)
    return schemas.ReceiptView(
        gate=_gate(made.gate),
        seconds_heard=made.heard_s,
        seconds_speech=made.speech_s,
        seconds_sent=made.sent_s,
        seconds_saved=made.saved_s,
        cost_saved=made.saved_usd,
        seconds_saveable=made.saveable_s,
        cost_saveable=made.saveable_usd,
    )


def _gate(mode: str) -> schemas.Gate:
    match mode:
        case "on":
            return "on"
        case "shadow":
            return "shadow"
        case _:
            return "off"


def database(seen: Sequence[Seen]) -> schemas.DatabaseState:
    """Whether what is shown is the database's."""
    return "ok" if all(one.is_stored for one in seen) else "unavailable"


def transcription(seen: Seen, engine: str, watchers: int, behind_s: float) -> schemas.TranscriptionView:
    """`watchers`: on this replica. `behind_s`: for how long the database has not had everything.

    Of a transcription that does not run here tracks and lag are empty, and the state is the database's.
    """
    record, run = seen.record, seen.run
    running = run is not None and not run.finished.is_set()
    reasons = list(run.health) if run is not None else []
    asked = run.asked.preferences if run is not None else Preferences.read(record.options)
    return schemas.TranscriptionView(
        transcription_id=record.id,
        session_slug=record.slug,
        session_id=record.session_id,
        state=_state(run.state.shown if run is not None and running else record.state),
        source=record.source,
        engine=engine,
        started_at=timestamp(record.started_at),
        stopped_at=None if record.stopped_at is None else timestamp(record.stopped_at),
        reason=record.stop_reason if run is None else run.reason,
        finals_complete=record.finals_complete,
        finals=seen.figures.finals,
        partials=seen.figures.partials,
        last_seq=run.last_seq if run is not None else record.last_seq,
        watchers=watchers,
        lost_audio_seconds=_lost(record, run),
        cost=seen.figures.cost,
        health=schemas.HealthView("degraded" if reasons else "ok", reasons),
        lag={
            "providerSeconds": round(max((live.link.backlog_s for live in run.tracks), default=0.0), 3) if run else 0.0,
            "databaseSeconds": round(behind_s, 3) if run else 0.0,
        },
        tracks=[_track(live) for live in run.tracks] if run is not None else [],
        database=database([seen]),
        replica=None if record.is_stopped else record.owner,
        figures="live" if running else "stored",
        paused=schemas.PausedView(asked.is_paused, list(run.asked.paused if run is not None else asked.paused)),
        languages=list(asked.speech.languages),
        translate_to=list(asked.speech.translate_to),
    )


def _track(live: LiveTrack) -> schemas.TrackView:
    return schemas.TrackView(
        participant_identity=live.track.speaker.identity,
        participant_name=live.track.speaker.name,
        provider=live.link.state,
        seconds_heard=round(live.link.listened.heard / _SAMPLE_RATE, 3),
        seconds_sent=round(live.link.sent_samples / _SAMPLE_RATE, 3),
        backlog_seconds=round(live.link.backlog_s, 3),
        paused=live.is_silenced,
        languages=None if live.in_force is None else list(live.in_force.languages),
        translate_to=None if live.in_force is None else list(live.in_force.translate_to),
        facts=dict(live.track.facts()),
    )


def _state(state: str) -> schemas.State:
    """In either case of its letters; a word that another version of the gateway uses counts as stopped."""
    return _STATES.get(state.upper(), "stopped")
