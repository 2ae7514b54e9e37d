from __future__ import annotations

import itertools
import re

from storage import ids


def test_a_cuid_has_the_shape_of_version_one() -> None:
    """`c` and 24 base 36 digits: what Prisma makes, and what the app's validators accept."""
    assert re.fullmatch(r"c[0-9a-z]{24}", ids.cuid())


def test_cuids_differ_and_sort_in_the_order_of_their_making() -> None:
    """Within one millisecond the counter decides; only its wrap at 36**4 may put one out of order."""
    made = [ids.cuid() for _ in range(5000)]
    assert len(set(made)) == len(made)
    assert sum(a > b for a, b in itertools.pairwise(made)) <= 1


def test_a_slug_is_eight_letters_and_digits() -> None:
    made = {ids.slug() for _ in range(2000)}
    assert len(made) == 2000
    assert all(re.fullmatch(r"[0-9A-Za-z]{8}", slug) for slug in made)


def test_a_derived_id_depends_on_every_part_and_nothing_else() -> None:
    assert ids.derived("a", "bc") == ids.derived("a", "bc")
    assert len({ids.derived("a", "bc"), ids.derived("ab", "c"), ids.derived("a", "b", "c")}) == 3
    assert re.fullmatch(r"c[0-9a-z]{24}", ids.derived("a", "\ud800"))


def test_an_epoch_is_new_every_time() -> None:
    made = {ids.epoch() for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"[0-9a-z]{6}", epoch) for epoch in made)
