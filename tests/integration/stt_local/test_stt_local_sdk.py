"""The provider's own Python SDK, unmodified, works against the local server and notices no difference."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from gladiaio_sdk import GladiaClient
from stt_local_client import Serve
from support.waiting import until

from stt.local.scripted import speak
from stt.local.server import LocalServer

SAID = ["alpha", "bravo", "charlie", "delta"]
PCM, _ = speak(SAID, pauses=[0.2] * 3, tail_s=0.2)
CONFIG: dict[str, Any] = {
    "encoding": "wav/pcm",
    "sample_rate": 16000,
    "bit_depth": 16,
    "channels": 1,
    "messages_config": {"receive_partial_transcripts": True, "receive_lifecycle_events": True},
}


@asynccontextmanager
async def sdk(server: LocalServer, key: str = "any") -> AsyncIterator[Any]:
    client = GladiaClient(api_key=key, api_url=server.url).live_v2_async()
    yield client
    await client._http_client.close()  # the SDK has no public way to close its pool


class Seen:
    """What the user of a session hears."""

    def __init__(self, session: Any) -> None:
        self.messages: list[Any] = []
        self.errors: list[Exception] = []
        self.codes: list[int] = []
        self.connected = 0
        session.on("message", self.messages.append)
        session.on("error", self.errors.append)
        session.on("connected", self._count)
        session.on("ended", lambda message: self.codes.append(message.code))

    def _count(self, message: Any) -> None:
        self.connected += 1

    @property
    def words(self) -> list[str]:
        finals = [m.data for m in self.messages if m.type == "transcript" and m.data.is_final]
        return [word.word.strip() for final in finals for word in final.utterance.words]

    @property
    def types(self) -> list[str]:
        return [m.type for m in self.messages]


async def talk(server: LocalServer, pcm: bytes = PCM) -> Seen:
    """A whole session with the asyncio client, kept clear of its known defect of losing an early stop."""
    async with sdk(server) as client:
        session = client.start_session(CONFIG)
        seen = Seen(session)
        await until(lambda: seen.connected > 0)
        for at in range(0, len(pcm), 3200):
            # Between the loss of a socket and the next attempt the SDK raises, but keeps the audio.
            with suppress(RuntimeError):
                session.send_audio(pcm[at : at + 3200])
            await asyncio.sleep(0.002)
        # A stop before the reconnect would be lost, too.
        await until(lambda: next(iter(server.sessions.values())).audio_bytes == len(pcm))
        session.stop_recording()
        await until(lambda: bool(seen.codes))
    return seen


async def test_the_asyncio_client_runs_a_session(serve: Serve) -> None:
    server = await serve()
    seen = await talk(server)
    assert seen.errors == []
    assert (seen.codes, seen.connected) == ([1000], 1)
    assert seen.words == SAID
    assert seen.types[:2] == ["start_session", "start_recording"]
    assert seen.types[-4:] == ["end_recording", "post_transcript", "post_final_transcript", "end_session"]


@pytest.mark.parametrize("code", [None, 1011, 4500])
async def test_the_asyncio_client_resumes_without_loss(serve: Serve, code: int | None) -> None:
    cuts = [{"at_byte": 10_001, "code": code}, {"at_byte": 30_000, "code": code, "ack": "after"}]
    server = await serve(faults={"every": {"cuts": cuts}})
    seen = await talk(server)
    assert seen.words == SAID
    assert (seen.codes, seen.connected) == ([1000], 3)
    assert next(iter(server.sessions.values())).audio_bytes == len(PCM)


async def test_a_code_that_must_not_be_retried_ends_the_sdk_s_session(serve: Serve) -> None:
    server = await serve(faults={"every": {"cuts": [{"at_byte": 3200, "code": 4401}]}})
    async with sdk(server) as client:
        session = client.start_session(CONFIG)
        seen = Seen(session)
        await until(lambda: seen.connected > 0)
        session.send_audio(bytes(3200))
        await until(lambda: bool(seen.codes))
    assert seen.codes == [4401]


async def test_messages_out_of_place_do_not_disturb_the_sdk(serve: Serve) -> None:
    inject = [{"kind": "unknown"}, {"kind": "error", "at_byte": 6400}]
    server = await serve(faults={"every": {"inject": inject}})
    seen = await talk(server)
    assert seen.errors == []
    assert seen.words == SAID
    assert {"weather_report", "error"} <= {getattr(m, "type", "") for m in seen.messages}


async def test_a_refused_key_reaches_the_user_with_the_provider_s_words(serve: Serve) -> None:
    server = await serve(api_key="right")
    async with sdk(server, "wrong") as client:
        seen = Seen(client.start_session(CONFIG))
        await until(lambda: bool(seen.codes))
    assert seen.codes == [1006]
    assert any("gladia user not found" in str(error) for error in seen.errors)


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline, "waited 10 s in vain"
        time.sleep(0.005)


def in_thread(server: LocalServer, cut_at: int | None) -> tuple[Seen, Any, bytes, bool]:
    """The threaded client's whole round: session, record, list, file, delete.

    It may swap chunks that are sent while its socket opens, so the caller waits for that.
    """
    client = GladiaClient(api_key="any", api_url=server.url).live_v2()
    session = client.start_session(CONFIG)
    seen = Seen(session)
    wait(lambda: seen.connected == 1)
    live = next(iter(server.sessions.values()))
    for at in range(0, len(PCM), 3200):
        session.send_audio(PCM[at : at + 3200])
        if cut_at is not None and at <= cut_at < at + 3200:
            wait(lambda: seen.connected == 2)
    wait(lambda: live.audio_bytes == len(PCM))
    session.stop_recording()
    wait(lambda: bool(seen.codes))
    record = client.get(live.id)
    listed = client.list({"status": ["done"], "limit": 1})
    assert [item.id for item in listed.items] == [live.id]
    file, deleted = client.get_file(live.id), client.delete(live.id)
    client._http_client.close()
    return seen, record, file, deleted


@pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager:DeprecationWarning")  # the SDK's own
@pytest.mark.parametrize("cut_at", [None, 20_000])
async def test_the_threaded_client_runs_a_session_and_reads_its_record(serve: Serve, cut_at: int | None) -> None:
    server = await serve(faults={"every": {"cuts": [{"at_byte": cut_at}] if cut_at else []}})
    seen, record, file, deleted = await asyncio.to_thread(in_thread, server, cut_at)
    assert seen.words == SAID
    assert seen.codes == [1000]
    assert record.status == "done"
    assert record.result.transcription.full_transcript == " ".join(SAID)
    assert file[44:] == PCM
    assert deleted and not server.sessions
