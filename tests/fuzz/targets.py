"""Every parser that meets the network, as a function of any bytes: it may raise its own error and nothing else.

`tests/security/test_security_parsers.py` runs them with hypothesis, `tests/fuzz/run.py` with atheris.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from gateway import names
from gateway.api.host import HostBody
from gateway.api.limits import SpaceLimitsBody
from gateway.api.schemas import StartBody, StopBody
from gateway.api.session_schemas import JoinBody, LeaveBody, SegmentBody, SessionStartBody
from gateway.live import audio_protocol, credentials
from gateway.live.address import client_address, parse_networks
from gateway.live.protocol import offered_token, parse_since
from gateway.live.public_keys import BadKeys, parse_keys
from gateway.live.websocket import BadFrame, BadHandshake, ClientFrames, Masks, handshake_answer
from gateway.reading import NotJson, read_json
from gateway.transcription.infra.livekit_server import LivekitOptions, LivekitServer
from gateway.transcription.infra.livekit_tokens import Keys
from gateway.transcription.usecases.attend import WebhookRefused
from ingest.errors import ProtocolError
from ingest.rtmp import amf0
from ingest.rtmp.audio_tag import AudioTags
from ingest.rtmp.chunk_stream import ChunkReader
from ingest.rtmp.handshake import Handshake
from ingest.rtmp.protocol import Limits, ServerProtocol
from stt.errors import MalformedMessage
from stt.gladia import messages
from stt.reading import MALFORMED

_LIMITS: Final = {1: 64, 2: 64, 8: 256 * 1024, 18: 64 * 1024, 20: 64 * 1024}
_SECRET: Final = "a-secret-of-at-least-thirty-two-bytes"
_SECRETS: Final = credentials.Secrets(("service-token",), _SECRET, "livekit-key", _SECRET)
_TRUSTED: Final = parse_networks("127.0.0.0/8, ::1")
_BODIES: Final = (HostBody, SpaceLimitsBody, StartBody, StopBody, JoinBody, LeaveBody, SessionStartBody, SegmentBody)


def rtmp(data: bytes) -> None:
    """A whole connection: handshake left behind, then whatever comes, in two reads."""
    protocol = ServerProtocol(Limits(), bytes(1528))
    hello = b"\x03" + bytes(1536) + bytes(1536)
    with suppress(ProtocolError):
        protocol.receive(memoryview(hello))
        half = len(data) // 2
        for piece in (data[:half], data[half:]):
            protocol.receive(memoryview(piece))
        protocol.to_send()


def handshake(data: bytes) -> None:
    with suppress(ProtocolError):
        Handshake(bytes(1528)).receive(memoryview(data))


def chunks(data: bytes) -> None:
    with suppress(ProtocolError):
        ChunkReader(_LIMITS, skip_limit=1 << 24, lane_limit=32, assembly_limit=1 << 20).receive(memoryview(data))


def amf(data: bytes) -> None:
    with suppress(ProtocolError):
        amf0.decode(data)


def audio_tags(data: bytes) -> None:
    tags = AudioTags()
    for piece in data.split(b"\xff\xfe"):
        with suppress(ProtocolError):
            tags.read(piece)


def frames(data: bytes) -> None:
    half = len(data) // 2
    with suppress(BadFrame):
        reader = ClientFrames()
        reader.feed(data[:half])
        reader.feed(data[half:])
    masks = Masks()
    taken, good = masks.take(data[:half])
    if good:
        assert len(taken) + len(masks.take(data[half:])[0]) <= len(data)


def upgrade(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    with suppress(BadHandshake):
        key, _, rest = text.partition("\n")
        handshake_answer(
            {
                "Sec-WebSocket-Version": "13",
                "Connection": "Upgrade",
                "Sec-WebSocket-Key": key,
                "Sec-WebSocket-Protocol": rest,
            },
            "transcript.v1",
        )
    offered_token(text.split(","))
    client_address("127.0.0.1", [text], _TRUSTED)
    with suppress(ValueError):
        parse_since(text)


def audio_messages(data: bytes) -> None:
    with suppress(audio_protocol.WrongMessage):
        audio_protocol.read(data.decode("utf-8", "surrogateescape"))
    for read in (names.name, names.identity):
        with suppress(names.NameRefused):
            read(data.decode("utf-8", "surrogateescape"))


def provider(data: bytes) -> None:
    for message in (data, data.decode("utf-8", "replace")):
        with suppress(MalformedMessage):
            messages.parse(message)
    messages.error_text(data)
    for read in (messages.parse_created, messages.parse_list, messages.parse_result):
        with suppress(*MALFORMED):
            read(data)


def webhook(data: bytes) -> None:
    body, _, authorization = data.partition(b"\n")
    server = LivekitServer(LivekitOptions("ws://x", lambda: Keys("livekit-key", _SECRET)), None, None)  # type: ignore[arg-type]
    with suppress(WebhookRefused):
        server.webhook(body, authorization.decode("utf-8", "surrogateescape"))


def tokens(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for token in (text, credentials.bearer(text)):
        with suppress(credentials.CredentialRefused):
            credentials.check(token, _SECRETS)
    with suppress(BadKeys):
        parse_keys(data)


def bodies(data: bytes) -> None:
    for kind in _BODIES:
        with suppress(NotJson):
            read_json(data, kind)
    with suppress(NotJson):
        json.dumps(read_json(data))


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        rtmp, handshake, chunks, amf, audio_tags, frames, upgrade, audio_messages, provider, webhook, tokens, bodies,
    )
}  # fmt: skip
