"""Two people at the same moment: on PostgreSQL neither sees what the other has not committed yet.

Exactly one of two gets through, and the other is told why: a refusal with 409, never an error of the database.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import connection

from registry import audit
from registry.actions import admissions, approvals, catalog, endings, people, releases
from registry.errors import Refused
from registry.models import (
    Admission,
    Decision,
    Freeze,
    ModelVersion,
    RegisteredModel,
    Release,
    ReleaseRequest,
    Role,
    RoleGrant,
    User,
)
from tests.factories import (
    create_approval,
    create_model,
    create_release,
    create_request,
    create_user,
    create_version,
    create_version_to_review,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

ROUNDS = 3  # an interleaving that hurts is not met every time
WHY = "because it must be so"
REQUESTS = ReleaseRequest.objects


def at_once(*acts: Callable[[], object]) -> list[str]:
    """Do all of it from one starting shot; for each act "done", or the code of its refusal."""
    together = threading.Barrier(len(acts))
    ends: list[str] = [""] * len(acts)

    def run(place: int, act: Callable[[], object]) -> None:
        try:
            connection.ensure_connection()
            together.wait(30)
            act()
            ends[place] = "done"
        except Refused as refusal:
            ends[place] = refusal.code if refusal.status == 409 else f"{refusal.status} {refusal.code}"
        except Exception as error:
            ends[place] = f"{type(error).__name__}: {error}"
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert audit.verify().ok
    return ends


def fresh(request: ReleaseRequest) -> ReleaseRequest:
    return REQUESTS.with_context().get(pk=request.pk)


def of(version: ModelVersion) -> ModelVersion:
    return ModelVersion.objects.select_related("model").get(pk=version.pk)


def test_two_administrators_who_end_each_other_leave_one() -> None:
    one, other = (create_user(roles=[Role.ADMIN]) for _ in range(2))

    at_once(
        lambda: people.set_roles(User.objects.get(pk=one.pk), [], actor=other),
        lambda: people.set_roles(User.objects.get(pk=other.pk), [], actor=one),
    )

    assert RoleGrant.objects.filter(role=Role.ADMIN).count() == 1


def test_a_version_is_retired_or_released_never_both(operator: User) -> None:
    for _round in range(ROUNDS):
        version = create_version()
        create_approval(version=version)

        ends = at_once(
            partial(catalog.retire, of(version), reason=WHY, actor=operator),
            partial(releases.release, version.model, version=of(version), reason=WHY, actor=operator),
        )

        is_released = Release.objects.filter(version=version).exists()
        assert of(version).state == ("checked" if is_released else "retired")
        assert sorted(ends) == (["done", "still_serving"] if is_released else ["done", "not_approved"])


def test_of_two_models_of_one_name_one_is_made(author: User) -> None:
    for round_ in range(ROUNDS):
        ends = at_once(
            *(
                partial(
                    catalog.create_model,
                    slug=f"{slug}-{round_}",
                    name=f"Loans {round_}",
                    task="classification",
                    actor=author,
                )
                for slug in ("one", "other")
            )
        )
        assert sorted(ends) == ["done", "name_in_use"]


def test_of_two_approvers_one_decides(approver: User, second_approver: User) -> None:
    for _round in range(ROUNDS):
        request = create_request()

        ends = at_once(
            partial(approvals.approve, fresh(request), actor=approver),
            partial(approvals.reject, fresh(request), comment=WHY, actor=second_approver),
        )

        request.refresh_from_db()
        assert request.state in ("approved", "rejected")
        assert sorted(ends) == ["done", f"request_{request.state}"]
        assert request.decisions.count() == 1


def test_two_needed_approvals_at_once_are_both_counted(approver: User, second_approver: User) -> None:
    request = create_request(version=create_version(model=create_model(risk="high")))

    ends = at_once(
        lambda: approvals.approve(fresh(request), actor=approver),
        lambda: approvals.approve(fresh(request), actor=second_approver),
    )

    request.refresh_from_db()
    assert ends == ["done", "done"]
    assert (request.state, request.decisions.count()) == ("approved", 2)


def test_one_person_decides_once_in_two_windows(approver: User) -> None:
    request = create_request(version=create_version(model=create_model(risk="high")))

    ends = at_once(*[lambda: approvals.approve(fresh(request), actor=approver)] * 2)

    assert sorted(ends) == ["decided_before", "done"]
    assert Decision.objects.count() == 1


def test_of_two_rollbacks_one_wins(operator: User) -> None:
    other = create_user(roles=[Role.OPERATOR])
    for _round in range(ROUNDS):
        model = create_model()
        for _version in range(3):
            create_release(version=create_version(model=model))

        def back(actor: User, to: int, model: RegisteredModel = model) -> Release:
            return releases.roll_back(model, to=to, expect=3, reason=WHY, actor=actor)

        ends = at_once(partial(back, operator, 1), partial(back, other, 2))

        assert sorted(ends) == ["done", "lost_race"]
        assert Release.objects.filter(model=model, kind="rollback").count() == 1
        assert Freeze.objects.filter(model=model, lifted_at=None).count() == 1


def test_of_a_release_and_a_rollback_one_wins(operator: User) -> None:
    for _round in range(ROUNDS):
        model = create_model()
        for _version in range(2):
            create_release(version=create_version(model=model))
        third = create_version(model=model)
        create_approval(version=third)

        def ahead(model: RegisteredModel = model, third: ModelVersion = third) -> Release:
            return releases.release(model, version=of(third), expect=2, reason=WHY, actor=operator)

        def back(model: RegisteredModel = model) -> Release:
            return releases.roll_back(model, expect=2, reason=WHY, actor=operator)

        ends = at_once(ahead, back)

        assert sorted(ends) == ["done", "lost_race"]
        assert Release.objects.filter(model=model).count() == 3


@pytest.mark.parametrize("others", [1, 3])
def test_an_approval_of_what_is_replaced_at_that_instant_is_not_in_force(
    others: int, approver: User, operator: User
) -> None:
    for _round in range(ROUNDS):
        model = create_model()
        asked = [create_request(version=create_version(model=model)) for _each in range(others)]
        released = create_version(model=model)
        create_approval(version=released)

        def approve(asked: list[ReleaseRequest] = asked) -> ReleaseRequest:
            return approvals.approve(fresh(asked[-1]), actor=approver)

        def replace(model: RegisteredModel = model, released: ModelVersion = released) -> Release:
            return releases.release(model, version=of(released), reason=WHY, actor=operator)

        ends = at_once(approve, replace)

        assert ends[0] in ("done", "request_stale")
        assert ends[1] == "done"
        assert {fresh(one).state for one in asked} == {"stale"}
        with pytest.raises(Refused):
            releases.release(model, version=of(asked[-1].version), reason=WHY, actor=operator)


def test_an_approval_of_what_is_retired_at_that_instant_is_not_in_force(
    approver: User, operator: User
) -> None:
    for _round in range(ROUNDS):
        request = create_request()

        ends = at_once(
            partial(approvals.approve, fresh(request), actor=approver),
            partial(catalog.retire, of(request.version), reason=WHY, actor=operator),
        )

        assert ends[0] in ("done", "request_stale", "version_barred")
        assert (ends[1], fresh(request).state) == ("done", "stale")


def test_names_are_admitted_once(approver: User, second_approver: User, no_checks: list[int]) -> None:
    for _round in range(ROUNDS):
        version = create_version_to_review()

        def admit(actor: User, version: ModelVersion = version) -> Any:
            return admissions.admit(of(version), names=version.names_to_review, comment=WHY, actor=actor)

        ends = at_once(partial(admit, approver), partial(admit, second_approver))

        assert sorted(ends) == ["done", "nothing_to_admit"]
        assert Admission.objects.filter(version=version).count() == 1
        assert no_checks.count(version.pk) == 1


def test_a_deleted_model_is_not_released_at_that_instant(operator: User, administrator: User) -> None:
    for _round in range(ROUNDS):
        version = create_version()
        create_approval(version=version)

        ends = at_once(
            partial(
                endings.delete_model,
                RegisteredModel.objects.get(pk=version.model_id),
                reason=WHY,
                actor=administrator,
            ),
            partial(releases.release, of(version).model, version=of(version), reason=WHY, actor=operator),
        )

        is_deleted = not RegisteredModel.objects.get(pk=version.model_id).is_present
        assert is_deleted != Release.objects.filter(version=version).exists(), ends
        assert ends.count("done") == 1, ends
