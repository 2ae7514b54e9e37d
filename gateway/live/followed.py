"""One session that is watched here and runs elsewhere: what its owner says, and PostgreSQL, become one stream."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import msgspec

from gateway.live import protocol, relay
from gateway.live.channel import Channel
from gateway.live.hub import Hub
from gateway.live.protocol import NO_EPOCH, CloseCode, ResumePoint, StreamState
from gateway.live.relay import Confirming, Follower, Heard, News, Snapshot, Wire, session_channel
from gateway.transcription.usecases.follow import Standing

QUIET_S: Final = 0.7
"""An owner marks each half a second; the finals of one that was not heard for so long are read from PostgreSQL."""
SILENT_S: Final = 2.5
"""After so long watchers are told: a busy machine, and owners of before, which mark each second, may be quiet."""
POLL_S: Final = 0.5
POLL_WITHOUT_WIRE_S: Final = 1.0
POLL_AS_A_NET_S: Final = 5.0
ASK_S: Final = 1.0
LATE_S: Final = 1.0
GIVE_UP_S: Final = 10.0
READ_AGAIN_S: Final = (0.1, 1.0)
"""Pauses between reads that bring nothing: the first, and the longest."""
NOT_RUNNING: Final = frozenset({StreamState.IDLE, StreamState.STOPPED})

NO_WIRE: Final = "partials are missing: several gateways need REDIS_URL for them; finals come from the database"
AWAY: Final = "partials are missing until Redis answers; finals come from the database"
SILENT: Final = "partials are missing until the gateway that transcribes is heard; finals come from the database"
LATE: Final = "finals are late: the database has not got them yet"
_FINE: Final = b'{"status":"ok","reasons":[]}'


class Followed:
    """Keeps one channel of the hub up to date. `clock()` gives seconds. `wake()`: there is something to read.

    `channel`: None until it was read where the session stands, and without watchers.
    """

    def __init__(
        self,
        slug: str,
        session_id: str,
        hub: Hub,
        wire: Wire | None,
        wake: Callable[[], None],
        clock: Callable[[], float],
        replica: str = "",
    ) -> None:
        """`replica`: the name of this one."""
        self.slug = slug
        self.session_id = session_id
        self.wire_channel = session_channel(slug)
        self.subscription: Confirming | None = wire.subscribe(self.wire_channel) if wire is not None else None
        self.follower = Follower()
        self.channel: Channel | None = None
        self.is_live = False
        """The wire hears the session's channel."""
        self.looked_at = -math.inf
        """When PostgreSQL was last asked where it stands."""
        self.read_at = 0.0
        self.lacks_since: float | None = None
        """Since when a final is missing that is known to exist."""
        self.unwatched_since: float | None = None
        self.losses = 0
        self._hub = hub
        self._wire = wire
        self._wake = wake
        self._clock = clock
        self._owner = ""
        self._replica = replica
        self._said_watchers = self._all_watchers = 0
        self._say_watchers_at = -math.inf
        self._heard_at = self._ask_at = 0.0
        self._pause_s = READ_AGAIN_S[0]
        self._stored = 0
        self._health: bytes | None = None  # as the owner says it
        self._told: bytes | None = None  # as watchers were told it

    @property
    def is_kept(self) -> bool:
        """Whether the hub still has, for watchers, the channel that is kept up to date here."""
        if self.channel is None or not self._hub.watching(self.slug) or self._hub.runs_here(self.slug):
            return False
        return self._hub.channel(self.slug) is self.channel

    def begin(self, standing: Standing | None) -> None:
        """Take over the hub's channel of a watched session, which stands as PostgreSQL says."""
        channel = self.channel = self._hub.channel(self.slug)
        self.follower = Follower()
        self.lacks_since = self._health = self._told = None
        self._heard_at = self._clock()
        is_alone = not any(watcher.is_live for watcher in channel.audience)
        self._learn(channel, standing, is_new=is_alone)
        self.looked_at = self._clock()

    def learn(self, standing: Standing | None) -> None:
        """What PostgreSQL says of a channel that is kept."""
        if self.channel is not None and self.is_kept:
            self._learn(self.channel, standing)

    def hear(self, data: bytes) -> None:
        """What an owner says; also one that has lost the session without knowing it."""
        news, channel = relay.decode(data), self.channel
        if news is None or channel is None or not self.is_kept:
            return
        if news.kind == relay.OVER:
            self._hub.look(self.slug)
            return
        heard, is_owner = self.follower.judge(news), self.follower.is_from_owner(news)
        if heard is Heard.STRANGE or (is_owner and news.epoch != channel.epoch):
            self.look_soon()
            return
        if is_owner:
            self._heard_at = self._clock()
        if heard is Heard.OLD:
            return
        if heard is Heard.AFTER_LOSS:
            self.losses += 1
            self.ask()
        self._show(channel, news)

    def enter(self, *, hole: bool) -> None:
        """The channel is heard from now on; `hole`: it was before, and not in between."""
        self.is_live = True
        if hole:
            self.follower.is_in_step = False
            self.ask()
            self.look_soon()

    def ask(self) -> None:
        """The owner for a snapshot."""
        if self._wire is not None and self._owner:
            self._ask_at = self._clock() + ASK_S
            key = f"{relay.ASK} {self.slug}"
            self._wire.publish(relay.owner_channel(self._owner), relay.ask(self.slug), key)

    def look_soon(self) -> None:
        """PostgreSQL has to say where it stands."""
        self.looked_at = -math.inf
        self._wake()

    def tick(self) -> None:
        """Now and then: tell watchers what is missing, and ask an owner that is not heard."""
        if self.channel is None or not self.is_kept:
            return
        self._tell_health(self.channel)
        is_running = self.channel.state not in NOT_RUNNING
        if is_running and self.is_heard:
            self._say_watchers()
        if is_running and not (self.follower.is_in_step and self.is_heard) and self._clock() >= self._ask_at:
            self.ask()

    @property
    def elsewhere(self) -> int:
        """Watchers on other replicas, as the owner has said last; 0 while it is not heard."""
        return max(self._all_watchers - self._said_watchers, 0) if self.is_heard else 0

    def release(self) -> None:
        """It runs here from now on, and nothing is missing any more: its run says its own health."""
        if self._told not in (None, _FINE) and self.channel is not None and self._hub.watching(self.slug):
            self.channel.say("health", _FINE)
        self.channel = None

    def hold(self, seq: int, utterance: str, data: bytes) -> None:
        """A final that PostgreSQL has."""
        if self.channel is not None and self.is_kept:
            self.follower.hold(seq, utterance, data, self.channel.last_seq)
            self._take(self.channel)

    def read_from(self, before: int) -> None:
        """PostgreSQL was asked for the finals after `before`, and what it has is held: is anything missing still?"""
        channel = self.channel
        if self.lacks_since is None or channel is None or not self.is_kept:
            return
        if channel.last_seq > before:
            self.lacks_since, self._pause_s, self.read_at = self._clock(), READ_AGAIN_S[0], 0.0
            self._wake()
            return
        self.read_at = self._clock() + self._pause_s
        self._pause_s = min(self._pause_s * 2, READ_AGAIN_S[1])
        # It has had them and has them no more: a watcher that comes back is told of the gap.
        if self._stored >= self.follower.wanted and self._clock() - self.lacks_since > GIVE_UP_S:
            self.channel = None
            for watcher in list(channel.audience):
                watcher.close(CloseCode.DRAINING)

    def lacks(self, since: ResumePoint | None) -> bool:
        """Whether a watcher says that it has seen more than was shown here."""
        channel = self.channel
        return (
            since is not None and channel is not None and since.epoch == channel.epoch and since.seq > channel.last_seq
        )

    @property
    def has_all(self) -> bool:
        """Whether nothing more is expected: no run, and no final that was not shown."""
        channel = self.channel
        return channel is None or (channel.state in NOT_RUNNING and self.follower.wanted <= channel.last_seq)

    @property
    def is_heard(self) -> bool:
        """Whether its owner speaks, and we hear it."""
        return self._is_connected and self._clock() - self._heard_at < SILENT_S

    @property
    def poll_s(self) -> float:
        """How often PostgreSQL is to be asked where it stands."""
        if self._wire is None:
            return POLL_WITHOUT_WIRE_S
        is_idle = self.channel is not None and self.channel.state in NOT_RUNNING and self._is_connected
        is_fresh = self._is_connected and self._clock() - self._heard_at < QUIET_S
        return POLL_AS_A_NET_S if is_idle or is_fresh else POLL_S

    @property
    def trouble(self) -> list[str]:
        """What watchers miss, in sentences for them."""
        if self.channel is None or self.channel.state in NOT_RUNNING:
            return []
        found = []
        if self._wire is None:
            found.append(NO_WIRE)
        elif not self._is_connected:
            found.append(AWAY)
        elif not self.is_heard:
            found.append(SILENT)
        if self.lacks_since is not None and self._clock() - self.lacks_since > LATE_S:
            found.append(LATE)
        return found

    @property
    def _is_connected(self) -> bool:
        return self._wire is not None and self.is_live

    def _say_watchers(self) -> None:
        watchers = self._hub.watching(self.slug)
        if self._wire is None or (watchers == self._said_watchers and self._clock() < self._say_watchers_at):
            return
        self._said_watchers, self._say_watchers_at = watchers, self._clock() + relay.CROWD_S
        told = relay.crowd(self.slug, self._replica, watchers)
        self._wire.publish(relay.owner_channel(self._owner), told, f"{relay.CROWD} {self.slug}")

    def _show(self, channel: Channel, news: News) -> None:
        data = bytes(news.data)
        match news.kind:
            case relay.FINAL:
                self.follower.hold(news.seq, news.utterance, data, channel.last_seq)
            case relay.PARTIAL:
                channel.partial(news.utterance, data)
            case relay.STATE:
                told = msgspec.json.decode(data)
                channel.set_state(StreamState(told["state"]), told.get("reason"))
                self._tell_health(channel)
            case relay.SNAPSHOT:
                self._apply(channel, msgspec.json.decode(data, type=Snapshot))
            case relay.MARK:
                watchers = msgspec.json.decode(data)
                self._all_watchers = watchers if isinstance(watchers, int) else 0
            case "health":
                self._health = data
                self._tell_health(channel)
            case _:
                channel.say(news.kind, data)
        self.follower.wanted = max(self.follower.wanted, news.seq)
        self._take(channel)

    def _apply(self, channel: Channel, now: Snapshot) -> None:
        """What differs from what is shown is said; partials that are no more go without a word."""
        if (channel.state, channel.reason) != (now.state, now.reason):
            channel.set_state(StreamState(now.state), now.reason)
        for gone in channel.partials.keys() - now.partials.keys():
            del channel.partials[gone]
        for utterance, data in now.partials.items():
            channel.partial(utterance, bytes(data))
        for kind, data in now.retained.items():
            if kind != "health":
                channel.say(kind, bytes(data))
        self._health = bytes(now.retained["health"]) if "health" in now.retained else None
        self._tell_health(channel)

    def _take(self, channel: Channel) -> None:
        for seq, utterance, data in self.follower.take(channel.last_seq):
            channel.final(seq, utterance, data)
        if self.follower.wanted <= channel.last_seq:
            self.lacks_since, self._pause_s = None, READ_AGAIN_S[0]
        elif self.lacks_since is None:
            self.lacks_since = self._clock()
            self.read_at = 0.0
            self._wake()

    def _learn(self, channel: Channel, standing: Standing | None, *, is_new: bool = False) -> None:
        """`is_new`: no watcher has been shown anything yet."""
        if standing is None:
            if is_new:
                self._hub.refresh(self.slug, None, StreamState.IDLE)
            return
        numbering, state = standing.numbering, StreamState(standing.state)
        self._owner, self._stored = standing.owner, numbering.last_seq
        if state not in NOT_RUNNING and self.follower.lease != standing.lease:
            self.follower.obey(standing.lease)
            self.ask()
        is_another = channel.epoch not in (NO_EPOCH, numbering.epoch)
        if is_another and channel.last_seq <= numbering.former.get(channel.epoch, -1):
            # What is shown here is good; what the former owner has stored besides is read under its number.
            channel.begin(replace(numbering, last_seq=channel.last_seq))
            channel.send_back_outdated()
            self.follower.restart(channel.last_seq)
            is_another = False
        if is_new or is_another:  # a void epoch sends everybody back
            self._hub.refresh(self.slug, numbering, state)
            self.follower.restart(channel.last_seq)
        else:
            if channel.epoch == NO_EPOCH:
                channel.begin(replace(numbering, last_seq=channel.last_seq))
            is_told = self.is_heard and self.follower.is_in_step and state is not StreamState.STOPPED
            if channel.state is not state and not is_told:
                channel.set_state(state, None)
            self.follower.wanted = max(self.follower.wanted, numbering.last_seq)
        self._tell_health(channel)
        self._take(channel)

    def _tell_health(self, channel: Channel) -> None:
        """The owner's own health, unless something is missing here."""
        if channel.state in NOT_RUNNING:
            self._told = self._health = None
            return
        found = self.trouble
        said = protocol.encode({"status": "degraded", "reasons": found}) if found else self._health
        if said is None and self._told is not None:
            said = _FINE
        if said is not None and said != self._told:
            self._told = said
            channel.say("health", said)
