"""The server's side of one RTMP connection: bytes in, events out. No socket, no clock."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from ingest.audio_packet import AudioPacket
from ingest.errors import ProtocolError
from ingest.rtmp import amf0, chunk_stream
from ingest.rtmp.audio_tag import AudioTags
from ingest.rtmp.chunk_stream import ChunkReader, Message
from ingest.rtmp.handshake import Handshake
from ingest.rtmp.timestamps import Unwrapped

ACKNOWLEDGEMENT: Final = 3
USER_CONTROL: Final = 4
WINDOW: Final = 5
PEER_BANDWIDTH: Final = 6
AUDIO: Final = 8
VIDEO: Final = 9
DATA_AMF3: Final = 15
COMMAND_AMF3: Final = 17
DATA: Final = 18
COMMAND: Final = 20
AGGREGATE: Final = 22

WINDOW_BYTES: Final = 2_500_000
SEND_CHUNK_BYTES: Final = 65_536  # ffmpeg adopts the server's chunk size for its own, so large costs less
_CONTROL_LANE: Final = 2
_COMMAND_LANE: Final = 3
_STREAM_BEGIN: Final = b"\x00\x00"
_PING: Final = b"\x00\x06"
_PONG: Final = b"\x00\x07"
_STREAM_ID: Final = 1
_AGGREGATE_HEADER: Final = 11
_AGGREGATE_PARTS: Final = 1_024  # each costs time, however small
_METADATA: Final = b"onMetaData"
_U32: Final = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may ask for, in bytes unless the name says otherwise."""

    control_bytes: int = 64 * 1024
    audio_bytes: int = 256 * 1024
    video_bytes: int = 16 * 1024 * 1024
    assembly_bytes: int = 1024 * 1024
    setup_bytes: int = 128 * 1024
    chunk_streams: int = 32
    amf_depth: int = 8


