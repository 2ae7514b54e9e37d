"""The Grafana dashboards, from one table: a row is a title and its panels, a panel a title, a unit and its queries.

python tools/dashboards.py            writes deploy/grafana/*.json
python tools/dashboards.py --check    fails when they are not what this would write
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "deploy" / "grafana"
Panel = tuple[str, str, list[tuple[str, str]]]
"""Title, unit as Grafana names it, (query, legend)."""
HERE: Final = 'instance=~"$instance"'


def rate(metric: str, by: str = "instance", **labels: str) -> str:
    """Per second, over what Grafana finds fitting for the shown time."""
    chosen = "".join(f',{name}="{value}"' for name, value in labels.items())
    return f"sum by ({by}) (rate(gateway_{metric}_total{{{HERE}{chosen}}}[$__rate_interval]))"


def now(metric: str, how: str = "sum", by: str = "instance") -> str:
    """At each moment."""
    return f"{how} by ({by}) (gateway_{metric}{{{HERE}}})"


def quantile(share: float, metric: str, by: str = "le", chosen: str = HERE) -> str:
    """Of a histogram, over all instances that are chosen."""
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}_bucket{{{chosen}}}[$__rate_interval])))"


def hops(share: float, *parts: str) -> list[tuple[str, str]]:
    """Where a final's time goes. `parts`: of `heard`, to be shown as well."""
    names = (*parts, "final_heard", "final_durable", "final_shown", "final_end_to_end")
    return [
        (quantile(share, "gateway_hop_seconds", chosen=f'{HERE},hop="{name}"'), name.removeprefix("final_"))
        for name in names
    ]


NOTES: Final = {
    "session": """\
No metric carries the name of a session: there would be as many series as meetings. What is here is of the replica that
runs it, to be chosen above. The session itself is asked, with a service token:

- `gateway status $slug`: which replica that is (`replica`), its health in words, tracks and lag
- `GET /api/transcription/$slug/timeline`: where the time of its newest finals went, hop by hop
- `GET /debug/sessions/$slug`, on the port of the metrics: lease, links and queues as well
"""
}
"""What stands on top of a dashboard, with `$slug` as it is typed there."""


