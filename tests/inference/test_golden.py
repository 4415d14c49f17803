"""Golden rows: frozen once, asked again where the environment is another one, and what follows when they moved."""

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from django.db import DatabaseError, transaction

from inference import dispatch, golden, predictions, runners
from inference.golden import fingerprints, replays, sets
from inference.models import GoldenSet, Replay
from inference.runners import Answer, ModelError, ModelUnavailable
from registry import gate
from registry.actions import approvals, quarantine, releases
from registry.errors import Forbidden, NothingServing, Refused, Unavailable
from registry.models import AuditEvent, ModelVersion, Role, User
from tests.factories import create_approval, create_model, create_release, create_request, create_user
from tests.factories import create_version as make_version

pytestmark = pytest.mark.django_db

INPUTS = pa.table(
    {"age": [20, 40, 60], "income": [900.5, None, 3000.0], "city": ["Pune", None, "Delhi"]},
)
SHARES = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]])
ANSWER = Answer(("no", "yes"), np.array([0, 1, 1], dtype="int32"), SHARES, SHARES[:, 1].copy(), 0.01)


class Service:
    """Stands for the model service: gives `answer`, or is away, or has a model that fails."""

    def __init__(self) -> None:
        self.answer: Answer | ModelError = ANSWER
        self.asked: list[int] = []
        self.packages: dict[str, str] = {}

    def predict(self, version: ModelVersion, table: pa.Table, seconds: float | None = None) -> Answer:
        self.asked.append(version.pk)
        assert table.equals(INPUTS)
        if isinstance(self.answer, ModelError):
            raise self.answer
        return self.answer

    def describe(self, version: ModelVersion) -> Any:
        return SimpleNamespace(versions=self.packages)

    def status(self) -> dict[str, Any]:
        if isinstance(self.answer, ModelError) and self.answer.code == "model_service_away":
            raise self.answer
        return {}


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    found = Service()
    monkeypatch.setattr(runners, "predict", found.predict)
    monkeypatch.setattr(runners, "describe", found.describe)
    monkeypatch.setattr(runners, "client", lambda: found)
    return found


AWAY = ModelUnavailable("The model service does not answer.", code="model_service_away")


def create_version(answer: Answer = ANSWER, **fields: Any) -> ModelVersion:
    """A checked version with golden rows that were frozen in today's environment."""
    version = make_version(**fields)
    kept = golden.freeze(version, INPUTS, answer, GoldenSet.Origin.HERE)
    replays.record_agreement(kept, version)
    return version


def upgrade(monkeypatch: pytest.MonkeyPatch, package: str = "numpy", version: str = "99.0") -> None:
    machine = {**fingerprints._machine(), package: version}
    monkeypatch.setattr(fingerprints, "_machine", lambda: machine)


def served_twice() -> tuple[ModelVersion, ModelVersion]:
    model = create_model(slug="repay")
    first, second = create_version(model=model), create_version(model=model)
    create_release(version=first)
    create_release(version=second)
    return first, second


# --- kept ---


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        replace(ANSWER, probabilities=None, values=None),
        Answer((), None, None, np.array([1.5, -2e-9, 1e12]), 0.01),
        Answer((1, 2, 3), np.array([0, 2, 1], dtype="int32"), np.full((3, 3), 1 / 3), None, 0.01),
    ],
    ids=["two classes", "labels alone", "regression", "three classes"],
)
def test_rows_and_answers_come_back_as_they_were_frozen(answer: Answer) -> None:
    kept = golden.freeze(make_version(), INPUTS, answer, GoldenSet.Origin.TRAINING)
    frozen = sets.read(GoldenSet.objects.get())

    assert frozen.inputs.equals(INPUTS)
    assert sets.moved(kept, frozen, answer) == []
    assert (kept.rows, kept.classes) == (3, list(answer.classes))


