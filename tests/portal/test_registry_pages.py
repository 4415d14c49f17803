"""Pages about models and versions: what one sees, and what one can do from there."""

import io
import json
import re
import shlex
from html import unescape

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from portal.views.registry import states
from registry.actions import releases
from registry.models import AuditEvent, ModelVersion, RegisteredModel
from tests import factories


def body(response):
    return response.content.decode()


def test_a_hidden_model_is_not_found(business, client):
    model = factories.create_model()
    model.groups.create(name="Others")
    client.force_login(business)

    assert client.get(model.get_absolute_url()).status_code == 404


def test_the_list_finds_by_name_and_question(business, client):
    factories.create_model(name="Employment", question="Is this person in work?")
    factories.create_model(name="Wine")
    client.force_login(business)

    html = body(client.get(reverse("model-list"), {"q": "in work"}))

    assert "Employment" in html
    assert "Wine</a>" not in html


def test_the_model_page_says_what_serves_since_when_and_who_approved(business, client, approver):
    version = factories.create_version()
    factories.create_release(
        version=version, request=factories.create_approval(version=version, approver=approver)
    )
    client.force_login(business)

    html = body(client.get(version.model.get_absolute_url()))

    assert "Serving now <strong>v1</strong>" in html
    assert approver.display_name in html


def test_the_model_page_says_that_nothing_serves_and_what_waits(business, client):
    request = factories.create_request()
    client.force_login(business)

    html = body(client.get(request.version.model.get_absolute_url()))

    assert "No version is serving." in html
    assert "1 version waits for approval." in html


def test_an_author_creates_a_model(author, client):
    client.force_login(author)

    response = client.post(
        reverse("model-create"),
        {
            "name": "Loans",
            "slug": "loans",
            "task": "classification",
            "risk": "high",
            "question": "Will it be repaid?",
        },
    )

    model = RegisteredModel.objects.get(slug="loans")
    assert response.url == reverse("version-upload", args=["loans"])
    assert model.is_owned_by(author)


def test_a_short_name_in_use_is_said_at_the_form(author, client):
    factories.create_model(slug="loans")
    client.force_login(author)

    html = body(
        client.post(
            reverse("model-create"), {"name": "L", "slug": "loans", "task": "regression", "risk": "low"}
        )
    )

    assert "exists already" in html
    assert AuditEvent.objects.get(action="model.created").result == "refused"


def test_somebody_who_may_not_create_models_gets_a_page_that_names_the_role(business, client):
    client.force_login(business)

    response = client.get(reverse("model-create"))

    assert response.status_code == 403
    assert "Data scientist" in body(response)


def test_an_owner_changes_the_description(author, client):
    model = factories.create_model(owners=[author])
    client.force_login(author)

    client.post(
        reverse("model-edit", args=[model.slug]),
        {"name": "New name", "question": "Why?", "description": "", "owners": [author.pk]},
    )

    model.refresh_from_db()
    assert (model.name, model.question) == ("New name", "Why?")


def test_a_dataset_is_uploaded(author, client):
    model = factories.create_model(owners=[author])
    client.force_login(author)
    file = SimpleUploadedFile("reference.csv", b"age,city,repaid\n30,Pune,yes\n40,Delhi,no\n")

    client.post(
        reverse("dataset-list", args=[model.slug]), {"file": file, "role": "reference", "target": "repaid"}
    )

    dataset = model.datasets.get()
    assert (dataset.rows, dataset.target) == (2, "repaid")


@pytest.fixture
def artifact() -> bytes:
    import joblib
    from sklearn.linear_model import LogisticRegression

    out = io.BytesIO()
    joblib.dump(LogisticRegression(), out)
    return out.getvalue()


