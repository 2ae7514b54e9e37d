"""Whose connections are kept, and what a limit of open files leaves to each listener."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest
from support.virtual_time import run_virtually

from gateway.app.admittance import Admittance, Caps
from gateway.app.files import divide, judge
from gateway.app.listener import Listener, ListenerOptions
from gateway.settings import Settings


class Idle:
    def __init__(self, kept: Admittance[Idle], peer: str) -> None:
        self.kept, self.evicted = kept, False
        self.address = kept.admit(peer)
        if self.address is not None:
            kept.waits(self.address, self)

    def evict(self) -> None:
        self.evicted = True
        assert self.address is not None
        self.kept.release(self.address)


def test_the_address_with_most_waiting_connections_makes_room_oldest_first() -> None:
    kept: Admittance[Idle] = Admittance(Caps(4, 3))
    few = Idle(kept, "10.0.0.1")
    many = [Idle(kept, "10.0.0.2") for _ in range(3)]
    assert Idle(kept, "10.0.0.3").address is not None
    assert [each.evicted for each in (few, *many)] == [False, True, False, False]
    assert kept.open == 4 and kept.counts.evicted == 1


def test_who_asks_is_not_evicted_and_then_all_are_refused() -> None:
    kept: Admittance[Idle] = Admittance(Caps(2, 2))
    for peer in ("10.0.0.1", "10.0.0.2"):
        one = Idle(kept, peer)
        assert one.address is not None
        kept.asks(one.address, one)
    assert kept.admit("10.0.0.3") is None
    assert kept.counts.refused == {"total": 1}


def test_the_log_says_which_limit_and_who_has_most(caplog: pytest.LogCaptureFixture) -> None:
    listener = Listener(ListenerOptions("127.0.0.1", 0, Caps(4, 2)))
    kept: Admittance[Any] = listener.admittance
    for peer in (*["10.0.0.1"] * 3, "10.0.0.2", "10.0.0.3", "10.0.0.4"):
        kept.admit(peer)

    async def sweep() -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(listener.sweep(), 2)

    run_virtually(sweep())
    [told] = [vars(line) for line in caplog.records]
    assert (told["count"], told["made_room"], told["limit"], told["open"]) == (2, 0, "address, total", 4)
    assert told["most"] == "10.0.0.1 (2), 10.0.0.2 (1), 10.0.0.3 (1)"


def test_one_address_is_an_ipv4_address_or_a_64_of_ipv6() -> None:
    kept: Admittance[Idle] = Admittance(Caps(100, 2))
    assert [kept.admit(f"2001:db8::{n}") is not None for n in (1, 2, 3)] == [True, True, False]
    assert kept.admit("2001:db8:0:1::1") is not None
    assert [kept.admit(peer) is not None for peer in ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1")] == [True, True, False]
    kept.release("10.0.0.1")
    assert kept.admit("10.0.0.1") is not None


def test_a_trusted_proxy_has_no_limit_of_its_own() -> None:
    kept: Admittance[Idle] = Admittance(Caps(5, 1, (ip_network("10.0.0.0/8"),)))
    assert all(kept.admit("10.1.1.1") for _ in range(5))
    assert kept.admit("10.1.1.1") is None


@pytest.mark.parametrize("allowed", [64, 256, 1_024, 4_096, 20_000, 65_536, 1_000_000])
def test_listeners_never_get_what_is_reserved(allowed: int) -> None:
    settings = Settings(api_tokens=("t",), reserved_files=256)
    files = divide(settings, allowed)
    assert files.http >= 1 and files.rtmp >= 1
    if allowed > 512:
        assert files.http + files.rtmp + settings.reserved_files <= allowed
        assert files.backlog <= settings.reserved_files // 2 or allowed > 25_000
    good, said = judge(settings, allowed)
    assert good == (allowed >= 12_506) and ("ulimit -n 24756" in said) == (allowed < 24_756)
