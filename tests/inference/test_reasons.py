"""Reasons through the real runner: asked for with an answer, they add up to it."""

import math
from typing import Any

import pytest

from inference import engines, explanations, runners
from inference.explanations import Why
from inference.validation import RowWarning, trusted_table
from registry.models import ModelVersion, User
from tests import graphs, trained
from tests.inference import test_checks as uploads
from tests.modeld import Supervisor

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def _rows(count: int) -> list[dict[str, Any]]:
    return trained.table(count).select(trained.INPUTS).to_pylist()


def _total(why: Any) -> float:
    return float(why.base + sum(reason.contribution for reason in why.reasons))


def _asked(version: ModelVersion, count: int = 6) -> tuple[Any, list[Why | RowWarning]]:
    rows = _rows(count)
    answer = engines.predict(version, trusted_table(version.schema_object, rows))
    return answer, explanations.of(version, rows, answer)


@pytest.mark.parametrize(
    ("model", "scale"), [("logistic", "margin"), ("forest", "probability"), ("boosted", "margin")]
)
def test_they_add_up_to_the_chance_of_the_positive_class(
    author: User, modeld: Supervisor, model: str, scale: str
) -> None:
    version = uploads.upload(author, getattr(trained, model)())
    uploads.finish(version)

    answer, whys = _asked(version)

    for value, why in zip(answer.values, whys, strict=True):
        assert isinstance(why, Why)
        assert why.scale == scale
        assert {reason.field for reason in why.reasons} == set(trained.INPUTS)
        total = _total(why)
        assert (1 / (1 + math.exp(-total)) if scale == "margin" else total) == pytest.approx(value, abs=1e-6)
        sizes = [abs(reason.contribution) for reason in why.reasons]
        assert sizes == sorted(sizes, reverse=True)


def test_the_answered_class_of_three_is_explained(author: User, modeld: Supervisor) -> None:
    version = uploads.upload(author, trained.three_classes(), "band")
    uploads.finish(version)

    answer, whys = _asked(version)

    totals = [_total(why) for why in whys]
    for total, label, chances in zip(totals, answer.indices, answer.probabilities, strict=True):
        # The margin of a class is the logarithm of its chance, up to what all classes of a row share.
        assert math.isfinite(total)
        assert chances[label] == max(chances)


def test_a_regression_adds_up_to_its_value(author: User, modeld: Supervisor) -> None:
    version = uploads.upload(author, trained.regression(), "income_next", task="regression")
    uploads.finish(version)

    answer, whys = _asked(version)

    for value, why in zip(answer.values, whys, strict=True):
        assert why.scale == "value"
        assert _total(why) == pytest.approx(value, rel=1e-9)


def test_a_graph_is_explained_by_asking_it(author: User, modeld: Supervisor) -> None:
    model = uploads.create_model(author)
    frame = trained.people()[[*trained.INPUTS, "repaid"]].dropna()
    reference = uploads.add_data(author, model, "repaid", frame)
    version = uploads.upload(author, graphs.of_pipeline(), model=model, reference=reference)
    assert not uploads.failed(uploads.finish(version))

    rows = frame[trained.INPUTS].head(4).to_dict("records")
    answer = engines.predict(version, trusted_table(version.schema_object, rows))
    whys = explanations.of(version, rows, answer)

    for value, why in zip(answer.values, whys, strict=True):
        assert (why.scale, _total(why)) == ("probability", pytest.approx(value, abs=1e-6))


def test_what_was_out_of_time_says_so(author: User, modeld: Supervisor, settings: Any) -> None:
    settings.MODELGATE_EXPLAIN_SECONDS = 0
    version = uploads.upload(author, trained.logistic())
    uploads.finish(version)

    _answer, whys = _asked(version, count=100)

    assert isinstance(whys[0], Why)
    left = [each for each in whys if isinstance(each, RowWarning)]
    assert {each.code for each in left} == {"not_explained"}


def test_explaining_has_a_runner_of_its_own(author: User, modeld: Supervisor) -> None:
    version = uploads.upload(author, trained.logistic())
    uploads.finish(version)

    _asked(version)

    spec = runners.spec_for(version)
    keys = [each["key"] for each in runners.client().status()["runners"]]
    assert f"{spec.key}-why" in keys
