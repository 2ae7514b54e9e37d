"""Every number an operator may want at night, read from the parts by the name it has in docs/metrics.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.analysis.analyse import Analyses
from gateway.archive.finalise import Finaliser
from gateway.archive.retention import Retention
from gateway.live.audio import AudioEndpoint
from gateway.live.endpoint import LiveEndpoint
from gateway.live.hub import Hub
from gateway.metrics import Metrics, by, plain
from gateway.sessions.infra.assembly import SessionsModule
from gateway.sessions.infra.rate_limits import MemoryLimiter, RedisLimiter
from gateway.sessions.usecases.rates import Rates
from gateway.transcription.infra.journal import SpoolJournal
from gateway.transcription.infra.provider_slots import SharedSlots
from gateway.transcription.infra.voice import Voice
from gateway.transcription.usecases.provider_erasure import ErasureCounts
from gateway.transcription.usecases.record import Recorder
from gateway.transcription.usecases.run import Run
from gateway.transcription.usecases.sweep import SweepCounts
from gateway.transcription.usecases.transcriptions import Transcriptions
from ingest.rtmp.server import RtmpServer
from stt.gladia.client import Provider

if TYPE_CHECKING:
    pass


def sessions_gauges(
    metrics: Metrics, module: SessionsModule, rates: Rates, limiter: MemoryLimiter | RedisLimiter
) -> None:
    transcription, closing = module.transcription, module.closing
    metrics.counter("requests_limited", "Requests refused for being too many, by kind", by("kind", rates.refused.items))
    metrics.gauge(
        "rate_limits_alone",
        "1 while REDIS_URL is set and does not answer, so that each replica counts for itself",
        plain(lambda: isinstance(limiter, RedisLimiter) and limiter.away),
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


def gateway_gauges(
    transcriptions: Transcriptions,
    recorder: Recorder,
    journal: SpoolJournal,
    hub: Hub,
    endpoint: LiveEndpoint,
    rtmp: RtmpServer,
    engine: str,
) -> Metrics:
    """Every number an operator may want at night, by the name it has in docs/metrics.md."""
    metrics = Metrics()

    def runs() -> list[Run]:
        return transcriptions.runs

    metrics.gauge("info", "Constant 1; the label says which recogniser is used", by("engine", lambda: [(engine, 1)]))
    metrics.gauge(
        "transcriptions",
        "Transcriptions on this replica, by state",
        by(
            "state",
            lambda: [
                (state, len([run for run in runs() if run.state.shown == state]))
                for state in ("starting", "running", "waiting", "stopping")
            ],
        ),
    )
    metrics.gauge("tracks", "Tracks being transcribed", plain(lambda: sum(len(run.tracks) for run in runs())))
    metrics.gauge(
        "provider_backlog_seconds",
        "Audio waiting to be sent to the provider, worst track",
        plain(lambda: max((live.link.backlog_s for run in runs() for live in run.tracks), default=0)),
    )
    metrics.counter("finals_kept", "Finals written to the database", plain(lambda: recorder.stored))
    metrics.gauge("finals_pending", "Finals and meter readings not in the database", plain(lambda: recorder.pending))
    metrics.counter(
        "finals_refused",
        "Finals shown and then not stored: lease or session were gone",
        plain(lambda: recorder.refused),
    )
    metrics.gauge("database_behind_seconds", "Time since the database had everything", plain(lambda: recorder.behind_s))
    metrics.gauge("spool_bytes", "Disk taken by what the database has not got", plain(lambda: journal.size))
    metrics.gauge("spool_records", "Finals and meter readings kept on disk", plain(lambda: len(journal)))
    metrics.gauge("spool_oldest_seconds", "Age of the oldest of them", plain(lambda: journal.oldest_age))
    metrics.gauge(
        "spool_failing",
        "1 while the disk refuses what the database has not taken",
        plain(lambda: bool(recorder.trouble)),
    )
    metrics.gauge("watchers", "Open streams", plain(lambda: hub.counts.watchers))
    metrics.counter("watcher_connections", "Streams ever opened", plain(lambda: hub.counts.connected))
    metrics.counter("messages_delivered", "Messages written to watchers", plain(lambda: hub.counts.delivered))
    metrics.counter("partials_coalesced", "Partials skipped for slow watchers", plain(lambda: hub.counts.coalesced))
    metrics.counter("watchers_refused", "Streams refused, by reason", by("reason", endpoint.counts.refused.items))
    metrics.counter("watchers_closed", "Streams ended, by reason", by("reason", endpoint.counts.closed.items))
    counters = rtmp.counters
    metrics.gauge("rtmp_publishing", "RTMP publishers now", plain(lambda: counters.publishing))
    metrics.counter("rtmp_connections", "RTMP connections", plain(lambda: counters.connections))
    metrics.counter("rtmp_publishes", "Publishes accepted", plain(lambda: counters.publishes))
    metrics.counter("rtmp_refused_keys", "Publishes refused for their key", plain(lambda: counters.refused_key))
    metrics.counter("rtmp_pauses", "Times a publisher was held back", plain(lambda: counters.pauses))
    metrics.counter("rtmp_audio_bytes", "Audio received", plain(lambda: counters.audio_bytes))
    metrics.counter("rtmp_video_bytes", "Video skipped", plain(lambda: counters.video_bytes_skipped))
    metrics.counter(
        "rtmp_protocol_errors",
        "Connections closed for breaking the protocol or a limit",
        by("reason", counters.protocol_errors.items),
    )
    return metrics


def voice_gauges(metrics: Metrics, voice: Voice) -> None:
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
        "unanswered_speech_seconds", "Speech without any text, worst track", plain(lambda: voice.unanswered_s)
    )
    metrics.counter(
        "provider_renewals", "Provider sessions renewed because no text came", plain(lambda: voice.counts.renewals)
    )


def audio_gauges(metrics: Metrics, audio: AudioEndpoint) -> None:
    counts = audio.counts
    metrics.gauge("audio_connections", "Open connections that bring audio", plain(lambda: audio.connections))
    metrics.counter("audio_bytes", "Audio taken over WebSockets", plain(lambda: counts.bytes))
    metrics.counter("audio_refused", "Audio connections refused, by reason", by("reason", counts.refused.items))
    metrics.counter("audio_closed", "Audio connections ended, by reason", by("reason", counts.closed.items))


def document_gauges(metrics: Metrics, finaliser: Finaliser, retention: Retention) -> None:
    counts = finaliser.counts
    metrics.counter("documents_made", "Transcript documents written", plain(lambda: counts.made))
    metrics.counter("documents_removed", "Transcript documents removed", plain(lambda: counts.removed))
    metrics.counter("sessions_cleared", "Sessions whose words were removed", plain(lambda: retention.cleared))
    metrics.counter("documents_failed", "Times the blob store did not do it", plain(lambda: counts.failed))


def analysis_gauges(metrics: Metrics, analyses: Analyses) -> None:
    counts = analyses.counts
    states = ("pending", "running", "failed")
    metrics.gauge(
        "analyses",
        "Analyses in the database that are not done, by state",
        by("state", lambda: [(state, counts.waiting.get(state.upper(), 0)) for state in states]),
    )
    metrics.gauge("analyses_here", "Analyses that this process works on", plain(lambda: counts.running))
    metrics.counter(
        "analysis_attempts", "Attempts that this process has ended, by outcome", by("outcome", counts.finished.items)
    )
    metrics.counter("analysis_seconds", "Time spent on them", plain(lambda: counts.seconds))


def provider_gauges(
    metrics: Metrics, provider: Provider, places: SharedSlots | None, counts: SweepCounts, erasures: ErasureCounts
) -> None:
    """The account at the speech provider."""
    metrics.gauge(
        "provider_circuit_open", "1 while the provider answers nobody", plain(lambda: provider.breaker.is_open)
    )
    metrics.gauge("provider_sessions", "Provider sessions this replica has open", plain(lambda: len(provider.mine)))
    metrics.gauge("provider_places_held", "Places in use on all replicas", plain(lambda: places.held if places else 0))
    metrics.gauge(
        "provider_places_waiting", "Tracks waiting on all replicas", plain(lambda: places.waiting if places else 0)
    )
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
