"""Every parser that meets the network, as a function of any bytes: it may raise its own error and nothing else.

`tests/security/test_security_parsers.py` runs them with hypothesis, `tests/fuzz/run.py` with atheris.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Final

import msgspec
from yarl import URL

from gateway import api, names
from gateway.analysis import chat, prompt
from gateway.archive import query
from gateway.errors import WrongRequest
from gateway.live import audio_protocol, credentials, relay
from gateway.live.address import client_address, parse_networks
from gateway.live.protocol import offered_token, parse_since
from gateway.live.public_keys import BadKeys, parse_keys
from gateway.live.websocket import BadFrame, BadHandshake, ClientFrames, FrameBudget, Masks, handshake_answer
from gateway.reading import NotJson, read_json
from gateway.transcription.domain.transcription import StartRequest
from gateway.transcription.infra.livekit_server import LivekitOptions, LivekitServer
from gateway.transcription.infra.livekit_tokens import Keys
from gateway.transcription.usecases.attend import WebhookRefused
from ingest.audio_packet import AudioFormat
from ingest.decode import PacketDecoder
from ingest.errors import ProtocolError, Undecodable, UnsupportedCodec
from ingest.rtmp import amf0
from ingest.rtmp.audio_tag import AudioTags
from ingest.rtmp.chunk_stream import ChunkReader
from ingest.rtmp.handshake import Handshake
from ingest.rtmp.protocol import Limits, ServerProtocol
from stt.errors import MalformedMessage
from stt.gladia import messages, socket
from stt.local.request import BadRequest, parse_request
from stt.reading import MALFORMED
from stt.reading import read_json as read_provider_json

_LIMITS: Final = {1: 64, 2: 64, 8: 256 * 1024, 18: 64 * 1024, 20: 64 * 1024}
_SECRET: Final = "a-secret-of-at-least-thirty-two-bytes"
_SECRETS: Final = credentials.Secrets(("service-token",), (_SECRET,), (("livekit-key", _SECRET),))
_TRUSTED: Final = parse_networks("127.0.0.0/8, ::1")


def _bodies() -> list[Any]:
    """Whatever a route reads, of a client or of another replica."""
    found = {}
    for module in pkgutil.iter_modules(api.__path__, "gateway.api."):
        there = importlib.import_module(module.name)
        for name in re.findall(r"read_(?:body|told)\w*\(request, ((?:\w+\.)?[A-Z]\w*)", inspect.getsource(there)):
            found[name] = attrgetter(name)(there)
    return list(found.values())


BODIES: Final = _bodies()
_CODECS: Final = (
    "aac",
    "mp3",
    "opus",
    "speex",
    "nellymoser",
    "pcm_alaw",
    "pcm_mulaw",
    "pcm_s16le",
    "flac",
    "ac3",
    "eac3",
)
_NOW: Final = datetime(2026, 1, 5, tzinfo=UTC)
_LOOP: Final = asyncio.new_event_loop()
_URL: Final = URL("ws://provider/v2/live")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


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
        reader = ClientFrames(FrameBudget(1, len(data)))
        reader.feed(data[:half])
        reader.feed(data[half:])
    masks = Masks(FrameBudget(1, len(data)))
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
    server = LivekitServer(LivekitOptions("ws://x", lambda: [Keys("livekit-key", _SECRET)]), None, None)  # type: ignore[arg-type]
    with suppress(WebhookRefused):
        server.webhook(body, authorization.decode("utf-8", "surrogateescape"))


def tokens(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for token in (text, credentials.bearer(text)):
        with suppress(credentials.CredentialRefused):
            credentials.check(token, _SECRETS)
    with suppress(BadKeys):
        parse_keys(data)


class _Peer(asyncio.Transport):
    """Takes what is written and keeps the key of the upgrade's request, so that it can be answered."""

    def __init__(self) -> None:
        super().__init__()
        self.request = b""
        self._is_closing = False

    def write(self, data: Any) -> None:
        self.request = self.request or bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        self._is_closing = True

    abort = close


class _Listener:
    """Takes whatever the provider says."""

    def opened(self, socket: socket.Socket) -> None: ...

    def received(self, message: str | bytes) -> None:
        with suppress(MalformedMessage):
            messages.parse(message)

    def writable(self) -> None: ...


async def _provider_frames(data: bytes) -> None:
    link, peer = socket.Socket(_URL, _Listener(), takes_garbled=True), _Peer()
    link.connection_made(peer)
    if data[:1] != b"H":  # else the answer to the upgrade is in the input, too
        [key] = [line[19:] for line in peer.request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key: ")]
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        link.data_received(
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        assert link.upgraded.done()
    half = len(data) // 2
    for piece in (data[:half], data[half:]):
        link.data_received(piece)
    link.abort()
    link.connection_lost(None)
    code = await link.over()
    assert code is None or isinstance(code, int)


def provider_frames(data: bytes) -> None:
    """The provider's side of its WebSocket: the answer to the upgrade, then frames."""
    played = _provider_frames(data)
    asyncio._set_running_loop(_LOOP)  # it waits for nothing, so that no turn of the loop is needed
    try:
        played.send(None)
    except StopIteration:
        return
    finally:
        asyncio._set_running_loop(None)
        played.close()
    raise AssertionError("a socket that has lost its connection is over")


def replicas(data: bytes) -> None:
    """What comes over Redis."""
    news = relay.decode(data)
    if news is not None:
        follower = relay.Follower()
        follower.judge(news)
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            msgspec.json.decode(news.data, type=relay.Snapshot)


def local_speech(data: bytes) -> None:
    """What a client of the local speech server asks for and says."""
    with suppress(ValueError):
        said = read_provider_json(data)
        with suppress(BadRequest):
            parse_request(said, engine="scripted", languages=frozenset({"en"}))


def model(data: bytes) -> None:
    """What the model behind GATEWAY_ANALYSIS_URL answers."""
    text = data.decode("utf-8", "replace")
    with suppress(prompt.UnusableAnswer):
        prompt.parse(text)
    chat._message(data)
    chat._retry_after(text, _NOW)


def audio(data: bytes) -> None:
    """Packets of every codec that an encoder may name: first byte which, then its configuration, then packets."""
    extradata, _, packets = data[1:].partition(b"\xff\xfe")
    with suppress(UnsupportedCodec, Undecodable):
        decoder = PacketDecoder(
            AudioFormat(_CODECS[data[0] % len(_CODECS)] if data else "aac", extradata, None, None, True)
        )
        for packet in (*packets.split(b"\xff\xfe"), None):
            with suppress(Undecodable):
                decoder.decode(packet)


def bodies(data: bytes) -> None:
    for kind in BODIES:
        with suppress(NotJson):
            read_json(data, kind)
    with suppress(NotJson):
        json.dumps(read_json(data))


def search(data: bytes) -> None:
    """What is typed into a search."""
    with suppress(WrongRequest):
        query.parse(data.decode("utf-8", "surrogateescape"))


def stored(data: bytes) -> None:
    """Options as another version may have stored them: read as far as they can be, and then the same again."""
    with suppress(NotJson):
        options = read_json(data)
        if isinstance(options, dict):
            asked = StartRequest.read("slug", "rtmp", options)
            again = StartRequest.read("slug", "rtmp", read_json(msgspec.json.encode(asked.stored())))
            assert again == asked


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target
    for target in (
        rtmp, handshake, chunks, amf, audio_tags, audio, frames, upgrade, audio_messages, provider, provider_frames,
        webhook, tokens, bodies, local_speech, model, replicas, search, stored,
    )
}  # fmt: skip
