"""Refused senders of sessions that run elsewhere: bounded, counted, and told at once for all."""

from __future__ import annotations

import msgspec
from live_stage import NOW

from gateway.live import relay
from gateway.live.hub import Hub
from gateway.live.owned import Owned
from gateway.live.refusals import MOST, SLUG_CHARACTERS, Refusals
from gateway.live.relay import Confirming


class Silence:
    """A wire on which nothing is sent here."""

    is_up = True

    def publish(self, channel: str, data: bytes, overtakes: str | None = None) -> None:
        raise AssertionError(channel)

    def subscribe(self, channel: str) -> Confirming:
        raise AssertionError(channel)

    def unsubscribe(self, channel: str) -> None:
        raise AssertionError(channel)


def test_of_a_sender_the_last_refusal_is_told_once() -> None:
    refusals = Refusals()
    refusals.note("abc", "anna", "first")
    refusals.note("abc", "anna", "second")
    refusals.note("abc", None, "its credential is wrong")
    assert refusals.take() == [("abc", "anna", "second"), ("abc", None, "its credential is wrong")]
    assert refusals.take() == []
    assert (refusals.told, refusals.dropped) == (2, 0)


def test_a_crowd_at_the_door_fills_no_memory() -> None:
    refusals = Refusals()
    for number in range(MOST + 7):
        refusals.note(f"s{number}", None, "no")
    refusals.note("s0", None, "again")
    refusals.note("x" * (SLUG_CHARACTERS + 1), None, "no")
    assert len(refusals.take()) == MOST
    assert refusals.dropped == 8


async def test_the_owner_hears_of_them_and_of_nothing_else_in_the_message() -> None:
    owned = Owned(Hub(lambda: NOW), Silence(), lambda slug: None)
    heard: list[relay.Refusal] = []
    owned.turned_away = lambda *refusal: heard.append(refusal)
    told = [("abc", "anna", "why"), ("def", None, "why not")]
    owned.message(relay.refused(told))
    assert heard == told
    news = relay.decode(relay.refused(told))
    assert news is not None
    for odd in (b"7", b'[["abc"]]', b'[["abc", 1, "why"]]'):
        assert relay.refusals(msgspec.structs.replace(news, data=msgspec.Raw(odd))) == ()
    many = relay.decode(relay.refused(told * MOST))
    assert many is not None and len(relay.refusals(many)) == MOST
