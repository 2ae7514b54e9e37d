"""The offline engine behind the real protocol: speech in, words out, and worker processes that cannot hurt anybody."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import wave
from collections.abc import AsyncIterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import cast

import aiohttp
import numpy as np
import pytest
from stt_local_client import KEY, Client, Serve
from support.tools import needs
from support.waiting import until

from stt.local.recogniser import EngineUnavailable
from stt.local.server import LocalOptions, LocalServer
from stt.local.sphinx import SphinxEngine

# Carried word for word by every flite voice through the whole chain, as measured in the project's engine study.
SENTENCES = {
    "rms": "can you send me the report by tomorrow afternoon",
    "slt": "let us start with the status of the project",
    "awb": "this is a test of the speech recognition service",
    "kal16": "does anyone have a question before we finish",
}


def synthesise(voice: str, text: str, folder: Path) -> bytes:
    """Speech with silence around it and a little noise, 16 kHz mono, peak 12 000."""
    needs("flite")
    path = folder / f"{voice}.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as read:
        assert read.getframerate() == 16_000
        speech = np.frombuffer(read.readframes(read.getnframes()), "<i2").astype(np.float64)
    speech *= 12_000 / np.abs(speech).max()
    whole = np.concatenate([np.zeros(12_000), speech, np.zeros(16_000)])
    noise = np.random.default_rng(7).normal(0, 8, len(whole))
    return cast(bytes, (whole + noise).astype("<i2").tobytes())


def share_in_order(said: str, words: list[str]) -> float:
    """Share of the words of `said` that were heard, in their order."""
    blocks = SequenceMatcher(a=said.split(), b=words, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / len(said.split())


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("speech")
    return {voice: synthesise(voice, text, folder) for voice, text in SENTENCES.items()}


@pytest.fixture
async def sphinx(http: aiohttp.ClientSession) -> AsyncIterator[Client]:
    """A server with one worker; afterwards its process must be gone."""
    async with LocalServer(LocalOptions(workers=1)) as server:
        yield Client(server, http)
        pids = engine(server).pids
        assert pids
    assert not any(alive(pid) for pid in pids)


def engine(server: LocalServer) -> SphinxEngine:
    assert isinstance(server.engine, SphinxEngine)
    return server.engine


def alive(pid: int) -> bool:
    """A zombie whose parent is gone counts as dead: it waits for the machine's init only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


CONFIG = {"endpointing": 0.5, "maximum_duration_without_endpointing": 15}


async def test_four_voices_at_once_are_understood(sphinx: Client, speech: dict[str, bytes]) -> None:
    """At least 80 % of the words in order; partials of an id end in one final; times grow."""
    talks = await asyncio.gather(*(sphinx.talk(speech[voice], **CONFIG) for voice in SENTENCES))
    for (voice, said), talk in zip(SENTENCES.items(), talks, strict=True):
        assert share_in_order(said, talk.words) >= 0.8, (voice, talk.words)
        assert talk.closes == [1000]
        ids = [final["id"] for final in talk.finals]
        assert len(ids) == len(set(ids))
        shown = [m["data"] for m in talk.of("transcript")]
        assert {m["id"] for m in shown if not m["is_final"]} <= set(ids)
        starts = [word["start"] for final in talk.finals for word in final["utterance"]["words"]]
        assert starts == sorted(starts)
        assert 0.5 < starts[0] < 1.2
        assert talk.of("speech_start")[0]["data"]["time"] <= starts[0]
        assert all(0 <= final["utterance"]["confidence"] <= 1 for final in talk.finals)


async def test_a_cut_connection_does_not_change_what_is_heard(
    serve: Serve, http: aiohttp.ClientSession, speech: dict[str, bytes]
) -> None:
    pcm = speech["rms"]
    plans = {"sessions": {"2": {"cuts": [{"at_byte": 70_001}, {"at_byte": 100_000, "ack": "after"}]}}}
    client = Client(await serve(engine="pocketsphinx", workers=1, faults=plans), http)
    whole, cut = await client.talk(pcm, **CONFIG), await client.talk(pcm, **CONFIG)
    assert cut.closes == [None, None, 1000]
    assert cut.words == whole.words != []


async def test_only_english_is_accepted(sphinx: Client) -> None:
    body = {"language_config": {"languages": ["fr"]}}
    async with sphinx.http.post(f"{sphinx.server.url}/v2/live", json=body, headers=KEY) as answer:
        assert answer.status == 400
        (problem,) = (await answer.json())["validation_errors"]
    assert "pocketsphinx understands en only, not fr" in problem


