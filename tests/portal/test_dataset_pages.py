"""A dataset's page: what is in it, what was trained and judged on it, and who took it."""

import io

import pytest
from django.urls import reverse

from registry.actions import catalog
from registry.models import AuditEvent
from tests import factories
from tests.api import ok, program

CSV = b"age,city,repaid\n30,Pune,yes\n40,,no\n50,Pune,no\n"


@pytest.fixture
def dataset(author):
    model = factories.create_model(slug="loans", owners=[author])
    return catalog.add_dataset(
        model, file=io.BytesIO(CSV), filename="spring.csv", role="reference", target="repaid", actor=author
    )


def page(client, dataset, name="dataset-detail"):
    return client.get(reverse(name, args=["loans", dataset.public_id]))


def test_it_shows_what_is_in_it(business, client, dataset):
    client.force_login(business)

    html = page(client, dataset).content.decode()

    assert dataset.sha256 in html
    assert "33.3 % missing" in html
    assert "30 – 50" in html
    assert 'value="2" aria-label="Pune"' in html
    assert "the answer" in html


def test_lineage_goes_both_ways(author, client, dataset):
    later = catalog.add_dataset(
        dataset.model,
        file=io.BytesIO(CSV + b"60,Pune,no\n"),
        filename="summer.csv",
        target="repaid",
        actor=author,
    )
    factories.create_dataset(model=dataset.model, role="evaluation")
    factories.create_version(model=dataset.model, reference=dataset, evaluation=dataset)
    factories.create_version(model=dataset.model, reference=later)
    client.force_login(author)

    first, second = page(client, dataset), page(client, later)

    assert [(use.version.number, use.role) for use in first.context["uses"]] == [
        (1, "reference"),
        (1, "evaluation"),
    ]
    assert (first.context["replaces"], first.context["replaced_by"]) == (None, later)
    assert (second.context["replaces"], second.context["replaced_by"]) == (dataset, None)
    version = client.get(first.context["uses"][0].version.get_absolute_url()).content.decode()
    assert dataset.get_absolute_url() in version
    told = ok(program(author).get(f"/models/loans/datasets/{dataset.public_id}/"))
    assert told["used_by"] == [{"version": 1, "role": "reference"}, {"version": 1, "role": "evaluation"}]
    assert (told["replaces"], told["replaced_by"]) == (None, later.public_id)


def test_a_download_is_the_file_and_an_event(approver, client, dataset):
    client.force_login(approver)

    answer = page(client, dataset, "dataset-download")

    assert b"".join(answer.streaming_content) == CSV
    assert answer["Content-Disposition"].startswith("attachment")
    event = AuditEvent.objects.get(action="dataset.downloaded")
    assert (event.result, event.details["sha256"]) == ("done", dataset.sha256)


def test_who_may_not_see_rows_is_refused_and_it_is_written_down(business, client, dataset):
    client.force_login(business)

    assert page(client, dataset, "dataset-download").status_code == 403
    assert AuditEvent.objects.get(action="dataset.downloaded").result == "refused"
    assert "Download" not in page(client, dataset).content.decode()


def test_another_model_s_dataset_is_not_found(author, client, dataset):
    factories.create_model(slug="wine")
    client.force_login(author)

    assert client.get(reverse("dataset-detail", args=["wine", dataset.public_id])).status_code == 404
