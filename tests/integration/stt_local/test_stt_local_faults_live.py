"""Every switch of the fault plan does what it says, seen from a client that follows the documented algorithm."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from stt_local_client import KEY, Client, Meet, Serve, Talk

from stt.local.recogniser import Hear, Listening, Recogniser
from stt.local.scripted import ScriptedEngine, ScriptedRecogniser, speak

SAID = ["alpha", "bravo", "charlie", "delta"]
PCM, _ = speak(SAID, pauses=[0.2] * 3, tail_s=0.2)  # four utterances
END = len(PCM)


async def post_status(client: Client) -> int:
    async with client.http.post(f"{client.server.url}/v2/live", json={}, headers=KEY) as answer:
        return answer.status


async def upgrade_status(client: Client, url: str) -> int:
    try:
        async with client.http.ws_connect(url) as socket:
            await socket.close(code=4000)
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


# --- POST and upgrade -------------------------------------------------------------------------------------------


async def test_the_first_posts_can_be_refused(serve: Serve, http: aiohttp.ClientSession) -> None:
    refusals = [{"status": 503, "count": 2}, {"status": 429, "after": 3}]
    client = Client(await serve(faults={"post": {"refusals": refusals}}), http)
    assert [await post_status(client) for _ in range(5)] == [503, 503, 201, 429, 429]
    assert len(client.server.sessions) == 1


async def test_a_refusal_can_say_when_to_come_back(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(faults={"post": {"refusals": [{"status": 429, "retry_after_s": 7}]}})
    async with http.post(f"{server.url}/v2/live", json={}, headers=KEY) as answer:
        assert answer.headers["Retry-After"] == "7"


async def test_a_lost_answer_leaves_an_orphan_session(serve: Serve, http: aiohttp.ClientSession) -> None:
    client = Client(await serve(faults={"post": {"lost_answers": 1}}), http)
    with pytest.raises(aiohttp.ClientError):
        await post_status(client)
    assert await post_status(client) == 201
    assert len(client.server.sessions) == 2


async def test_a_post_can_be_slow(serve: Serve, http: aiohttp.ClientSession) -> None:
    client = Client(await serve(faults={"post": {"delay_s": 60}}), http)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await post_status(client)
    assert not client.server.sessions


async def test_the_plan_can_lower_the_concurrency_limit(serve: Serve, http: aiohttp.ClientSession) -> None:
    client = Client(await serve(faults={"max_sessions": 2}), http)
    assert [await post_status(client) for _ in range(3)] == [201, 201, 429]


async def test_upgrades_can_be_refused_per_attempt(meet: Meet) -> None:
    client = await meet({"upgrade": [{"status": 503, "count": 1}, {"status": 404, "after": 2}]})
    made = await client.create()
    assert [await upgrade_status(client, made["url"]) for _ in range(4)] == [503, 101, 404, 404]


async def test_an_upgrade_can_be_slow(meet: Meet) -> None:
    client = await meet({"upgrade_delay_s": 60})
    made = await client.create()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await client.http.ws_connect(made["url"])


# --- cuts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ack", ["before", "after"])
@pytest.mark.parametrize("at_byte", [1, 3199, 3200, 3201, 20_001, END])
async def test_a_cut_at_a_byte_loses_and_doubles_nothing(meet: Meet, at_byte: int, ack: str) -> None:
    client = await meet({"cuts": [{"at_byte": at_byte, "ack": ack}]})
    talk = await client.talk(PCM)
    assert talk.closes == [None, 1000]
    assert talk.words == SAID
    assert client.server.sessions[talk.id].audio_bytes == END
    ends = [m["data"]["byte_range"][1] for m in talk.of("audio_chunk")]
    assert (at_byte in ends) == (ack == "after" or at_byte % 3200 == 0 or at_byte == END)


async def test_a_connection_can_flap(meet: Meet) -> None:
    client = await meet({"cuts": [{"at_byte": 0, "code": 1011, "times": 3}, {"at_byte": 5000, "times": 2}]})
    talk = await client.talk(PCM)
    assert talk.closes == [1011, 1011, 1011, None, None, 1000]
    assert talk.words == SAID


@pytest.mark.parametrize("message_bytes", [0, 1, 3, 100, None])
async def test_a_final_can_be_cut_in_its_middle(meet: Meet, message_bytes: int | None) -> None:
    """The second final is lost on the wire, and still in the result; whole, it arrives before the cut."""
    client = await meet({"cuts": [{"at_final": 2, "message_bytes": message_bytes}]})
    talk = await client.talk(PCM)
    assert talk.closes == [None, 1000]
    assert talk.words == (SAID if message_bytes is None else ["alpha", "charlie", "delta"])
    assert talk.of("post_transcript")[0]["data"]["full_transcript"] == " ".join(SAID)


@pytest.mark.parametrize(("ack", "stops"), [("before", 1), ("after", 2)])
async def test_a_cut_at_stop_makes_the_client_repeat_it(meet: Meet, ack: str, stops: int) -> None:
    client = await meet({"cuts": [{"at_stop": True, "ack": ack}], "end_delay_s": 0.2})
    talk = await client.talk(PCM)
    assert talk.closes == [None, 1000]
    assert talk.words == SAID
    assert len(talk.of("stop_recording")) == stops


async def test_sessions_can_have_plans_of_their_own(serve: Serve, http: aiohttp.ClientSession) -> None:
    plan = {"sessions": {"2": {"cuts": [{"at_byte": 3200}]}}}
    client = Client(await serve(faults=plan), http)
    assert [(await client.talk(PCM)).closes for _ in range(3)] == [[1000], [None, 1000], [1000]]


# --- acks -------------------------------------------------------------------------------------------------------


async def test_acks_can_lag_and_their_audio_with_them(meet: Meet) -> None:
    client = await meet({"acks": {"lag_bytes": 6400}, "cuts": [{"at_byte": 16_000}]})
    talk = await client.talk(PCM)
    assert talk.words == SAID
    before = [m["data"]["byte_range"][1] for m in talk.of("audio_chunk")]
    assert before[:2] == [3200, 6400]
    assert before[2] == 9600  # sent again from 6400 on: the cut forgot what was not acknowledged
    assert client.server.sessions[talk.id].audio_bytes == END


async def test_acks_can_be_late_without_holding_each_other_up(meet: Meet) -> None:
    client = await meet({"acks": {"delay_s": 0.2}})
    clock = asyncio.get_running_loop().time
    begin = clock()
    talk = await client.talk(PCM)
    assert talk.words == SAID
    assert len(talk.of("audio_chunk")) == -(-END // 3200)
    assert 0.2 <= clock() - begin < 0.2 * len(talk.of("audio_chunk"))


async def test_unacknowledged_audio_can_be_kept_so_that_it_counts_twice(meet: Meet) -> None:
    client = await meet({"acks": {"lag_bytes": 9600}, "cuts": [{"at_byte": 16_000}], "unacknowledged": "keep"})
    talk = await client.talk(PCM)
    # 12 800 bytes were received without an ack at the cut; the client sends them again.
    assert client.server.sessions[talk.id].audio_bytes == END + 12_800
    assert len(talk.words) >= len(SAID)


async def test_lost_acks_mean_audio_heard_twice(meet: Meet) -> None:
    client = await meet({"acks": {"lose_after_byte": 0}, "cuts": [{"at_byte": END, "ack": "after"}]})
    talk = await client.talk(PCM)
    assert talk.of("audio_chunk") == []
    assert talk.words == SAID + SAID
    assert client.server.sessions[talk.id].audio_bytes == 2 * END


async def test_single_acks_can_be_lost(meet: Meet) -> None:
    client = await meet({"acks": {"lose": [2, 3]}})
    talk = await client.talk(PCM)
    assert [m["data"]["byte_range"][0] for m in talk.of("audio_chunk")][:3] == [0, 9600, 12_800]
    assert talk.words == SAID


# --- transcripts ------------------------------------------------------------------------------------------------


async def test_finals_can_be_missing_and_repeated(meet: Meet) -> None:
    client = await meet({"finals": {"missing": [1], "repeated": [3]}})
    talk = await client.talk(PCM)
    assert talk.words == ["bravo", "charlie", "charlie", "delta"]
    assert talk.of("post_transcript")[0]["data"]["full_transcript"] == " ".join(SAID)


async def test_finals_can_be_late_but_come_before_the_end(meet: Meet) -> None:
    client = await meet({"finals": {"delay_s": 0.2}})
    talk = await client.talk(PCM)
    assert talk.words == SAID
    first_final = next(i for i, m in enumerate(talk.messages) if m["type"] == "transcript" and m["data"]["is_final"])
    assert talk.types.index("stop_recording") < first_final < talk.types.index("end_recording")


async def test_a_stale_partial_can_follow_its_final(meet: Meet) -> None:
    client = await meet({"finals": {"stale_partials": True}})
    talk = await client.talk(PCM)
    pairs = [(m["data"]["id"], m["data"]["is_final"]) for m in talk.of("transcript")]
    assert pairs[:3] == [("00_00000000", False), ("00_00000000", True), ("00_00000000", False)]


async def test_ids_can_restart_after_a_reconnect(meet: Meet) -> None:
    after_two = 2 * (END // 4)
    client = await meet({"restart_ids": True, "cuts": [{"at_byte": after_two}]})
    talk = await client.talk(PCM)
    assert talk.words == SAID
    assert [f["id"][-1] for f in talk.finals] == ["0", "1", "0", "1"]


async def test_messages_made_without_a_connection_can_be_lost(meet: Meet) -> None:
    pcm, _ = speak("alpha", tail_s=0.1)
    client = await meet({"cuts": [{"at_byte": len(pcm), "ack": "after"}], "undelivered": "lose"})
    talk = await client.talk(pcm)
    assert talk.words == []
    assert talk.of("post_transcript")[0]["data"]["full_transcript"] == "alpha"


async def test_add_ons_can_carry_counters_and_self_translations(meet: Meet) -> None:
    client = await meet({"utterance_id": "counter", "self_translation": True})
    talk = await client.talk(
        PCM, realtime_processing={"translation": True, "translation_config": {"target_languages": ["fr"]}}
    )
    told = [(m["data"]["utterance_id"], m["data"]["target_language"]) for m in talk.of("translation")]
    assert told[:4] == [("0", "fr"), ("0", "en"), ("1", "fr"), ("1", "en")]


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        ("unknown", "weather_report"),
        ("error", "error"),
        ("incomplete", "transcript"),
        ("start_session", "start_session"),
    ],
)
async def test_messages_can_be_injected(meet: Meet, kind: str, type_: str) -> None:
    client = await meet({"inject": [{"kind": kind, "at_byte": 3200, "code": "session_timeout"}]})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(bytes(3200))
        got = [json.loads((await socket.receive(5)).data) for _ in range(3)]
    assert [m["type"] for m in got] == ["start_recording", "audio_chunk", type_]
    if kind == "error":
        assert got[2]["data"]["code"] == "session_timeout"


async def test_text_that_is_no_message_can_be_injected(meet: Meet) -> None:
    client = await meet({"inject": [{"kind": "malformed"}, {"kind": "raw", "text": "hello", "at_byte": 6400}]})
    talk = await client.talk(PCM)
    assert talk.malformed == 2
    assert talk.words == SAID


# --- a server that does not answer --------------------------------------------------------------------------------


async def test_pings_can_stay_unanswered(serve: Serve, http: aiohttp.ClientSession) -> None:
    for faults, answered in (({}, True), ({"ignore_pings": True}, False)):
        client = Client(await serve(faults={"every": faults}), http)
        made = await client.create(messages_config={"receive_acknowledgments": True})
        async with http.ws_connect(made["url"], autoping=False) as socket:
            await socket.ping(b"x")
            await socket.send_bytes(bytes(320))
            first = await socket.receive(5)
            assert (first.type is aiohttp.WSMsgType.PONG) == answered


async def test_the_server_can_stop_reading(meet: Meet) -> None:
    """TCP fills up and nothing more is acknowledged, until another connection takes over."""
    client = await meet({"stop_reading_at_byte": 6400})
    made = await client.create()
    talk = Talk(made["url"], made["id"])
    with pytest.raises(TimeoutError):
        patience = aiohttp.ClientWSTimeout(ws_close=0.1)
        async with client.http.ws_connect(made["url"], timeout=patience) as socket, asyncio.timeout(0.5):
            while True:
                await socket.send_bytes(bytes(3200))
    assert client.server.sessions[made["id"]].audio_bytes == 6400
    client.server.faults = {}
    talk.counter = 6400
    assert await client.connect(talk, bytes(64_000)) == 1000
    assert client.server.sessions[made["id"]].audio_bytes == 64_000


async def test_stop_can_be_ignored(meet: Meet) -> None:
    client = await meet({"ignore_stop": True})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_json({"type": "stop_recording"})
        got = [json.loads((await socket.receive(5)).data)["type"] for _ in range(2)]
        assert got == ["start_recording", "stop_recording"]
        with pytest.raises(TimeoutError):
            await socket.receive(0.2)
    assert client.server.sessions[made["id"]].open


async def test_a_second_connection_can_be_refused(meet: Meet) -> None:
    client = await meet({"second_connection": "refuse"})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as first:
        assert await upgrade_status(client, made["url"]) == 403
        await first.send_bytes(bytes(320))
        assert (await first.receive(5)).type is aiohttp.WSMsgType.TEXT


@pytest.mark.parametrize(("code", "seen"), [(None, 1006), (4408, 4408)])
async def test_a_connection_without_audio_is_dropped(meet: Meet, code: int | None, seen: int) -> None:
    client = await meet({"idle_s": 0.2, "idle_code": code})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        async with asyncio.timeout(60):
            async for _ in socket:
                pass
        assert socket.close_code == seen
    assert client.server.sessions[made["id"]].open


class Slow(ScriptedRecogniser):
    """Has heard nothing yet until `caught_up` is set."""

    caught_up = asyncio.Event()

    @property
    def behind_s(self) -> float:
        return 0.0 if self.caught_up.is_set() else 9.0

    async def room(self) -> None:
        await self.caught_up.wait()


class SlowEngine(ScriptedEngine):
    def open(self, listening: Listening, hear: Hear) -> Recogniser:
        return Slow(listening, hear)


async def test_a_connection_whose_audio_waits_for_the_engine_is_not_idle(meet: Meet) -> None:
    Slow.caught_up = asyncio.Event()
    client = await meet({"idle_s": 0.1}, engine=SlowEngine())
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(bytes(3200))
        await asyncio.sleep(0.5)
        assert client.server.sessions[made["id"]].connected
        Slow.caught_up.set()
        seen = [json.loads(message.data)["type"] async for message in socket]
    assert "audio_chunk" in seen, "it was dropped before it was heard"


async def test_empty_chunks_keep_a_connection(meet: Meet) -> None:
    client = await meet({"idle_s": 0.4})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        for _ in range(6):
            await socket.send_json({"type": "audio_chunk", "data": {"chunk": ""}})
            await asyncio.sleep(0.1)
        assert client.server.sessions[made["id"]].connected


async def test_the_maximum_duration_ends_a_session_in_order(meet: Meet) -> None:
    client = await meet({"max_duration_s": 0.5})
    talk = await client.talk(PCM)
    assert talk.closes == [1000]
    assert talk.types[-1] == "end_session"
    assert talk.words == ["alpha"]
    assert client.server.sessions[talk.id].status == "done"


async def test_the_maximum_duration_can_end_a_session_with_a_code(meet: Meet) -> None:
    client = await meet({"max_duration_s": 0.5, "max_duration_code": 4408})
    talk = await client.talk(PCM)
    assert talk.closes == [4408]
    record = await client.get(f"/v2/live/{talk.id}")
    assert (record["status"], record["error_code"], record["result"]) == ("error", 408, None)


async def test_a_session_nobody_connects_to_ends_by_the_clock(meet: Meet) -> None:
    client = await meet({"max_duration_s": 0.1})
    made = await client.create()
    async with asyncio.timeout(60):
        await client.server.sessions[made["id"]].ended()
    assert client.server.sessions[made["id"]].status == "done"


async def test_the_frame_limit_can_be_lowered(meet: Meet) -> None:
    client = await meet({"frame_limit_bytes": 1000})
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(bytes(1001))
        async for _ in socket:
            pass
        assert socket.close_code == 1009


# --- changing the plan while the server runs --------------------------------------------------------------------


async def test_the_plan_can_be_read_and_set_over_http(serve: Serve, http: aiohttp.ClientSession) -> None:
    server = await serve(fault_control=True)

    async def put(plan: Any) -> tuple[int, dict[str, Any]]:
        async with http.put(f"{server.url}/_faults", json=plan) as answer:
            return answer.status, await answer.json()

    assert (await put({"every": {"restart_ids": True}}))[0] == 200
    async with http.get(f"{server.url}/_faults") as answer:
        assert (await answer.json())["every"]["restart_ids"] is True
    status, body = await put({"every": {"typo": True}})
    assert status == 400
    assert "typo" in body["validation_errors"][0]
    assert server.faults.every.restart_ids


async def test_a_new_plan_reaches_open_sessions(meet: Meet) -> None:
    client = await meet()
    made = await client.create()
    client.server.faults = {"every": {"upgrade": [{"status": 403}]}}
    assert await upgrade_status(client, made["url"]) == 403
    client.server.faults = {}
    assert await upgrade_status(client, made["url"]) == 101


@pytest.mark.parametrize(("code", "seen"), [(None, 1006), (4500, 4500)])
async def test_a_test_can_cut_a_connection_by_hand(meet: Meet, code: int | None, seen: int) -> None:
    client = await meet()
    made = await client.create()
    async with client.http.ws_connect(made["url"]) as socket:
        await socket.send_bytes(bytes(320))
        await socket.receive(5)
        cutting = asyncio.create_task(client.server.cut(made["id"], code))
        async with asyncio.timeout(60):
            async for _ in socket:
                pass
            await cutting
        assert socket.close_code == seen
