"""The oracle finds what is wrong, and the tools of the harness do what they say."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from chaos.oracle import Outcome, Reader, Voice, Watched, judge, table
from chaos.plan import KINDS, draw
from support.proxy import Proxy
from support.statements import Statements

from storage.postgres.pool import connect
from storage.postgres.url import parse_database_url


def test_a_seed_is_one_plan_and_every_fault_has_its_turn() -> None:
    assert draw(17) == draw(17) != draw(18)
    assert {draw(seed).fault for seed in range(len(KINDS))} == {kind.name for kind in KINDS}
    assert {draw(seed, ("redis killed",)).fault for seed in range(5)} == {"redis killed"}
    longer = draw(17, lasts_s=20)
    assert longer.for_s == 20
    assert len(longer.sessions[0].voices[0]) > len(draw(17).sessions[0].voices[0]), "they speak through it"


def final(seq: int, text: str, epoch: str = "e") -> dict[str, Any]:
    data = {"utteranceId": f"u-{text}", "text": text, "participantIdentity": "anna"}
    return {"type": "transcript.final", "seq": seq, "epoch": epoch, "data": data}


def hello(seq: int, *, resumed: bool = False, epoch: str = "e") -> dict[str, Any]:
    return {"type": "hello", "epoch": epoch, "data": {"state": "running", "seq": seq, "resumed": resumed}}


def heard(*messages: dict[str, Any]) -> Reader:
    reader = Reader(0)
    for at, message in enumerate(messages):
        reader.hear(message, float(at))
    return reader


def found(reader: Reader, kept: list[tuple[int, str]], fault: str = "nothing") -> list[str]:
    """`alpha bravo` is said at once, `charlie` 4 s after the fault."""
    seed = next(seed for seed in range(100) if draw(seed).fault == fault)
    voice = Voice("anna", [("alpha", 0.0), ("bravo", 0.5), ("charlie", 9.0)])
    transcript = [{"seq": seq, "text": text, "participantIdentity": "anna"} for seq, text in kept]
    verdict = judge(Outcome(draw(seed), 5.0, [Watched("websocket", [voice], [reader], transcript)]))
    assert table([(fault, verdict)]).splitlines()[-1].endswith(f"| {int(bool(verdict.problems))} |")
    return [problem.partition(": ")[2] for problem in verdict.problems]


KEPT = [(1, "alpha bravo"), (2, "charlie")]


def test_all_is_well() -> None:
    assert found(heard(hello(0), final(1, "alpha bravo"), final(2, "charlie")), KEPT) == []


def test_a_resumed_reader_goes_on_and_another_epoch_begins_anew() -> None:
    again = heard(hello(0), final(1, "alpha bravo"), hello(2, resumed=True), final(2, "charlie"))
    assert found(again, KEPT) == [] and again.restarts == 0
    other = heard(hello(0), final(1, "alpha bravo"), hello(2, epoch="f"), final(1, "alpha bravo", "f"))
    other.hear(final(2, "charlie", "f"), 3.0)
    assert found(other, KEPT) == [] and other.restarts == 1


@pytest.mark.parametrize(
    ("messages", "kept", "problem"),
    [
        ([final(1, "alpha bravo")], KEPT, "lacks [2], has another []"),
        ([final(2, "charlie")], KEPT, "number 2 after 0"),
        ([final(1, "alpha bravo"), final(2, "charlie")], KEPT[:1], "'charlie', +4.0 s, is lost"),
        ([final(1, "alpha bravo"), final(2, "alpha")], [(1, "alpha bravo"), (2, "alpha")], "'alpha' is there 2 times"),
        ([final(1, "alpha bravo"), final(2, "zulu")], [(1, "alpha bravo"), (2, "zulu")], "'zulu' was never said"),
        ([final(1, "alpha bravo"), final(2, "charlie")], [(1, "alpha bravo"), (3, "charlie")], "numbers are [1, 3]"),
        ([final(1, "alpha bravo")], [(1, "alpha"), (2, "charlie")], "'alpha bravo' was shown and is not kept"),
        ([final(1, "alpha bravo"), final(1, "charlie")], KEPT, "number 1 says two things"),
        ([final(1, "alpha bravo"), final(2, "other")], KEPT, "'other' was shown and is not kept"),
    ],
)
def test_what_is_wrong_is_found(messages: list[dict[str, Any]], kept: list[tuple[int, str]], problem: str) -> None:
    assert any(problem in one for one in found(heard(hello(0), *messages), kept))


def test_only_what_died_with_its_owner_is_excused() -> None:
    reader = heard(hello(0), final(1, "charlie"))
    assert len(found(reader, [(1, "charlie")], "owner killed")) == 2, "alpha and bravo were long before"
    reader = heard(hello(0), final(1, "alpha bravo"))
    assert found(reader, [(1, "alpha bravo")], "owner killed") == ["'charlie', +4.0 s, is lost"]


def test_the_sdk_leaves_an_utterance_for_ten_words_out_of_a_room_but_not_at_a_hand_over() -> None:
    plan = next(draw(seed) for seed in range(100) if draw(seed).fault == "owner of a room restarted")
    words = [(f"word{number}", float(number)) for number in range(20)]

    def lost(*numbers: int, is_busy: bool = False) -> int:
        text = " ".join(word for number, (word, _) in enumerate(words) if number not in numbers)
        kept = [{"seq": 1, "text": text, "participantIdentity": "anna"}]
        watched = Watched("livekit", [Voice("anna", words)], [], kept)
        return len(judge(Outcome(plan, 5.0, [watched], is_busy=is_busy)).problems)

    assert [lost(12, 15), lost(12, 15, 18), lost(5)] == [0, 1, 1]
    assert [lost(5, is_busy=True), lost(4, 12, 18, is_busy=True)] == [0, 1], "a busy one does there as well"
    assert [lost(12, 13, 14, 15), lost(13, 14, 15, 17)] == [0, 1], "the jitter buffer knows no words"


def test_what_comes_too_late_is_wrong() -> None:
    reader = heard(hello(0), final(1, "alpha bravo"))
    reader.hear(final(2, "charlie"), 23.0)
    assert found(reader, KEPT) == ["heard nothing new for 18.0 s"]
    reader = heard(hello(0), final(1, "alpha bravo"))
    reader.hear(final(2, "charlie"), 17.0)
    assert found(reader, KEPT) == []


async def test_a_client_that_resets_its_line_leaves_none_behind_the_proxy() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began.set()
        with suppress(ConnectionError):
            await reader.read()
        ended.set()
        writer.close()

    server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        await began.wait()
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()
        async with asyncio.timeout(30):
            await ended.wait()
    finally:
        await proxy.close()
        server.close()


async def test_the_proxy_cuts_freezes_and_heals() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    dialled: list[asyncio.StreamWriter] = []

    async def dial() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        dialled.append(writer)
        return reader, writer

    proxy = Proxy(server.sockets[0].getsockname()[1])
    await proxy.start()
    try:
        reader, writer = await dial()
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        proxy.freeze()
        writer.write(b"two")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await reader.readexactly(1)
        proxy.heal()
        assert await reader.readexactly(3) == b"two" and (proxy.sent, proxy.received) == (6, 6)
        proxy.cut()
        assert await _ended(reader)
        reader, writer = await dial()
        assert await _ended(reader)
        proxy.heal()
        reader, writer = await dial()
        writer.write(b"three")
        assert await reader.readexactly(5) == b"three"
    finally:
        for writer in dialled:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in dialled), return_exceptions=True)
        await proxy.close()
        server.close()


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return not await reader.read(1)
    except ConnectionError:
        return True


async def test_statements_are_counted_by_their_text(database_url: str) -> None:
    statements = Statements()
    parts = urlsplit(database_url)
    proxy = Proxy(f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432", statements.tap)
    await proxy.start()
    try:
        url = f"postgresql://postgres@127.0.0.1:{proxy.port}{parts.path}?sslmode=disable"
        connection = await connect(parse_database_url(url))
        for number in range(3):
            assert await connection.fetchval("SELECT $1::int + 1", number) == number + 1
        await connection.execute("SELECT 'simple'")
        await connection.close()
    finally:
        await proxy.close()
    assert statements.of("+ 1") == 3 and statements.of("'simple'") == 1


@pytest.mark.parametrize(
    ("fault", "source", "is_excused"),
    [
        ("owner killed", "websocket", True),
        ("owner cut from postgres", "rtmp", False),
        ("owner cut from postgres", "websocket", False),
        ("owner restarted", "rtmp", True),
        ("owner restarted", "websocket", False),
        ("owner in a room killed", "livekit", True),
        ("owner of a room restarted", "livekit", False),
        ("livekit cut from the owner", "livekit", True),
        ("redis killed", "livekit", False),
    ],
)
def test_an_owner_that_lives_on_loses_nothing_of_who_sends_again(fault: str, source: str, is_excused: bool) -> None:
    plan = next(draw(seed) for seed in range(100) if draw(seed).fault == fault)
    verdict = judge(Outcome(plan, 5.0, [Watched(source, [Voice("anna", [("alpha", 5.5)])], [], [])]))
    assert (verdict.lost, verdict.excused, len(verdict.problems)) == (1, int(is_excused), int(not is_excused))


@pytest.mark.parametrize(("fault", "is_wrong"), [("owner killed", True), ("postgres reset", False)])
def test_after_a_take_over_a_history_is_read_once_a_replica(fault: str, is_wrong: bool) -> None:
    plan = next(draw(seed) for seed in range(100) if draw(seed).fault == fault)
    for reads, problems in (((1, 1, 0), 0), ((1, 2, 0), int(is_wrong))):
        verdict = judge(Outcome(plan, 5.0, [Watched("websocket", [], [], [], reads)]))
        assert (verdict.reads, len(verdict.problems)) == (max(reads), problems)


def test_statements_are_counted_by_their_first_parameter() -> None:
    counted = Statements()
    feed = counted.tap()

    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    def bind(*values: bytes | None) -> bytes:
        params = b"".join(
            (-1).to_bytes(4, "big", signed=True) if one is None else len(one).to_bytes(4, "big") + one for one in values
        )
        formats = b"\0\1" + b"\0\1"
        return message(b"B", b"\0" + b"s\0" + formats + len(values).to_bytes(2, "big") + params + b"\0\0")

    feed(message(b"", b"\0\3\0\0") + message(b"P", b"s\0SELECT $1\0\0\0"))
    for values in ((b"one", b"x"), (b"two",), (b"one", None), (None,), ()):
        feed(bind(*values) + message(b"E", b"\0\0\0\0\0"))
    assert (counted.of("SELECT"), counted.of("SELECT", "one"), counted.of("SELECT", "two")) == (5, 2, 1)
