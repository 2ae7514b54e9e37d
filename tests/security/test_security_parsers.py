"""Any bytes at any parser that meets the network: its own error or a result, nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz.targets import BODIES, TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parents[1] / "fuzz" / "corpus"
# What parsers look for, in any order and number: more of it is understood than of noise.
WORDS = [
    b'{"type":"', b'start"', b'transcript"', b'"data":', b"[" * 2_000, b'{"a":' * 2_000, b'"\\ud800"', b"1e999",
    b"9" * 400, b"\x02\x00\x07connect", b"\x03\x00\x00\x09", b"\x82\x7f" + b"\xff" * 8, b"\x81\x80\0\0\0\0",
    b"\x97\x05", b"Bearer ", b"eyJhbGciOiJIUzI1NiJ9.", b"\xed\xa0\x80", b"\0", b"\n", b"}", b"]", b",",
    b'HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n', b"\xff\xfe",
    b'[1,"~snapshot","r",1,1,"k3f9",1,"u",', b'"language_config":{"languages":["', b"Mon, 05 Jan 9999 00:00:00 GMT",
    b'{"customVocabulary":[{"value":""},', b'"pauses":{"":{"since":', b'"participants":{"a":{"translateTo":',
    b'"sessionSlug":"', b'"startedAt":"0001-01-01T00:00:00+14:00"',
]  # fmt: skip
inputs = st.binary(max_size=600) | st.lists(st.sampled_from(WORDS) | st.binary(max_size=12), max_size=12).map(b"".join)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_any_bytes_give_a_result_or_its_own_error(target: Callable[[bytes], None]) -> None:
    @settings(max_examples=200)
    @given(inputs)
    def any_bytes(data: bytes) -> None:
        target(data)

    any_bytes()


def test_every_parser_has_a_corpus_and_every_body_of_a_route_is_read() -> None:
    assert {folder.name for folder in CORPUS.iterdir() if any(folder.iterdir())} == set(TARGETS)
    known = {kind.__name__ for kind in BODIES}
    assert known >= {"StartBody", "ChangeBody", "PauseBody", "VocabularyBody", "WebhookBody", "ChangeLevel", "TakeOver"}
    assert len(known) >= 22


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_what_was_found_before_is_still_understood(target: Callable[[bytes], None]) -> None:
    for file in sorted((CORPUS / target.__name__).glob("*")):
        target(file.read_bytes())