def test_a_golden_set_is_never_changed_nor_replaced() -> None:
    version = make_version()
    kept = golden.freeze(version, INPUTS, ANSWER, GoldenSet.Origin.HERE)
    again = golden.freeze(version, INPUTS.slice(0, 1), ANSWER, GoldenSet.Origin.TRAINING)

    assert (again.pk, again.sha256, again.origin) == (kept.pk, kept.sha256, "here")
    with pytest.raises(DatabaseError), transaction.atomic():
        GoldenSet.objects.update(sha256="0" * 64)


def test_it_says_plainly_what_the_rows_prove() -> None:
    assert GoldenSet(origin="training").proves == (
        "They are the answers that the model gave where it was trained."
    )
    assert "prove only that nothing moved since" in GoldenSet(origin="here").proves


def other(**changes: Any) -> Answer:
    return replace(ANSWER, **changes)


@pytest.mark.parametrize(
    ("now", "moved"),
    [
        (ANSWER, []),
        (other(probabilities=SHARES + np.array([1e-7, -1e-7])), []),
        (other(probabilities=SHARES + np.array([[0, 0], [1e-5, -1e-5], [0, 0]])), [1]),
        (other(indices=np.array([0, 1, 0])), [2]),
        (other(values=np.array([0.1, np.nan, 0.8])), [1]),
        (other(classes=("yes", "no")), [0, 1, 2]),
        (other(classes=(0, 1)), [0, 1, 2]),
        (other(probabilities=None), [0, 1, 2]),
        (other(indices=ANSWER.indices[:2]), [0, 1, 2]),  # type: ignore[index]
    ],
    ids=["same", "rounding", "chance", "label", "nan", "order", "type", "no chances", "too few"],
)
def test_an_answer_moved_when_its_label_or_more_than_a_millionth_is_another(
    now: Answer, moved: list[int]
) -> None:
    kept = golden.freeze(make_version(), INPUTS, ANSWER, GoldenSet.Origin.HERE)

    assert sets.moved(kept, sets.read(kept), now) == moved


def test_regressions_are_held_to_a_millionth_of_their_size() -> None:
    then = Answer((), None, None, np.array([1e6, 2e-3, -5.0]), 0.01)
    kept = golden.freeze(make_version(), INPUTS, then, GoldenSet.Origin.HERE)
    frozen = sets.read(kept)

    assert sets.moved(kept, frozen, replace(then, values=np.array([1e6 + 0.5, 2e-3, -5.0]))) == []
    assert sets.moved(kept, frozen, replace(then, values=np.array([1e6 + 2, 2e-3, -5.1]))) == [0, 2]


# --- let through ---


