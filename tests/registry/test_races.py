"""Two people at the same moment: on PostgreSQL neither sees what the other has not committed yet."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest
from django.db import connection

from registry.actions import catalog, people, releases
from registry.errors import Refused
from registry.models import ModelVersion, Release, Role, RoleGrant, User
from tests.factories import create_approval, create_user, create_version

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def at_once(*acts: Callable[[], object]) -> None:
    together = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        together.wait(30)
        try:
            with suppress(Refused):
                act()
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)


def test_two_administrators_who_end_each_other_leave_one() -> None:
    one, other = (create_user(roles=[Role.ADMIN]) for _ in range(2))

    at_once(
        lambda: people.set_roles(User.objects.get(pk=one.pk), [], actor=other),
        lambda: people.set_roles(User.objects.get(pk=other.pk), [], actor=one),
    )

    assert RoleGrant.objects.filter(role=Role.ADMIN).count() == 1


def test_a_version_is_retired_or_released_never_both(operator: User) -> None:
    version = create_version()
    create_approval(version=version)

    at_once(
        lambda: catalog.retire(
            ModelVersion.objects.select_related("model").get(pk=version.pk), reason="too old", actor=operator
        ),
        lambda: releases.release(
            version.model,
            version=ModelVersion.objects.get(pk=version.pk),
            reason="it is better",
            actor=operator,
        ),
    )

    version.refresh_from_db()
    assert (version.state == ModelVersion.State.RETIRED) != Release.objects.exists()
