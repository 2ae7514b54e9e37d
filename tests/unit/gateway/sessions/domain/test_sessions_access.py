"""Who may do what in which state, against a table written down by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gateway.sessions.domain.access import (
    GUEST,
    SERVICE,
    TABLE,
    Caller,
    Kind,
    Verdict,
    What,
    Who,
    decide,
    is_person,
    reach,
    to_session,
    to_space,
)
from gateway.sessions.domain.video_session import Participant, VideoSession
from gateway.transcription.domain.passes import MintedFor

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
STATES = ("CREATED", "LIVE", "ENDED", "EXPIRED")


def session(status: str = "LIVE", created_by: str | None = "creator") -> VideoSession:
    return VideoSession("id", "abc12345", None, created_by, "space", status, NOW)


def user(name: str, *spaces: str) -> Caller:
    return Caller(Kind.USER, name, frozenset(spaces))


# Who asks, whether they have joined, whether no join token is needed (or the right one was shown).
CALLERS: dict[str, tuple[Caller, bool, bool]] = {
    "service": (SERVICE, False, False),
    "creator": (user("creator", "space"), False, True),
    "creator moved": (user("creator", "elsewhere"), False, True),
    "member": (user("anna", "space"), False, True),
    "participant": (user("ben", "elsewhere"), True, True),
    "stranger": (user("eve", "elsewhere"), False, True),
    "uninvited": (user("eve", "elsewhere"), False, False),
    "in room": (Caller(Kind.ROOM, "carl", room="abc12345"), False, True),
    "in room, joined": (Caller(Kind.ROOM, "carl", room="abc12345"), True, True),
    "other room": (Caller(Kind.ROOM, "carl", room="another"), True, True),
    "guest": (GUEST, False, True),
    "uninvited guest": (GUEST, False, False),
}
# One letter for each of CREATED, LIVE, ENDED, EXPIRED: ok, 401, 403, 409 (wrong state).
_OPEN, _ALL, _NO, _ASK, _LIVE, _END, _DONE = "oo99", "oooo", "3333", "1111", "9o99", "9oo9", "99o9"
EXPECTED: dict[str, dict[What, str]] = {
    "service": {
        What.VIEW: _ALL, What.TOKEN: _OPEN, What.JOIN: _OPEN, What.JOIN_AS_HOST: _OPEN, What.LEAVE: _ALL,
        What.END: _END, What.DELETE: _ALL, What.TRANSCRIBE: _LIVE, What.APPEND: _ALL, What.CHANGE_HOST: _LIVE,
        What.RETRY_ANALYSIS: _DONE, What.READ_KEY: _ALL, What.RENEW_JOIN_TOKEN: _OPEN,
        What.LET_GUESTS_READ: _ALL, What.CHOOSE_COST: _LIVE, What.PAUSE: _OPEN, What.PAUSE_ONESELF: _OPEN,
    },
    "creator": {
        What.VIEW: _ALL, What.TOKEN: _OPEN, What.JOIN: _OPEN, What.JOIN_AS_HOST: _OPEN, What.LEAVE: _NO,
        What.END: _END, What.DELETE: _ALL, What.TRANSCRIBE: _LIVE, What.APPEND: _NO, What.CHANGE_HOST: _LIVE,
        What.RETRY_ANALYSIS: _DONE, What.READ_KEY: _ALL, What.RENEW_JOIN_TOKEN: _OPEN,
        What.LET_GUESTS_READ: _ALL, What.CHOOSE_COST: _LIVE, What.PAUSE: _OPEN, What.PAUSE_ONESELF: _OPEN,
    },
    "member": {
        What.VIEW: _ALL, What.TOKEN: _OPEN, What.JOIN: _OPEN, What.JOIN_AS_HOST: _OPEN, What.LEAVE: _NO,
        What.END: _NO, What.DELETE: _NO, What.TRANSCRIBE: _LIVE, What.APPEND: _NO, What.CHANGE_HOST: _NO,
        What.RETRY_ANALYSIS: _NO, What.READ_KEY: _NO, What.RENEW_JOIN_TOKEN: _NO,
        What.LET_GUESTS_READ: _NO, What.CHOOSE_COST: _LIVE, What.PAUSE: _NO, What.PAUSE_ONESELF: _NO,
    },
    "participant": {
        What.VIEW: _ALL, What.TOKEN: _OPEN, What.JOIN: _OPEN, What.JOIN_AS_HOST: _NO, What.LEAVE: _ALL,
        What.END: _END, What.DELETE: _NO, What.TRANSCRIBE: _LIVE, What.APPEND: _NO, What.CHANGE_HOST: _LIVE,
        What.RETRY_ANALYSIS: _NO, What.READ_KEY: _NO, What.RENEW_JOIN_TOKEN: _NO,
        What.LET_GUESTS_READ: _NO, What.CHOOSE_COST: _NO, What.PAUSE: _NO, What.PAUSE_ONESELF: _OPEN,
    },
    "stranger": {
        What.VIEW: _NO, What.TOKEN: _OPEN, What.JOIN: _OPEN, What.JOIN_AS_HOST: _NO, What.LEAVE: _NO,
        What.END: _NO, What.DELETE: _NO, What.TRANSCRIBE: _NO, What.APPEND: _NO, What.CHANGE_HOST: _NO,
        What.RETRY_ANALYSIS: _NO, What.READ_KEY: _NO, What.RENEW_JOIN_TOKEN: _NO,
        What.LET_GUESTS_READ: _NO, What.CHOOSE_COST: _NO, What.PAUSE: _NO, What.PAUSE_ONESELF: _NO,
    },
    "in room": {
        What.VIEW: _ALL, What.TOKEN: _NO, What.JOIN: _OPEN, What.JOIN_AS_HOST: _NO, What.LEAVE: _NO,
        What.END: _NO, What.DELETE: _NO, What.TRANSCRIBE: _NO, What.APPEND: _NO, What.CHANGE_HOST: _NO,
        What.RETRY_ANALYSIS: _NO, What.READ_KEY: _NO, What.RENEW_JOIN_TOKEN: _NO,
        What.LET_GUESTS_READ: _NO, What.CHOOSE_COST: _NO, What.PAUSE: _NO, What.PAUSE_ONESELF: _NO,
    },
    "in room, joined": {
        What.VIEW: _ALL, What.TOKEN: _NO, What.JOIN: _OPEN, What.JOIN_AS_HOST: _NO, What.LEAVE: _ALL,
        What.END: _END, What.DELETE: _NO, What.TRANSCRIBE: _LIVE, What.APPEND: _NO, What.CHANGE_HOST: _LIVE,
        What.RETRY_ANALYSIS: _NO, What.READ_KEY: _NO, What.RENEW_JOIN_TOKEN: _NO,
        What.LET_GUESTS_READ: _NO, What.CHOOSE_COST: _NO, What.PAUSE: _NO, What.PAUSE_ONESELF: _OPEN,
    },
    "guest": {
        What.VIEW: _ASK, What.TOKEN: _OPEN, What.JOIN: _OPEN, What.JOIN_AS_HOST: _ASK, What.LEAVE: _ASK,
        What.END: _ASK, What.DELETE: _ASK, What.TRANSCRIBE: _ASK, What.APPEND: _ASK, What.CHANGE_HOST: _ASK,
        What.RETRY_ANALYSIS: _ASK, What.READ_KEY: _ASK, What.RENEW_JOIN_TOKEN: _ASK,
        What.LET_GUESTS_READ: _ASK, What.CHOOSE_COST: _ASK, What.PAUSE: _ASK, What.PAUSE_ONESELF: _ASK,
    },
}  # fmt: skip
EXPECTED["creator moved"] = EXPECTED["creator"]
EXPECTED["uninvited"] = EXPECTED["other room"] = dict.fromkeys(EXPECTED["service"], _NO)
EXPECTED["uninvited guest"] = {**EXPECTED["guest"], What.TOKEN: _NO, What.JOIN: _NO}
VERDICTS = {"o": Verdict.ALLOWED, "1": Verdict.UNKNOWN, "3": Verdict.DENIED, "9": Verdict.WRONG_STATE}


def test_the_table_by_hand_is_whole() -> None:
    of_sessions = set(What) - {What.CREATE, What.LIST, What.CHOOSE_WORDS}
    assert set(EXPECTED) == set(CALLERS)
    assert all(set(row) == of_sessions for row in EXPECTED.values())
    assert set(TABLE) == set(What)


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("what", [what for what in What if what not in (What.CREATE, What.LIST, What.CHOOSE_WORDS)])
@pytest.mark.parametrize("who", CALLERS)
def test_the_matrix(who: str, what: What, status: str) -> None:
    caller, participates, invited = CALLERS[who]
    relations = to_session(caller, session(status), participates=participates, invited=invited)
    letter = EXPECTED[who][what][STATES.index(status)]
    assert decide(what, caller, relations, status) is VERDICTS[letter]


@pytest.mark.parametrize(
    ("caller", "may"),
    [
        (user("eve", "elsewhere"), True),
        (Caller(Kind.ROOM, "carl", room="abc12345"), True),  # of the app's making
        (Caller(Kind.ROOM, "carl", room="abc12345", bearer=MintedFor("user", "carl")), False),
        (Caller(Kind.ROOM, "carl", room="abc12345", bearer=MintedFor("guest")), False),
        (GUEST, False),
    ],
)
def test_the_stream_key_is_for_hosts_whose_identity_is_proven(caller: Caller, may: bool) -> None:
    relations = to_session(caller, session(), participates=caller is not GUEST, invited=True, hosts=True)
    assert (decide(What.READ_KEY, caller, relations, "LIVE") is Verdict.ALLOWED) is may


@pytest.mark.parametrize(
    ("bearer", "may"),
    [(None, True), (MintedFor("service"), True), (MintedFor("user", "carl"), True), (MintedFor("guest"), False)],
)
def test_a_session_that_is_kept_is_not_for_its_guests_any_more(bearer: MintedFor | None, may: bool) -> None:
    caller = Caller(Kind.ROOM, "carl", room="abc12345", bearer=bearer)
    relations = to_session(caller, session("ENDED"), participates=True, invited=True, kept=True)
    assert (decide(What.VIEW, caller, relations, "ENDED") is Verdict.ALLOWED) is may


@pytest.mark.parametrize("what", [What.CREATE, What.LIST, What.CHOOSE_WORDS])
@pytest.mark.parametrize(
    ("caller", "space", "verdict"),
    [
        (SERVICE, "space", Verdict.ALLOWED),
        (SERVICE, None, Verdict.ALLOWED),
        (user("anna", "space"), "space", Verdict.ALLOWED),
        (user("anna", "space"), "elsewhere", Verdict.DENIED),
        (user("anna", "space"), None, Verdict.DENIED),
        (user("anna"), "space", Verdict.DENIED),
        (Caller(Kind.USER, "anna", frozenset({"space"}), active_space="elsewhere"), "elsewhere", Verdict.DENIED),
        (Caller(Kind.ROOM, "anna", room="abc12345"), "space", Verdict.DENIED),
        (GUEST, "space", Verdict.UNKNOWN),
    ],
)
def test_spaces_are_their_members(what: What, caller: Caller, space: str | None, verdict: Verdict) -> None:
    assert decide(what, caller, to_space(caller, space), None) is verdict


def test_a_state_that_the_app_has_added_since_allows_only_what_no_state_forbids() -> None:
    relations = frozenset({Who.SERVICE})
    found = {what: decide(what, SERVICE, relations, "PAUSED") for what in What}
    stateless = {what for what, rule in TABLE.items() if rule.states is None}
    assert {what for what, verdict in found.items() if verdict is Verdict.ALLOWED} == stateless


def test_a_session_that_nobody_is_said_to_have_created_has_no_creator() -> None:
    for caller in (SERVICE, GUEST, user(""), user("anna"), Caller(Kind.ROOM, "", room="abc12345")):
        assert Who.CREATOR not in to_session(caller, session(created_by=None), participates=True, invited=True)


@pytest.mark.parametrize(
    ("caller", "user_id", "identity", "same"),
    [
        (user("anna"), "anna", "phone-7", True),
        (user("anna"), None, "anna", True),  # the app's table does not know her
        (user("anna"), "ben", "anna", False),  # her id as somebody else's identity
        (user("anna"), None, "phone-7", False),
        (Caller(Kind.ROOM, "phone-7", room="r"), "anna", "phone-7", True),
        (Caller(Kind.ROOM, "phone-7", room="r"), None, "phone-8", False),
        (Caller(Kind.ROOM, "phone-7", room="r", bearer=MintedFor("guest")), "anna", "phone-7", False),
        (Caller(Kind.ROOM, "phone-7", room="r", bearer=MintedFor("guest")), None, "phone-7", True),
        (Caller(Kind.ROOM, "phone-7", room="r", bearer=MintedFor("user", "ben")), "anna", "phone-7", False),
        (Caller(Kind.ROOM, "phone-7", room="r", bearer=MintedFor("user", "anna")), "anna", "phone-7", True),
        (SERVICE, None, "", False),
        (GUEST, None, "", False),
    ],
)
def test_a_participant_is_known_again(caller: Caller, user_id: str | None, identity: str, same: bool) -> None:
    assert is_person(caller, Participant("p", "s", user_id, identity, None, "GUEST", NOW)) is same


@pytest.mark.parametrize("what", What)
@pytest.mark.parametrize("name", ["service", "creator", "creator moved", "member", "participant", "stranger"])
def test_sessions_within_reach_are_those_for_which_the_table_says_so(name: str, what: What) -> None:
    """Whatever their state, and unless an invitation is enough."""
    caller, participates, _ = CALLERS[name]
    there, within = session(), reach(caller, what)
    reached = (
        within.everything
        or there.space_id in within.spaces
        or within.creator == there.created_by_user_id
        or (participates and within.participant == caller.id)
    )
    relations = to_session(caller, there, participates=participates, invited=False)
    assert reached == bool(relations & TABLE[what].who)


def test_a_room_and_a_guest_reach_nothing_by_themselves() -> None:
    for caller in (GUEST, Caller(Kind.ROOM, "carl", room="abc12345")):
        within = reach(caller, What.VIEW)
        assert not (within.everything or within.spaces or within.creator or within.participant)
