"""What goes in and out over HTTP for sessions and who is in them; names as in the app's tables."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.api.schemas import Moment, StartOptions
from gateway.transcription.domain.speech import Language

Identity = Annotated[str, Meta(min_length=1, max_length=256, description="name in the room, unique in the session")]
PersonName = Annotated[str, Meta(max_length=256)]
RoleName = Literal["HOST", "GUEST"]


class NewSession(msgspec.Struct, rename="camel"):
    """Without `spaceId` in the user's active space. With `requireJoinToken` guests need more than the slug."""

    title: Annotated[str, Meta(max_length=500)] | None = None
    space_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    require_join_token: bool = False


class SessionChange(msgspec.Struct, rename="camel"):
    """`guestMinutes`: whether guests who were in it may read it once it is over; they may unless it is said."""

    guest_minutes: bool


class SessionCreated(msgspec.Struct, rename="camel", omit_defaults=True):
    """`joinToken` is there if it was asked for, and told this once; `joinTokenMadeAt` as in `SessionView`."""

    slug: str
    join_token: str | None = None
    join_token_made_at: Moment | None = None


class SessionView(msgspec.Struct, rename="camel"):
    """`status`: CREATED, LIVE, ENDED, EXPIRED. `requireJoinToken`: guests need more than the slug to join.

    `joinTokenMadeAt`: when the one was made that is good now; null when it is not known, or there is none.
    `guestMinutes`: guests who were in it may read it once it is over.
    """

    id: str
    slug: str
    title: str | None
    created_by_user_id: str | None
    space_id: str
    status: str
    created_at: Moment
    started_at: Moment | None
    ended_at: Moment | None
    last_activity_at: Moment | None
    raw_transcript_blob_url: str | None
    raw_transcript_size_bytes: int | None
    raw_transcript_ready_at: Moment | None
    require_join_token: bool
    guest_minutes: bool
    join_token_made_at: Moment | None


class SessionList(msgspec.Struct):
    """Newest first, without the expired."""

    sessions: list[SessionView]


class Deleted(msgspec.Struct):
    success: Literal[True] = True


class Ended(msgspec.Struct):
    status: Literal["ok"] = "ok"


class JoinTokenView(msgspec.Struct, rename="camel"):
    """Told this once. `joinTokenMadeAt`: as in `SessionView`."""

    join_token: str
    join_token_made_at: Moment


class RoomPassView(msgspec.Struct):
    """What a LiveKit client needs to join; `room` is the slug."""

    token: str
    url: str
    room: str


class JoinBody(msgspec.Struct, rename="camel"):
    """`identity`: needed unless the credential says it. `userId`: whose participant it is, for the app to say."""

    identity: Identity | None = None
    name: PersonName | None = None
    role: RoleName | None = None
    user_id: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    join_token: Annotated[str, Meta(max_length=256)] | None = None


class LeaveBody(msgspec.Struct):
    identity: Identity | None = None


class ParticipantView(msgspec.Struct, rename="camel"):
    id: str
    video_session_id: str
    user_id: str | None
    identity: str
    name: str | None
    role: str
    joined_at: Moment
    left_at: Moment | None


class ParticipantList(msgspec.Struct):
    """Who is there, the longest present first; with `all=1` also those who have left, `leftAt` says when."""

    participants: list[ParticipantView]


class SessionStartBody(StartOptions, kw_only=True):
    """`source`: by default what a join begins with (GATEWAY_JOIN_STARTS), else livekit. Without any option those of
    the session's last transcription from the same source hold; with one, the others are the defaults."""

    source: Literal["livekit", "rtmp", "websocket"] | None = None


class SegmentBody(msgspec.Struct, rename="camel"):
    utterance_id: Annotated[str, Meta(min_length=1, max_length=200)]
    text: Annotated[str, Meta(max_length=20_000)]
    is_final: bool
    started_at: Annotated[datetime, Meta(tz=True)]
    ended_at: Annotated[datetime, Meta(tz=True)] | None = None
    participant_identity: Identity | None = None
    language: Language | None = None

    def __post_init__(self) -> None:
        for moment in (self.started_at, self.ended_at):
            # At the ends of the calendar no time zone can be converted; what was said was said in between.
            if moment is not None and not 1970 <= moment.year <= 2199:
                raise ValueError("a time must lie in the years 1970 to 2199")


class SegmentView(msgspec.Struct, rename="camel"):
    utterance_id: str
    text: str
    language: str | None
    is_final: bool
    started_at: Moment
    ended_at: Moment | None
    participant_identity: str | None
    participant_name: str | None


class SegmentList(msgspec.Struct):
    """Finals, in spoken order."""

    segments: list[SegmentView]
