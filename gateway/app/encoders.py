"""Encoders that are connected here while another replica transcribes: their audio is carried there."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from secrets import token_hex
from typing import Final

import msgspec

from gateway.app.carried_encoders import END, PATH, Start, Told
from gateway.app.elsewhere import OtherReplicas
from gateway.outage import RecordsUnavailable
from gateway.reading import NotJson, read_json
from gateway.replicas.peers import Misdirected, PeerSocket, SocketOver, Unreached
from gateway.transcription.domain.errors import NoAnswer, NotReady
from gateway.transcription.usecases.run import MOVED
from ingest.audio_packet import AudioPacket
from ingest.rtmp import packets
from ingest.rtmp.publisher import Publisher

Fetch = Callable[[Sequence[str]], Awaitable[bool]]
log = logging.getLogger(__name__)

PATIENCE_S: Final = 30.0
"""For somebody to take an encoder's audio, a failover included; meanwhile it waits as for a busy gateway."""
FIRST_AGAIN_S: Final = 0.1
LAST_AGAIN_S: Final = 1.0
GATHER_S: Final = 0.04
"""Between two messages; the one who transcribes takes 80 ms at a time."""
UNREAD_BYTES: Final = 1024 * 1024
UNREAD_PACKETS: Final = 1_000
"""What has been sent and was not read there; more is sent when it was."""
FIND_S: Final = 8.0
"""An RTMP server gives a key 10 s to be checked."""
FIND_AGAIN_S: Final = 0.5
WAYS: Final = ("opened", "broken", "given_up")
"""A way that broke was opened before; given up is an encoder for which none was found in time."""
GONE: Final = "the gateway that transcribes does not answer; publish again"


class Encoders:
    """Of this replica, whose audio goes elsewhere. Each is carried by the task of its publish."""

    def __init__(
        self, others: OtherReplicas, is_leaving: Callable[[], bool], may_act: Callable[[], bool] = lambda: True
    ) -> None:
        """`is_leaving`: whether this replica goes, and disconnects its encoders. `may_act`: as of its membership."""
        self.carried = 0
        """Now, those included for which somebody is looked for."""
        self.ways: Counter[str] = Counter()
        """There, by what became of them: see WAYS."""
        self._others = others
        self._is_leaving = is_leaving
        self._may_act = may_act

    async def carry(self, publisher: Publisher, heir: str | None, is_back: Callable[[], bool]) -> bool:
        """As `sources.Carry`. An encoder is told what the one who transcribes says, or that nobody does."""
        if self._is_leaving():
            publisher.close(MOVED)
            return False
        self.carried += 1
        try:
            return await self._carry(publisher, heir, is_back)
        finally:
            self.carried -= 1

    async def _carry(self, publisher: Publisher, owner: str | None, is_back: Callable[[], bool]) -> bool:
        now = asyncio.get_running_loop().time
        until, again_s = now() + PATIENCE_S, FIRST_AGAIN_S
        name = f"{self._others.me} {token_hex(4)}"
        while not publisher.is_over:
            if is_back():
                return True
            for replica in await self._to_ask(owner):
                told = await self._carry_to(replica, publisher, name)
                if told is None:
                    owner = None
                    continue
                if not told.comes_back:
                    publisher.close(told.over or GONE)
                    return False
                # Who has been lost to the others is their owner until somebody has taken over.
                owner = told.owner if told.owner != self._others.me else None
                if told.is_ready:
                    until, again_s = now() + PATIENCE_S, FIRST_AGAIN_S
                break
            if now() >= until:
                log.warning("an encoder is disconnected: for %.0f s nobody has taken its audio", PATIENCE_S)
                self.ways["given_up"] += 1
                publisher.close(GONE)
                return False
            await asyncio.sleep(again_s)
            again_s = min(2 * again_s, LAST_AGAIN_S)
        return False

    async def fetch(self, take: Fetch, keys: Sequence[str]) -> bool:
        """`take`, and where this replica is cut off from the database: whether others know an owner to carry it to.

        Raises: as `take`.
        """
        try:
            return await take(keys)
        except (NotReady, RecordsUnavailable) as error:
            is_cut_off = isinstance(error, RecordsUnavailable) or not self._may_act()
            if is_cut_off and not self._is_leaving() and await self._is_found(keys):
                return True
            raise

    async def _is_found(self, keys: Sequence[str]) -> bool:
        """What was ours has an owner when its lease has ended there, which an encoder is held for."""
        now = asyncio.get_running_loop().time
        until = now() + FIND_S
        while True:
            told = await asyncio.gather(*map(partial(self._others.owner_of, keys), await self._others.reachable()))
            owners = {owner for owner in told if owner is not None}
            if owners - {self._others.me}:
                return True
            if not owners or now() >= until:
                return False
            await asyncio.sleep(FIND_AGAIN_S)

    async def _to_ask(self, owner: str | None) -> Sequence[str]:
        """The one who has it; whoever else is there knows who that is."""
        return (owner,) if owner else await self._others.reachable()

    async def _carry_to(self, replica: str, publisher: Publisher, name: str) -> Told | None:
        """Until the publish is over, or belongs elsewhere: the last that is told there. None: it was not told."""
        way: _Way | None = None
        try:
            async with self._others.encoder_socket(replica, PATH) as socket:
                way = _Way(publisher, socket, name)
                told = await way.run()
        except (NoAnswer, Unreached, Misdirected, SocketOver, NotJson) as error:
            told = None
            log.info("an encoder's audio cannot be carried to replica %s: %s", replica, error)
        if way is not None and way.is_ready:
            self.ways["opened"] += 1
            if told is None:
                log.warning(
                    "an encoder's audio is not carried to replica %s any more, another way is looked for", replica
                )
                self.ways["broken"] += 1
                return Told(comes_back=True, is_ready=True)
        return told