def test_a_version_is_uploaded_as_a_draft_then_its_schema_is_edited_and_the_checks_start(
    author, client, artifact, no_checks
):
    model = factories.create_model(slug="loans", owners=[author])
    client.force_login(author)

    response = client.post(
        reverse("version-upload", args=["loans"]),
        {
            "file": SimpleUploadedFile("model.joblib", artifact),
            "reference_file": SimpleUploadedFile(
                "reference.csv", b"age,city,repaid\n" + b"30,Pune,yes\n40,Delhi,no\n" * 20
            ),
            "target": "repaid",
            "metrics": "accuracy = 0.81",
            "card": "Purpose: loans.",
        },
    )
    version = ModelVersion.objects.get(model=model)
    assert response.url == reverse("version-edit", args=["loans", 1])
    assert (version.state, version.declared_metrics) == ("draft", {"accuracy": 0.81})

    # Its checks failed on the page's own words; the page takes it from there just the same.
    ModelVersion.objects.update(state="checks_failed")
    page = client.get(response.url)
    rows = page.context["rows"]
    data = {"field-TOTAL_FORMS": len(rows), "field-INITIAL_FORMS": len(rows), "check": "1"}
    for number, row in enumerate(rows):
        for name, value in row.initial.items():
            if value not in (None, False):
                data[f"field-{number}-{name}"] = value
    data |= {f"target-{name}": value for name, value in page.context["target"].initial.items()}
    data |= {
        "field-0-label_en": "Age in years",
        "field-0-min": "18",
        "target-positive": "yes",
        "target-question_en": "Repaid?",
        "papers-metrics": "accuracy = 0.8\nauc = 0.9",
    }
    client.post(response.url, data)

    version.refresh_from_db()
    assert version.state == "checking"
    assert no_checks == [version.pk]
    assert version.declared_metrics == {"accuracy": 0.8, "auc": 0.9}
    assert version.card == "Purpose: loans."  # its field was not sent
    first = version.schema["fields"][0]
    assert (first["label"], first["min"]) == ({"en": "Age in years"}, 18)
    assert version.schema["target"]["positive"] == "yes"
    assert version.schema["target"]["question"]["en"] == "Repaid?"


def test_a_bad_upload_gives_one_sentence_and_stores_nothing(author, client):
    model = factories.create_model(owners=[author])
    client.force_login(author)

    response = client.post(
        reverse("version-upload", args=[model.slug]),
        {"file": SimpleUploadedFile("model.joblib", b"PK\x03\x04 not a model"), "target": ""},
    )

    assert response.status_code == 422
    assert not ModelVersion.objects.exists()
    assert AuditEvent.objects.get(action="version.uploaded").result == "refused"


def test_the_form_names_formats_and_limits_and_calls_nothing_optional_that_is_needed(author, client):
    model = factories.create_model(owners=[author])
    client.force_login(author)
    address = reverse("version-upload", args=[model.slug])

    form = client.get(address).context["form"]

    offered = [value for value, _words in form.fields["format"].choices]
    assert offered == ["auto", "joblib", "pickle", "skops", "onnx", "mlflow"]
    assert "512.0" in form.fields["file"].help_text
    assert "256.0" in form.fields["reference_file"].help_text
    for name in ("reference", "reference_file", "target"):
        assert "(optional)" not in form[name].as_field_group()
    assert "(optional)" in form["evaluation"].as_field_group()
    empty = client.post(address, {"draft": ""})
    assert (empty.status_code, list(empty.context["form"].errors)) == (422, ["file"])


def test_a_file_that_is_not_what_its_author_says_is_refused(author, client, artifact):
    model = factories.create_model(owners=[author])
    client.force_login(author)

    html = body(
        client.post(
            reverse("version-upload", args=[model.slug]),
            {"file": SimpleUploadedFile("model.joblib", artifact), "format": "onnx"},
        )
    )

    assert "Leave the format on “auto”." in html
    assert not ModelVersion.objects.exists()


def test_metrics_may_be_json_and_a_word_is_refused(author, client):
    model = factories.create_model(owners=[author])
    client.force_login(author)

    html = body(
        client.post(
            reverse("version-upload", args=[model.slug]),
            {"file": SimpleUploadedFile("m.joblib", b"x"), "metrics": '{"accuracy": "good"}'},
        )
    )

    assert "“good” is not a number" in html


def test_who_does_not_own_a_model_cannot_change_it_and_the_try_is_on_the_record(operator, client):
    model = factories.create_model()
    client.force_login(operator)

    response = client.post(reverse("model-edit", args=[model.slug]), {"name": "Mine now"})

    assert response.status_code == 403
    event = AuditEvent.objects.get(action="model.changed")
    assert (event.result, event.actor_id, event.model_slug) == ("refused", operator.pk, model.slug)