def test_a_known_verdict_lets_through_without_asking_the_model(
    service: Service, approver: User, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answer = AWAY
    first, _second = served_twice()
    third = create_version(model=first.model)

    approvals.approve(create_request(version=third), actor=approver)
    releases.release(third.model, version=third, reason="approved", actor=operator)
    releases.roll_back(third.model, reason="too slow", actor=operator)

    assert service.asked == []


def test_in_another_environment_the_model_is_asked_once_and_then_known(
    service: Service, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _second = served_twice()
    upgrade(monkeypatch)

    releases.roll_back(first.model, reason="too slow", actor=operator)
    golden.require_unmoved(first.pk)

    assert service.asked == [first.pk]
    assert Replay.objects.filter(golden=first.golden, agreed=True).count() == 2  # type: ignore[attr-defined]


def test_a_version_without_golden_rows_passes(service: Service) -> None:
    golden.require_unmoved(make_version().pk)

    assert service.asked == []


@pytest.mark.parametrize("code", ["model_service_away", "crash_loop", "model_timeout"])
def test_where_nothing_is_known_and_nobody_can_be_asked_the_act_is_refused(
    service: Service, operator: User, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    first, _second = served_twice()
    upgrade(monkeypatch)
    service.answer = ModelUnavailable("Not now.", code=code)

    with pytest.raises(Unavailable, match="is not known here, and it cannot be asked: Not now") as refusal:
        releases.roll_back(first.model, reason="too slow", actor=operator)

    assert refusal.value.code == "answers_unknown"
    first.refresh_from_db()
    assert first.state == "checked"
    assert Replay.objects.count() == 2


def test_a_model_service_that_was_not_restarted_proves_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = create_version()
    upgrade(monkeypatch)
    service.packages = {"numpy": "1.0", "scikit-learn": fingerprints._machine()["scikit-learn"]}

    with pytest.raises(Unavailable, match="other versions than are installed of: numpy") as refusal:
        golden.require_unmoved(version.pk)

    assert "Restart the model service" in refusal.value.fix
    assert Replay.objects.count() == 1


# --- moved ---


def moved_answer() -> Answer:
    return other(probabilities=SHARES[::-1], indices=np.array([1, 1, 0]), values=SHARES[::-1, 1])


def test_a_version_whose_answers_moved_is_quarantined_and_the_act_refused(
    service: Service,
    operator: User,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Any,
) -> None:
    first, _second = served_twice()
    upgrade(monkeypatch)
    service.answer = moved_answer()
    before = fingerprints._machine()["numpy"]

    with pytest.raises(Refused, match="2 of 3 golden rows of repay v1 get another answer") as refusal:
        releases.roll_back(first.model, reason="too slow", actor=operator)

    assert refusal.value.code == "answers_moved"
    assert f"numpy {_installed('numpy')} → {before}" in str(refusal.value)
    first.refresh_from_db()
    assert first.state == "quarantined"
    event = AuditEvent.objects.get(action="version.quarantined")
    assert (event.actor_name, event.reason) == ("system", str(refusal.value))
    preview = releases.rollback_preview(first.model)
    assert preview.target is None  # it is not offered any more
    assert "Quarantined" in preview.targets[-1].problem


def _installed(package: str) -> str:
    return fingerprints.installed_version(package)


@pytest.mark.parametrize("code", ["failed", "not_servable", "model_failed"])
def test_a_version_that_cannot_answer_any_more_is_quarantined_too(
    service: Service, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    version = create_version()
    upgrade(monkeypatch)
    service.answer = ModelError(
        "The model failed on these rows.", code=code, detail="No module named '_loss'"
    )

    with pytest.raises(Refused, match=r"cannot answer its golden rows any more: .*No module named '_loss'"):
        golden.require_unmoved(version.pk)

    version.refresh_from_db()
    assert version.state == "quarantined"


def test_a_quarantined_version_answers_nothing_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    _first, second = served_twice()
    quarantine.quarantine(second, reason="answers moved")

    with pytest.raises(NothingServing, match="v2 is quarantined") as refusal:
        gate.answering_release(second.model)
    assert "roll back" in refusal.value.fix


def test_an_approval_of_what_moved_is_refused(
    service: Service, approver: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = create_version()
    request = create_request(version=version)
    upgrade(monkeypatch)
    service.answer = moved_answer()

    with pytest.raises(Refused, match="get another answer"):
        approvals.approve(request, actor=approver)

    request.refresh_from_db()
    assert (request.state, request.decisions.count()) == ("waiting", 0)


def test_a_release_of_what_moved_is_refused(
    service: Service, operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = create_version()
    create_approval(version=version)
    upgrade(monkeypatch)
    service.answer = moved_answer()

    with pytest.raises(Refused, match="get another answer"):
        releases.release(version.model, version=version, reason="approved", actor=operator)

    assert not version.releases.exists()


def test_nobody_is_answered_before_the_golden_rows_are(
    service: Service, business: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tick comes later than the first question after an upgrade."""
    _first, second = served_twice()
    upgrade(monkeypatch)
    service.answer = moved_answer()
    row = {"age": 40, "income": 1000.0, "city": "Pune"}

    with pytest.raises(NothingServing, match="v2 is quarantined"):
        predictions.predict(second.model, [row], actor=business, channel="page")

    second.refresh_from_db()
    assert second.state == "quarantined"
    assert service.asked == [second.pk]  # for its golden rows, and for nobody's


def test_the_first_question_proves_the_version_for_all_that_follow(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _first, second = served_twice()
    upgrade(monkeypatch)

    for _call in range(3):
        assert golden.gate_proven(second.model, "production").version == second

    assert service.asked == [second.pk]


# --- before the click ---


def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(dispatch, "enqueue", lambda task, *args: sent.append((task, *args)))
    return sent


def test_the_tick_hands_on_released_versions_only_when_the_environment_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = served_twice()
    create_version(model=first.model)  # never released
    sent = published(monkeypatch)

    assert golden.sweep() == 0
    upgrade(monkeypatch)
    assert golden.sweep() == 2
    assert sent == [(replays.TASK, second.pk), (replays.TASK, first.pk)]  # what answers now comes first


def test_the_task_asks_once_and_leaves_the_rest_to_the_next_tick(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.golden import tasks

    version = create_version()
    upgrade(monkeypatch)
    service.answer = AWAY
    tasks.replay_version(version.pk)
    assert Replay.objects.count() == 1

    service.answer = ANSWER
    tasks.replay_version(version.pk)
    tasks.replay_version(version.pk)

    assert service.asked == [version.pk]
    assert golden.sweep() == 0


def test_a_page_has_the_verdict_made_ready_unless_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    version = create_version()
    sent = published(monkeypatch)

    golden.prepare(version)
    golden.prepare(make_version())
    assert sent == []
    upgrade(monkeypatch)
    golden.prepare(version)
    assert sent == [(replays.TASK, version.pk)]


# --- lifted ---


def quarantined(service: Service, monkeypatch: pytest.MonkeyPatch, author: User) -> ModelVersion:
    version = create_version(uploaded_by=author)
    upgrade(monkeypatch)
    service.answer = moved_answer()
    with pytest.raises(Refused):
        golden.require_unmoved(version.pk)
    version.refresh_from_db()
    return version


def test_a_quarantine_is_lifted_by_the_old_answers_and_an_approver(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: User, approver: User
) -> None:
    version = quarantined(service, monkeypatch, author)
    service.answer = ANSWER

    quarantine.lift_quarantine(version, reason="numpy went back", actor=approver)

    assert version.state == "checked"
    golden.require_unmoved(version.pk)
    event = AuditEvent.objects.get(action="version.quarantine_lifted")
    assert (event.actor_name, event.reason) == (str(approver), "numpy went back")


def test_no_reason_is_good_enough_while_the_answers_differ(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: User, approver: User
) -> None:
    version = quarantined(service, monkeypatch, author)

    with pytest.raises(Refused, match="get another answer"):
        quarantine.lift_quarantine(version, reason="trust me", actor=approver)
    service.answer = AWAY
    with pytest.raises(Unavailable):
        quarantine.lift_quarantine(version, reason="trust me", actor=approver)

    version.refresh_from_db()
    assert version.state == "quarantined"


@pytest.mark.parametrize("roles", [[Role.OPERATOR], [Role.ADMIN], [Role.AUTHOR], []])
def test_only_an_approver_lifts_a_quarantine(
    service: Service, monkeypatch: pytest.MonkeyPatch, author: User, roles: Sequence[Role]
) -> None:
    version = quarantined(service, monkeypatch, author)
    service.answer = ANSWER

    with pytest.raises(Forbidden):
        quarantine.lift_quarantine(version, reason="let it go", actor=create_user(roles=roles))


def test_its_uploader_does_not_lift_its_quarantine(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    both = create_user(roles=[Role.AUTHOR, Role.APPROVER])
    version = quarantined(service, monkeypatch, both)
    service.answer = ANSWER

    with pytest.raises(Forbidden, match="another approver"):
        quarantine.lift_quarantine(version, reason="it is mine", actor=both)


def test_without_golden_rows_nothing_can_be_proven(approver: User) -> None:
    version = make_version(state="quarantined")

    with pytest.raises(Refused, match="has no golden rows"):
        quarantine.lift_quarantine(version, reason="looks fine", actor=approver)
