"""The live wing: browsers and programs that watch a session, and those that bring audio over WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.api.sessions import caller_of
from gateway.app.relay import Relay
from gateway.app.replica import Replica
from gateway.app.transcription import TranscriptionWing
from gateway.errors import SessionNotFound
from gateway.live.audio import AudioEndpoint, AudioOptions
from gateway.live.carried import Owners
from gateway.live.credentials import NO_KEYS, Access, CredentialRefused, check
from gateway.live.endpoint import LiveEndpoint, LiveOptions
from gateway.live.hub import Hub
from gateway.live.jwks import KeyRing, open_key_ring
from gateway.live.slots import Limits
from gateway.sessions.domain.access import What
from gateway.sessions.domain.errors import Denied
from gateway.sessions.infra.repositories import PostgresParticipants, PostgresSessions
from gateway.sessions.usecases.admission import Admission
from gateway.transcription.domain.preferences import Change
from gateway.transcription.usecases.feed import Feeding, TurnedAway
from gateway.transcription.usecases.watch import Watching

CheckCredential = Callable[[str | None], Awaitable[Access]]
"""What a token allows; None: no token was shown. A user is known from then on.

Raises: what `gateway.live.credentials.check` does, and RecordsUnavailable."""


@dataclass(frozen=True, slots=True)
class LiveWing:
    """`check_credential` says what a token allows, over every kind of token that this gateway takes."""

    check_credential: CheckCredential
    watching: Watching
    endpoint: LiveEndpoint
    audio: AudioEndpoint


@asynccontextmanager
async def open_live(
    replica: Replica, transcription: TranscriptionWing, hub: Hub, relay: Relay, owners: Owners
) -> AsyncIterator[LiveWing]:
    """Endpoints without a listener; `open_http` brings connections to them and ends these."""
    settings = replica.settings
    async with _open_key_ring(settings.jwks_url) as key_ring:
        admission = _admission(replica)

        async def check_credential(token: str | None) -> Access:
            keys = await key_ring.keys_for(token) if key_ring else NO_KEYS
            access = check(token, replica.secrets.credentials(), keys)
            if access.spaces is not None and access.subject:
                await admission.meet(caller_of(access))  # whichever door: an identity like that id is this user's
            return access

        watchers = Limits(settings.max_watchers, settings.max_watchers_per_address, settings.max_watchers_per_session)
        senders = Limits(settings.max_senders, settings.max_senders_per_address, settings.max_senders_per_session)
        options = LiveOptions(settings.allowed_origins, watchers, settings.trusted_proxies, belongs=_belongs(admission))
        watching = Watching(transcription.records, transcription.finals)

        async def set_pause(slug: str, identity: str, is_paused: bool) -> None:
            await transcription.transcriptions.change(slug, Change(pauses={identity: is_paused}, pauses_by="self"))

        turned_away = _turned_away(transcription, relay)
        feeding = Feeding(transcription.records, transcription.sources, turned_away, set_pause)
        endpoint = LiveEndpoint(hub, watching, check_credential, replica.addresses.http_url, options, relay.foreign)
        audio = AudioEndpoint(feeding, endpoint.policy, AudioOptions(senders), owners)
        replica.secrets.changed.append(lambda: _revoke(replica, endpoint, audio))
        yield LiveWing(check_credential, watching, endpoint, audio)


def _turned_away(transcription: TranscriptionWing, relay: Relay) -> TurnedAway:
    """To the health of a session that runs here; else the other replicas hear of it."""
    here = transcription.transcriptions.turned_away
    if relay.owned is None:
        return here
    relay.owned.turned_away = here

    def anywhere(slug: str, who: str | None, why: str) -> None:
        if not here(slug, who, why):
            relay.refusals.note(slug, who, why)

    return anywhere


def _revoke(replica: Replica, endpoint: LiveEndpoint, audio: AudioEndpoint) -> None:
    """Connections outlive the check of their credential: what has been taken out must not live on in them."""
    proofs = replica.secrets.credentials().proofs()
    endpoint.revoke(proofs)
    audio.revoke(proofs)


def _admission(replica: Replica) -> Admission:
    tables = replica.database, replica.clock
    return Admission(
        PostgresSessions(*tables, own_tables=replica.own_tables),
        PostgresParticipants(*tables, own_tables=replica.own_tables),
    )


def _belongs(admission: Admission) -> Callable[[Access, str], Awaitable[bool]]:
    """By the access table of the sessions module, which decides for every door."""

    async def belongs(access: Access, slug: str) -> bool:
        try:
            await admission.session(caller_of(access), slug, What.VIEW)
        except (Denied, SessionNotFound, CredentialRefused):
            return False
        return True

    return belongs


@asynccontextmanager
async def _open_key_ring(url: str | None) -> AsyncIterator[KeyRing | None]:
    if url is None:
        yield None
        return
    async with open_key_ring(url) as key_ring:
        yield key_ring
