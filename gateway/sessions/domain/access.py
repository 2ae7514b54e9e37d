"""Who may do what with a session, in which state. One table; everything else here finds the row and the column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from gateway.sessions.domain.video_session import Participant, SessionStatus, VideoSession
from gateway.transcription.domain.passes import MintedFor


class Kind(StrEnum):
    """What a credential says its bearer is."""

    SERVICE = "service"  # a token of GATEWAY_API_TOKENS: the app itself
    USER = "user"  # a user JWT
    ROOM = "room"  # the LiveKit token of one room
    GUEST = "guest"  # no credential at all


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `id`: the user's id, or the identity in the room; empty for services and guests.

    `bearer`: for whom we have made a room's token; None for one that the app has made.
    """

    kind: Kind
    id: str = ""
    spaces: frozenset[str] = frozenset()
    active_space: str | None = None
    room: str | None = None
    bearer: MintedFor | None = None

    @property
    def user_id(self) -> str | None:
        """The signed-in user who asks, where that is proven; None for others."""
        return self.id if self.kind is Kind.USER else self.bearer.user_id if self.bearer is not None else None

    @property
    def is_vouched(self) -> bool:
        """Whether the app answers for the identity, whosever it is: of a service, or of a token made for or by one."""
        made_by_app = self.kind is Kind.ROOM and (self.bearer is None or self.bearer.kind == "service")
        return self.kind is Kind.SERVICE or made_by_app

    def may_be(self, owner: str | None) -> bool:
        """Whether it may be an identity that belongs to that user; None: to no user."""
        return owner is None or self.is_vouched or owner == self.user_id


SERVICE: Final = Caller(Kind.SERVICE)
GUEST: Final = Caller(Kind.GUEST)


class Who(StrEnum):
    """What a caller is to one session. It may be several."""

    SERVICE = "service"
    CREATOR = "creator"
    MEMBER = "member"  # of the session's space
    PARTICIPANT = "participant"  # has joined, now or earlier
    HOST = "host"  # has joined with that role, as a user or as whom the app vouches for
    IN_ROOM = "in the room"  # holds the LiveKit token of its room
    INVITED = "invited"  # knows the slug, and the join token if there is one


class What(StrEnum):
    """What a caller asks to do, by the words of an error text."""

    CREATE = "create"
    LIST = "list"
    VIEW = "view"
    TOKEN = "token"  # noqa: S105 - to get a LiveKit token
    JOIN = "join"
    JOIN_AS_HOST = "join as host"
    LEAVE = "leave"
    END = "end"
    DELETE = "delete"
    TRANSCRIBE = "transcribe"  # start a transcription
    CHOOSE_COST = "choose tags or a cost cap"  # of a transcription to be started
    READ_KEY = "read the stream key"  # with which an encoder publishes
    RENEW_JOIN_TOKEN = "renew the join token"  # noqa: S105
    LET_GUESTS_READ = "let guests read"  # or not, once it is over
    APPEND = "append"  # write segments
    CHANGE_HOST = "change host"  # who feeds the transcription
    PAUSE = "pause"  # have somebody, or everybody, not heard, and heard again
    PAUSE_ONESELF = "pause oneself"
    CHOOSE_WORDS = "choose the vocabulary"  # of a space
    RETRY_ANALYSIS = "retry analysis"


@dataclass(frozen=True, slots=True)
class Rule:
    """`states`: None where the session's state does not matter, or there is no session yet."""

    who: frozenset[Who]
    states: frozenset[str] | None = None


def _rule(*who: Who, states: tuple[SessionStatus, ...] | None = None) -> Rule:
    return Rule(frozenset(who), None if states is None else frozenset(states))


_W, _S = Who, SessionStatus
_OPEN: Final = (_S.CREATED, _S.LIVE)
TABLE: Final[Mapping[What, Rule]] = {
    What.CREATE: _rule(_W.SERVICE, _W.MEMBER),
    What.LIST: _rule(_W.SERVICE, _W.MEMBER),
    What.CHOOSE_WORDS: _rule(_W.SERVICE, _W.MEMBER),
    What.VIEW: _rule(_W.SERVICE, _W.CREATOR, _W.MEMBER, _W.PARTICIPANT, _W.IN_ROOM),
    What.TOKEN: _rule(_W.SERVICE, _W.CREATOR, _W.MEMBER, _W.INVITED, states=_OPEN),
    What.JOIN: _rule(_W.SERVICE, _W.CREATOR, _W.MEMBER, _W.IN_ROOM, _W.INVITED, states=_OPEN),
    What.JOIN_AS_HOST: _rule(_W.SERVICE, _W.CREATOR, _W.MEMBER, states=_OPEN),
    What.LEAVE: _rule(_W.SERVICE, _W.PARTICIPANT),
    What.END: _rule(_W.SERVICE, _W.CREATOR, _W.PARTICIPANT, states=(_S.LIVE, _S.ENDED)),
    What.DELETE: _rule(_W.SERVICE, _W.CREATOR),
    What.TRANSCRIBE: _rule(_W.SERVICE, _W.CREATOR, _W.MEMBER, _W.PARTICIPANT, states=(_S.LIVE,)),
    What.CHOOSE_COST: _rule(_W.SERVICE, _W.CREATOR, _W.MEMBER, states=(_S.LIVE,)),
    What.READ_KEY: _rule(_W.SERVICE, _W.CREATOR, _W.HOST),
    What.RENEW_JOIN_TOKEN: _rule(_W.SERVICE, _W.CREATOR, states=_OPEN),
    What.LET_GUESTS_READ: _rule(_W.SERVICE, _W.CREATOR),
    What.APPEND: _rule(_W.SERVICE),
    What.CHANGE_HOST: _rule(_W.SERVICE, _W.CREATOR, _W.PARTICIPANT, states=(_S.LIVE,)),
    What.PAUSE: _rule(_W.SERVICE, _W.CREATOR, states=_OPEN),
    What.PAUSE_ONESELF: _rule(_W.SERVICE, _W.CREATOR, _W.PARTICIPANT, states=_OPEN),
    What.RETRY_ANALYSIS: _rule(_W.SERVICE, _W.CREATOR, states=(_S.ENDED,)),
}


