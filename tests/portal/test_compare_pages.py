"""Comparing on a page: a picker, a page that follows the worker, and the same part in an approver's panel."""

import pytest
from django.urls import reverse

from inference.models import Comparison
from registry.models import Role
from tests import factories
from tests.portal.test_approval_pages import both

GROUP = {"column": "city", "a": 0.8, "b": 0.7, "loss": 0.1, "metric": "accuracy"}
RESULT = {
    "metrics": {"a": {"accuracy": 0.8}, "b": {"accuracy": 0.85}},
    "labelled": 90,
    "agreement": {
        "rows": 100,
        "share": 0.96,
        "changed": 4,
        "note": "",
        "matrix": {"labels": ["no", "yes"], "counts": [[50, 1], [3, 46]]},
        "examples": [{"row": 7, "a": "no", "b": "yes", "inputs": {"age": 33, "city": "Agra-only-here"}}],
    },
    "slices": [
        {**GROUP, "group": "Pune", "rows": 60, "is_few": False},
        {**GROUP, "group": "Agra", "rows": 4, "is_few": True},
    ],
}


@pytest.fixture
def pair(db):
    model = factories.create_model(slug="loans")
    data = factories.create_dataset(model=model)
    a = factories.create_version(model=model, reference=data, card="Old words.")
    factories.create_release(version=a)
    return a, factories.create_version(model=model, reference=data, card="New words.")


def kept(pair, **fields):
    a, b = pair
    fields = {"state": "done", "result": RESULT, **fields}
    return Comparison.objects.create(a=a, b=b, dataset=b.reference, **fields)


def page(client, query="?v=1&v=2", **headers):
    return client.get(reverse("compare", args=["loans"]) + query, headers=headers)


def test_it_says_who_is_better_on_which_rows_and_for_whom(approver, client, pair):
    kept(pair)
    client.force_login(approver)

    html = page(client).content.decode()

    assert "v2 is better on Accuracy +0.05." in html
    assert "Both measured on the same 90 rows" in html
    assert "They agree on <strong>96.0 %</strong> of 100 rows; 4 answers change." in html
    assert html.count("too few") == 1
    assert "<ins>New words.</ins>" in html
    assert "Agra-only-here" in html
    assert "hx-get" not in html.split('id="comparison"')[1].split(">")[0]


@pytest.mark.parametrize(
    ("measured", "said"),
    [({}, "v1, v2: declared by the author"), ({"accuracy": 0.8}, "v2: declared by the author")],
)
def test_what_an_author_declares_is_shown_and_not_held_against_another(business, client, db, measured, said):
    model = factories.create_model(slug="loans")
    factories.create_version(model=model, declared_metrics={"accuracy": 0.8}, measured_metrics=measured)
    factories.create_version(model=model, declared_metrics={"accuracy": 0.95})
    client.force_login(business)

    html = page(client).content.decode()

    assert f"{said}, not measured on the same rows" in html
    assert "0.950" in html
    assert "▲" not in html
    assert "nobody can say which is better" in html


def test_who_may_not_see_the_data_sees_no_rows(business, client, pair):
    kept(pair)
    client.force_login(business)

    html = page(client).content.decode()

    assert "Agra-only-here" not in html
    assert "The rows themselves are shown to" in html


def test_it_follows_the_worker(business, client, pair):
    kept(pair, state="running", result={})
    client.force_login(business)

    whole = page(client).content.decode()
    part = page(client, **{"HX-Request": "true"}).content.decode()

    assert "Both versions are being asked the same rows" in whole
    assert 'hx-trigger="every 2s"' in part
    assert "<h1" not in part


def test_looking_starts_it(business, client, pair):
    client.force_login(business)

    page(client)

    assert Comparison.objects.get().state == "waiting"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 200, "Choose two versions"),
        ("?v=2&v=2", 200, "the same version twice"),
        ("?v=2", 200, "v2 against v1"),
        ("?v=1&v=9", 404, ""),
        ("?v=1&v=x", 404, ""),
    ],
)
def test_the_picker(business, client, pair, query, status, said):
    client.force_login(business)

    answer = page(client, query)

    assert (answer.status_code, said in answer.content.decode()) == (status, True)


def test_a_model_of_one_version_has_nothing_to_compare(business, client):
    factories.create_version(model=factories.create_model(slug="loans"))
    client.force_login(business)

    assert "Nothing to compare yet" in page(client, "").content.decode()


def test_versions_lead_there(business, client, pair):
    client.force_login(business)
    link = reverse("compare", args=["loans"]) + "?v=1&amp;v=2"

    assert link in client.get(pair[1].get_absolute_url()).content.decode()
    assert (
        reverse("compare", args=["loans"])
        in client.get(reverse("version-list", args=["loans"])).content.decode()
    )


@both
def test_the_panel_shows_comparison_gates_and_policy(approver, client, pair, place):
    kept(pair)
    model = pair[1].model
    model.policy = {"gates": [{"metric": "accuracy", "at_least": 0.8}]}
    model.save()
    gates = [{"words": "Accuracy at least 0.8", "passed": True, "detail": "Measured: 0.85 on 90 rows."}]
    request = factories.create_request(version=pair[1], gates=gates)
    client.force_login(approver)

    html = client.get(place(request)).content.decode()

    assert "replacing v1" in html
    assert "v2 is better on Accuracy" in html
    assert "Measured: 0.85 on 90 rows." in html
    assert "A request ends after 14 days." in html
    assert "0 of 1 approvals" in html
    assert "<del>Old words.</del>" in html


@both
def test_an_approver_of_another_team_is_told_who_decides(approver, client, pair, place):
    model = pair[1].model
    model.policy = {"approver_groups": ["Risk"]}
    model.save()
    request = factories.create_request(version=pair[1])
    client.force_login(approver)

    html = client.get(place(request)).content.decode()

    assert "Approvers of these teams decide: Risk." in html
    assert 'value="approve"' not in html
    assert client.post(place(request), {"verdict": "approve"}).status_code == 403


def test_the_page_of_a_version_shows_its_gates(client, pair):
    judged = [{"words": "AUC at least 0.9", "passed": False, "detail": "Measured: 0.7 on 90 rows."}]
    pair[1].checks.create(
        name="gates", position=9, status="failed", figures={"against": {"1": judged}, "shown": "1"}
    )
    client.force_login(factories.create_user(roles=[Role.BUSINESS]))

    html = client.get(pair[1].get_absolute_url()).content.decode()

    assert "AUC at least 0.9" in html
    assert "Measured: 0.7 on 90 rows." in html
