"""Ids of predictions: unique, ordered by time, and foretellable only for a form that is sent twice."""

import re

import time_machine

from inference.ids import derived_id, new_ids


def test_ids_look_alike_and_differ() -> None:
    ids = new_ids(1000)

    assert len(set(ids)) == 1000
    assert all(re.fullmatch(r"p_[0-9a-hjkmnp-tv-z]{26}", each) for each in ids)


def test_later_ids_sort_later() -> None:
    with time_machine.travel("2026-01-01", tick=False):
        [first] = new_ids(1)
    with time_machine.travel("2026-01-02", tick=False):
        [second] = new_ids(1)

    assert first < second


def test_a_derived_id_is_as_old_as_its_seed_and_the_same_every_time() -> None:
    [seed] = new_ids(1)

    derived = derived_id(seed, "1", "40")

    assert derived == derived_id(seed, "1", "40")
    assert (len(derived), derived[:12]) == (len(seed), seed[:12])
    assert len({derived, derived_id(seed, "14", "0"), derived_id(seed, "1", "4", "0"), seed}) == 4
