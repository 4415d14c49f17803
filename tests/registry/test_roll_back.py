"""Rolling back: one act, always possible, one winner, frozen afterwards."""

import threading

import pytest
from django.db import DatabaseError, connection, transaction

from registry import gate, ports
from registry.actions import quarantine, releases
from registry.errors import Forbidden, Invalid, NothingServing, Refused
from registry.models import ModelVersion, RegisteredModel, Release, Role, User
from registry.serving import approvers_of
from tests.api import ok, program
from tests.factories import create_approval, create_model, create_release, create_user, create_version


def serve(*, count: int, model: RegisteredModel | None = None) -> RegisteredModel:
    """A model whose versions 1 to `count` were released one after another."""
    model = model or create_model()
    for _ in range(count):
        create_release(version=create_version(model=model))
    return model


def test_it_answers_with_the_version_before(operator: User) -> None:
    model = serve(count=2)

    made = releases.roll_back(model, reason="wrong answers", actor=operator)

    assert (made.number, made.version.number, made.kind) == (3, 1, "rollback")
    assert gate.answering_release(model).version.number == 1


def test_a_second_rollback_goes_further_back(operator: User) -> None:
    model = serve(count=3)

    releases.roll_back(model, reason="wrong answers", actor=operator)
    made = releases.roll_back(model, reason="still wrong", actor=operator)

    assert made.version.number == 1


def test_undo_goes_forward_again_without_a_new_approval(operator: User) -> None:
    model = serve(count=2)
    releases.roll_back(model, reason="wrong answers", actor=operator)

    made = releases.roll_back(model, reason="it was the data", to=2, actor=operator)

    assert made.version.number == 2
    assert approvers_of([made])[made.pk] == [Release.objects.get(number=2).request.decisions.get().decided_by]


def test_the_second_person_is_told_who_was_first(operator: User) -> None:
    model = serve(count=2)
    other = create_user(roles=[Role.OPERATOR], name="Omkar")
    releases.roll_back(model, reason="wrong answers", expect=2, actor=other)

    with pytest.raises(Refused) as caught:
        releases.roll_back(model, reason="wrong answers", expect=2, actor=operator)

    assert caught.value.code == "lost_race"
    assert "Already rolled back to v1 by Omkar" in str(caught.value)


def test_it_freezes_releases_until_lifted(operator: User) -> None:
    model = serve(count=2)
    releases.roll_back(model, reason="wrong answers", actor=operator)
    third = create_version(model=model)
    create_approval(version=third)

    with pytest.raises(Refused) as caught:
        releases.release(model, version=third, reason="the fix", actor=operator)
    assert caught.value.code == "frozen"

    releases.unfreeze(model, reason="the fix is ready", actor=operator)
    assert releases.release(model, version=third, reason="the fix", actor=operator).version == third


def test_a_reason_is_required(operator: User) -> None:
    with pytest.raises(Invalid):
        releases.roll_back(serve(count=2), reason="", actor=operator)


def test_only_operators(db: None) -> None:
    with pytest.raises(Forbidden) as caught:
        releases.roll_back(serve(count=2), reason="please", actor=create_user(roles=[Role.APPROVER]))
    assert caught.value.code == "needs_operator"


def test_nothing_to_go_back_to(operator: User) -> None:
    with pytest.raises(Refused) as caught:
        releases.roll_back(serve(count=1), reason="please", actor=operator)
    assert caught.value.code == "no_earlier_release"


def test_a_version_that_never_served_is_no_target(operator: User) -> None:
    model = serve(count=2)
    create_version(model=model)

    with pytest.raises(Refused) as caught:
        releases.roll_back(model, reason="please", to=3, actor=operator)
    assert caught.value.code == "never_served"


def test_quarantined_versions_are_passed_over(operator: User) -> None:
    model = serve(count=3)
    quarantine.quarantine(ModelVersion.objects.get(number=2), reason="answers moved")

    made = releases.roll_back(model, reason="wrong answers", actor=operator)

    assert made.version.number == 1
    with pytest.raises(Refused) as caught:
        releases.roll_back(model, reason="wrong answers", to=2, actor=operator)
    assert caught.value.code == "target_not_eligible"


def test_the_preview_says_who_never_served_and_has_the_verdicts_made_ready(
    operator: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = serve(count=3)
    never = create_version(model=model)
    asked: list[int] = []
    monkeypatch.setattr(ports.replay, "prepare", lambda version: asked.append(version.number))

    preview = releases.rollback_preview(model)

    assert preview.never_served == [never]
    assert asked == [2, 1]
    told = ok(program(operator, "read").get(f"/models/{model.slug}/rollback/"))
    assert told["never_served"] == [never.number]


def test_the_preview_names_fields_that_appear_and_vanish(operator: User) -> None:
    model = serve(count=1)
    first = Release.objects.get().version
    schema = {**first.schema, "fields": [*first.schema["fields"], {"name": "tenure", "type": "integer"}]}
    create_release(version=create_version(model=model, schema=schema))

    preview = releases.rollback_preview(model)

    assert preview.target and preview.target.version == first
    assert (preview.missing_fields, preview.new_fields) == (["tenure"], [])
    told = ok(program(operator, "read").get(f"/models/{model.slug}/rollback/"))
    assert told["unused"] == [{"field": "tenure", "predictions": 0, "clients": 0}]


def test_the_gate_lets_only_released_versions_answer(db: None) -> None:
    model = create_model()
    create_version(model=model)

    with pytest.raises(NothingServing):
        gate.answering_release(model)
    with pytest.raises(Refused) as caught:
        gate.answering_release(model, version_number=1)
    assert caught.value.code == "not_released"


@pytest.mark.django_db(transaction=True)
@pytest.mark.services
def test_of_two_at_the_same_instant_exactly_one_wins() -> None:
    model = serve(count=2)
    people = [create_user(roles=[Role.OPERATOR]) for _ in range(2)]
    together = threading.Barrier(2)
    results: list[str] = []

    def press(actor: User) -> None:
        together.wait()
        try:
            releases.roll_back(model, reason="wrong answers", expect=2, actor=actor)
            results.append("won")
        except Refused as refused:
            results.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=press, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(results) == ["lost_race", "won"]
    assert Release.objects.count() == 3


@pytest.mark.services
@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement", ["UPDATE registry_release SET number = 9", "DELETE FROM registry_release"]
)
def test_the_database_itself_refuses_to_rewrite_releases(statement: str) -> None:
    serve(count=1)

    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_the_preview_names_what_the_verb_would_do(operator: User) -> None:
    model = serve(count=3)
    releases.roll_back(model, reason="wrong answers", actor=operator)

    preview = releases.rollback_preview(model)

    assert preview.target
    assert preview.target.version.number == 1
    assert [(one.version.number, one.is_eligible) for one in preview.targets] == [
        (3, True),
        (2, False),
        (1, True),
    ]
