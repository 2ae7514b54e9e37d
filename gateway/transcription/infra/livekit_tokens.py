"""LiveKit access tokens with the smallest grants: for the gateway's own participant, and for people. The one place."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from livekit import api

# The server renews a connected participant's token by itself; this one only has to last until the join.
_JOIN_WITHIN: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Keys:
    """The server's API key pair. The secret is at least 32 characters, as LiveKit itself demands."""

    key: str
    secret: str = field(repr=False)


def transcriber(keys: Keys, room: str, identity: str, *, captions: bool) -> str:
    """Hears `room` unseen. Of kind agent: it keeps no room open, and may send captions in a speaker's name."""
    grants = api.VideoGrants(
        room_join=True, room=room, hidden=True, can_subscribe=True, can_publish=False, can_publish_data=captions
    )
    return _token(keys, identity, grants, _JOIN_WITHIN).with_kind("agent").to_jwt()


def participant(
    keys: Keys, room: str, identity: str, name: str | None, ttl: timedelta, attributes: dict[str, str] | None = None
) -> str:
    """Speaks and listens in `room`. The same token lets its holder watch the room's transcript.

    Without the grant to change its own attributes, which say for whom the token was made.
    """
    grants = api.VideoGrants(room_join=True, room=room, can_subscribe=True, can_publish=True, can_publish_data=True)
    token = _token(keys, identity, grants, ttl).with_attributes(attributes or {})
    return (token.with_name(name) if name else token).to_jwt()


def _token(keys: Keys, identity: str, grants: api.VideoGrants, ttl: timedelta) -> api.AccessToken:
    return api.AccessToken(keys.key, keys.secret).with_identity(identity).with_grants(grants).with_ttl(ttl)