def test_somebody_else_cannot_edit_a_draft(author, client, db):
    version = factories.create_version(state="draft")
    client.force_login(author)

    assert client.get(reverse("version-edit", args=[version.model.slug, 1])).status_code == 403


def test_the_live_part_asks_again_only_while_checks_run(author, client):
    version = factories.create_version(state="checking")
    client.force_login(author)
    url = reverse("version-live", args=[version.model.slug, 1])

    assert "hx-get" in body(client.get(url))
    ModelVersion.objects.filter(pk=version.pk).update(state="checked")
    assert "hx-get" not in body(client.get(url))


@pytest.mark.parametrize(
    ("state", "label"),
    [
        ("draft", "Review the schema"),
        ("checks_failed", "Correct its papers"),
        ("checked", "Ask for approval"),
    ],
)
def test_the_version_page_offers_the_one_next_step(author, client, state, label):
    version = factories.create_version(uploaded_by=author, state=state)
    client.force_login(author)

    assert label in body(client.get(version.get_absolute_url()))


def test_a_step_that_is_not_mine_says_whose_it_is(business, client):
    version = factories.create_version(state="checked")
    client.force_login(business)

    assert "A data scientist asks for approval." in body(client.get(version.get_absolute_url()))


def test_an_author_asks_for_approval_and_sees_who_may_decide(author, approver, client):
    version = factories.create_version(uploaded_by=author)
    url = reverse("version-request", args=[version.model.slug, 1])
    client.force_login(author)

    assert approver.display_name in body(client.get(url))
    response = client.post(url, {"environment": "production", "reason": "better on every slice"})

    assert response.url == version.requests.get().get_absolute_url()


def test_the_file_is_given_as_an_attachment_and_it_is_written_down(author, client):
    version = factories.create_version(content=b"bytes of a model")
    client.force_login(author)

    response = client.get(reverse("version-download", args=[version.model.slug, 1]))

    assert b"".join(response.streaming_content) == b"bytes of a model"
    assert response["Content-Disposition"].startswith("attachment")
    assert AuditEvent.objects.filter(action="version.downloaded", result="done").exists()


def test_a_business_user_does_not_get_the_file(business, client):
    version = factories.create_version()
    client.force_login(business)

    assert client.get(reverse("version-download", args=[version.model.slug, 1])).status_code == 403
    assert AuditEvent.objects.get(action="version.downloaded").result == "refused"


def test_the_words_of_versions_follow_what_happened(operator):
    model = factories.create_model()
    first, second, third = (factories.create_version(model=model) for _ in range(3))
    factories.create_release(version=first)
    factories.create_release(version=second)
    factories.create_request(version=third)

    assert list(states.latest_words(model).values()) == ["waiting_for_approval", "serving", "approved"]

    releases.roll_back(model, reason="wrong answers", actor=operator)

    words = states.latest_words(model)
    assert (words[first.pk], words[second.pk]) == ("serving", "rolled_back")


def test_the_first_call_names_this_model_and_its_own_fields(integrator, client):
    version = factories.create_version()
    factories.create_release(version=version)
    client.force_login(integrator)

    html = body(client.get(reverse("model-api", args=[version.model.slug])))

    assert f"/api/v1/models/{version.model.slug}/predict/" in html
    assert "income" in html


def test_the_first_call_survives_the_shell_and_python(integrator, client):
    inputs = {"age": 41, "income": None, "note": 'master\'s "degree"'}
    schema = {**factories.SCHEMA, "examples": [{"name": "One", "inputs": inputs}]}
    version = factories.create_version(schema=schema)
    factories.create_release(version=version)
    client.force_login(integrator)

    html = body(client.get(reverse("model-api", args=[version.model.slug])))
    found = re.findall(r'id="(curl|python)-call">(.*?)</pre>', html, re.DOTALL)
    calls = {name: unescape(call) for name, call in found}

    assert json.loads(shlex.split(calls["curl"])[-1]) == {"inputs": inputs}
    assert repr({"inputs": inputs}) in calls["python"]
    compile(calls["python"], "python-call", "exec")
