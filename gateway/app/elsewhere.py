"""The other replicas, as the wings need them: to start and stop there, bring audio there, ask what is known there."""

from __future__ import annotations

import logging
import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from gateway.api.elsewhere import PATH
from gateway.api.internal import ChangeHere, Standing, StartedHere, StartHere, StopHere
from gateway.api.lines import PATH as LINES_PATH
from gateway.api.lines import Reached
from gateway.api.schemas import IngestView
from gateway.app.carried_encoders import WHOSE, Owner, Whose
from gateway.live.carried import OwnerClosed, OwnerGone, OwnerLine, OwnerSilent
from gateway.reading import NotJson, read_json
from gateway.replicas.membership import Membership
from gateway.replicas.peers import Answer, Misdirected, Peers, PeerSocket, SocketOver, Unreached
from gateway.replicas.placement import Placement
from gateway.replicas.replica import Replica
from gateway.transcription.domain.errors import NoAnswer, NoRoom, NotReady, RefusedThere, RunsElsewhere
from gateway.transcription.domain.lines import Line
from gateway.transcription.domain.preferences import Change
from gateway.transcription.domain.transcription import Ingest, StartRequest
from gateway.transcription.usecases.asked import InForce
from gateway.transcription.usecases.steering import StartedThere

log = logging.getLogger(__name__)
T = TypeVar("T")

START_S: Final = 4.0
"""The provider may be asked for the key before a transcription begins."""
STOP_S: Final = 2.0
CHANGE_S: Final = 2.0
LOOK_S: Final = 1.0
LINES_S: Final = 2.0
"""That one may have to try first."""


class _State(msgspec.Struct):
    state: str


class _Problem(msgspec.Struct):
    title: str = ""
    detail: str = "no reason given"
    hint: str | None = None


