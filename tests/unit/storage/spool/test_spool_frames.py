"""Segments of the spool as bytes: what is read back after any damage."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.spool.frames import MARK, MAX_RECORD, OVERHEAD, check, frame, parse

START = 7_000
# Records that look like frames themselves are what a reader could be misled by.
records = st.lists(
    st.one_of(st.binary(min_size=1, max_size=60), st.just(MARK), st.just(frame(0, 0, b"inside"))), max_size=6
)


def segment(datas: list[bytes]) -> bytes:
    whole = b""
    for data in datas:
        whole += frame(START + len(whole), 1_700_000_000_123, data)
    return whole


@given(records)
def test_what_was_framed_is_parsed(datas: list[bytes]) -> None:
    """Records come back in order, each at the place where it lies, with its time."""
    parsed = parse(segment(datas), START)
    assert [record.data for record in parsed.records] == datas
    assert not parsed.damaged
    at = START
    for record in parsed.records:
        assert (record.offset.position, record.offset.at_ms) == (at, 1_700_000_000_123)
        at = record.offset.end
    assert at == START + len(segment(datas))


@given(records, st.data())
def test_a_cut_at_any_byte_loses_only_what_was_cut(datas: list[bytes], data: st.DataObject) -> None:
    """Every record that lies before the cut is read; the rest is one torn stretch at the end."""
    whole = segment(datas)
    cut = data.draw(st.integers(0, len(whole)))
    parsed = parse(whole[:cut], START)
    complete = [record for record in parse(whole, START).records if record.offset.end <= START + cut]
    assert parsed.records == complete
    end = complete[-1].offset.end if complete else START
    assert parsed.damaged == ([(end, START + cut)] if end < START + cut else [])


@given(records.filter(bool), st.data())
@example([b"ab", b"cd"], None)
def test_a_changed_byte_loses_only_its_record(datas: list[bytes], data: st.DataObject | None) -> None:
    """Wherever one byte is altered, the record that holds it is damaged and every other one is read."""
    whole = segment(datas)
    places = range(len(whole)) if data is None else [data.draw(st.integers(0, len(whole) - 1))]
    change = 0x01 if data is None else data.draw(st.integers(1, 255))
    for place in places:
        altered = bytearray(whole)
        altered[place] ^= change
        kept = [
            record
            for record in parse(whole, START).records
            if not record.offset.position <= START + place < record.offset.end
        ]
        parsed = parse(bytes(altered), START)
        assert parsed.records == kept
        assert len(parsed.damaged) == 1


@given(records.filter(bool), st.binary(max_size=200))
def test_junk_between_records_is_stepped_over(datas: list[bytes], junk: bytes) -> None:
    """Bytes of a failed write in the middle hide nothing that was written after them."""
    before = segment(datas)
    at = START + len(before) + len(junk)
    after = frame(at, 5, b"later")
    parsed = parse(before + junk + after, START)
    assert [record.data for record in parsed.records] == [*datas, b"later"]
    assert parsed.damaged == ([(at - len(junk), at)] if junk else [])


def test_a_record_counts_only_where_it_was_written() -> None:
    """The same bytes at another position, as a recycled block would show them, are damage."""
    assert not parse(frame(0, 1, b"old"), START).records
    assert not parse(bytes(4096), START).records


@pytest.mark.parametrize("data", [b"", bytes(MAX_RECORD + 1)])
def test_records_have_a_size(data: bytes) -> None:
    """An empty record could not be told from zeros; a huge one would stall its readers."""
    with pytest.raises(ValueError, match="1 to"):
        check([b"fine", data])


def test_overhead_is_small() -> None:
    """What a record costs besides itself is part of the format."""
    assert len(frame(0, 0, b"x")) == OVERHEAD + 1 == 21
