"""The open wings, for what reaches over all of them: the running tasks, the HTTP side, the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter

    from gateway.analysis.analyse import Analyses
    from gateway.app.elsewhere import OtherReplicas
    from gateway.app.encoders import Encoders
    from gateway.app.listener import Listener
    from gateway.app.live import LiveWing
    from gateway.app.provider import ProviderWing
    from gateway.app.relay import Relay
    from gateway.app.replica import Replica
    from gateway.app.sessions import RateLimits, SessionsWing
    from gateway.app.transcription import TranscriptionWing
    from gateway.app.webhooks import WebhooksWing
    from gateway.live.hub import Hub
    from gateway.replicas.membership import Membership


@dataclass(frozen=True, slots=True)
class Wings:
    """Everything that is open. A new wing gets a field here and an opener in `root`."""

    replica: Replica
    membership: Membership
    others: OtherReplicas
    hub: Hub
    speech: ProviderWing
    transcription: TranscriptionWing
    encoders: Encoders
    relay: Relay
    live: LiveWing
    analyses: Analyses
    sessions: SessionsWing
    limits: RateLimits
    webhooks: WebhooksWing
    listener: Listener
    spans: Counter[str]
    """What became of them: sent, failed, dropped."""
