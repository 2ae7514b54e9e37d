"""Spans as a port: nothing without a tracer; with one, each knows what it followed from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.traced import Begun, KeepingTracer

from gateway import tracing


@pytest.fixture
def kept() -> Iterator[list[Begun]]:
    tracer = KeepingTracer()
    with tracing.using(tracer):
        yield tracer.spans


def test_without_a_tracer_nothing_happens() -> None:
    assert not tracing.is_on()
    with tracing.span("x", {}) as span:
        span.note({"a": 1})
        span.link("nonsense")
        assert (tracing.here(), tracing.headers(), span.traceparent) == (None, {}, None)
    assert tracing.begin("y", {}) is tracing.NO_SPAN


async def test_a_span_is_the_parent_of_what_begins_inside_it_and_in_its_tasks(kept: list[Begun]) -> None:
    async def later() -> None:
        await asyncio.sleep(0)
        tracing.begin("in a task", {}).end()

    with tracing.span("outer", {}) as outer:
        task = asyncio.create_task(later())
        with tracing.span("inner", {}):
            assert tracing.headers() != {"traceparent": outer.traceparent}
        assert tracing.headers() == {"traceparent": outer.traceparent}
    await task
    tracing.begin("afterwards", {}).end()
    parents = {span.name: span.parent for span in kept}
    assert parents == {"outer": None, "inner": outer.traceparent, "in a task": outer.traceparent, "afterwards": None}
    assert all(span.ended for span in kept)


def test_work_for_an_older_span_belongs_to_that_one(kept: list[Begun]) -> None:
    old = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with tracing.span("request", {}) as request:
        with tracing.within(old):
            tracing.begin("run", {}, links=[request.traceparent]).end()
        with tracing.within(None):
            tracing.begin("untraced", {}).end()
    assert [(span.parent, span.links) for span in kept[1:]] == [
        (old, [request.traceparent]),
        (request.traceparent, []),
    ]


@pytest.mark.parametrize("error", [ValueError("said: glacier"), asyncio.CancelledError(), KeyboardInterrupt()])
def test_a_failure_is_named_by_its_type_alone(kept: list[Begun], error: BaseException) -> None:
    """Texts of exceptions quote what others have sent."""
    with pytest.raises(type(error)), tracing.span("x", {}):
        raise error
    assert [(span.ended, span.trouble) for span in kept] == [(1, type(error).__name__)]


@pytest.mark.parametrize(
    ("told", "good"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", True),
        ("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-comes-later", True),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", False),
        ("ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", False),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", False),
        ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", False),
        ("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", False),
        ("", False),
        (None, False),
    ],
)
def test_a_traceparent_is_read_as_the_standard_says(told: str | None, good: bool) -> None:
    assert (tracing.place(told) is not None) is good


@given(st.text(max_size=80))
def test_whatever_a_stranger_sends_is_a_place_or_none(told: str) -> None:
    found = tracing.place(told)
    assert found is None or (0 < found.trace_id < 2**128 and 0 < found.span_id < 2**64 and 0 <= found.flags < 256)
