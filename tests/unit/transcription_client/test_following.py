"""What a stream delivers, whatever cuts it: a gateway of lists on one side, `Following` on the other."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transcription_client.errors import Refused, Unavailable
from transcription_client.following import Following, asked_delay, delay_before

EPOCH = "k3f9"


def following(**more: Any) -> Following:
    return Following("https://captions.example.org/gw/", "abc12345", **more)


def told(kind: str, data: dict[str, Any], epoch: str = EPOCH, **more: Any) -> str:
    head = {"v": 1, "type": kind, "sessionSlug": "abc12345", "epoch": epoch, "ts": "2026-01-05T10:00:03.120Z"}
    return json.dumps({**head, "data": data, **more})


def hello(seq: int = 0, *, resumed: bool = False, epoch: str = EPOCH, state: str = "running") -> str:
    return told("hello", {"state": state, "epoch": epoch, "seq": seq, "resumed": resumed}, epoch)


def final(seq: int, epoch: str = EPOCH) -> str:
    return told("transcript.final", {"utteranceId": f"u{seq}", "text": f"text {seq}"}, epoch, seq=seq)


def state(what: str) -> str:
    return told("session.state", {"state": what})


def asked(one: Following) -> dict[str, list[str]]:
    return parse_qs(urlsplit(one.address()).query)


def seqs(messages: list[Any]) -> list[int]:
    return [message["seq"] for message in messages if message["type"] == "transcript.final"]


def test_the_address_is_that_of_the_stream_below_the_gateways_own_path() -> None:
    one = following(since="a:b:7")
    assert one.address().startswith("wss://captions.example.org/gw/api/realtime/transcribe?")
    assert asked(one) == {"session": ["abc12345"], "epochs": ["1"], "since": ["a:b:7"]}
    assert "since" not in asked(following())


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"url": "captions"}, "url"),
        ({"url": "ftp://host"}, "url"),
        ({"session": ""}, "session"),
        ({"since": "42"}, "since"),
        ({"since": "e:-1"}, "since"),
        ({"since": "e:1:x", "lang": "de"}, "since"),
        ({"lang": ""}, "lang"),
        ({"until": "later"}, "until"),
    ],
)
def test_a_wrong_argument_is_refused_by_name(wrong: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: "):
        Following(**({"url": "http://host", "session": "abc12345"} | wrong))


@given(
    count=st.integers(0, 12),
    stored=st.integers(0, 12),
    cuts=st.lists(st.tuples(st.integers(0, 14), st.sampled_from(["same", "goes on", "new"])), max_size=8),
    repeats=st.booleans(),
)
def test_cut_anywhere_every_final_comes_once_and_in_order(
    count: int, stored: int, cuts: list[tuple[int, str]], repeats: bool
) -> None:
    """A new epoch either goes on with the numbers or begins anew; then what came before is thrown away."""
    one, have, epoch = following(until="stopped"), [], EPOCH
    for number, (heard, change) in enumerate([*cuts, (count + 2, "same")]):
        if change != "same":
            epoch = f"e{number}"
        [point] = asked(one).get("since", [":0"])
        known, _, at = point.rpartition(":")
        resumed = int(at) > 0 and (known == epoch or change == "goes on")
        first = int(at) + 1 if resumed else 1
        if repeats:
            first = max(1, first - 2)
        lines = [hello(count, resumed=resumed, epoch=epoch)]
        lines += [final(seq, epoch) for seq in range(first, count + 1)] + [state("stopped")]
        for line in lines[: heard + 1] if number < len(cuts) else lines:
            for message in one.heard(line, 0.0):
                if message["type"] == "hello":
                    assert message["data"]["restarted"] == (bool(have) and not resumed and known != epoch)
                    have = [] if message["data"]["restarted"] else have
                assert message["type"] != "gap"
                if message["type"] == "transcript.final":
                    have.append(message["seq"])
        if one.is_over:
            break
        one.closed(1006, "", 0.0, 0.5)
    assert have == list(range(1, count + 1))
    assert one.is_over


def test_a_hole_is_told_and_not_waited_for() -> None:
    one = following()
    one.heard(hello(5), 0)
    [gap, last] = one.heard(final(4), 0)
    assert (gap["type"], gap["data"], last["type"]) == ("gap", {"fromSeq": 1, "toSeq": 3}, "transcript.final")
    assert one.heard(told("gap", {"fromSeq": 2, "toSeq": 4}), 0) == []
    assert one.heard(told("gap", {"fromSeq": 3, "toSeq": 6}), 0)[0]["data"] == {"fromSeq": 5, "toSeq": 6}
    assert one.position == f"{EPOCH}:6"


def translation(number: int | None, of: int = 1, language: str = "de") -> str:
    numbers = {} if number is None else {"seq": number, "ofSeq": of}
    return told("translation", {"utteranceId": f"u{of}", "targetLanguage": language, "text": "…", **numbers})


def numbers(one: Following, *texts: str) -> list[int | None]:
    heard = [message for text in texts for message in one.heard(text, 0)]
    return [message["data"].get("seq") for message in heard if message["type"] == "translation"]


def test_translations_into_one_language_come_once_and_are_gone_on_with() -> None:
    one = following(lang="de", since="k3f9:2:1")
    assert asked(one)["lang"] == ["de"]
    assert asked(one)["since"] == ["k3f9:2:1"]
    one.heard(hello(2, resumed=True), 0)
    assert numbers(one, translation(1), translation(None, 2), translation(2, 2), translation(2, 2)) == [None, 2]
    assert one.position == "k3f9:2:2"
    one.heard(hello(1, epoch="new"), 0)
    assert one.position == ""
    assert numbers(one, final(1, "new"), translation(1)) == [1]
    assert one.position == "new:1:1"
    assert following(lang="de", since="k3f9:2").position == "k3f9:2:0"


def test_without_a_language_all_translations_come_as_they_are_said() -> None:
    one = following()
    one.heard(hello(), 0)
    assert numbers(one, translation(1), translation(1, language="fr"), translation(1)) == [1, 1, 1]
    assert "lang" not in asked(one)


def test_types_that_are_not_known_come_as_they_are() -> None:
    assert following().heard(told("something.new", {"a": 1}), 0)[0]["data"] == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "7", "{}", '{"type": 7}', '{"type": "hello"}', '{"type": "hello", "data": {}, "epoch": "e"}'),
        *('{"type": "transcript.final", "epoch": "e"}', '{"type": "gap", "data": null}', '{"type": "session.state"}'),
        "[" * 100_000,
    ],
)
def test_what_is_no_message_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        following().heard(text, 0)


def test_a_stopped_transcription_ends_it_behind_the_last_final_if_that_is_wanted() -> None:
    for wanted in ("stopped", "ended"):
        one = following(until=wanted)
        one.heard(hello(2, state="stopped"), 0)
        one.heard(final(1), 0)
        assert not one.is_over
        one.heard(final(2), 0)
        assert one.is_over == (wanted == "stopped")


@pytest.mark.parametrize("code", [1000, 1006, 1011, 4000, 4008, 4029, 4499, 5000])
def test_these_codes_come_back(code: int) -> None:
    one = following()
    delay_s = one.closed(code, "", 0, 0.0)
    assert delay_s == 0.25 + (5 if code == 4029 else 0)
    assert not one.is_over


@pytest.mark.parametrize("code", [4500, 4501, 4504, 4999])
def test_these_codes_do_not(code: int) -> None:
    with pytest.raises(Refused, match="why") as refused:
        following().closed(code, "why", 0, 0.0)
    assert refused.value.code == code


def test_an_ended_session_is_an_ordinary_end() -> None:
    one = following()
    one.closed(4510, "", 0, 0.0)
    assert one.is_over


@pytest.mark.parametrize(
    ("status", "code"), [(400, 4500), (401, 4501), (403, 4501), (404, 4504), (426, 4500), (302, 4500)]
)
def test_a_refused_handshake_says_what_to_do(status: int, code: int) -> None:
    problem = json.dumps({"title": "No", "detail": "not so", "hint": "do that"})
    with pytest.raises(Refused, match="not so; do that") as refused:
        following().answered(status, problem, 0, 0.0)
    assert refused.value.code == code


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_gateway_that_is_not_ready_is_asked_again(status: int) -> None:
    assert following().answered(status, "<html>", 0, 0.0) > 0


def test_delays_double_are_spread_and_begin_anew_after_a_steady_connection() -> None:
    one = following()
    assert [one.unanswered("no", 0, 1.0) for _ in range(7)] == [0.5, 1, 2, 4, 8, 15, 15]
    one.heard(hello(), 100)
    assert one.closed(1006, "", 109, 0.0) == 7.5
    one.heard(hello(), 200)
    assert one.closed(1006, "", 210, 0.0) == 0.25
    assert delay_before(10**9, 1.0) == 15


@pytest.mark.parametrize(
    ("reason", "seconds"),
    [("", 0), ("draining retry=1500", 1.5), ("retry=999999", 120), ("retry=x", 0), ("noretry=5", 0)],
)
def test_a_gateway_that_goes_says_when_to_come(reason: str, seconds: float) -> None:
    assert asked_delay(reason) == seconds
    assert following().closed(4000, reason, 0, 0.0) == 0.25 + seconds


def test_patience_ends_and_is_another_one_before_the_first_answer() -> None:
    with pytest.raises(Unavailable, match=r"https://captions\.example\.org/gw/ \(no route\)"):
        following(first_patience_s=0).unanswered("no route", 0, 0.0)
    one = following(first_patience_s=0, patience_s=60)
    one.heard(hello(), 0)
    one.closed(1006, "", 1000, 0.0)
    one.unanswered("no", 1059, 0.0)
    with pytest.raises(Unavailable):
        one.unanswered("no", 1060, 0.0)
    following().unanswered("no", 10**9, 0.0)