class Verdict(Enum):
    """What `decide` finds."""

    ALLOWED = auto()
    UNKNOWN = auto()  # a credential is needed
    DENIED = auto()
    WRONG_STATE = auto()


def decide(what: What, caller: Caller, relations: frozenset[Who], status: str | None) -> Verdict:
    """`status` of the session, None where there is none yet."""
    rule = TABLE[what]
    if not relations & rule.who:
        # A guest is asked for a credential, unless guests are welcome and this one lacks the join token.
        ask = caller.kind is Kind.GUEST and Who.INVITED not in rule.who
        return Verdict.UNKNOWN if ask else Verdict.DENIED
    if rule.states is not None and status not in rule.states:
        return Verdict.WRONG_STATE
    return Verdict.ALLOWED


def is_guest(caller: Caller) -> bool:
    """Whether it holds a room's token that we have made for a guest. Others are the app's, or a user's."""
    return caller.bearer is not None and caller.bearer.kind == "guest"


def to_space(caller: Caller, space_id: str | None) -> frozenset[Who]:
    """What a caller is to a space; None stands for all spaces."""
    if caller.kind is Kind.SERVICE:
        return frozenset({Who.SERVICE})
    if caller.kind is Kind.USER and space_id in caller.spaces:
        return frozenset({Who.MEMBER})
    return frozenset()


def to_session(
    caller: Caller, session: VideoSession, *, participates: bool, invited: bool, hosts: bool = False, kept: bool = False
) -> frozenset[Who]:
    """`participates`: see `is_person`. `invited`: no join token is needed, or the right one was shown. `hosts`: one of
    the participants that the caller is has the role HOST. `kept`: it is over, and then not for guests.
    """
    match caller.kind:
        case Kind.SERVICE:
            return frozenset({Who.SERVICE})
        case Kind.ROOM if caller.room != session.slug:
            return frozenset()  # a credential for something else
        case Kind.ROOM if kept and is_guest(caller):
            return frozenset()
        case Kind.ROOM:
            known = {Who.IN_ROOM}
        case Kind.USER:
            known = set(to_space(caller, session.space_id))
            if session.created_by_user_id == caller.id:
                known.add(Who.CREATOR)
            if invited:
                known.add(Who.INVITED)
        case Kind.GUEST:
            return frozenset({Who.INVITED} if invited else ())
    if participates:
        known.add(Who.PARTICIPANT)
        if hosts and (caller.kind is Kind.USER or caller.is_vouched):
            known.add(Who.HOST)
    return frozenset(known)


@dataclass(frozen=True, slots=True)
class Reach:
    """Sessions with which a caller may do something, all at once: those for which the table says so.

    `everything`; those of `spaces`; those that the user `creator` has created; those in which the user `participant`
    takes part, as `is_person` has it.
    """

    everything: bool = False
    spaces: frozenset[str] = frozenset()
    creator: str | None = None
    participant: str | None = None


def reach(caller: Caller, what: What) -> Reach:
    """Of services and users, whatever the sessions' state. A room's token is for one room, and a guest is invited to
    one session: about those `decide` is asked.
    """
    who = TABLE[what].who
    match caller.kind:
        case Kind.SERVICE:
            return Reach(everything=Who.SERVICE in who)
        case Kind.USER:
            return Reach(
                spaces=caller.spaces if Who.MEMBER in who else frozenset(),
                creator=caller.id if Who.CREATOR in who else None,
                participant=caller.id if Who.PARTICIPANT in who else None,
            )
        case _:
            return Reach()


def is_person(caller: Caller, participant: Participant) -> bool:
    """Whether that participant is the caller.

    A user whom the app's table does not know has no user id in the row; then the identity is the user's id, if the
    user has joined under it.
    """
    match caller.kind:
        case Kind.USER:
            return participant.user_id == caller.id or (
                participant.user_id is None and participant.identity == caller.id
            )
        case Kind.ROOM:
            return participant.identity == caller.id and caller.may_be(participant.user_id)
        case _:
            return False
