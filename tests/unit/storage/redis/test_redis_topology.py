from __future__ import annotations

import pytest

from storage.redis.topology import Node, clustered, lone, slot_of
from storage.redis.url import Address

ASKED = Address("seed", 7000)


@pytest.mark.parametrize(
    ("key", "slot"),
    [  # as CLUSTER KEYSLOT of a Redis 7 has them
        (b"123456789", 12739),
        (b"gw:{abc12345}", 7174),
        (b"gw:r:{owner}", 1309),
        (b"{}x", 10595),
        (b"x{", 3596),
        (b"{{a}}b", 10276),
    ],
)
def test_the_slot_is_that_of_the_braces(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


def test_what_shares_braces_lies_together() -> None:
    assert slot_of(b"{a}:x") == slot_of(b"{a}:y") == slot_of(b"a") != slot_of(b"b")


def test_a_lone_server_has_everything() -> None:
    topology = lone(ASKED)
    assert topology.nodes == {Node(ASKED)}
    assert topology.node_of(b"anything") == Node(ASKED)


def test_ranges_gaps_and_servers_without_a_name() -> None:
    slots = [
        [9000, 16383, [b"c", 3, b"id", []], [b"replica", 9, b"id"]],
        [0, 1300, [b"", 1, b"id"]],
        [1301, 1308, [None, 1, b"id"]],
        [7000, 8000, [b"?", 1, b"id"]],
    ]
    topology = clustered(slots, ASKED)
    nameless = Node(Address("seed", 1), sharded=True)
    assert topology.nodes == {nameless, Node(Address("c", 3), sharded=True)}
    assert topology.node_of(b"{{a}}b") == Node(Address("c", 3), sharded=True)  # 10276
    assert topology.node_of(b"gw:{abc12345}") == nameless  # 7174
    assert topology.node_of(b"gw:r:{owner}") is None  # 1309, served by nobody
    assert clustered([], ASKED).node_of(b"a") is None


@pytest.mark.parametrize("reply", [[[1, 2]], [[1, 2, []]], [1], b"OK", [[b"x", 2, [b"h", 1]]]])
def test_a_reply_of_another_shape_is_an_error_and_no_topology(reply: object) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        clustered(reply, ASKED)  # type: ignore[arg-type]
