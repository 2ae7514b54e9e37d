"""What an RTMP server is allowed to spend on its publishers."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network

from ingest.rtmp.protocol import Limits


@dataclass(frozen=True, slots=True)
class RtmpOptions:
    """`port` 0 takes any free one.

    A publisher whose audio is not fetched is held back by TCP when `buffer_bytes` or `buffer_packets` wait for
    its handler (1,000 packets of AAC at 48 kHz are 21 s); the handler's next read lets it go on.
    """

    host: str = "0.0.0.0"  # noqa: S104 - the purpose of the server
    port: int = 1935
    handshake_s: float = 5.0
    publish_s: float = 10.0
    idle_s: float = 30.0  # as long may a source pause that sends nothing meanwhile
    authorise_s: float = 10.0
    handler_grace_s: float = 10.0
    connections: int = 500
    connections_per_address: int = 100
    shared: tuple[IPv4Network | IPv6Network, ...] = ()
    """Peers that stand for many publishers, such as a TLS proxy: they have no limit of their own."""
    backlog: int = 512
    is_shared: bool = False
    """Other processes listen on the same port, among which the system spreads connections."""
    buffer_bytes: int = 1024 * 1024
    buffer_packets: int = 1_000
    limits: Limits = field(default_factory=Limits)