@dataclass(frozen=True, slots=True)
class PublishAsked:
    """Answer with `accept` or `refuse`. `key` and `query` are secrets."""

    app: str
    key: str
    query: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the encoder says about itself (onMetaData)."""

    values: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Unpublished:
    """The publisher said that it is done."""


Event = AudioPacket | PublishAsked | Metadata | Unpublished


class Phase(Enum):
    """Life of one connection."""

    GREETING = auto()  # handshake
    CONNECTING = auto()  # waiting for `connect`
    CONNECTED = auto()  # may publish
    ASKING = auto()  # the key is being checked; media may already flow
    PUBLISHING = auto()
    REFUSED = auto()  # told why; the shell closes


class Move(Enum):
    """What can happen to a connection."""

    GREETED = auto()
    CONNECT = auto()
    PUBLISH = auto()
    ACCEPT = auto()
    REFUSE = auto()
    UNPUBLISH = auto()


MOVES: Final[Mapping[tuple[Phase, Move], Phase]] = {
    (Phase.GREETING, Move.GREETED): Phase.CONNECTING,
    (Phase.CONNECTING, Move.CONNECT): Phase.CONNECTED,
    (Phase.CONNECTED, Move.PUBLISH): Phase.ASKING,
    (Phase.CONNECTED, Move.REFUSE): Phase.REFUSED,  # play
    (Phase.ASKING, Move.ACCEPT): Phase.PUBLISHING,
    (Phase.ASKING, Move.REFUSE): Phase.REFUSED,
    (Phase.ASKING, Move.UNPUBLISH): Phase.REFUSED,  # one key, one check: who gives up meanwhile is done
    (Phase.PUBLISHING, Move.REFUSE): Phase.REFUSED,  # taken over, server closing
    (Phase.PUBLISHING, Move.UNPUBLISH): Phase.CONNECTED,
}


class ServerProtocol:
    """One connection. Feed it with `receive`, then send what `to_send` returns.

    After a ProtocolError, or once `refused`, give it no more bytes: close.
    """

    def __init__(self, limits: Limits, random: bytes) -> None:
        """`random`: handshake.RANDOM_BYTES fresh bytes."""
        self._limits = limits
        self._handshake = Handshake(random)
        control, audio = limits.control_bytes, limits.audio_bytes
        assembled = dict.fromkeys(
            (
                chunk_stream.SET_CHUNK_SIZE, chunk_stream.ABORT, ACKNOWLEDGEMENT, USER_CONTROL, WINDOW,
                PEER_BANDWIDTH, DATA_AMF3, COMMAND_AMF3, DATA, COMMAND,
            ),
            control,
        )  # fmt: skip
        assembled[AUDIO] = audio
        assembled[AGGREGATE] = limits.assembly_bytes
        self._reader = ChunkReader(
            assembled,
            skip_limit=limits.video_bytes,
            lane_limit=limits.chunk_streams,
            assembly_limit=limits.assembly_bytes,
            spare={ACKNOWLEDGEMENT, USER_CONTROL, WINDOW, PEER_BANDWIDTH, DATA_AMF3, DATA},
        )
        self._out = bytearray()
        self._send_chunk_bytes = chunk_stream.INITIAL_CHUNK_BYTES
        self._received = 0
        self._acknowledged = 0
        self._published_until = 0
        self._window = WINDOW_BYTES
        self._app = ""
        self._app_query = ""
        self._name = ""
        self.repeated_publishes = 0
        self._stream_id = _STREAM_ID
        self._tags = AudioTags()
        self._unwrapped = Unwrapped()
        self._aggregated_video_bytes = 0
        self.phase = Phase.GREETING

    @property
    def refused(self) -> bool:
        """Whether the peer was told that it may not publish (any more), or asked to play: close the connection."""
        return self.phase is Phase.REFUSED

    @property
    def video_bytes(self) -> int:
        """Bytes of video seen so far; all of it was skipped."""
        return self._reader.skipped_bytes.get(VIDEO, 0) + self._aggregated_video_bytes

    @property
    def other_bytes(self) -> int:
        """Bytes of messages of types that mean nothing here (shared objects, unknown ones)."""
        return sum(size for type, size in self._reader.skipped_bytes.items() if type != VIDEO)

    @property
    def abandoned(self) -> int:
        """Messages that the peer gave up half way."""
        return self._reader.abandoned

    def to_send(self) -> bytes:
        """What has to go out, once."""
        out, self._out = self._out, bytearray()
        return bytes(out)

    def accept(self) -> None:
        """Let the publish that was asked for begin. Raises: ProtocolError when none was."""
        self._move(Move.ACCEPT)
        self._control(USER_CONTROL, _STREAM_BEGIN + _U32.pack(_STREAM_ID))
        self._status("status", "NetStream.Publish.Start", "publishing")

    def refuse(self, code: str, description: str) -> None:
        """Tell the publisher why it may not publish (any more); `code` is a NetStream status code.

        Raises: ProtocolError when it has not asked to publish.
        """
        self._move(Move.REFUSE)
        self._status("error", code, description)

    def receive(self, data: memoryview) -> list[Event]:
        """Take all of `data`, return what it means.

        Raises: ProtocolError, with what was good `before` it: close the connection.
        """
        events: list[Event] = []
        try:
            self._receive(data, events)
        except ProtocolError as error:
            error.before = events
            raise
        return events

    def _receive(self, data: memoryview, events: list[Event]) -> None:
        self._received += len(data)
        if self.phase is Phase.GREETING:
            taken, reply = self._handshake.receive(data)
            self._out += reply
            if not self._handshake.done:
                return
            self._move(Move.GREETED)
            data = data[taken:]
        try:
            messages = self._reader.receive(data)
        except ProtocolError as error:
            self._read(error.before, events)
            raise
        if not self._read(messages, events):
            return
        if self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            self._control(ACKNOWLEDGEMENT, _U32.pack(self._received & 0xFFFFFFFF))
        if self.phase in (Phase.CONNECTING, Phase.CONNECTED):
            idled = self._received - self._published_until
            if idled > self._limits.setup_bytes:
                raise ProtocolError("too much without publish", f"{idled} bytes")

    def _read(self, messages: Iterable[Message], events: list[Event]) -> bool:
        """Returns: whether all of them; not what comes behind a question to play."""
        for message in messages:
            if message.type == AUDIO:
                self._audio(message, events)
            else:
                self._other(message, events)
            if self.refused:
                return False
        return True

    def _move(self, move: Move) -> None:
        try:
            self.phase = MOVES[self.phase, move]
        except KeyError:
            raise ProtocolError("out of order", f"{move.name.lower()} while {self.phase.name.lower()}") from None

    def _audio(self, message: Message, events: list[Event]) -> None:
        if self.phase is not Phase.PUBLISHING and self.phase is not Phase.ASKING:
            return  # the tail of a publish that has ended
        try:
            packet = self._tags.read(message.payload)
        except ProtocolError:
            return  # one packet without a whole header; the next may be fine
        if packet is not None:
            format, payload = packet
            events.append(AudioPacket(self._unwrapped(message.timestamp_ms), payload, format))

    def _other(self, message: Message, events: list[Event]) -> None:
        type, payload = message.type, message.payload
        if type == COMMAND:
            self._command(payload, message.stream_id, events)
        elif type == COMMAND_AMF3:  # AMF0 behind one zero byte
            self._command(payload[1:], message.stream_id, events)
        elif type in (DATA, DATA_AMF3):
            self._data(payload[type == DATA_AMF3 :], events)
        elif type == AGGREGATE:
            self._aggregate(message, events)
        elif type == WINDOW:
            self._window = chunk_stream.number(payload) or self._window
        elif type == USER_CONTROL and payload[:2] == _PING:
            self._control(USER_CONTROL, _PONG + payload[2:6])
        # acknowledgements and bandwidth need no answer: we send far less than any window

    def _aggregate(self, message: Message, events: list[Event]) -> None:
        """Several messages in one, each behind an FLV tag header and followed by its length.

        Source: RTMP 1.0, 7.1.6: their times count from the first one inside.
        """
        body = message.payload
        at = parts = 0
        first: int | None = None
        while at < len(body):
            parts += 1
            if parts > _AGGREGATE_PARTS:
                raise ProtocolError("too many messages in one", f"more than {_AGGREGATE_PARTS}")
            start = at + _AGGREGATE_HEADER
            size = int.from_bytes(body[at + 1 : at + 4], "big")
            if start + size > len(body):
                break  # the rest cannot be read
            type = body[at]
            timestamp = int.from_bytes(body[at + 4 : at + 7], "big") | body[at + 7] << 24
            if first is None:
                first = timestamp
            moved = (message.timestamp_ms + timestamp - first) & 0xFFFFFFFF
            part = Message(type, message.stream_id, moved, body[start : start + size])
            if type == AUDIO:
                self._audio(part, events)
            elif type == VIDEO:
                self._aggregated_video_bytes += size
            elif type in (DATA, DATA_AMF3):
                self._other(part, events)
            at = start + size + 4

    def _data(self, payload: bytes, events: list[Event]) -> None:
        """Only onMetaData is read, as far as that can be done: nothing else that encoders send here is needed."""
        if self.phase is not Phase.PUBLISHING and self.phase is not Phase.ASKING:
            return
        if _METADATA not in payload[:64]:
            return
        values = amf0.decode_prefix(payload, self._limits.amf_depth)
        if values[:1] == ["@setDataFrame"]:
            del values[0]
        if values[:1] == ["onMetaData"] and len(values) > 1 and isinstance(values[1], dict):
            events.append(Metadata(values[1]))

    def _command(self, payload: bytes, stream_id: int, events: list[Event]) -> None:
        name, *rest = amf0.decode_prefix(payload, self._limits.amf_depth) or [None]
        if not isinstance(name, str):
            return  # it asks for nothing
        transaction = rest[0] if rest and isinstance(rest[0], float) else 0.0
        arguments = rest[1:]
        match name:
            case "connect":
                self._connect(transaction, arguments)
            case "createStream":
                self._send("_result", transaction, None, _STREAM_ID)
            case "releaseStream" | "_checkbw":
                self._send("_result", transaction, None, None)
            case "FCPublish":
                self._send("_result", transaction, None, None)
                self._send("onFCPublish", 0, None, _info("status", "NetStream.Publish.Start", "go ahead"))
            case "publish":
                self._publish(arguments, stream_id, events)
            case "FCUnpublish" | "deleteStream" | "closeStream":
                if self.phase in (Phase.ASKING, Phase.PUBLISHING):
                    self._move(Move.UNPUBLISH)
                    self._published_until = self._received
                    self._status("status", "NetStream.Unpublish.Success", "unpublished")
                    events.append(Unpublished())
            case "play" | "play2":
                self.refuse("NetStream.Play.Failed", "this server only takes publishers, it plays nothing")
            case _ if transaction:
                problem = _info("error", "NetConnection.Call.Failed", "no such method")
                self._send("_error", transaction, None, problem)
            case _:
                pass  # a notice without a meaning for this server

    def _connect(self, transaction: float, arguments: list[object]) -> None:
        if self.phase not in (Phase.GREETING, Phase.CONNECTING):
            problem = _info("error", "NetConnection.Connect.Rejected", "connected already")
            self._send("_error", transaction, None, problem)
            return
        self._move(Move.CONNECT)
        wishes = arguments[0] if arguments and isinstance(arguments[0], dict) else {}
        app, _, self._app_query = str(wishes.get("app") or "").partition("?")
        self._app = app.strip("/")
        self._control(WINDOW, _U32.pack(WINDOW_BYTES))
        self._control(PEER_BANDWIDTH, _U32.pack(WINDOW_BYTES) + b"\x02")  # 2: "dynamic"
        self._control(chunk_stream.SET_CHUNK_SIZE, _U32.pack(SEND_CHUNK_BYTES))
        self._send_chunk_bytes = SEND_CHUNK_BYTES
        properties = {
            "fmsVer": "FMS/3,0,1,123",  # a name that old encoders know
            "capabilities": 31,
            # Enhanced RTMP v2: 1 "can decode", 4 "can forward"; to us any video is as good as none
            "audioFourCcInfoMap": {"Opus": 1, "mp4a": 1, ".mp3": 1},
            "videoFourCcInfoMap": {"*": 4},
        }
        information = _info("status", "NetConnection.Connect.Success", "connected") | {"objectEncoding": 0}
        self._send("_result", transaction, properties, information)

    def _publish(self, arguments: list[object], stream_id: int, events: list[Event]) -> None:
        name = arguments[1] if len(arguments) > 1 else None
        if not isinstance(name, str):
            name = ""  # the key may be in the app
        if self.phase in (Phase.ASKING, Phase.PUBLISHING):
            self._publish_again(name)
            return
        self._move(Move.PUBLISH)
        self._name = name
        self._stream_id = stream_id
        self._tags, self._unwrapped = AudioTags(), Unwrapped()
        key, _, query = name.partition("?")
        events.append(PublishAsked(self._app, key.strip("/"), query or self._app_query))

    def _publish_again(self, name: str) -> None:
        """The one publish of this connection goes on, whatever is asked for beside it."""
        self.repeated_publishes += 1
        if name != self._name:
            self._status("error", "NetStream.Publish.BadName", "this connection publishes another stream already")
        elif self.phase is Phase.PUBLISHING:
            self._status("status", "NetStream.Publish.Start", "publishing")

    def _status(self, level: str, code: str, description: str) -> None:
        self._send("onStatus", 0, None, _info(level, code, description), stream_id=self._stream_id)

    def _send(self, *values: object, stream_id: int = 0) -> None:
        message = Message(COMMAND, stream_id, 0, amf0.encode(*values))
        self._out += chunk_stream.write(message, self._send_chunk_bytes, _COMMAND_LANE)

    def _control(self, type: int, payload: bytes) -> None:
        self._out += chunk_stream.write(Message(type, 0, 0, payload), self._send_chunk_bytes, _CONTROL_LANE)


def _info(level: str, code: str, description: str) -> dict[str, object]:
    return {"level": level, "code": code, "description": description}
