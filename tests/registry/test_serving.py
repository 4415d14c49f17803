"""What answers where, for whole lists at once."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry.models import Release
from registry.serving import approvers_of, serving_of
from tests.factories import create_model, create_release, create_version

pytestmark = pytest.mark.django_db


def test_the_newest_release_of_each_model_and_environment_answers() -> None:
    loans, tumours = create_model(slug="loans"), create_model(slug="tumours")
    create_release(version=create_version(model=loans))
    newest = create_release(version=create_version(model=loans))
    staging = create_release(version=newest.version, environment="staging")
    other = create_release(version=create_version(model=tumours))

    assert set(Release.objects.answering()) == {newest, staging, other}


def test_a_place_where_nothing_answers_is_said() -> None:
    release = create_release()

    found = serving_of([release.version.model])[release.model_id]

    assert found["staging"] is None
    assert found["production"] is not None
    assert found["production"]["release"] == release.number


def test_approvers_are_found_in_one_query() -> None:
    releases = list(Release.objects.filter(pk=create_release().pk).select_related("restores"))

    with CaptureQueriesContext(
        connection,
    ) as queries:
        found = approvers_of(releases)

    assert len(queries) == 1
    assert found[releases[0].pk] == [releases[0].request.decisions.get().decided_by]
