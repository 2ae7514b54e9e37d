"""Audio of an encoder at one replica is carried to whichever transcribes, and comes there once, in its order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from support.waiting import until

from gateway.app import carried_encoders, encoders
from gateway.app.carried_encoders import CarriedEncoders
from gateway.app.elsewhere import OtherReplicas
from gateway.app.encoders import Encoders
from gateway.outage import RecordsUnavailable
from gateway.replicas.peers import PeerSocket, SocketOver, key_for, open_peers
from gateway.replicas.replica import Load, Replica
from gateway.replicas.routes import InternalRoutes
from gateway.transcription.domain.errors import NoAnswer, NotReady
from ingest.audio_packet import AudioFormat, AudioPacket
from ingest.rtmp.options import RtmpOptions
from ingest.rtmp.publisher import TAKEN_OVER, Publisher
from ingest.rtmp.server import RtmpServer

KEY = "abcdefghijkl-nopqrstuvw_"
FORMATS = [AudioFormat("aac", b"asc", 48_000, 2, True), AudioFormat("mp3", b"", None, None, True)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "GATHER_S", 0.0)
    monkeypatch.setattr(encoders, "FIRST_AGAIN_S", 0.005)
    monkeypatch.setattr(carried_encoders, "TELL_S", 0.02)


class World:
    """Who has the transcription, by name; and all that was heard of it, at whichever."""

    def __init__(self) -> None:
        self.owner = "b"
        self.heard: list[AudioPacket] = []
        self.ages: list[float] = []
        self.database_answers = True
        self.leaving: set[str] = set()


class There:
    """A replica that transcribes what is carried to it, while it is the owner."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.publishers = world, name, list[Publisher]()
        self.stop_at: int | None = None
        """Goes to another owner when so much was heard in all."""
        self.next_owner = ""
        self.server = RtmpServer(RtmpOptions(buffer_packets=20), self)
        self.carried = CarriedEncoders(self.server, self, self, lambda: name in world.leaving)  # type: ignore[arg-type]

    # Its `Sources`, and `Leases`.

    def takes_publish(self, app: str, key: str) -> bool:
        return self.world.owner == self.name and key == KEY

    async def authorise(self, app: str, key: str, query: str, peer: str) -> bool:
        return self.takes_publish(app, key)

    async def hear(self, publisher: Publisher) -> None:
        """As a track does, until the transcription goes elsewhere."""
        self.publishers.append(publisher)
        world = self.world
        while packets := await publisher.read():
            world.ages.append(publisher.audio_age_s)
            world.heard += packets
            if self.stop_at is not None and len(world.heard) >= self.stop_at:
                self.stop_at = None
                world.owner = self.next_owner
                await asyncio.sleep(0.01)  # some more comes, which nobody reads
                publisher.move("moved")
                return

    def crowded(self) -> None: ...

    async def published(self, what: Any) -> Any:
        if isinstance(what, Publisher):
            return await self.hear(what)
        if not self.world.database_answers:
            raise RecordsUnavailable("away")
        return SimpleNamespace(owner=self.world.owner) if KEY in what and self.world.owner else None


class Others:
    """What `Encoders` knows of b and c."""

    me = "a"

    def __init__(self, peers: Any, urls: dict[str, str]) -> None:
        self.peers, self.urls = peers, urls

    async def reachable(self) -> Sequence[str]:
        return random.sample(list(self.urls), len(self.urls))

    async def owner_of(self, keys: Sequence[str], replica: str) -> str | None:
        return await OtherReplicas.owner_of(self, keys, replica)  # type: ignore[arg-type]

    async def _known(self, replica: str) -> Replica:
        if replica not in self.urls:
            raise NoAnswer(f"replica {replica} is not there")
        now = datetime(2026, 1, 5, tzinfo=UTC)
        return Replica(replica, "r", "1", self.urls[replica], now, now, False, Load())

    @asynccontextmanager
    async def encoder_socket(self, replica: str, path: str) -> AsyncIterator[PeerSocket]:
        async with self.peers.socket(await self._known(replica), path, {}) as socket:
            yield socket


def publisher(flow: Callable[[str], object] = lambda told: None) -> Publisher:
    made: Publisher

    def closed(reason: str) -> None:
        made.end(reason)

    made = Publisher(
        "live",
        KEY,
        "192.0.2.1:5",
        buffer_bytes=1 << 20,
        buffer_packets=1_000,
        clock=asyncio.get_running_loop().time,
        full=lambda: flow("full"),
        emptied=lambda: flow("emptied"),
        closed=closed,
    )
    return made


