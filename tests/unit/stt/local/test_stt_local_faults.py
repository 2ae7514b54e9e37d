"""Fault plans: read strictly, counted exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stt.local.faults import Acks, BadPlan, Cut, Finals, Inject, Plan, Post, Refusal, Script, SessionFaults, parse_plan


def test_no_plan_is_no_fault() -> None:
    assert parse_plan(None) == parse_plan("{}") == parse_plan({}) == Plan()


def test_a_plan_reads_the_same_from_text_and_from_a_dict() -> None:
    text = '{"every":{"restart_ids":true},"sessions":{"2":{"cuts":[{"at_byte":3200}]}}}'
    plan = parse_plan(text)
    assert plan == parse_plan({"every": {"restart_ids": True}, "sessions": {2: {"cuts": [{"at_byte": 3200}]}}})
    assert plan.of(1).restart_ids
    assert plan.of(2) == SessionFaults(cuts=(Cut(at_byte=3200),))


@pytest.mark.parametrize(
    ("plan", "place"),
    [
        ({"evry": {}}, "evry"),
        ({"every": {"drop": 1}}, "drop"),
        ({"every": {"cuts": [{"at_byte": -1}]}}, "at_byte"),
        ({"every": {"cuts": [{}]}}, "exactly one"),
        ({"every": {"cuts": [{"at_byte": 1, "at_final": 1}]}}, "exactly one"),
        ({"every": {"cuts": [{"at_byte": 1, "message_bytes": 1}]}}, "message_bytes"),
        ({"every": {"unacknowledged": "maybe"}}, "unacknowledged"),
        ({"every": {"inject": [{"kind": "surprise"}]}}, "kind"),
        ({"post": {"refusals": [{"status": 200}]}}, "status"),
        ({"sessions": {"0": {}}}, "sessions"),
        ("{", "truncated"),
        ("[]", "array"),
    ],
)
def test_a_wrong_plan_is_refused_and_the_place_named(plan: Any, place: str) -> None:
    with pytest.raises(BadPlan, match=place):
        parse_plan(plan)


def test_a_refusal_covers_a_window_of_attempts() -> None:
    refusal = Refusal(503, count=2, after=1)
    assert [refusal.covers(n) for n in range(1, 6)] == [False, True, True, False, False]
    assert all(Refusal(404, after=1).covers(n) for n in range(2, 50))


def test_a_cut_happens_once_at_its_byte() -> None:
    script = Script(SessionFaults(cuts=(Cut(at_byte=100), Cut(at_byte=50, times=2))))
    assert script.cut_at_byte(0, 49) is None
    assert script.cut_at_byte(49, 200) == Cut(at_byte=50, times=2)
    assert script.cut_at_byte(0, 60) == Cut(at_byte=50, times=2)
    assert script.cut_at_byte(0, 99) is None
    assert script.cut_at_byte(99, 100) == Cut(at_byte=100)
    assert script.cut_at_byte(0, 1000) is None


def test_a_cut_at_byte_0_meets_the_connect_only() -> None:
    script = Script(SessionFaults(cuts=(Cut(at_byte=0),)))
    assert script.cut_at_byte(0, 10) is None
    assert script.cut_at_byte(-1, 0) is not None
    assert script.cut_at_byte(-1, 0) is None


def test_lost_acks_are_counted_by_ordinal_and_by_byte() -> None:
    script = Script(parse_plan({"every": {"acks": {"lose": [2], "lose_after_byte": 400}}}).every)
    assert [script.loses_ack(end) for end in (100, 200, 300, 400, 500)] == [False, True, False, False, True]


def test_an_injection_is_due_once() -> None:
    items = (Inject("unknown"), Inject("error", at_byte=100))
    script = Script(SessionFaults(inject=items))
    assert script.injections(0) == [items[0]]
    assert script.injections(99) == []
    assert script.injections(250) == [items[1]]
    assert script.injections(250) == []


@pytest.mark.parametrize("part", [Plan, Post, Refusal, SessionFaults, Cut, Acks, Finals, Inject])
def test_every_switch_stands_in_the_docs(part: type[Any]) -> None:
    docs = (Path(__file__).parents[4] / "docs" / "local-stt.md").read_text()
    assert [name for name in part.__struct_fields__ if name not in docs] == []
