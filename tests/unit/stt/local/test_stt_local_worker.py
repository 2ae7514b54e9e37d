"""What a PocketSphinx worker does with its orders and its decoders."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt.local.sphinx_wire import LENGTH, Audio, Close, Finish, Open, Order, Report, Text, order_decoder, pack
from stt.local.sphinx_worker import CMN_PRIOR, SPARE, LoadedDecoders, Worker


class Decoder:
    def __init__(self) -> None:
        self.prior = ""

    def set_cmn(self, prior: str) -> None:
        self.prior = prior


def test_a_returned_decoder_is_handed_out_again_without_its_last_speaker() -> None:
    decoders, decoder = LoadedDecoders(), Decoder()
    decoders.give_back(decoder)
    assert decoders.take() is decoder
    assert decoder.prior == CMN_PRIOR


def test_no_more_spare_decoders_are_kept_than_a_few() -> None:
    decoders = LoadedDecoders()
    given = [Decoder() for _ in range(SPARE + 3)]
    for decoder in given:
        decoders.give_back(decoder)
    assert [decoder.prior == CMN_PRIOR for decoder in given] == [True] * SPARE + [False] * 3


@pytest.mark.parametrize("order", [Audio(7, bytes(640), True), Finish(7), Close(7)])
def test_orders_for_a_channel_that_is_gone_are_no_error(order: Order) -> None:
    assert Worker(LoadedDecoders()).obey(order) is None


def test_silence_is_reported_as_heard_without_loading_a_decoder() -> None:
    worker = Worker(LoadedDecoders())
    assert worker.obey(Open(1, 0.5, 15.0)) is None
    report = worker.obey(Audio(1, bytes(3200), True))
    assert report == Report(1, heard=1600, settled=0, utterance=0, events=())
    assert worker.obey(Finish(1)) == Report(1, 1600, 0, 0, (), finished=True)


@given(st.integers(0, 2**31), st.binary(max_size=5000), st.booleans())
def test_what_is_packed_is_what_is_read(channel: int, pcm: bytes, partials: bool) -> None:
    order = Audio(channel, pcm, partials)
    packed = pack(order)
    (size,) = LENGTH.unpack(packed[: LENGTH.size])
    assert order_decoder.decode(packed[LENGTH.size :]) == order
    assert size == len(packed) - LENGTH.size


def test_a_report_survives_the_wire() -> None:
    from stt.local.sphinx_wire import answer_decoder

    report = Report(1, 2, 3, 4, (Text(0, (("a", 0.1, 0.2, 0.9),), True),), True)
    assert answer_decoder.decode(pack(report)[LENGTH.size :]) == report
