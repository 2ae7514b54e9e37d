"""One rule for names: which are taken, as what, and which are refused and why."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import names
from gateway.names import NameRefused

TAKEN = [
    "山田太郎",
    "山田\u3000太郎",  # ideographic space
    "علی\u200cرضا",  # zero-width non-joiner
    "\U0001f469\u200d\U0001f4bb Dana",  # zero-width joiner
    "Jean\u00a0Luc",  # no-break space
    "\u0e2a\u0e21\u0e0a\u0e32\u0e22",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # the flag of England: tag characters
    "\u05d3\u05df\u200f!",  # a mark of direction
    "\u2068\u05d3\u05df\u2069 & Anna",  # an isolate that is closed
    "a/b?c#d%20",
    "{\\an8}<font size=100>X",
    "é\u200d",
    "N" * 256,
    "\U0001f600" * 256,
]


@pytest.mark.parametrize("text", TAKEN)
def test_every_script_is_taken_as_it_is(text: str) -> None:
    assert names.name(text) == names.cleaned(text) == text
    assert names.is_clean(text)
    assert len(text.encode()) <= names.LONGEST_BYTES


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a\x00b", "control character"),
        ("Anna\nB: fake", "control character"),
        ("a\x85b", "control character"),
        ("a\x1b[31mb", "control character"),
        ("a\u2028b", "separator"),
        ("a\u2029b", "separator"),
        ("\u202e\u05d3\u05df", "override"),
        ("\u202dab\u202c", "override"),
        ("a\u2067b", "not closed"),
        ("a\u202cb", "closes none"),
        ("\u2067\u202aa\u2069\u202c", "closes none"),
        ("a\ud800b", "surrogate"),
        ("a\ufffeb", "noncharacter"),
        ("a\ufff9b", "deprecated"),
        ("\u200d", "shows nothing"),
        ("N" * 257, "at most 256"),
    ],
)
def test_what_nobody_can_see_through_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(NameRefused, match=why):
        names.name(text)
    assert not names.is_clean(text)
    assert names.cleaned(text) != "ab"  # nothing is dropped that told two people apart


def test_a_name_is_composed_and_trimmed_and_none_is_none() -> None:
    assert names.name(" \u3000e\u0301va\ufeff \u200b") == "\u00e9va"
    assert [names.name(blank) for blank in (None, "", "   ", "\u200b")] == [None] * 4
    assert not names.is_clean("e\u0301va") and not names.is_clean(" eva")


@given(st.text(st.characters(), max_size=300))
def test_what_is_taken_is_stored_as_checked(text: str) -> None:
    cleaned = names.cleaned(text)
    assert names.cleaned(cleaned) == cleaned
    try:
        taken = names.name(text)
    except NameRefused:
        return
    assert (taken or "") == cleaned == unicodedata.normalize("NFC", cleaned)
    assert "\x00" not in cleaned and cleaned == "".join(cleaned.splitlines())
    assert names.name(taken) == taken
    cleaned.encode()
