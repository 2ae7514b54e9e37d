"""What an RTMP server has seen."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RtmpCounters:
    """Since the server started; `open` and `publishing` are what is there now."""

    connections: int = 0
    refused_connections: int = 0
    evicted: int = 0
    open: int = 0
    publishes: int = 0
    publishing: int = 0
    refused_key: int = 0
    refused_now: int = 0
    takeovers: int = 0
    pauses: int = 0
    paces: int = 0
    audio_packets: int = 0
    audio_bytes: int = 0
    video_bytes_skipped: int = 0
    handler_failures: int = 0
    protocol_errors: dict[str, int] = field(default_factory=dict)