DASHBOARDS: Final[dict[str, tuple[str, list[tuple[str, list[Panel]]]]]] = {
    "overview": (
        "Gateway overview",
        [
            (
                "Health",
                [
                    ("Replicas that answer", "none", [('sum(up{job=~".*gateway.*"})', "up")]),
                    ("Transcriptions", "none", [(now("transcriptions", by="state"), "{{state}}")]),
                    ("Tracks", "none", [(now("tracks"), "{{instance}}")]),
                    ("Watchers", "none", [(now("watchers"), "{{instance}}")]),
                    (
                        "Something is wrong when above 0",
                        "none",
                        [
                            (now("spool_failing", "max"), "finals in memory only {{instance}}"),
                            (now("provider_circuit_open", "max"), "provider unreachable {{instance}}"),
                            (now("rate_limits_alone", "max"), "Redis away {{instance}}"),
                        ],
                    ),
                    ("Database behind", "s", [(now("database_behind_seconds", "max"), "{{instance}}")]),
                ],
            ),
            (
                "Where a final's time goes",
                [
                    ("p50", "s", hops(0.5)),
                    ("p95", "s", hops(0.95)),
                    (
                        "Speech without text, worst track",
                        "s",
                        [(now("unanswered_speech_seconds", "max"), "{{instance}}")],
                    ),
                    (
                        "Audio that waits for the provider",
                        "s",
                        [(now("provider_backlog_seconds", "max"), "{{instance}}")],
                    ),
                ],
            ),
            (
                "Words",
                [
                    ("Finals stored", "ops", [(rate("finals_kept"), "{{instance}}")]),
                    ("Finals not in the database yet", "none", [(now("finals_pending"), "{{instance}}")]),
                    ("Finals on disk", "none", [(now("spool_records"), "{{instance}}")]),
                    ("Age of the oldest on disk", "s", [(now("spool_oldest_seconds", "max"), "{{instance}}")]),
                ],
            ),
            (
                "Doors",
                [
                    ("HTTP connections", "none", [(now("http_connections"), "{{instance}}")]),
                    (
                        "Turned away",
                        "ops",
                        [
                            (rate("http_refused", by="instance, limit"), "{{instance}} HTTP, limit: {{limit}}"),
                            (rate("http_evicted"), "{{instance}} HTTP, closed to make room"),
                            (rate("watchers_refused", by="instance, reason"), "{{instance}} stream: {{reason}}"),
                            (rate("audio_refused", by="instance, reason"), "{{instance}} audio: {{reason}}"),
                            (rate("rtmp_refused_keys"), "{{instance}} RTMP, wrong key"),
                        ],
                    ),
                    ("Streams ended", "ops", [(rate("watchers_closed", by="reason"), "{{reason}}")]),
                    (
                        "RTMP publishers, audio connections",
                        "none",
                        [
                            (now("rtmp_publishing"), "RTMP {{instance}}"),
                            (now("audio_connections"), "WebSocket {{instance}}"),
                        ],
                    ),
                ],
            ),
            (
                "Process",
                [
                    (
                        "CPU, cores",
                        "none",
                        [(f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])", "{{instance}}")],
                    ),
                    ("Memory", "bytes", [(f"process_resident_memory_bytes{{{HERE}}}", "{{instance}}")]),
                    ("Open files", "none", [(f"process_open_fds{{{HERE}}}", "{{instance}}")]),
                    ("Delay of the event loop", "s", [(now("loop_lag_seconds", "max"), "{{instance}}")]),
                ],
            ),
        ],
    ),
    "session": (
        "One session",
        [
            (
                "Where a final's time goes, on the session's replica",
                [
                    ("p50", "s", hops(0.5, "source_chunk", "chunk_socket")),
                    ("p95", "s", hops(0.95, "source_chunk", "chunk_socket")),
                    ("Delay of the event loop", "s", [(now("loop_lag_seconds", "max"), "{{instance}}")]),
                    (
                        "CPU, cores",
                        "none",
                        [(f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])", "{{instance}}")],
                    ),
                ],
            ),
            (
                "The way to the provider, worst track of the replica",
                [
                    ("Audio that waits to be sent", "s", [(now("provider_backlog_seconds", "max"), "{{instance}}")]),
                    ("Speech without text", "s", [(now("unanswered_speech_seconds", "max"), "{{instance}}")]),
                    (
                        "Complaints, sessions renewed",
                        "ops",
                        [(rate("provider_complaints", by="kind"), "{{kind}}"), (rate("provider_renewals"), "renewed")],
                    ),
                    (
                        "Audio given up, seconds a second",
                        "none",
                        [(rate("provider_audio_given_up_seconds", by="kind"), "{{kind}}")],
                    ),
                ],
            ),
            (
                "The way to the database",
                [
                    (
                        "Slowest statements, p95",
                        "s",
                        [
                            (
                                f"topk(5, {quantile(0.95, 'gateway_database_statement_seconds', 'le, statement')})",
                                "{{statement}}",
                            )
                        ],
                    ),
                    ("Connections", "none", [(now("database_connections", by="state"), "{{state}}")]),
                    ("Finals not in the database yet", "none", [(now("finals_pending"), "{{instance}}")]),
                    ("Database behind", "s", [(now("database_behind_seconds", "max"), "{{instance}}")]),
                ],
            ),
            (
                "The way to the watchers",
                [
                    ("Messages written", "ops", [(rate("messages_delivered"), "{{instance}}")]),
                    ("Partials skipped for slow readers", "ops", [(rate("partials_coalesced"), "{{instance}}")]),
                    ("Streams ended", "ops", [(rate("watchers_closed", by="reason"), "{{reason}}")]),
                    ("Followed without partials or finals", "none", [(now("relay_degraded"), "{{instance}}")]),
                ],
            ),
            (
                "A known sentence, from outside (the canary)",
                [
                    ("Words that come back", "percentunit", [("gateway_canary_words_share", "{{instance}}")]),
                    (
                        "First text, last final: p95",
                        "s",
                        [
                            (quantile(0.95, f"gateway_canary_{name}_seconds", chosen=""), name)
                            for name in ("first_partial", "final")
                        ],
                    ),
                    (
                        "Rounds that failed, an hour",
                        "none",
                        [("sum by (step) (increase(gateway_canary_failures_total[1h]))", "{{step}}")],
                    ),
                    ("Time of each step", "s", [("max by (step) (gateway_canary_step_seconds)", "{{step}}")]),
                ],
            ),
        ],
    ),
    "provider": (
        "Provider and money",
        [
            (
                "Line",
                [
                    ("Provider unreachable", "none", [(now("provider_circuit_open", "max"), "{{instance}}")]),
                    ("Audio that waits, worst track", "s", [(now("provider_backlog_seconds", "max"), "{{instance}}")]),
                    ("Connections lost", "ops", [(rate("provider_connections_lost"), "{{instance}}")]),
                    (
                        "Audio given up, seconds a second",
                        "none",
                        [
                            (
                                rate("provider_audio_given_up_seconds", by="instance, kind"),
                                "{{instance}} {{kind}}",
                            )
                        ],
                    ),
                ],
            ),
            (
                "Audio",
                [
                    (
                        "Seconds of audio a second",
                        "none",
                        [
                            (rate("audio_heard_seconds", by="job"), "heard"),
                            (rate("speech_seconds", by="job"), "speech"),
                            (rate("audio_sent_seconds", by="job"), "sent to the provider"),
                        ],
                    ),
                    (
                        "Silence not paid, share",
                        "percentunit",
                        [
                            (
                                f"{rate('silence_seconds', by='job')} / {rate('audio_heard_seconds', by='job')}",
                                "withheld",
                            )
                        ],
                    ),
                    (
                        "Billed, sent, sent again (a day)",
                        "s",
                        [(f"sum by (counted) (increase(gateway_provider_seconds_total{{{HERE}}}[1d]))", "{{counted}}")],
                    ),
                    ("Bill error over a day", "percentunit", [("gateway:bill_error:ratio_1d", "of what was metered")]),
                ],
            ),
            (
                "Account",
                [
                    ("Sessions open at the provider", "none", [(now("provider_sessions"), "{{instance}}")]),
                    (
                        "Places",
                        "none",
                        [
                            (f"max(gateway_provider_places_held{{{HERE}}})", "held"),
                            (f"max(gateway_provider_places_waiting{{{HERE}}})", "waiting"),
                        ],
                    ),
                    ("Complaints", "ops", [(rate("provider_complaints", by="kind"), "{{kind}}")]),
                    (
                        "Messages that could not be used",
                        "ops",
                        [(rate("provider_messages_unusable", by="kind"), "{{kind}}")],
                    ),
                    ("Sessions renewed for want of text", "ops", [(rate("provider_renewals"), "{{instance}}")]),
                    (
                        "Bills",
                        "ops",
                        [
                            (rate("provider_bills", by="job"), "read"),
                            (rate("provider_bills_missing", by="job"), "missing"),
                            (rate("provider_bills_differing", by="job"), "differing"),
                        ],
                    ),
                    (
                        "Sessions of dead processes",
                        "ops",
                        [
                            (rate("provider_orphans_ended", by="job"), "ended"),
                            (rate("provider_orphans_unended", by="job"), "not ended"),
                        ],
                    ),
                    ("Deletions there", "ops", [(rate("provider_erasures", by="outcome"), "{{outcome}}")]),
                ],
            ),
        ],
    ),
    "replicas": (
        "Replicas",
        [
            (
                "Load",
                [
                    ("Transcriptions", "none", [(now("transcriptions"), "{{instance}}")]),
                    ("Tracks", "none", [(now("tracks"), "{{instance}}")]),
                    ("Watchers", "none", [(now("watchers"), "{{instance}}")]),
                    (
                        "CPU, cores",
                        "none",
                        [(f"rate(process_cpu_seconds_total{{{HERE}}}[$__rate_interval])", "{{instance}}")],
                    ),
                ],
            ),
            (
                "Between them",
                [
                    ("Redis reached", "none", [(now("relay_up", "min"), "{{instance}}")]),
                    ("Sessions told to others", "none", [(now("relay_told"), "{{instance}}")]),
                    ("Sessions followed here", "none", [(now("relay_followed"), "{{instance}}")]),
                    ("Followed without partials or finals", "none", [(now("relay_degraded"), "{{instance}}")]),
                    ("Messages", "ops", [(rate("relay_messages", by="fate"), "{{fate}}")]),
                    ("Statements for followed sessions", "ops", [(rate("relay_reads", by="what"), "{{what}}")]),
                    ("Messages that never came", "ops", [(rate("relay_losses"), "{{instance}}")]),
                    ("Finals refused: lease or session gone", "ops", [(rate("finals_refused"), "{{instance}}")]),
                ],
            ),
        ],
    ),
    "afterwards": (
        "After a session",
        [
            (
                "Work that waits",
                [
                    ("Analyses", "none", [(f"max by (state) (gateway_analyses{{{HERE}}})", "{{state}}")]),
                    ("Attempts at analyses", "ops", [(rate("analysis_attempts", by="outcome"), "{{outcome}}")]),
                    (
                        "Documents",
                        "ops",
                        [
                            (rate("documents_made", by="job"), "written"),
                            (rate("documents_removed", by="job"), "removed"),
                            (rate("documents_failed", by="job"), "failed"),
                        ],
                    ),
                    ("Endings that failed", "ops", [(rate("session_endings_failed", by="job"), "failed")]),
                    ("Sessions cleared", "ops", [(rate("sessions_cleared", by="job"), "cleared")]),
                    ("Attempts at webhooks", "ops", [(rate("webhook_attempts", by="outcome"), "{{outcome}}")]),
                    ("Oldest event that waits", "s", [(f"max(gateway_webhook_oldest_seconds{{{HERE}}})", "age")]),
                    ("Audit rows in the log alone", "ops", [(rate("audit_lost", by="job"), "lost")]),
                ],
            ),
        ],
    ),
}


