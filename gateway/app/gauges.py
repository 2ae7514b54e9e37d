"""Every number an operator may want at night, read from the wings by the name it has in docs/metrics.md.

One function a subject: it registers readers, and a scrape calls them. A new part brings its own function and a line in
`gateway_metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import ProcessCollector

from gateway.analysis.rules import AnalysisStatus
from gateway.app.encoders import WAYS
from gateway.metrics import Metrics, by, plain
from gateway.sessions.infra.rate_limits import RedisLimiter
from gateway.transcription.domain.lines import CAN_BE_DOWN
from gateway.transcription.domain.transcription import TranscriptionState
from gateway.version import VERSION
from stt.gladia.complaints import KINDS
from stt.gladia.events import INTERNAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.analysis.analyse import Analyses
    from gateway.app.encoders import Encoders
    from gateway.app.listener import Listener
    from gateway.app.provider import Slots
    from gateway.app.relay import Relay
    from gateway.app.sessions import RateLimits
    from gateway.app.wings import Wings
    from gateway.archive.finalise import Finaliser
    from gateway.archive.retention import Retention
    from gateway.live.audio import AudioEndpoint
    from gateway.live.endpoint import LiveEndpoint
    from gateway.live.hub import Hub
    from gateway.replicas.membership import Membership
    from gateway.sessions.infra.assembly import SessionsModule
    from gateway.transcription.infra.journal import SpoolJournal
    from gateway.transcription.infra.voice import Voice
    from gateway.transcription.usecases.cutoff import CutOff
    from gateway.transcription.usecases.handover import Handover
    from gateway.transcription.usecases.provider_erasure import ErasureCounts
    from gateway.transcription.usecases.record import Recorder
    from gateway.transcription.usecases.sweep import SweepCounts
    from gateway.transcription.usecases.transcriptions import Transcriptions
    from gateway.webhooks.sender import Sender
    from ingest.rtmp.server import RtmpServer
    from stt.gladia.client import Provider


def gateway_metrics(wings: Wings) -> Metrics:
    """All of them, in the order of the exposition."""
    transcription, sessions = wings.transcription, wings.sessions
    metrics = Metrics()
    settings = wings.replica.settings
    engine = settings.engine
    build = {"version": VERSION, "commit": settings.commit or "", "replica": wings.replica.owner}
    metrics.gauge(
        "info", "Constant 1; the label says which recogniser is used", by("engine", lambda: [(engine, 1)]), over="max"
    )
    metrics.gauge(
        "build_info", "Constant 1; version, commit and the name of the replica", lambda: [(build, 1.0)], over="max"
    )
    delays = wings.replica.delays
    metrics.include(delays.registry)
    metrics.include(ProcessCollector(registry=None))
    metrics.gauge("loop_lag_seconds", "Longest delay of the event loop, 15 s", plain(lambda: delays.loop_lag_s), "max")
    database = wings.replica.database
    metrics.gauge(
        "database_connections",
        "Connections to the database, by state",
        by("state", database.connections),
    )
    transcription_gauges(metrics, transcription.transcriptions)
    recorder_gauges(metrics, transcription.recorder, transcription.journal)
    watcher_gauges(metrics, wings.hub, wings.live.endpoint)
    relay_gauges(metrics, wings.relay)
    membership_gauges(metrics, wings.membership, transcription.transcriptions)
    handover_gauges(metrics, transcription.handover, transcription.cut_off)
    rtmp_gauges(metrics, transcription.rtmp, wings.encoders)
    replica_gauges(metrics, wings)
    voice_gauges(metrics, wings.speech.voice)
    audio_gauges(metrics, wings.live.audio)
    analysis_gauges(metrics, wings.analyses)
    provider_gauges(metrics, wings.speech.provider, wings.speech.slots)
    provider_upkeep_gauges(metrics, transcription.sweeper.counts, transcription.erasure.counts)
    document_gauges(metrics, sessions.finaliser, sessions.retention)
    metrics.counter("audit_lost", "Audit rows that are in the log alone", plain(lambda: sessions.audit.lost))
    webhook_gauges(metrics, wings.webhooks.sender)
    sessions_gauges(metrics, sessions.module, wings.limits)
    listener_gauges(metrics, wings.listener, transcription.rtmp)
    metrics.counter("spans", "Spans for OTEL_EXPORTER_OTLP_ENDPOINT, by fate", by("fate", wings.spans.items))
    held = wings.replica.secrets
    metrics.counter(
        "secret_rotations", "Times that secrets were read again and differed", plain(lambda: held.rotations)
    )
    return metrics


def transcription_gauges(metrics: Metrics, transcriptions: Transcriptions) -> None:
    """Runs and tracks of this replica."""

    def by_state() -> Iterator[tuple[str, float]]:
        for state in TranscriptionState:
            if state is not TranscriptionState.STOPPED:
                yield state.shown, sum(run.state is state for run in transcriptions.runs)

    metrics.gauge(
        "transcriptions",
        "Transcriptions on this replica, by state",
        by("state", by_state),
    )
    metrics.gauge(
        "tracks", "Tracks being transcribed", plain(lambda: sum(len(run.tracks) for run in transcriptions.runs))
    )
    metrics.gauge(
        "provider_backlog_seconds",
        "Audio waiting to be sent to the provider, worst track",
        plain(lambda: max((live.link.backlog_s for run in transcriptions.runs for live in run.tracks), default=0)),
        over="max",
    )


def replica_gauges(metrics: Metrics, wings: Wings) -> None:
    """This replica among the others: how full it is, and what it asks of them."""
    transcriptions, most = wings.transcription.transcriptions, wings.replica.settings.max_tracks
    metrics.gauge("tracks_limit", "Tracks that this replica takes; 0: without a limit", plain(lambda: most))
    metrics.gauge("full", "1 while no further transcription begins here", plain(lambda: transcriptions.is_full))
    metrics.counter(
        "peer_requests",
        "Requests to other replicas, by outcome",
        by("outcome", wings.others.peers.asked.items, ("answered", "misdirected", "unreached")),
    )
    metrics.gauge(
        "audio_carried", "Senders whose audio goes to another replica", plain(lambda: wings.live.audio.counts.carried)
    )


def recorder_gauges(metrics: Metrics, recorder: Recorder, journal: SpoolJournal) -> None:
    """Finals and meter readings on their way to the database, and on disk while it does not take them."""
    metrics.counter("finals_kept", "Finals written to the database", plain(lambda: recorder.stored))
    metrics.gauge("finals_pending", "Finals and meter readings not in the database", plain(lambda: recorder.pending))
    metrics.counter(
        "finals_refused",
        "Finals shown and then not stored: lease or session were gone",
        plain(lambda: recorder.refused),
    )
    metrics.gauge(
        "database_behind_seconds",
        "Time since the database had everything",
        plain(lambda: recorder.behind_s),
        over="max",
    )
    metrics.gauge("spool_bytes", "Disk taken by what the database has not got", plain(lambda: journal.size))
    metrics.gauge("spool_records", "Finals and meter readings kept on disk", plain(lambda: len(journal)))
    metrics.gauge("spool_oldest_seconds", "Age of the oldest of them", plain(lambda: journal.oldest_age), over="max")
    metrics.gauge(
        "spool_failing",
        "1 while the disk refuses what the database has not taken",
        plain(lambda: bool(recorder.trouble)),
        over="max",
    )


def watcher_gauges(metrics: Metrics, hub: Hub, endpoint: LiveEndpoint) -> None:
    """Streams of transcripts to browsers and programs."""
    metrics.gauge("watchers", "Open streams", plain(lambda: hub.counts.watchers))
    metrics.counter("watcher_connections", "Streams ever opened", plain(lambda: hub.counts.connected))
    metrics.counter("messages_delivered", "Messages written to watchers", plain(lambda: hub.counts.delivered))
    metrics.counter("partials_coalesced", "Partials skipped for slow watchers", plain(lambda: hub.counts.coalesced))
    metrics.counter("watchers_refused", "Streams refused, by reason", by("reason", endpoint.counts.refused.items))
    metrics.counter(
        "watchers_closed", "Streams ended, by reason", by("reason", endpoint.counts.closed.items, ("too_slow",))
    )


def relay_gauges(metrics: Metrics, relay: Relay) -> None:
    """Sessions over several replicas, and the wire between these."""
    foreign, owned, bus, refused = relay.foreign, relay.owned, relay.bus, relay.refusals

    def refusals() -> Iterator[tuple[str, float]]:
        yield from (("told", refused.told), ("dropped", refused.dropped))

    def by_fate() -> Iterator[tuple[str, float]]:
        if bus is not None:
            counters = bus.counters
            yield from (("published", counters.published), ("delivered", counters.delivered))
            yield from (("dropped", counters.dropped), ("unconfirmed", counters.unconfirmed))
            yield "overtaken", counters.overtaken

    def reads() -> Iterator[tuple[str, float]]:
        yield from (("standings", foreign.counts.looks), ("finals", foreign.counts.reads))

    metrics.gauge(
        "relay_up", "1 while Redis carries news of sessions", plain(lambda: bus is not None and bus.is_up), over="min"
    )
    metrics.gauge("relay_told", "Sessions told to other replicas now", plain(lambda: owned.told if owned else 0))
    metrics.gauge("relay_followed", "Sessions shown here that run elsewhere", plain(lambda: foreign.followed))
    metrics.gauge("relay_degraded", "Those of them that lack partials or finals", plain(lambda: foreign.degraded))
    metrics.counter("relay_messages", "Messages between replicas, by fate", by("fate", by_fate))
    metrics.counter("relay_losses", "Times that a message of a session never came", plain(lambda: foreign.losses))
    metrics.counter("relay_refusals", "Refused senders of sessions that run elsewhere, by fate", by("fate", refusals))
    metrics.counter("relay_reads", "Statements for sessions that run elsewhere, by what", by("what", reads))
    metrics.counter("relay_finals_read", "Finals they have brought", plain(lambda: foreign.counts.finals_read))


def membership_gauges(metrics: Metrics, membership: Membership, transcriptions: Transcriptions) -> None:
    """This process among the replicas."""
    metrics.gauge("replicas", "Replicas that beat, as this one has last seen", plain(lambda: len(membership.seen.all)))
    metrics.gauge("replica_may_act", "1 while what runs here is certainly its own", plain(membership.may_act))
    metrics.counter("replica_losses", "Times that this one was lost to the others", plain(lambda: membership.losses))
    metrics.counter("adoptions", "Transcriptions taken over from others", plain(lambda: transcriptions.adoption.taken))


def handover_gauges(metrics: Metrics, handover: Handover, cut_off: CutOff) -> None:
    """Transcriptions that change hands between living replicas."""

    def by_outcome() -> Iterator[tuple[str, float]]:
        yield from (("taken", handover.taken), ("given", handover.given), ("refused", handover.refused))

    metrics.counter("handovers", "Transcriptions handed over, by outcome", by("outcome", by_outcome))
    metrics.counter(
        "cutoff_moves",
        "Transcriptions handed over because this replica had lost the line",
        by("line", cut_off.moved.items, CAN_BE_DOWN),
    )
    metrics.counter(
        "cutoff_alone",
        "Times that a line was lost and no other replica was better off",
        by("line", cut_off.alone.items, CAN_BE_DOWN),
    )


def rtmp_gauges(metrics: Metrics, rtmp: RtmpServer, encoders: Encoders) -> None:
    """The RTMP listener and its publishers; bytes are those of messages."""
    counters = rtmp.counters
    metrics.gauge("rtmp_publishing", "RTMP publishers now", plain(lambda: counters.publishing))
    metrics.counter("rtmp_connections", "RTMP connections", plain(lambda: counters.connections))
    metrics.counter("rtmp_publishes", "Publishes accepted", plain(lambda: counters.publishes))
    metrics.counter(
        "rtmp_refused_now",
        "Publishes with the right key that could not be taken here",
        plain(lambda: counters.refused_now),
    )
    metrics.counter("rtmp_refused_keys", "Publishes refused for their key", plain(lambda: counters.refused_key))
    metrics.counter("rtmp_pauses", "Times a publisher was held back", plain(lambda: counters.pauses))
    metrics.counter(
        "rtmp_paces", "Times a peer was read no further, it takes too much time", plain(lambda: counters.paces)
    )
    metrics.counter("rtmp_audio_bytes", "Audio received", plain(lambda: counters.audio_bytes))
    metrics.counter("rtmp_video_bytes", "Video skipped", plain(lambda: counters.video_bytes_skipped))
    metrics.counter(
        "rtmp_protocol_errors",
        "Connections closed for breaking the protocol or a limit",
        by("reason", counters.protocol_errors.items),
    )
    metrics.gauge("rtmp_carried", "RTMP publishers here that another replica hears", plain(lambda: encoders.carried))
    metrics.counter(
        "rtmp_carries", "Ways for their audio to another replica, by outcome", by("outcome", encoders.ways.items, WAYS)
    )


def listener_gauges(metrics: Metrics, listener: Listener, rtmp: RtmpServer) -> None:
    """Connections that were not let in, or took too long."""
    http, counts = listener.admittance, listener.counts
    metrics.gauge("http_connections", "HTTP connections, WebSockets among them", plain(lambda: http.open))
    metrics.counter(
        "http_refused",
        "HTTP connections refused, by the limit",
        by("limit", http.counts.refused.items, ("address", "total")),
    )
    metrics.counter("http_evicted", "Waiting HTTP connections closed for others", plain(lambda: http.counts.evicted))
    metrics.counter("http_late", "HTTP connections closed for a late head or body", by("part", counts.late.items))
    metrics.counter("http_malformed", "Requests that were no HTTP", by("part", counts.malformed.items))
    metrics.counter("rtmp_refused", "RTMP connections refused", plain(lambda: rtmp.counters.refused_connections))
    metrics.counter("rtmp_evicted", "RTMP connections closed for others", plain(lambda: rtmp.counters.evicted))


def voice_gauges(metrics: Metrics, voice: Voice) -> None:
    """What the voice-activity gate has heard and withheld, over all tracks; seconds of audio at 16 kHz."""
    metrics.counter("audio_heard_seconds", "Audio that came in", plain(lambda: voice.counts.heard / 16_000))
    metrics.counter("speech_seconds", "Speech in it", plain(lambda: voice.counts.speech / 16_000))
    metrics.counter("audio_sent_seconds", "Audio sent to the provider", plain(lambda: voice.sent_samples / 16_000))
    metrics.counter(
        "silence_seconds",
        "Silence that the gate keeps back, or would in shadow mode",
        plain(lambda: voice.counts.withheld / 16_000),
    )
    metrics.counter("gate_openings", "Times that somebody began to speak", plain(lambda: voice.counts.openings))
    metrics.counter("gate_failures", "Tracks whose voice detection failed", plain(lambda: voice.counts.failures))
    metrics.gauge(
        "unanswered_speech_seconds",
        "Speech without any text, worst track",
        plain(lambda: voice.unanswered_s),
        over="max",
    )
    metrics.counter(
        "provider_renewals", "Provider sessions renewed because no text came", plain(lambda: voice.counts.renewals)
    )


def audio_gauges(metrics: Metrics, audio: AudioEndpoint) -> None:
    """Connections that bring audio over WebSockets."""
    counts = audio.counts
    metrics.gauge("audio_connections", "Open connections that bring audio", plain(lambda: audio.connections))
    metrics.counter("audio_bytes", "Audio taken over WebSockets", plain(lambda: counts.bytes))
    metrics.counter("audio_refused", "Audio connections refused, by reason", by("reason", counts.refused.items))
    metrics.counter("audio_closed", "Audio connections ended, by reason", by("reason", counts.closed.items))


def document_gauges(metrics: Metrics, finaliser: Finaliser, retention: Retention) -> None:
    """Transcript documents, and transcripts removed because their time was over."""
    counts = finaliser.counts
    metrics.counter("documents_made", "Transcript documents written", plain(lambda: counts.made))
    metrics.counter("documents_removed", "Transcript documents removed", plain(lambda: counts.removed))
    metrics.counter(
        "translations_dropped",
        "Translations whose final never came",
        plain(lambda: retention.dropped_translations),
    )
    metrics.counter("sessions_cleared", "Sessions whose words were removed", plain(lambda: retention.cleared))
    metrics.counter("documents_failed", "Times the blob store did not do it", plain(lambda: counts.failed))


def analysis_gauges(metrics: Metrics, analyses: Analyses) -> None:
    """The queue of ended sessions: of all replicas by state, of this process by outcome."""
    counts = analyses.counts
    states = (AnalysisStatus.PENDING, AnalysisStatus.RUNNING, AnalysisStatus.FAILED)
    metrics.gauge(
        "analyses",
        "Analyses in the database that are not done, by state",
        by("state", lambda: [(state.lower(), counts.waiting.get(state, 0)) for state in states]),
        over="max",
    )
    metrics.gauge("analyses_here", "Analyses that this process works on", plain(lambda: counts.running))
    metrics.counter(
        "analysis_attempts", "Attempts that this process has ended, by outcome", by("outcome", counts.finished.items)
    )
    metrics.counter("analysis_seconds", "Time spent on them", plain(lambda: counts.seconds))


def provider_gauges(metrics: Metrics, provider: Provider, slots: Slots) -> None:
    """The account at the speech provider: its circuit breaker, and sessions and slots in use."""
    shared = slots.shared
    metrics.counter(
        "provider_complaints",
        "Errors that the provider has reported, by kind",
        by("kind", provider.complaints.items, KINDS),
    )
    metrics.counter(
        "provider_messages_unusable",
        "Messages of the provider that could not be used, by type",
        by("kind", provider.unusable.items, ("transcript", "other", INTERNAL)),
    )
    metrics.counter(
        "provider_audio_given_up_seconds",
        "Audio that no final will cover, by why: poison ended each connection, overdue left the window",
        by("kind", provider.given_up_s.items),
    )
    metrics.counter(
        "provider_connections_lost",
        "Connections of provider sessions that ended before these",
        plain(lambda: provider.connections_lost),
    )
    metrics.gauge(
        "provider_circuit_open",
        "1 while the provider answers nobody",
        plain(lambda: provider.breaker.is_open),
        over="max",
    )
    metrics.gauge("provider_sessions", "Provider sessions this replica has open", plain(lambda: len(provider.mine)))
    metrics.gauge(
        "provider_places_held", "Places in use on all replicas", plain(lambda: shared.held if shared else 0), over="max"
    )
    metrics.gauge(
        "provider_places_waiting",
        "Tracks waiting on all replicas",
        plain(lambda: shared.waiting if shared else 0),
        over="max",
    )


def provider_upkeep_gauges(metrics: Metrics, counts: SweepCounts, erasures: ErasureCounts) -> None:
    """What is seen to at the provider behind the runs: sessions left open, bills, deletions."""
    metrics.counter(
        "provider_orphans_ended", "Provider sessions ended for a dead process", plain(lambda: counts.orphans_ended)
    )
    metrics.counter(
        "provider_orphans_unended", "Attempts at that without success", plain(lambda: counts.orphans_unended)
    )
    metrics.counter(
        "provider_erasures",
        "Deletions of what the provider kept of deleted sessions, by outcome",
        by(
            "outcome",
            lambda: [("erased", erasures.erased), ("failed", erasures.failed), ("given_up", erasures.given_up)],
        ),
    )
    metrics.counter("provider_bills", "Bills read, one a provider session", plain(lambda: counts.billed))
    metrics.counter("provider_bills_missing", "Sessions without a bill", plain(lambda: counts.unbilled))
    metrics.counter(
        "provider_bills_differing", "Bills more than 0.5 % off our own count", plain(lambda: counts.differing)
    )
    metrics.counter(
        "provider_seconds",
        "Audio of sessions that both sides have counted, by who counted it",
        by(
            "counted",
            lambda: [
                ("sent", counts.seconds_sent),
                ("resent", counts.seconds_resent),
                ("billed", counts.seconds_billed),
            ],
        ),
    )


def sessions_gauges(metrics: Metrics, module: SessionsModule, limits: RateLimits) -> None:
    """The sessions module: requests refused, transcriptions begun by joins, ends completed."""
    transcription, closing, limiter = module.transcription, module.closing, limits.limiter
    metrics.counter(
        "requests_limited", "Requests refused for being too many, by kind", by("kind", limits.rates.refused.items)
    )
    metrics.gauge(
        "rate_limits_alone",
        "1 while REDIS_URL is set and does not answer, so that each replica counts for itself",
        plain(lambda: isinstance(limiter, RedisLimiter) and limiter.away),
        over="max",
    )
    metrics.gauge(
        "sessions_beginning", "Sessions whose transcription is being begun", plain(lambda: transcription.beginning)
    )
    metrics.counter(
        "sessions_not_begun", "Joins after which no transcription could be begun", plain(lambda: transcription.refused)
    )
    metrics.counter(
        "session_endings_failed", "Attempts to complete a session's end that failed", plain(lambda: closing.failed)
    )


def webhook_gauges(metrics: Metrics, sender: Sender) -> None:
    """What is told to the app: attempts of this replica, and what waits in the database for all."""
    metrics.counter(
        "webhook_attempts",
        "Attempts to deliver an event, by outcome",
        by("outcome", lambda: [(name, sender.outcomes[name]) for name in ("delivered", "retried", "failed", "gone")]),
    )
    metrics.gauge("webhook_pending", "Events not delivered yet, 30 s", plain(lambda: sender.pending), over="max")
    metrics.gauge("webhook_oldest_seconds", "Age of the oldest of them", plain(lambda: sender.oldest_s), over="max")