class Scene:
    """An encoder at a."""

    def __init__(self, world: World, there: dict[str, There], others: Others) -> None:
        self.world, self.there, self.others = world, there, others
        self.encoders = Encoders(others, lambda: "a" in world.leaving)  # type: ignore[arg-type]
        self.flow: list[str] = []
        self.sent: list[AudioPacket] = []
        self.publisher = publisher(self.flow.append)

    def carry(self, heir: str | None = None, is_back: Callable[[], bool] = lambda: False) -> asyncio.Task[bool]:
        return asyncio.create_task(self.encoders.carry(self.publisher, heir, is_back))

    def send(self, count: int = 1) -> None:
        for _ in range(count):
            at = len(self.sent)
            self.sent.append(AudioPacket(23 * at, at.to_bytes(2, "big"), FORMATS[at // 30 % 2]))
            self.publisher.take(self.sent[-1])


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        world, there, urls = World(), {}, {}
        for name in "bc":
            there[name] = There(world, name)
            app = web.Application()
            admits = lambda shown, to: shown == f"Bearer {key_for(to, 't')}"  # noqa: E731
            InternalRoutes(name, admits).register(app, there[name].carried.routes())
            runner = web.AppRunner(app, shutdown_timeout=1.0)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.push_async_callback(there[name].carried.close)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            urls[name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        peers = await stack.enter_async_context(open_peers(lambda: "t"))
        yield Scene(world, there, Others(peers, urls))
    left = [task.get_name() for task in asyncio.all_tasks() if "encoder" in task.get_name()]
    assert left == []


@pytest.mark.parametrize("seed", range(8))
async def test_every_packet_is_heard_once_in_its_order_wherever_the_transcription_goes(seed: int) -> None:
    """It goes from hand to hand, also back to where the encoder is, while audio comes in bursts."""
    chance = random.Random(seed)
    async with scene() as here:
        world, made = here.world, here.publisher
        way = [chance.choice("bc")]
        while len(way) < 5:
            way.append(chance.choice([name for name in "abc" if name != way[-1]]))
        stops = sorted(chance.sample(range(1, 150), len(way) - 1))
        plan = dict(zip(stops, way[1:], strict=True))
        world.owner = way[0]

        def arm() -> None:
            """The next owner gives it away again."""
            if world.owner in here.there:
                stop = next((stop for stop in plan if stop > len(world.heard)), None)
                here.there[world.owner].stop_at, here.there[world.owner].next_owner = stop, plan.get(stop or 0, "")

        async def speak() -> None:
            while len(here.sent) < 200:
                here.send(chance.choice([1, 1, 2, 40]))
                await asyncio.sleep(chance.choice([0, 0.001, 0.01]))
            made.end("unpublished")

        speaking = asyncio.create_task(speak())
        arm()
        carrying = here.carry(chance.choice([None, "b", "c"]), lambda: world.owner == "a")
        seen = world.owner
        while not made.is_over or len(world.heard) < len(here.sent):
            if world.owner != seen:
                seen = world.owner
                arm()
            if seen == "a" and carrying.done() and await carrying:
                world.heard += await made.read()
                world.owner = next(iter("bc"[chance.randrange(2) :]))
                arm()
                seen = world.owner
                carrying = here.carry(None, lambda: world.owner == "a")
            await asyncio.sleep(0.001)
        await asyncio.wait_for(carrying, 10)
        await speaking
        assert world.heard == here.sent
        assert made.ended_because == "unpublished"


async def test_audio_that_waited_comes_with_its_age_and_an_encoder_with_its_own() -> None:
    """The track there is anchored when it was spoken; its newest publisher is told from it."""
    async with scene() as here:
        here.world.owner = "a"
        here.send(3)
        here.world.database_answers = False
        carrying = here.carry()
        await asyncio.sleep(0.2)
        assert not carrying.done(), "who cannot know whose key it is is asked again"
        here.world.database_answers = True
        await asyncio.sleep(0.2)
        assert not carrying.done(), "here it was lost, and nobody has taken over yet"
        here.world.owner = "c"
        await until(lambda: here.world.heard == here.sent)
        assert here.world.ages[0] >= 0.3
        [there] = here.there["c"].publishers
        assert there.is_carried and there.age_s >= 0.3 and there.peer == "192.0.2.1:5"
        assert here.encoders.ways["opened"] == 0 and here.encoders.carried == 1, "counted when it is over"
        here.publisher.end("connection lost")
        assert await asyncio.wait_for(carrying, 5) is False


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("stopped", "stopped by request"),
        ("displaced", TAKEN_OVER),
        ("newer", TAKEN_OVER),
        ("unknown", "unknown stream key"),
        ("nobody", encoders.GONE),
        ("leaving", "another gateway goes on with it; come back"),
    ],
)
async def test_the_encoder_is_told_why_it_ends(how: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene() as here:
        monkeypatch.setattr(encoders, "PATIENCE_S", 0.2)
        there = here.there["b"]
        if how == "unknown":
            here.world.owner = ""
        elif how == "nobody":
            here.world.owner = "d"
        elif how == "leaving":
            here.world.leaving.add("a")
        elif how == "newer":
            here.publisher._began -= 60
            newest = publisher()
            there.server.begin(SimpleNamespace(accept=lambda publisher: True), newest, "")  # type: ignore[arg-type]
            await until(lambda: newest in there.publishers)
        carrying = here.carry()
        if how in ("stopped", "displaced"):
            await until(lambda: bool(there.publishers))
            [carried] = there.publishers
            carried.close(told) if how == "stopped" else carried.displace()
        assert await asyncio.wait_for(carrying, 10) is False
        assert here.publisher.ended_because == told
        assert here.encoders.ways["given_up"] == (how == "nobody")
        if how == "newer":
            assert newest.ended_because is None, "a publish that is older does not take over"
            newest.end("unpublished")


@pytest.mark.parametrize("how", ["broken", "leaving"])
async def test_what_was_not_read_where_the_way_ends_is_heard_by_the_next(how: str) -> None:
    """A replica that goes hears what it has to the end; one that is lost takes along what it has read."""
    async with scene() as here:
        there = here.there["b"]

        async def hear(publisher: Publisher) -> None:
            here.world.heard += await publisher.read()
            while publisher.ended_because is None:
                await asyncio.sleep(0.001)
            if how == "leaving":
                here.world.heard += await publisher.read()

        there.hear = hear  # type: ignore[method-assign]
        carrying = here.carry("b")
        here.send(10)
        await until(lambda: here.world.heard == here.sent)
        here.send(10)
        await until(lambda: here.publisher.packets_read == 20)
        await asyncio.sleep(0.05)  # what was read there has been told
        here.world.owner = "c"
        if how == "leaving":
            here.world.leaving.add("b")
            await there.carried.close()
        for line in there.carried._lines:
            if (open_now := transport(line)) is not None:
                open_now.abort()
        here.send(10)
        await until(lambda: here.world.heard[-1] == here.sent[-1])
        assert here.world.heard == here.sent
        assert here.encoders.ways["broken"] == (how == "broken")
        here.publisher.end("unpublished")
        await asyncio.wait_for(carrying, 10)


def transport(line: Any) -> asyncio.Transport | None:
    found: asyncio.Transport | None = line._response._req.transport
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_a_way_that_breaks_between_two_that_live_costs_nothing(seed: int) -> None:
    """What the owner had got on it is heard there, and is not sent again, however little of that was told."""
    chance = random.Random(seed)
    async with scene() as here:
        there = here.there["b"]
        carrying = here.carry("b")
        for _ in range(4):
            for _ in range(chance.randrange(1, 5)):
                here.send(chance.choice([1, 3, 30]))
                await asyncio.sleep(chance.choice([0, 0.001, 0.03]))
            await until(lambda: [line for line in there.carried._lines if line._is_ready and transport(line)])
            for line in there.carried._lines:
                if (open_now := transport(line)) is not None:
                    open_now.abort()
        here.publisher.end("unpublished")
        await asyncio.wait_for(carrying, 10)
        assert here.world.heard == here.sent


async def test_no_more_is_on_its_way_than_is_bounded() -> None:
    """Who does not read there holds the encoder back here."""
    async with scene() as here:
        there = here.there["b"]
        stuck = asyncio.Event()

        async def hear(publisher: Publisher) -> None:
            await stuck.wait()
            await There.hear(there, publisher)

        there.hear = hear  # type: ignore[method-assign]
        carrying = here.carry("b")
        here.send(900)
        await until(lambda: here.flow == [] and len(here.publisher._packets) == 0)
        for _ in range(6):
            here.send(300)
            await asyncio.sleep(0.02)
        assert here.flow[-1:] == ["full"]
        stuck.set()
        here.publisher.end("unpublished")
        await asyncio.wait_for(carrying, 10)
        assert here.world.heard == here.sent


@pytest.mark.parametrize(
    ("owner", "error", "is_let_in"),
    [
        ("c", NotReady("cut off"), True),
        ("c", RecordsUnavailable("away"), True),
        ("certain", NotReady("it ends there"), False),
        ("", NotReady("cut off"), False),
        ("a", NotReady("cut off"), False),
        ("leaving", NotReady("cut off"), False),
        ("away", NotReady("cut off"), False),
    ],
)
async def test_who_is_cut_off_from_the_database_lets_in_whose_owner_others_know(
    owner: str, error: Exception, is_let_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def take(keys: Sequence[str]) -> bool:
        raise error

    monkeypatch.setattr(encoders, "FIND_S", 0.1)
    monkeypatch.setattr(encoders, "FIND_AGAIN_S", 0.02)
    async with scene() as here:
        here.world.owner, here.world.database_answers = owner, owner != "away"
        here.world.leaving.update({"a"} if owner == "leaving" else ())
        here.encoders._may_act = lambda: owner == "certain"
        if is_let_in:
            assert await here.encoders.fetch(take, [KEY])
        else:
            with pytest.raises(type(error)):
                await here.encoders.fetch(take, [KEY])


START = f'{{"app":"live","key":"{KEY}","peer":"p","ageS":0}}'


@pytest.mark.parametrize("messages", [["{"], [b"audio first"], [START, b"\xc1"]])
async def test_what_cannot_be_read_ends_that_one_connection(messages: list[str | bytes]) -> None:
    async with scene() as here:
        async with here.others.encoder_socket("b", carried_encoders.PATH) as socket:
            with pytest.raises(SocketOver):
                for message in messages:
                    await socket.send(message)
                while True:
                    await socket.receive()
        carrying = here.carry("b")
        here.send(1)
        await until(lambda: here.world.heard == here.sent)
        here.publisher.end("unpublished")
        await asyncio.wait_for(carrying, 10)
