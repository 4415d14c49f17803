"""JSON, read strictly."""

import pytest

from registry.api import strict


def test_a_name_twice_is_found_in_one_walk() -> None:
    names = [f'"n{number}": 1' for number in range(300_000)]  # would take many minutes if names were counted

    with pytest.raises(strict.NotStrict, match="“last” is there twice"):
        strict.loads("{" + ", ".join([*names, '"last": 1', '"last": 2']) + "}")