class _Way:
    """One connection to who transcribes. Nothing is sent before it is ready; what was not read there is put back."""

    def __init__(self, publisher: Publisher, socket: PeerSocket, name: str) -> None:
        """`name`: of the publish, the same on each of its ways."""
        self._name = name
        self._publisher = publisher
        self._socket = socket
        self._clock = asyncio.get_running_loop().time
        self._unread: deque[tuple[AudioPacket, float]] = deque()  # with the time at which its batch had come
        self._unread_bytes = self._taken = self._known = 0
        self._ready, self._room = asyncio.Event(), asyncio.Event()

    @property
    def is_ready(self) -> bool:
        """It was taken there."""
        return self._ready.is_set()

    async def run(self) -> Told:
        """Until the end: the last that is told. Raises: SocketOver, NotJson."""
        publisher = self._publisher
        start = Start(publisher.app, publisher.key, publisher.peer, publisher.age_s, self._name, publisher.packets_read)
        await self._socket.send(msgspec.json.encode(start).decode())
        up = asyncio.create_task(self._up(), name=f"encoder carried {publisher.peer}")
        down = asyncio.create_task(self._down(), name=f"encoder answers {publisher.peer}")
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                up.result()  # a mistake of ours; that the line is over, the other one knows better
            return await down
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            if self._unread:
                publisher.put_back([packet for packet, _ in self._unread], self._clock() - self._unread[0][1])

    async def _up(self) -> None:
        publisher = self._publisher
        await self._ready.wait()
        while True:
            while self._unread_bytes >= UNREAD_BYTES or len(self._unread) >= UNREAD_PACKETS:
                self._room.clear()
                await self._room.wait()
            taken = await publisher.read()
            known, self._known = self._known, max(0, self._known - len(taken))
            age_s, taken = publisher.audio_age_s, taken[known:]
            self._unread.extend((packet, self._clock() - age_s) for packet in taken)
            self._unread_bytes += sum(len(packet.payload) for packet in taken)
            try:
                for message in packets.write(taken, age_s):
                    await self._socket.send(message)
                if not taken and publisher.ended_because is not None:
                    await self._socket.send(END)
                    return
            except SocketOver:
                return
            await asyncio.sleep(GATHER_S)

    async def _down(self) -> Told:
        while True:
            told = read_json(await self._socket.receive(), Told)
            if told.is_ready and not self.is_ready:  # what had come there on a way that has broken
                self._known = self._taken = told.taken
            while self._taken < told.taken and self._unread:
                self._taken += 1
                self._unread_bytes -= len(self._unread.popleft()[0].payload)
            self._room.set()
            if told.over is not None:
                return told
            if told.is_ready:
                self._ready.set()
