"""Spans: what took how long, and what it followed from. A port; until a tracer is in use, nothing happens.

A span is known by its W3C `traceparent`, which is text: it travels in headers and in rows of the database, and names
the parent or a link of a span in any process.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Literal, NamedTuple, Protocol

HEADER: Final = "traceparent"
Kind = Literal["internal", "server", "client"]
Facts = Mapping[str, str | int | float | bool]
"""Ids and numbers of a span, never words that were said. A name without a dot is the gateway's own: `gateway.NAME`."""

_W3C: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


class Place(NamedTuple):
    """What a `traceparent` says."""

    trace_id: int
    span_id: int
    flags: int


def place(traceparent: str | None) -> Place | None:
    """None for what is none: https://www.w3.org/TR/trace-context-2/#traceparent-header."""
    found = _W3C.fullmatch(traceparent or "")
    if found is None or (found[1] == "00" and found[5]) or not (int(found[2], 16) and int(found[3], 16)):
        return None
    return Place(int(found[2], 16), int(found[3], 16), int(found[4], 16))


class Span(Protocol):
    """Something under way."""

    @property
    def traceparent(self) -> str | None:
        """Its name; None where nothing is traced."""

    def note(self, facts: Facts) -> None:
        """What it has turned out to be. May be repeated."""

    def link(self, traceparent: str | None) -> None:
        """It belongs to that span as well. What is no traceparent is left out."""

    def end(self, trouble: str | None = None) -> None:
        """Once. `trouble`: why it failed, without words of others."""


class Tracer(Protocol):
    """Where spans go."""

    def begin(self, name: str, facts: Facts, kind: Kind, parent: str | None, links: Sequence[str | None]) -> Span:
        """Never waits, and raises nothing. `parent` and `links`: traceparents; what is none is left out."""


TraceOf = Callable[[str], Awaitable[str | None]]
"""Given a session's id, the span of the start of its newest transcription; None where it is not known."""


async def no_trace(session_id: str) -> str | None:
    """Nothing is traced."""
    return None


class _NoSpan:
    traceparent: Final = None

    def note(self, facts: Facts) -> None:
        pass

    def link(self, traceparent: str | None) -> None:
        pass

    def end(self, trouble: str | None = None) -> None:
        pass


NO_SPAN: Final[Span] = _NoSpan()
"""Goes nowhere."""
_tracers: Final[list[Tracer]] = []  # the last one counts; several gateways in one process are for tests


@contextmanager
def using(tracer: Tracer) -> Iterator[None]:
    """The tracer of this process until the end of the block. For the composition root."""
    _tracers.append(tracer)
    try:
        yield
    finally:
        _tracers.remove(tracer)


def is_on() -> bool:
    """Whether spans go anywhere: what is only asked for them need not be asked."""
    return bool(_tracers)


def here() -> str | None:
    """The span that the work at hand belongs to."""
    return _current.get()


def headers() -> dict[str, str]:
    """What a request to another replica, or a row, says of the span that it comes from."""
    current = here()
    return {} if current is None else {HEADER: current}


@contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """Spans that begin inside the block, and in the tasks it starts, belong to that one. None: to the current one."""
    token = _current.set(traceparent or here())
    try:
        yield
    finally:
        _current.reset(token)


def begin(
    name: str,
    facts: Facts,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Sequence[str | None] = (),
) -> Span:
    """A span that its caller ends. `parent` None: the current one."""
    return _tracers[-1].begin(name, facts, kind, parent or here(), links) if _tracers else NO_SPAN


@contextmanager
def span(
    name: str,
    facts: Facts,
    *,
    kind: Kind = "internal",
    parent: str | None = None,
    links: Sequence[str | None] = (),
) -> Iterator[Span]:
    """The block as a span, the current one inside it. An exception is its trouble, by its type: texts quote others."""
    begun = begin(name, facts, kind=kind, parent=parent, links=links)
    trouble = None
    try:
        with within(begun.traceparent):
            yield begun
    except BaseException as error:
        trouble = type(error).__name__
        raise
    finally:
        begun.end(trouble)