async def test_a_killed_worker_costs_no_word(sphinx: Client, speech: dict[str, bytes]) -> None:
    """The client is told, the unfinished utterance is heard again by a fresh worker, ids go on."""
    pcm, said = speech["rms"], SENTENCES["rms"]
    made = await sphinx.create(**CONFIG)
    live = sphinx.server.sessions[made["id"]]
    types: list[str] = []
    async with sphinx.http.ws_connect(made["url"]) as socket:
        middle = 90_000
        for at in range(0, middle, 3000):
            await socket.send_bytes(pcm[at : at + 3000])
        await until(lambda: live.audio_bytes == middle)
        (pid,) = engine(sphinx.server).pids
        os.kill(pid, signal.SIGKILL)
        for at in range(middle, len(pcm), 3000):
            await socket.send_bytes(pcm[at : at + 3000])
        await socket.send_json({"type": "stop_recording"})
        async with asyncio.timeout(60):
            types = [message.json()["type"] async for message in socket]
    assert types.count("error") == 1
    assert types.count("speech_start") == types.count("speech_end") == len(live.finals)
    words = [word["word"].strip() for final in live.finals for word in final["utterance"]["words"]]
    assert share_in_order(said, words) >= 0.8
    assert live.audio_bytes == len(pcm)
    assert engine(sphinx.server).pids != [pid]


async def test_audio_that_kills_workers_is_given_up_after_the_second_one(
    sphinx: Client, speech: dict[str, bytes]
) -> None:
    pcm = speech["slt"]
    made = await sphinx.create(**CONFIG)
    live = sphinx.server.sessions[made["id"]]
    async with sphinx.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(pcm[:80_000])
        await until(lambda: live.audio_bytes == 80_000)
        for _ in range(2):
            await until(lambda: live.behind_s == 0)
            (pid,) = engine(sphinx.server).pids
            os.kill(pid, signal.SIGKILL)
            await until(lambda pid=pid: engine(sphinx.server).pids not in ([pid], []))
        for part in (pcm[80_000:], pcm):
            await socket.send_bytes(part)
        await socket.send_json({"type": "stop_recording"})
        async with asyncio.timeout(60):
            errors = [m.json()["data"]["message"] async for m in socket if m.json()["type"] == "error"]
    assert len(errors) == 2
    assert "skipped" in errors[1]
    words = [word["word"].strip() for final in live.finals for word in final["utterance"]["words"]]
    assert share_in_order(SENTENCES["slt"], words[-len(SENTENCES["slt"].split()) :]) >= 0.8


async def test_a_burst_slows_the_acks_but_answers_pings_and_loses_nothing(
    sphinx: Client, speech: dict[str, bytes]
) -> None:
    """40 s of speech at once: far more than the engine may be behind."""
    pcm = speech["rms"] * 8
    made = await sphinx.create(**CONFIG)
    live = sphinx.server.sessions[made["id"]]
    async with sphinx.http.ws_connect(made["url"], autoping=False) as socket:
        for at in range(0, len(pcm), 16_000):
            await socket.send_bytes(pcm[at : at + 16_000])
        await socket.send_json({"type": "stop_recording"})
        await socket.ping(b"there?")
        seen: list[str] = []
        async with asyncio.timeout(240):
            async for message in socket:
                if message.type is aiohttp.WSMsgType.PONG:
                    seen.append("pong")
                else:
                    seen.append(message.json()["type"])
    acks = seen.count("audio_chunk")
    assert acks == -(-len(pcm) // 16_000)
    assert seen.index("pong") < len(seen) - 1 - seen[::-1].index("audio_chunk")  # while acks were held back
    assert live.audio_bytes == len(pcm)
    words = [word["word"].strip() for final in live.finals for word in final["utterance"]["words"]]
    assert words.count("report") >= 7


async def test_a_session_hears_the_same_whoever_spoke_before(sphinx: Client, speech: dict[str, bytes]) -> None:
    """Its decoder served the session before."""
    first = await sphinx.talk(speech["awb"], **CONFIG)
    await sphinx.talk(speech["slt"], **CONFIG)
    second = await sphinx.talk(speech["awb"], **CONFIG)
    assert first.words == second.words != []


def test_the_engine_is_not_loaded_into_the_server_s_process() -> None:
    """It would hold the interpreter lock for up to a second."""
    code = "import sys, stt.local.server, stt.local.sphinx; sys.exit('pocketsphinx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_workers_end_when_the_server_is_killed() -> None:
    """Without any farewell: the end of their input is enough."""
    script = textwrap.dedent(
        """
        import asyncio
        from stt.local.server import LocalOptions, LocalServer
        async def main():
            async with LocalServer(LocalOptions(workers=2)) as server:
                print(*server.engine.pids, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        pids = [int(pid) for pid in server.stdout.readline().split()]
        server.kill()
    assert len(pids) == 2

    async def gone() -> None:
        await until(lambda: not any(alive(pid) for pid in pids))

    asyncio.run(gone())


async def test_an_engine_that_cannot_load_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pocketsphinx.py").write_text("raise ImportError('no such engine here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="no such engine here"):
        async with LocalServer(LocalOptions(workers=2)):
            pass
