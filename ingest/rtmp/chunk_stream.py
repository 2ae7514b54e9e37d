"""RTMP chunk streams: bytes to messages and back.

Source: RTMP 1.0, section 5.3, and where publishers differ from it, what ffmpeg, librtmp, OBS and GStreamer send.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Final

from ingest.errors import ProtocolError

SET_CHUNK_SIZE: Final = 1
ABORT: Final = 2

INITIAL_CHUNK_BYTES: Final = 128
EXTENDED: Final = 0xFFFFFF  # in the 24-bit timestamp field: 32 bits follow the header
_HEADER_BYTES: Final = (11, 7, 3, 0)
_CHUNK_BYTES_LEAST: Final = 4  # on average; the shortest of real audio take 10, header included
_CHUNKS_FREE: Final = 64


@dataclass(slots=True)
class Message:
    """One whole RTMP message. `timestamp_ms` has 32 bits and wraps."""

    type: int
    stream_id: int
    timestamp_ms: int
    payload: bytes


class _Lane:
    """What one chunk stream remembers: the last header, and the message that is under way."""

    __slots__ = ("body", "echo", "field", "length", "missing", "stream_id", "timestamp", "type")

    def __init__(self) -> None:
        self.timestamp = 0  # of the current message, ms, 32 bits
        self.field = 0  # timestamp or delta of the last header
        self.echo = b""  # its extended form as it was on the wire, if it had one
        self.length = 0
        self.type = 0
        self.stream_id = 0
        self.missing = 0  # bytes of the current message still to come; 0: none is under way
        self.body: bytearray | None = None  # None: this message is counted and skipped


class ChunkReader:
    """Assembles messages; obeys Set Chunk Size and Abort itself, since the bytes after them depend on it.

    Message types in `limits` (type to longest message in bytes) are assembled. Every other type is skipped in
    place: its bytes are counted in `skipped_bytes` by type and never copied. Between two calls it keeps one
    header (at most 18 bytes) and the messages under way, never more than `assembly_limit` bytes of them. Every chunk
    costs time, however small, so a peer that sends mostly headers is cut off.

    A message of a type in `spare` that is too long is skipped, too. One that is given up half way, as a new header on
    its chunk stream tells, is counted in `abandoned` and forgotten.
    """

    def __init__(
        self,
        limits: Mapping[int, int],
        *,
        skip_limit: int,
        lane_limit: int,
        assembly_limit: int,
        spare: Container[int] = (),
    ) -> None:
        self.abandoned = 0
        self._limits = limits
        self._spare = spare
        self._skip_limit = skip_limit
        self._lane_limit = lane_limit
        self._assembly_limit = assembly_limit
        self._assembling = 0
        self._chunk_bytes = INITIAL_CHUNK_BYTES
        self._lanes: dict[int, _Lane] = {}
        self._lane = _Lane()  # whose payload is being read
        self._left = 0  # bytes left of the current chunk's payload
        self._held = b""  # a header that has not fully arrived
        self.skipped_bytes: dict[int, int] = {}

    def receive(self, data: memoryview) -> list[Message]:
        """Take all of `data`, return the messages it completes.

        Raises: ProtocolError, with what was complete `before` it; the reader is then of no further use.
        """
        messages: list[Message] = []
        try:
            self._receive(data, messages)
        except ProtocolError as error:
            error.before = messages
            raise
        return messages

    def _receive(self, data: memoryview, messages: list[Message]) -> None:
        if self._held:
            data = memoryview(self._held + bytes(data))
            self._held = b""
        at, end = 0, len(data)
        chunks_left = _CHUNKS_FREE + end // _CHUNK_BYTES_LEAST
        while at < end:
            if not self._left:
                chunks_left -= 1
                if chunks_left < 0:
                    raise ProtocolError("too many tiny chunks", f"in {end} bytes")
                start = self._header(data, at, end)
                if not start:
                    self._held = bytes(data[at:])
                    break
                at = start
            lane = self._lane
            size = min(self._left, end - at)
            self._left -= size
            lane.missing -= size
            if lane.body is None:
                self.skipped_bytes[lane.type] = self.skipped_bytes.get(lane.type, 0) + size
            elif not lane.missing and not lane.body:  # the whole message lies in this piece
                self._finish(lane, bytes(data[at : at + size]), messages)
            else:
                lane.body += data[at : at + size]
                self._assembling += size
                if self._assembling > self._assembly_limit:
                    raise ProtocolError("too much unfinished", f"{self._assembling} bytes of messages")
                if not lane.missing:
                    self._assembling -= len(lane.body)
                    self._finish(lane, bytes(lane.body), messages)
            at += size

    def _header(self, data: memoryview, at: int, end: int) -> int:
        """Read the chunk header at `at`. Returns where its payload starts, or 0 when bytes are missing."""
        kind, csid = data[at] >> 6, data[at] & 0x3F
        at += 1
        if csid < 2:
            more = csid + 1
            if at + more > end:
                return 0
            csid = 64 + int.from_bytes(data[at : at + more], "little")
            at += more
        lane = self._lanes.get(csid)
        if kind == 3:
            if lane is None:
                raise ProtocolError("malformed chunk", "the first header of a stream repeats another")
            if lane.echo:
                seen = bytes(data[at : at + 4])
                if seen == lane.echo:
                    at += 4
                elif lane.echo.startswith(seen):  # repeated or not? The next byte tells
                    return 0
            if not lane.missing:
                self._begin(lane, (lane.timestamp + lane.field) & 0xFFFFFFFF)
        else:
            start = at + _HEADER_BYTES[kind]
            if start > end:
                return 0
            field = data[at] << 16 | data[at + 1] << 8 | data[at + 2]
            echo = b""
            if field == EXTENDED:
                if start + 4 > end:
                    return 0
                echo = bytes(data[start : start + 4])
                field = int.from_bytes(echo, "big")
            if lane is None:
                lane = self._open(csid, kind)
            elif lane.missing:
                self.abandoned += 1
                self._give_up(lane)
            lane.field, lane.echo = field, echo
            if kind < 2:
                lane.length = data[at + 3] << 16 | data[at + 4] << 8 | data[at + 5]
                lane.type = data[at + 6]
                if kind == 0:
                    lane.stream_id = int.from_bytes(data[at + 7 : at + 11], "little")
            self._begin(lane, field if kind == 0 else (lane.timestamp + field) & 0xFFFFFFFF)
            at = start + len(echo)
        self._lane = lane
        self._left = min(self._chunk_bytes, lane.missing)
        return at

    def _open(self, csid: int, kind: int) -> _Lane:
        if kind == 2:  # kind 1 is tolerated: librtmp starts its control stream with it
            raise ProtocolError("malformed chunk", "the first header of a stream has no length")
        if len(self._lanes) >= self._lane_limit:
            raise ProtocolError("too many chunk streams", f"more than {self._lane_limit}")
        lane = self._lanes[csid] = _Lane()
        return lane

    def _begin(self, lane: _Lane, timestamp: int) -> None:
        limit = self._limits.get(lane.type)
        if limit is not None and lane.length > limit and lane.type in self._spare:
            limit = None
        if lane.length > (self._skip_limit if limit is None else limit):
            raise ProtocolError("message too long", f"type {lane.type}, {lane.length} bytes")
        lane.timestamp = timestamp
        lane.missing = lane.length
        lane.body = None if limit is None else bytearray()

    def _finish(self, lane: _Lane, payload: bytes, messages: list[Message]) -> None:
        lane.body = None
        if lane.type == SET_CHUNK_SIZE:
            self._chunk_bytes = (number(payload) & 0x7FFFFFFF) or self._chunk_bytes
        elif lane.type == ABORT:
            aborted = self._lanes.get(number(payload))
            if aborted is not None:
                self._give_up(aborted)
        else:
            messages.append(Message(lane.type, lane.stream_id, lane.timestamp, payload))

    def _give_up(self, lane: _Lane) -> None:
        self._assembling -= len(lane.body or b"")
        lane.missing = 0
        lane.body = None


def write(message: Message, chunk_bytes: int, csid: int) -> bytes:
    """`message` as chunks of `chunk_bytes` on stream `csid` (2-63), its timestamp below 0xFFFFFF."""
    payload = message.payload
    out = bytearray((csid,))
    out += message.timestamp_ms.to_bytes(3, "big")
    out += len(payload).to_bytes(3, "big")
    out.append(message.type)
    out += message.stream_id.to_bytes(4, "little")
    out += payload[:chunk_bytes]
    for at in range(chunk_bytes, len(payload), chunk_bytes):
        out.append(0xC0 | csid)
        out += payload[at : at + chunk_bytes]
    return bytes(out)


def number(payload: bytes) -> int:
    """The value of a control message: 4 bytes, whatever follows them; 0, which means nothing, when it has fewer."""
    return int.from_bytes(payload[:4], "big") if len(payload) >= 4 else 0