class OtherReplicas:
    """Every call asks one replica, within a deadline, and may be repeated."""

    def __init__(self, membership: Membership, peers: Peers) -> None:
        self.peers = peers
        self._membership = membership
        self._placement = Placement(membership.me().id, random.SystemRandom().shuffle)

    # --- to steer (`Others`) --------------------------------------------------------------------------------

    @property
    def me(self) -> str:
        return self._membership.me().id

    async def candidates(self, among: Collection[str] | None = None) -> Sequence[str]:
        """Two at random, the less loaded first, and so on, of all or `among` these. This replica alone when none has
        room: it knows why."""
        members = await self._membership.members()
        order = self._placement.order(one for one in members if among is None or one.id in among)
        return [one.id for one in order] or [self.me]

    async def start(self, replica: str, request: StartRequest) -> StartedThere:
        """Within START_S."""
        body = StartHere(request.session_slug, request.source, request.stored(), request.session_id)
        try:
            answer = await self.ask(replica, "/internal/transcription/start", body, START_S)
        except Misdirected as error:
            raise NoAnswer(str(error)) from error
        except NoAnswer:
            self._placement.missed(replica)
            raise
        if answer.status >= 400:
            raise refusal(answer)
        started = read_answer(answer, StartedHere)
        if started.created:
            await self.gave(replica)
        told = started.ingest or IngestView()
        return StartedThere(started.created, started.state, Ingest(told.rtmp_url, told.stream_key, told.websocket_url))

    async def is_stopping(self, replica: str, slug: str) -> bool:
        """Within LOOK_S."""
        body = await self.look(replica, f"{PATH}/{quote(slug, safe='')}")
        try:
            return body is not None and read_json(body, _State).state == "stopping"
        except NotJson:
            return False

    async def stop(self, replica: str, slug: str, reason: str) -> None:
        """Within STOP_S."""
        try:
            answer = await self.ask(replica, "/internal/transcription/stop", StopHere(slug, reason), STOP_S)
        except Misdirected as error:
            raise RunsElsewhere(slug, error.owner) from error
        if answer.status >= 400:
            raise NoAnswer(f"{replica} answers HTTP {answer.status}: {_problem(answer).detail}")

    async def change(self, replica: str, slug: str, change: Change) -> InForce:
        """Within CHANGE_S."""
        try:
            answer = await self.ask(replica, "/internal/transcription/change", ChangeHere(slug, change), CHANGE_S)
        except Misdirected as error:
            raise RunsElsewhere(slug, error.owner) from error
        if answer.status >= 500:
            raise NoAnswer(f"{replica} answers HTTP {answer.status}: {_problem(answer).detail}")
        if answer.status >= 400:
            raise refusal(answer)
        return read_answer(answer, InForce)

    async def ask(self, replica: str, path: str, body: msgspec.Struct, timeout_s: float) -> Answer:
        """One request. Raises: NoAnswer, Misdirected."""
        there = await self._known(replica)
        try:
            return await self.peers.ask(there, "POST", path, msgspec.json.encode(body), timeout_s=timeout_s)
        except Unreached as error:
            raise NoAnswer(str(error)) from error

    async def gave(self, replica: str) -> None:
        """A transcription has begun there, which its reported load does not show yet."""
        self._placement.gave(await self._known(replica))

    # --- to bring audio there (`Owners`) --------------------------------------------------------------------

    @asynccontextmanager
    async def speak(self, owner: str, query: Mapping[str, str]) -> AsyncIterator[OwnerLine]:
        """Who owns it no more names the one who does, and that one is tried."""
        if self._membership.silent_s(owner) > self._membership.overdue_s:
            raise OwnerSilent("the replica that transcribes shows no sign of life; come back")
        try:
            async with self._socket(owner, query) as socket:
                yield _OwnerSocket(socket)
                return
        except Misdirected as error:
            moved_to = error.owner
        except (Unreached, NoAnswer) as error:
            log.warning("a sender of audio cannot be brought to the owner: %s", error)
            kind = OwnerSilent if self._membership.silent_s(owner) > self._membership.overdue_s else OwnerGone
            raise kind("the replica that transcribes does not answer; come back") from error
        try:
            async with self._socket(moved_to, query) as socket:
                yield _OwnerSocket(socket)
        except (Misdirected, Unreached, NoAnswer) as error:
            raise OwnerGone("the transcription moves to another replica; come back") from error

    @asynccontextmanager
    async def _socket(self, owner: str, query: Mapping[str, str]) -> AsyncIterator[PeerSocket]:
        async with self.peers.socket(await self._known(owner), "/internal/audio", query) as socket:
            yield socket

    # --- to bring encoders there ------------------------------------------------------------------------------

    async def reachable(self) -> Sequence[str]:
        """All others that have an address, as of the last beat, in any order."""
        others = [one.id for one in await self._membership.members() if one.id != self.me and one.url is not None]
        random.shuffle(others)
        return others

    @asynccontextmanager
    async def encoder_socket(self, replica: str, path: str) -> AsyncIterator[PeerSocket]:
        """Until the end of the block. Raises: NoAnswer, Unreached, Misdirected."""
        async with self.peers.socket(await self._known(replica), path, {}) as socket:
            yield socket

    async def owner_of(self, keys: Sequence[str], replica: str) -> str | None:
        """Of the transcription with one of these stream keys, as that replica says within LOOK_S; None: it does not, or
        knows of none."""
        try:
            answer = await self.peers.ask(
                await self._known(replica), "POST", WHOSE, msgspec.json.encode(Whose(list(keys))), timeout_s=LOOK_S
            )
            return read_answer(answer, Owner).owner
        except (NoAnswer, Unreached, Misdirected):
            return None

    # --- to ask -----------------------------------------------------------------------------------------------

    async def look(self, owner: str, path: str) -> bytes | None:
        """What it knows of what it runs; None when it has no answer within LOOK_S."""
        try:
            answer = await self.peers.ask(await self._known(owner), "GET", path, timeout_s=LOOK_S)
        except (NoAnswer, Unreached, Misdirected) as error:
            log.info("stored figures are shown: %s", error)
            return None
        return answer.body if answer.status == 200 else None

    async def misled(self) -> str | None:
        """Why the address that this replica advertises does not lead to it; None when it does."""
        try:
            await self.peers.ask(self._membership.me(), "GET", "/internal/standing", timeout_s=LOOK_S, keeps=False)
        except (Unreached, Misdirected) as error:
            return str(error)
        return None

    async def reaches_database(self, replica: Replica) -> bool | None:
        """None: it does not say."""
        try:
            answer = await self.peers.ask(replica, "GET", "/internal/standing", timeout_s=LOOK_S)
            return read_answer(answer, Standing).database
        except (NoAnswer, Unreached, Misdirected):
            return None

    async def reaches(self, replica: str, lines: Collection[Line]) -> bool:
        """Whether it says that it has all these lines."""
        path = f"{LINES_PATH}?{urlencode([('line', line) for line in lines])}"
        try:
            answer = await self.peers.ask(await self._known(replica), "GET", path, timeout_s=LINES_S)
            return set(read_answer(answer, Reached).reached) >= set(lines)
        except (NoAnswer, Unreached, Misdirected):
            return False

    # --- inside -----------------------------------------------------------------------------------------------

    async def _known(self, replica: str) -> Replica:
        """Raises: NoAnswer for this one and for those that do not beat."""
        for one in await self._membership.members():
            if one.id == replica != self.me:
                return one
        raise NoAnswer(f"replica {replica or '?'} is not there")


class _OwnerSocket:
    """`OwnerLine` on a peer's WebSocket."""

    def __init__(self, socket: PeerSocket) -> None:
        self._socket = socket

    async def send(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except SocketOver as error:
            raise OwnerClosed(error.code, error.reason) from error

    async def receive(self) -> str:
        try:
            return await self._socket.receive()
        except SocketOver as error:
            raise OwnerClosed(error.code, error.reason) from error


def read_answer(answer: Answer, kind: type[T]) -> T:
    """Raises: NoAnswer."""
    try:
        return read_json(answer.body, kind)
    except NotJson as error:
        raise NoAnswer(f"its answer cannot be read: {error}") from None


def _problem(answer: Answer) -> _Problem:
    try:
        return read_json(answer.body, _Problem)
    except NotJson:
        return _Problem(f"HTTP {answer.status}")


def refusal(answer: Answer) -> NoRoom | NotReady | RefusedThere:
    """Those of which another replica may think otherwise are told apart by their titles."""
    told = _problem(answer)
    for kind in (NoRoom, NotReady):
        if told.title == kind.title:
            return kind(told.detail)
    return RefusedThere(answer.status, told.title, told.detail, told.hint, answer.retry_after_s)
