"""AMF0: what encoders send is understood, what attackers send is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ProtocolError
from ingest.rtmp.amf0 import decode, encode

scalars = (
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


@given(st.lists(values.filter(lambda value: _depth(value) <= 8), max_size=5))
def test_what_is_encoded_is_decoded(sent: list[object]) -> None:
    """Every value survives the wire."""
    assert decode(encode(*sent)) == sent


def test_a_connect_command_as_ffmpeg_sends_it() -> None:
    """Bytes written down by hand from the specification, not by our own encoder."""
    wire = (
        b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x03app\x02\x00\x04live\x00\x04fpad\x01\x00\x00\x07videoCo\x00\x40\x6f\x80\x00\x00\x00\x00\x00\x00\x00\x09"
    )
    assert decode(wire) == ["connect", 1.0, {"app": "live", "fpad": False, "videoCo": 252.0}]


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (b"\x05", None),
        (b"\x06", None),
        (b"\x0d", None),
        (b"\x07\x00\x01", None),
        (b"\x0b" + bytes(8) + b"\x00\x00", 0.0),
        (b"\x0c\x00\x00\x00\x02ab", "ab"),
        (b"\x0f\x00\x00\x00\x02<x", "<x"),
        (b"\x10\x00\x01T\x00\x01a\x01\x01\x00\x00\x09", {"a": True}),
        (b"\x08\xff\xff\xff\xff\x00\x01a\x05\x00\x00\x09", {"a": None}),
        (b"\x08\x00\x00\x00\x01\x00\x01a\x05", {"a": None}),
        (b"\x0a\x00\x00\x00\x02\x05\x01\x01", [None, True]),
        (b"\x02\x00\x02\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_every_kind_of_value(wire: bytes, value: object) -> None:
    """Also an associative array with a lying count, and one without its end marker."""
    assert decode(wire) == [value]


def test_text_longer_than_a_short_string() -> None:
    """65,536 bytes and more go out as a long string."""
    assert decode(encode("x" * 70_000)) == ["x" * 70_000]


@pytest.mark.parametrize("opening", [b"\x03\x00\x01a", b"\x0a\x00\x00\x00\x01", b"\x08\x00\x00\x00\x01\x00\x01a"])
def test_deep_nesting_is_refused(opening: bytes) -> None:
    """Eight levels pass, a thousand must not reach Python's own limit."""
    assert decode(opening * 8 + b"\x05")
    with pytest.raises(ProtocolError, match="nested too deep"):
        decode(opening * 1000 + b"\x05")


def test_an_announced_count_is_not_believed() -> None:
    """Four billion values in nine bytes."""
    with pytest.raises(ProtocolError):
        decode(b"\x0a\xff\xff\xff\xff" + b"\x05" * 4)


def test_data_cut_short_is_refused_or_a_prefix() -> None:
    """Wherever it ends, the answer is an error or the values before the cut."""
    sent = ["connect", 1.0, {"app": "live", "list": [1.0, "two", {"three": None}]}]
    wire = encode(*sent)
    for cut in range(len(wire)):
        try:
            seen = decode(wire[:cut])
        except ProtocolError:
            continue
        assert seen[:2] == sent[: len(seen)][:2]


@given(st.binary(max_size=300))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    """The only exception is the protocol's own."""
    with contextlib.suppress(ProtocolError):
        decode(data)


def test_unknown_python_values_are_a_mistake_of_ours() -> None:
    """Nothing is sent instead of what cannot be said."""
    with pytest.raises(TypeError):
        encode(object())
