"""What waits for a client, and what does not survive a lost connection."""

from __future__ import annotations

import pytest

from stt.local.messages import Topic
from stt.local.outbox import CROWDED, LIMIT, HangUp, Item, Letter, Outbox


async def drain(outbox: Outbox) -> list[Item]:
    return [await outbox.take() for _ in range(len(outbox))]


async def test_order_is_kept() -> None:
    outbox = Outbox()
    items: list[Item] = [Letter("a", Topic.FINAL), Letter("b", Topic.ACK), HangUp(1000)]
    for item in items:
        outbox.put(item)
    assert await drain(outbox) == items


@pytest.mark.parametrize("replay", [True, False])
async def test_acks_partials_and_cuts_die_with_the_connection(replay: bool) -> None:
    outbox = Outbox()
    lasting: list[Item] = [Letter("f", Topic.FINAL), Letter("e", Topic.LIFECYCLE), HangUp(1000)]
    for item in [Letter("a", Topic.ACK), Letter("p", Topic.PARTIAL), Letter("injected"), HangUp(None), *lasting]:
        outbox.put(item)
    outbox.disconnected(replay=replay)
    assert await drain(outbox) == (lasting if replay else [])


async def test_a_slow_client_loses_partials_first_and_the_loss_is_counted() -> None:
    outbox = Outbox()
    for i in range(CROWDED):
        outbox.put(Letter(str(i), Topic.FINAL))
    outbox.put(Letter("partial", Topic.PARTIAL))
    assert (len(outbox), outbox.dropped) == (CROWDED, 1)


async def test_it_never_grows_above_its_limit() -> None:
    outbox = Outbox()
    for i in range(LIMIT + 5):
        outbox.put(Letter(str(i), Topic.FINAL))
    assert (len(outbox), outbox.dropped) == (LIMIT, 5)
    assert await outbox.take() == Letter("5", Topic.FINAL)
