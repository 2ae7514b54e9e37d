"""The oracle finds what leaks, what is lost and what is left, and nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import tempfile
from typing import Any
from xml.etree import ElementTree

import pytest
from chaos.oracle import Voice, Watched
from chaos.play import FAULTS as PLAYED
from hypothesis import given
from hypothesis import strategies as st
from soak.curve import GROWS_MB_H, STEADY_MB, Sample, leaks, picture, table, trend
from soak.oracle import Holdings, Tally, defects, gauges_left, judge_session, left_over, near, still
from soak.plan import FAULTS, SEATS, SHORTEST_S, UTTERANCE_S
from soak.processes import count_tasks, descriptors

from gateway.stacks import tasks_now

HOUR_S = 3600.0


def curve(mb_h: float, *, until_s: float = HOUR_S, noise_mb: float = 0.5, process: str = "replica 0") -> list[Sample]:
    """A warm-up of 40 MB that ends before the half, and from then on a slope, with noise."""
    chance = random.Random(3)
    found = []
    for at in range(0, int(until_s) + 1, 15):
        warm = 40 * min(at / (0.4 * until_s), 1.0)
        rss = 120 + warm + mb_h * at / HOUR_S + chance.uniform(-noise_mb, noise_mb)
        found.append(Sample(float(at), process, rss, 40, 9, 60, at * 0.05, 0.25))
    return found


@pytest.mark.parametrize("mb_h", [0.0, -30.0, 3.0])
def test_a_warm_up_and_noise_are_no_leak(mb_h: float) -> None:
    assert leaks(curve(mb_h, noise_mb=2.0), HOUR_S) == []


@given(st.floats(GROWS_MB_H + 2 * STEADY_MB + 1, 500.0), st.sampled_from([HOUR_S, 4 * HOUR_S]))
def test_a_leak_is_found_whatever_its_size(mb_h: float, until_s: float) -> None:
    [found] = leaks(curve(mb_h, until_s=until_s), until_s)
    assert found.startswith("replica 0: memory grew by") and "in the second half" in found


def test_the_longer_it_runs_the_smaller_a_leak_can_be() -> None:
    assert leaks(curve(7.0), HOUR_S) == [] and leaks(curve(7.0, until_s=4 * HOUR_S), 4 * HOUR_S)


def test_peaks_move_nothing_and_a_step_in_the_second_half_little() -> None:
    samples = curve(0.0)
    peak = [
        Sample(one.at_s, "p", one.rss_mb + 80 * (one.at_s in (3000, 3300, 3540)), 40, 9, 60, 0.0, 0.0)
        for one in samples
    ]
    assert leaks(peak, HOUR_S) == []
    step = [Sample(one.at_s, "p", one.rss_mb + 2 * (one.at_s > 2700), 40, 9, 60, 0.0, 0.0) for one in samples]
    assert leaks(step, HOUR_S) == []


def test_a_process_that_came_later_or_ran_for_minutes_is_not_judged() -> None:
    assert leaks(curve(600.0, until_s=300.0), 300.0) == []
    late = [one for one in curve(600.0) if one.at_s > HOUR_S / 2 + 60]
    gone = [one for one in curve(600.0) if one.at_s < HOUR_S - 120]
    assert leaks(late, HOUR_S) == leaks(gone, HOUR_S) == []
    line = trend([(one.at_s, one.rss_mb) for one in curve(60.0)], HOUR_S)
    assert line is not None and abs(line.mb_h - 60.0) < 3 * line.error + 0.1


def test_the_table_and_the_picture_show_every_process() -> None:
    samples = curve(0.0) + curve(0.0, process="replica 2") + curve(0.0, process="replica 2 pid 9")
    rows = table(samples, HOUR_S).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| replica 0", "| replica 2", "| replica 2 pid 9"]
    assert rows[0].endswith("| 40 to 40 | 9 to 9 | 60 to 60 | 5.0 | 0.25 |")
    assert "±" in rows[0] and "±" not in table(curve(0.0, until_s=300.0), 300.0)
    svg = ElementTree.fromstring(picture(samples, HOUR_S))
    lines = [one.get("stroke") for one in svg.iter("{http://www.w3.org/2000/svg}polyline")]
    assert len(lines) == 3 and lines[1] == lines[2] != lines[0]


BEFORE = Holdings(7, {"app:beat": 1, "app:serve": 2}, {"listening": 3, "postgres": 3}, {"files": 4})


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (BEFORE, None),
        (Holdings(7, {"app:beat": 1}, {"postgres": 11}, {"anon_inode": 7}), None),
        (Holdings(7, {"app:beat": 2}, {}, {}), "app:beat: 1 more than before"),
        (Holdings(7, {"run:track": 1}, {}, {}), "run:track: 1 more than before"),
        (Holdings(7, {}, {"provider": 1}, {}), "1 descriptors of provider, 0 before"),
        (Holdings(7, {}, {"postgres": 12}, {}), "12 descriptors of postgres, 3 before"),
        (Holdings(7, {}, {}, {"files": 5}), "5 descriptors of files, 4 before"),
        (Holdings(70, {}, {}, {}), "70 threads, 7 before"),
    ],
)
def test_what_is_left_is_found(after: Holdings, found: str | None) -> None:
    assert list(left_over("one", BEFORE, after).values()) == ([f"one: {found}"] if found else [])


def test_what_comes_and_goes_is_no_leak_and_what_stays_is_one_however_it_varies() -> None:
    idle, leak, more = (Holdings(7, {"redis:read": n}, {"provider": p}, {}) for n, p in ((0, 1), (1, 0), (2, 1)))
    first = left_over("one", BEFORE, more)
    assert len(first) == 2
    assert list(still(first, left_over("one", BEFORE, leak)).values()) == ["one: redis:read: 1 more than before"]
    assert still(still(first, left_over("one", BEFORE, leak)), left_over("one", BEFORE, idle)) == {}
    # Of another process, it is another thing.
    assert still(first, left_over("two", BEFORE, more)) == {}


async def test_tasks_are_counted_as_a_gateway_tells_them() -> None:
    forever = [asyncio.create_task(asyncio.Event().wait()) for _ in range(3)]
    await asyncio.sleep(0)
    counted = count_tasks(await tasks_now())
    for task in forever:
        task.cancel()
    await asyncio.gather(*forever, return_exceptions=True)
    assert counted["asyncio.locks:Event.wait"] == 3
    assert count_tasks(await tasks_now())["asyncio.locks:Event.wait"] == 0


def test_descriptors_are_told_apart() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("127.0.0.1", 0)) as other,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        tempfile.TemporaryFile(),
    ):
        udp.bind(("127.0.0.1", 0))
        before = descriptors(os.getpid(), {})
        port = server.getsockname()[1]
        with socket.create_connection(server.getsockname()), server.accept()[0]:
            sockets, files = descriptors(os.getpid(), {port: "postgres"})
            assert other.fileno() and sockets - before[0] == {"postgres": 1, "accepted": 1}
            assert sockets["listening"] >= 2 and sockets["UDP"] >= 1 and files["files"] >= 1


def test_gauges_that_should_be_nothing_and_lines_that_nobody_should_write() -> None:
    text = '# HELP gateway_watchers x\ngateway_watchers 0\ngateway_transcriptions{state="running"} 2.0\ngateway_info 1'
    assert list(gauges_left("one", text).values()) == ['one: gateway_transcriptions{state="running"} is 2.0']
    lines = ["a warning", "Task was destroyed but it is pending!", "--- ended with 0"]
    assert defects("one", lines) == [
        "one: 1 x was destroyed but it is pending, first: Task was destroyed but it is pending!"
    ]
    assert defects("one", ["…Z error   gateway.replicas.membership: this replica is cut off from the database"]) == []
    assert defects("one", ["…Z error   stt.gladia.account: the speech provider answers nobody: one at a time"]) == []
    sdk = "…Z error   livekit: livekit::rtc_engine:995:livekit::rtc_engine - restarting connection... attempt: 2"
    assert defects("one", [sdk]) == []
    [found] = defects("one", ["…Z error   gateway.app.root: a part of the gateway has died"])
    assert found.startswith("one: 1 x error, first: …Z error")
    assert defects("one", ["--- ended with -9"]) == ["one: --- ended with -9"]


def final(seq: int, text: str, start_ms: float) -> dict[str, Any]:
    return {"seq": seq, "text": text, "participantIdentity": "anna", "startMs": start_ms}


def watched(source: str, *finals: dict[str, Any], lapses: tuple[tuple[float, float], ...] = ()) -> Watched:
    """Two words, and seconds later the same words again."""
    words = [("alpha", 10.0), ("bravo", 10.2), ("alpha", 20.0), ("bravo", 20.2)]
    return Watched(source, [Voice("anna", words, list(lapses))], [], finals)


@pytest.mark.parametrize(
    ("session", "restarts", "lost", "excused", "doubled", "problems"),
    [
        (watched("rtmp", final(1, "alpha bravo", 0), final(2, "alpha bravo", 9)), [], 0, 0, 0, 0),
        (watched("rtmp", final(2, "alpha bravo", 0), final(1, "alpha bravo", 9)), [], 0, 0, 0, 0),
        (watched("rtmp", final(2, "alpha bravo alpha", 0), final(1, "bravo", 9)), [], 0, 0, 0, 0),
        (watched("websocket", final(1, "alpha bravo", 0)), [], 2, 0, 0, 2),
        (watched("websocket", final(1, "alpha bravo", 0), final(2, "alpha", 9)), [(18.0, 19.0)], 1, 1, 0, 0),
        (watched("websocket", final(1, "alpha bravo", 0), final(2, "alpha", 9)), [(1.0, 2.0)], 1, 0, 0, 1),
        (watched("websocket", final(1, "bravo", 0), final(2, "alpha bravo", 9), lapses=((9.2, 9.9),)), [], 1, 1, 0, 0),
        (watched("livekit", final(1, "alpha", 0), final(2, "alpha bravo", 9)), [], 1, 1, 0, 0),
        (watched("livekit", final(1, "alpha bravo bravo", 0), final(2, "alpha bravo", 9)), [], 0, 0, 1, 1),
        (watched("rtmp", final(1, "alpha bravo", 0), final(3, "alpha bravo", 9)), [], 0, 0, 0, 1),
    ],
)
def test_words_in_are_words_out(
    session: Watched, restarts: list[tuple[float, float]], lost: int, excused: int, doubled: int, problems: int
) -> None:
    verdict = judge_session(session, restarts)
    assert (verdict.lost, verdict.excused, verdict.doubled, len(verdict.problems)) == (lost, excused, doubled, problems)


def test_a_wrong_word_is_told_with_its_time_its_neighbours_and_what_happened_near_it() -> None:
    faults = [(3.0, "long before"), (12.0, "redis killed"), (20.6, "watchers reset"), (40.0, "long after")]
    lost = watched("websocket", final(1, "alpha bravo alpha", 0))
    lost.voices[0].holes.append((19.5, 20.0))
    [problem] = judge_session(lost, [], faults).problems
    assert problem == (
        "websocket anna: 'bravo' at 20.2 s, number 4 of 4, between ['bravo', 'alpha'] and [], is lost; near it: "
        "redis killed (-8.2 s), hole of 0.5 s in its sending (-0.7 s), watchers reset (+0.4 s)"
    )
    [problem] = judge_session(watched("rtmp", final(1, "alpha bravo bravo alpha bravo", 0)), []).problems
    assert problem == (
        "rtmp anna: 'bravo' after ['alpha', 'bravo'], near 20.0 s, is more than was said; near it: nothing"
    )
    assert near(0.0, faults) == "near it: long before (+3.0 s)"


def test_a_source_that_is_hardly_heard_is_wrong_whatever_excuses_it() -> None:
    tally = Tally()
    for _ in range(7):
        tally.add("livekit", judge_session(watched("livekit", final(1, "alpha", 0)), []))
    tally.add("rtmp", judge_session(watched("rtmp", final(1, "alpha bravo", 0), final(2, "alpha bravo", 9)), []))
    assert tally.deaf() == ["livekit: 21 of 28 words are lost"]
    assert [row.split(" | ")[:4] for row in tally.table().splitlines()[2:]] == [
        ["| livekit", "7", "28", "21"],
        ["| rtmp", "1", "4", "0"],
    ]


@given(st.integers(0, 1000), st.sampled_from(SEATS), st.floats(0.0, 5000.0))
def test_a_session_fits_into_what_is_left(seed: int, seat: Any, left_s: float) -> None:
    drawn = seat.draw(random.Random(seed), left_s, [1])
    longest = max(len(words) / 2 * UTTERANCE_S for words in drawn.voices)
    assert longest <= max(min(left_s, seat.speech_s[1]), SHORTEST_S) + UTTERANCE_S
    assert all(len(words) % 2 == 0 and words for words in drawn.voices) and drawn.begins_on == 1


def test_every_fault_is_one_that_can_be_played() -> None:
    assert set(FAULTS) <= PLAYED.keys()
