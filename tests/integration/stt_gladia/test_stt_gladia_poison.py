"""Audio that ends every connection costs that piece and seconds; a line that breaks often costs nothing."""

from __future__ import annotations

from typing import Any

import pytest
from stt_gladia_clock import run
from stt_gladia_line import CHUNK, Line

from stt.gladia.client import Provider, ProviderOptions
from stt.local.scripted import speak
from stt.local.server import LocalOptions, LocalServer

SOUND = "017f"
BEFORE, AFTER = "alpha bravo charlie", "delta echo foxtrot golf " * 6
MOST_S = 0.4  # that is given up beside the piece itself


async def _talk(faults: dict[str, Any], pcm: bytes, sessions: dict[str, Any] | None = None) -> Line:
    """`sessions`: other faults for the first ones."""
    plan = {"every": faults, "sessions": sessions or {}}
    options = LocalOptions(engine="scripted", faults=plan, record_limit_bytes=0)
    async with LocalServer(options) as server, Provider(ProviderOptions("key", server.url)) as provider:
        line = Line(server, provider)
        for at in range(0, len(pcm), CHUNK):
            await line.send(pcm[at : at + CHUNK], 0.1)
        await line.finish(60.0)
        return line


@pytest.mark.parametrize("unacknowledged", ["forget", "keep"])
@pytest.mark.parametrize("ack", ["before", "after"])
@pytest.mark.parametrize("code", [1007, 1011, None, 4408])
@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_what_ends_every_connection_is_found_and_left_out(
    seconds: float, code: int | None, ack: str, unacknowledged: str
) -> None:
    before, _ = speak(BEFORE, lead_s=0.1, tail_s=0.6)
    after, _ = speak(AFTER, lead_s=0.6, tail_s=0.6)
    sound = bytes.fromhex(SOUND) * round(16_000 * seconds)
    faults = {"poison": {"sound": SOUND, "ack": ack, "code": code}, "unacknowledged": unacknowledged}
    line = run(_talk(faults, before + sound + after))
    assert line.words == f"{BEFORE} {AFTER}".split()
    begin = len(before) / 32_000
    assert line.given_up and min(lost.start for lost in line.given_up) >= begin - MOST_S
    assert max(lost.end for lost in line.given_up) <= begin + seconds + MOST_S
    assert line.outcome is not None and not line.outcome.complete
    assert sum(live.connections for live in line.sessions) <= 24


@pytest.mark.parametrize("after_s", [0.1, 0.3, 1.0])
def test_what_ends_every_connection_some_time_later_is_found_as_well(after_s: float) -> None:
    """Finals take longer than that, so that none leads past it."""
    before, _ = speak(BEFORE, lead_s=0.1, tail_s=0.6)
    after, _ = speak(AFTER * 3, lead_s=0.6, tail_s=0.6, pauses=[0.0, 0.4] * 35 + [0.0])
    sound = bytes.fromhex(SOUND) * 4000
    faults = {"poison": {"sound": SOUND, "after_s": after_s}, "finals": {"delay_s": 1.2}}
    line = run(_talk(faults, before + sound + after))
    assert line.words == f"{BEFORE} {AFTER * 3}".split()
    [lost] = line.given_up
    begin = len(before) / 32_000
    assert begin - MOST_S <= lost.start and lost.end <= begin + 0.25 + MOST_S
    assert lost.kind == "poison" and line.provider.given_up_s == {"poison": lost.end - lost.start}
    assert sum(live.connections for live in line.sessions) <= 16


@pytest.mark.parametrize(("times", "short"), [(4, 3), (6, 3), (12, 0)])
@pytest.mark.parametrize("at_byte", [0, 3_540, 41_000, 66_002])
def test_a_line_that_ends_at_the_same_byte_of_every_session_loses_nothing(at_byte: int, times: int, short: int) -> None:
    """The first `short` sessions are ended by the provider, besides."""
    pcm, truth = speak(AFTER, lead_s=0.1, tail_s=0.6, pauses=[0.0, 0.4] * 11 + [0.0])
    session = {"cuts": [{"at_byte": at_byte, "times": times}]}
    ended = session | {"max_duration_s": 1.39, "max_duration_code": 4408}
    line = run(_talk(session, pcm, {str(number): ended for number in range(1, short + 1)}))
    assert line.words == [text for text, _, _ in truth]
    assert not line.given_up


@pytest.mark.parametrize("ack", ["before", "after"])
@pytest.mark.parametrize("every_s", [1.5, 2.5])
def test_a_line_that_breaks_all_the_time_loses_nothing_and_is_metered_once(every_s: float, ack: str) -> None:
    pcm, truth = speak(AFTER, lead_s=0.1, tail_s=0.6, pauses=[0.0, 0.4] * 12)
    cuts = [{"at_byte": round(n * every_s * 16_000) * 2, "ack": ack} for n in range(1, 60)]
    line = run(_talk({"cuts": cuts}, pcm))
    assert line.words == [text for text, _, _ in truth]
    assert not line.given_up
    heard_s = sum(live.session.duration for live in line.sessions)
    assert line.outcome is not None
    assert abs(line.outcome.sent_samples / 16_000 - heard_s) <= 1.0
    said_s = len(pcm) / 32_000
    assert abs(line.outcome.resent_samples / 16_000 - (heard_s - said_s)) <= 1.0
