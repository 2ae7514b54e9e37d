"""Server-sent events: what a message becomes, and that both kinds of connection get the same of everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.live import events
from gateway.live.hub import Hub
from gateway.live.protocol import CloseCode, Framing, Message, ResumePoint
from gateway.live.watcher import BEHIND_BYTES, Bounds, Watcher
from gateway.live.websocket import in_frame
from gateway.transcription.domain.transcription import Numbering

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


class Pipe:
    """A transport whose reader may sleep."""

    def __init__(self) -> None:
        self.written = b""
        self.asleep = False
        self.size = 0

    def write(self, data: bytes) -> None:
        self.written += data
        self.size += len(data) if self.asleep else 0

    def get_write_buffer_size(self) -> int:
        return self.size

    def is_closing(self) -> bool:
        return False

    def wake(self) -> None:
        self.asleep, self.size = False, 0


def parse(text: bytes) -> list[dict[str, Any]]:
    """As an EventSource does (WHATWG HTML, 9.2.6): event, id, data of each block."""
    found = []
    for block in text.decode().split("\n\n")[:-1]:
        fields: dict[str, Any] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        if "data" in fields:
            found.append(fields | {"data": json.loads(fields["data"])})
    return found


def unchunk(data: bytes) -> bytes:
    """The body of RFC 9112, 7.1."""
    body = b""
    while data:
        size, _, rest = data.partition(b"\r\n")
        body += rest[: int(size, 16)]
        assert rest[int(size, 16) :].startswith(b"\r\n")
        data = rest[int(size, 16) + 2 :]
    return body


def unframe(data: bytes) -> list[dict[str, Any]]:
    """Text frames shorter than 64 kB (RFC 6455, 5.2)."""
    found = []
    while data:
        size, start = (data[1], 2) if data[1] < 126 else (int.from_bytes(data[2:4]), 4)
        found.append(json.loads(data[start : start + size]))
        data = data[start + size :]
    return found


@pytest.fixture
def hub() -> Hub:
    moments: Iterator[datetime] = iter(NOW + timedelta(milliseconds=i) for i in range(10_000))
    return Hub(lambda: next(moments), Bounds(mailbox_bytes=4_000))


def running(hub: Hub, last_seq: int = 0) -> None:
    hub.begin("abc12345", Numbering("k3f9", NOW, last_seq))


async def no_past(after: int, limit: int) -> list[tuple[int, bytes]]:
    return []


async def join(
    hub: Hub, pipe: Pipe, framing: Framing = events.in_event, since: ResumePoint | None = None
) -> tuple[Watcher, list[CloseCode]]:
    closed: list[CloseCode] = []
    watcher = hub.join("abc12345", pipe, closed.append, framing)
    await hub.channel("abc12345").catch_up(watcher, since, no_past)
    return watcher, closed


def test_an_event_has_its_type_its_place_and_the_message_as_it_is() -> None:
    message = Message("transcript.final", b'{"text":"caf\xc3\xa9"}', "k3f9:42")
    assert events.in_event(message) == b'event: transcript.final\nid: k3f9:42\ndata: {"text":"caf\xc3\xa9"}\n\n'


def test_what_says_nothing_of_a_place_leaves_the_place() -> None:
    """An empty id would make a browser forget where it is."""
    assert events.in_event(Message("health", b"{}")) == b"event: health\ndata: {}\n\n"


@pytest.mark.parametrize("size", [0, 1, 15, 16, 4096, 70_000])
def test_a_chunk_says_its_length_in_hexadecimal(size: int) -> None:
    data = bytes(size)
    assert unchunk(events.chunk(data)) == data
    assert events.chunk(data).startswith(f"{size:x}\r\n".encode())


def test_a_message_is_framed_once_for_each_kind_of_connection() -> None:
    calls = []

    def counted(message: Message) -> bytes:
        calls.append(message)
        return b"framed"

    message = Message("health", b"{}")
    assert [message.framed(counted) for _ in range(3)] == [b"framed"] * 3
    assert message.framed(in_frame) == b"\x81\x02{}"
    assert calls == [message]


async def test_every_kind_of_connection_gets_the_same_messages(hub: Hub) -> None:
    running(hub)
    channel = hub.channel("abc12345")
    channel.final(1, "u1", b'{"utteranceId":"u1"}')
    channel.partial("u2", b'{"utteranceId":"u2"}')
    pipes = {framing: Pipe() for framing in (in_frame, events.in_event, events.in_chunk)}
    for framing, pipe in pipes.items():
        await join(hub, pipe, framing)
    channel.partial("u2", b'{"utteranceId":"u2","text":"more"}')
    channel.deliver_now()
    channel.final(2, "u2", b'{"utteranceId":"u2"}')
    channel.say("translation", b'{"utteranceId":"u2"}')
    hub.set_state("abc12345", "stopping", "stopped by request")
    channel.deliver_now()
    by_socket = unframe(pipes[in_frame].written)
    by_event = parse(pipes[events.in_event].written)
    by_chunk = parse(unchunk(pipes[events.in_chunk].written))
    kinds = [message["type"] for message in by_socket]
    assert kinds == [
        "hello", "transcript.final", "transcript.partial", "transcript.partial", "transcript.final", "translation",
        "session.state",
    ]  # fmt: skip
    assert [event["event"] for event in by_event] == kinds
    assert [{**event["data"], "ts": ""} for event in by_event] == [{**message, "ts": ""} for message in by_socket]
    assert by_event[1:] == by_chunk[1:]


async def test_the_id_is_the_place_that_a_watcher_has_reached(hub: Hub) -> None:
    """Of a hello that is where history begins, not the last final there is; of a gap, its end."""
    running(hub, last_seq=4)
    channel = hub.channel("abc12345")
    pipe = Pipe()
    await join(hub, pipe, since=ResumePoint("k3f9", 2))
    channel.final(5, "u5", b"{}")
    channel.say("health", b"{}")
    channel.deliver_now()
    ids = [(event["event"], event.get("id")) for event in parse(pipe.written)]
    assert ids == [
        ("hello", "k3f9:2"), ("gap", "k3f9:4"), ("transcript.final", "k3f9:5"), ("health", None),
    ]  # fmt: skip


async def test_an_event_reader_that_sleeps_gets_finals_in_order_and_the_newest_partial(hub: Hub) -> None:
    running(hub)
    channel = hub.channel("abc12345")
    pipe = Pipe()
    watcher, closed = await join(hub, pipe)
    pipe.asleep, pipe.size = True, BEHIND_BYTES
    channel.final(1, "u1", b"{}")
    for text in (b'{"text":"a"}', b'{"text":"a b"}'):
        channel.partial("u2", text)
        channel.deliver_now()
    pipe.wake()
    watcher.flush()
    said = parse(pipe.written)[1:]
    assert [(event["event"], event["data"]["data"].get("text")) for event in said] == [
        ("transcript.final", None), ("transcript.partial", "a b"),
    ]  # fmt: skip
    assert closed == []


async def test_an_event_reader_that_sleeps_too_long_is_let_go(hub: Hub) -> None:
    running(hub)
    pipe = Pipe()
    _, closed = await join(hub, pipe)
    pipe.asleep, pipe.size = True, BEHIND_BYTES
    for seq in range(1, 100):
        hub.channel("abc12345").final(seq, f"u{seq}", b"{}")
    hub.channel("abc12345").deliver_now()
    assert closed == [CloseCode.TOO_SLOW]


async def test_only_those_who_have_everything_are_sent_away_at_the_end(hub: Hub) -> None:
    """One who is behind, or still reads the past, is sent away when it has caught up."""
    running(hub)
    _, closed = await join(hub, Pipe())
    behind = Pipe()
    watcher, behind_closed = await join(hub, behind)
    behind.asleep, behind.size = True, BEHIND_BYTES
    catching_up: list[CloseCode] = []
    newcomer = hub.join("abc12345", Pipe(), catching_up.append, events.in_event)
    hub.channel("abc12345").final(1, "u1", b"{}")
    assert hub.end("abc12345", CloseCode.SESSION_ENDED) is False
    assert closed == []  # nor is anybody before the last word is out
    hub.channel("abc12345").deliver_now()
    assert hub.end("abc12345", CloseCode.SESSION_ENDED) is False
    assert (closed, behind_closed, catching_up) == ([CloseCode.SESSION_ENDED], [], [])
    behind.wake()
    watcher.flush()
    await hub.channel("abc12345").catch_up(newcomer, None, no_past)
    assert hub.end("abc12345", CloseCode.SESSION_ENDED) is True
    assert (behind_closed, catching_up) == ([CloseCode.SESSION_ENDED], [CloseCode.SESSION_ENDED])
    assert len([event for event in parse(behind.written) if event["event"] == "transcript.final"]) == 1


async def test_sessions_that_run_here_are_not_idle(hub: Hub) -> None:
    hub.join("quiet", Pipe(), lambda code: None)
    running(hub)
    assert hub.idle() == ["quiet"]


def test_the_goodbye_says_what_a_close_code_says(hub: Hub) -> None:
    running(hub)
    goodbye = hub.channel("abc12345").goodbye(CloseCode.SESSION_ENDED, "the session has ended")
    [event] = parse(goodbye.framed(events.in_event))
    assert event["event"] == event["data"]["type"] == "end"
    assert event["data"]["data"] == {"code": 4510, "reason": "the session has ended"}
    assert "id" not in event
