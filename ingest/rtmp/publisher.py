"""One publish, as its handler sees it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from ingest.audio_packet import AudioPacket

TAKEN_OVER: Final = "taken over"
_STILL_S: Final = 1.0  # an encoder that comes back after a lost connection takes longer
_NEWER_S: Final = 1.0  # clocks of two processes, and the way between them


class PublishHandler(Protocol):
    """What a server of publishes asks of its owner."""

    async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
        """May `peer` publish under `key`? Asked before the publisher is told to start; cancelled when late.

        Raises: PublishRefused, when the key is right and the publisher has to wait, or go elsewhere.
        """

    async def published(self, publisher: Publisher) -> None:
        """Runs for the life of one publish. Returning early ends the publish."""

    def crowded(self) -> None:
        """Connections were refused, or closed for others, because too many are open. At most a few times a second."""


class Sender(Protocol):
    """Where a publish comes from: it is told whether it may begin."""

    def accept(self, publisher: Publisher) -> bool:
        """It begins. False: the sender is gone, or wants something else by now."""

    def refuse(self, publisher: Publisher, code: str, why: str) -> None:
        """It does not, and ends; `code` is a NetStream status code."""


class Publisher:
    """The audio of one publish. One reader at a time."""

    def __init__(
        self,
        app: str,
        key: str,
        peer: str,
        *,
        buffer_bytes: int,
        buffer_packets: int,
        clock: Callable[[], float],
        full: Callable[[], None],
        emptied: Callable[[], None],
        closed: Callable[[str], None],
        carried_since: float | None = None,
    ) -> None:
        """`full` and `emptied` stop and restart the flow of packets, `closed` hears why the reader has enough.
        `carried_since`: by `clock`, of a publisher that is connected to another replica, which brings its audio here.
        """
        self.app = app
        self.key = key
        self.peer = peer
        self.metadata: Mapping[str, object] = {}
        self.has_video = False
        # What the publisher did that is no use, and no harm either.
        self.abandoned_messages = self.repeated_publishes = 0
        self.ended_because: str | None = None
        self.fault: str | None = None
        """What the publisher did wrong, if it was thrown out for it."""
        self.was_displaced = False
        """Another publisher has taken over from it while its audio still came."""
        self.is_carried = carried_since is not None
        self.is_moved = False
        """It was ended because its audio is wanted elsewhere."""
        self.packets_read = 0
        self._buffer_bytes, self._buffer_packets = buffer_bytes, buffer_packets
        self._clock, self._full, self._emptied, self._closed = clock, full, emptied, closed
        self._packets: list[AudioPacket] = []
        self._held_bytes = 0
        self._held_back = False
        self._began = clock() if carried_since is None else carried_since
        self._waits_since = self._read_since = -math.inf  # when the first packet that waits came, that was read last
        self._last_audio = -math.inf
        self._interrupted = False
        self._news = asyncio.Event()

    @property
    def audio_age_s(self) -> float:
        """Seconds since the first packet of the last `read` came; 0 before the first."""
        return self._clock() - self._read_since if self._read_since > -math.inf else 0.0

    @property
    def age_s(self) -> float:
        """Seconds since it began, wherever it is connected."""
        return self._clock() - self._began

    @property
    def is_over(self) -> bool:
        """It has ended, and everything of it was read."""
        return self.ended_because is not None and not self._packets

    def yields_to(self, other: Publisher) -> bool:
        """Whether `other`, on the same key, was there after this one, which only comes from elsewhere."""
        return self.is_carried and other._began > self._began + _NEWER_S

    async def read(self) -> list[AudioPacket]:
        """Everything that arrived since the last call, at least one packet.

        Nothing once the publish has ended, and after `interrupt`.

        Safe to cancel: no packet leaves before the return.
        """
        while not self._packets and self.ended_because is None and not self._interrupted:
            self._news.clear()
            await self._news.wait()
        self._interrupted = False
        packets, self._packets = self._packets, []
        self._held_bytes = 0
        if packets:
            self._read_since = self._waits_since
            self.packets_read += len(packets)
        if self._held_back:
            self._held_back = False
            self._emptied()
        return packets

    def put_back(self, packets: Sequence[AudioPacket], age_s: float) -> None:
        """The last packets that were read are for the next reader; the first of them came `age_s` ago."""
        if packets:
            self._packets[:0] = packets
            self.packets_read -= len(packets)
            self._waits_since = self._clock() - age_s
            self._held_bytes += sum(len(packet.payload) for packet in packets)
            self._news.set()
            self._hold_back_if_full()

    def interrupt(self) -> None:
        """Let `read` return, although nothing has come."""
        self._interrupted = True
        self._news.set()

    def close(self, reason: str) -> None:
        """End the publish from our side: the publisher is told `reason` and disconnected."""
        if self.ended_because is None:
            self._closed(reason)

    def move(self, reason: str) -> None:
        """`close`, because its audio is wanted elsewhere: what was not read is to be sent there."""
        self.is_moved = True
        self.close(reason)

    def displace(self) -> None:
        """For the server: `close`, because another publisher takes over."""
        self.was_displaced = self._clock() - self._last_audio < _STILL_S
        self.close(TAKEN_OVER)

    def take(self, packet: AudioPacket, age_s: float = 0.0) -> None:
        """For the server: one packet has arrived, or had `age_s` ago where it comes from."""
        self._last_audio = self._clock()
        if not self._packets:
            self._waits_since = self._last_audio - age_s
        self._packets.append(packet)
        self._held_bytes += len(packet.payload)
        if len(self._packets) == 1:
            self._news.set()
        self._hold_back_if_full()

    def _hold_back_if_full(self) -> None:
        if not self._held_back and (
            self._held_bytes >= self._buffer_bytes or len(self._packets) >= self._buffer_packets
        ):
            self._held_back = True
            self._full()

    def end(self, reason: str, fault: str | None = None) -> None:
        """For the server: nothing more will arrive. The first reason stands."""
        if self.ended_because is None:
            self.ended_because, self.fault = reason, fault
            self._news.set()