def dashboard(uid: str) -> dict[str, Any]:
    """One of DASHBOARDS as Grafana imports it."""
    title, rows = DASHBOARDS[uid]
    source = {"type": "prometheus", "uid": "${source}"}
    panels: list[dict[str, Any]] = []
    y = 0
    if note := NOTES.get(uid):
        text = {"mode": "markdown", "content": note}
        panels.append({"type": "text", "gridPos": {"x": 0, "y": 0, "w": 24, "h": 6}, "options": text})
        y = 6
    for name, content in rows:
        panels.append({"type": "row", "title": name, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        for index, (heading, unit, queries) in enumerate(content):
            panels.append(
                {
                    "type": "timeseries",
                    "title": heading,
                    "datasource": source,
                    "gridPos": {"x": 6 * (index % 4), "y": y + 7 * (index // 4), "w": 6, "h": 7},
                    "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": {"fillOpacity": 8}}},
                    "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
                    "targets": [
                        {"refId": chr(65 + place), "expr": query, "legendFormat": legend, "datasource": source}
                        for place, (query, legend) in enumerate(queries)
                    ],
                }
            )
        y += 7 * -(-len(content) // 4)
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    variables = [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {
            "name": "instance",
            "label": "Replica",
            "type": "query",
            "datasource": source,
            "query": {"query": "label_values(gateway_info, instance)", "refId": "instance"},
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
        },
    ]
    if note:
        variables.append({"name": "slug", "label": "Session", "type": "textbox", "query": "SLUG"})
    return {
        "uid": f"gateway-{uid}",
        "title": title,
        "tags": ["transcription-gateway"],
        "schemaVersion": 39,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "links": [{"type": "dashboards", "tags": ["transcription-gateway"], "title": "Others", "asDropdown": True}],
        "panels": panels,
    }


def main() -> int:
    """Write or check. Returns: the exit status."""
    stale = []
    for uid in DASHBOARDS:
        path, text = FOLDER / f"{uid}.json", json.dumps(dashboard(uid), indent=1) + "\n"
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            stale.append(path.name)
    if stale:
        print(f"{', '.join(stale)}: not what tools/dashboards.py writes; run it", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
