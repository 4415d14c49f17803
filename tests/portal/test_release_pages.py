"""Releasing and going back from the page: two clicks and a reason, and the second of two people is told."""

import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import strip_tags

from inference import log
from inference.models import BatchJob, Measurement, Prediction
from monitoring import latency
from monitoring.models import ServicePart
from portal.views import model_page
from portal.views.registry import releases as pages
from registry import artifacts
from registry.models import AuditEvent, Freeze, ModelVersion, Release
from tests import factories


@pytest.fixture
def model(db):
    model = factories.create_model(name="Loans", slug="loans")
    for _ in range(2):
        factories.create_release(version=factories.create_version(model=model))
    return model


def page_of(model):
    return reverse("release-list", args=[model.slug])


def roll_back(client, model, **data):
    data = {"to": 1, "expect": 2, "reason": "wrong answers", "environment": "production"} | data
    return client.post(reverse("roll-back", args=[model.slug]), data)


def test_the_button_names_its_target(operator, client, model):
    client.force_login(operator)

    html = client.get(page_of(model)).content.decode()

    assert "Roll back to v1…" in html
    assert 'id="roll-back-v1"' in html
    assert 'id="roll-back-v2"' not in html


def test_others_see_the_button_disabled_with_the_reason(author, client, model):
    client.force_login(author)

    html = client.get(page_of(model)).content.decode()

    assert "Needs Operator." in html
    assert "<dialog" not in html


def test_it_goes_back_and_shows_three_ticks(operator, client, model):
    client.force_login(operator)

    response = roll_back(client, model)

    current = Release.objects.current(model)
    assert (current.version.number, current.kind) == (1, "rollback")
    html = client.get(response.url).content.decode()
    assert "Recorded" in html
    assert "Rolled back to v1 by" in html
    assert "Undo (go back to v2)…" in html


def test_it_needs_a_reason_and_opens_the_dialog_again(operator, client, model):
    client.force_login(operator)

    response = roll_back(client, model, reason="")

    assert Release.objects.current(model).version.number == 2
    assert "data-open" in response.content.decode()


def test_the_second_of_two_is_told_who_was_faster(operator, client, model):
    client.force_login(operator)
    roll_back(client, model)

    html = roll_back(client, model).content.decode()

    assert "Already rolled back to v1 by" in html
    assert Release.objects.filter(kind="rollback").count() == 1
    assert AuditEvent.objects.filter(action="release.rolled_back", result="refused").count() == 1


def test_somebody_who_may_not_is_refused_and_it_is_written_down(author, client, model):
    client.force_login(author)

    roll_back(client, model)

    assert Release.objects.current(model).version.number == 2
    assert AuditEvent.objects.get(action="release.rolled_back").result == "refused"


def test_fields_that_the_old_version_lacks_need_a_tick(operator, client, db):
    model = factories.create_model()
    factories.create_release(version=factories.create_version(model=model))
    schema = {**factories.SCHEMA, "fields": [*factories.SCHEMA["fields"], {"name": "region", "type": "text"}]}
    factories.create_release(version=factories.create_version(model=model, schema=schema))
    client.force_login(operator)

    assert "region" in client.get(page_of(model)).content.decode()
    roll_back(client, model)
    assert Release.objects.current(model).version.number == 2

    roll_back(client, model, understood="on")
    assert Release.objects.current(model).version.number == 1


def test_the_ticks_stop_asking_once_an_answer_was_seen(operator, business, client, model):

    client.force_login(operator)
    roll_back(client, model)
    current = Release.objects.current(model)
    url = reverse("release-ticks", args=[model.slug, current.number])
    assert "Waiting for the first answer from v1" in client.get(url).content.decode()

    Prediction.objects.create(
        public_id="p_test", model=model, version=current.version, release=current, environment="production",
        channel="page", at=timezone.now(), inputs={}, latency_ms=1,
    )  # fmt: skip

    html = client.get(url).content.decode()
    assert "First answer from v1 seen" in html
    assert "hx-get" not in html


def test_after_going_back_the_button_offers_a_step_further_and_undo_the_way_forth(operator, client, model):
    factories.create_release(version=factories.create_version(model=model))
    client.force_login(operator)
    roll_back(client, model, to=2, expect=3)

    page = client.get(page_of(model))

    assert page.context["default_choice"].version.number == 1
    assert "Undo (go back to v3)…" in page.content.decode()
    assert "Rolled back</span>" in page.content.decode()


def test_the_freeze_is_lifted_with_a_reason(operator, client, model):
    client.force_login(operator)
    roll_back(client, model)

    client.post(reverse("unfreeze", args=[model.slug]), {"freeze-reason": "the data was repaired"})

    assert Freeze.objects.get().lift_reason == "the data was repaired"


def test_an_operator_releases_an_approved_version(operator, client, model):
    version = factories.create_version(model=model)
    factories.create_approval(version=version)
    client.force_login(operator)
    url = reverse("version-release", args=[model.slug, version.number])
    expect = client.get(url).context["form"]["expect"].value()

    client.post(
        url, {"version": version.pk, "environment": "production", "reason": "better", "expect": expect}
    )

    assert Release.objects.current(model).version == version


def test_an_unapproved_version_is_not_released(operator, client, model):
    version = factories.create_version(model=model)
    client.force_login(operator)
    url = reverse("version-release", args=[model.slug, version.number])

    html = client.post(
        url, {"version": version.pk, "environment": "production", "reason": "better"}
    ).content.decode()

    assert "is not approved for production" in html
    assert Release.objects.current(model).version.number == 2


def test_every_release_is_listed(operator, client, model):
    client.force_login(operator)

    assert len(client.get(reverse("release-index")).context["page"].object_list) == 2


def calls(release, *, requests, failed, milliseconds):
    return ServicePart.objects.create(
        model=release.model,
        version=release.version,
        environment="production",
        channel="api",
        hour=timezone.now(),
        minute=timezone.now(),
        source="test",
        requests=requests,
        rows=requests,
        errors={"500": failed} if failed else {},
        latencies=latency.histogram([milliseconds] * requests),
    )


def figures_of(client, model, number=1):
    return client.get(reverse("release-figures", args=[model.slug, number])).content.decode()


def test_the_dialog_fetches_errors_and_p95_of_then_and_now(operator, client, model):
    calls(Release.objects.current(model), requests=50, failed=6, milliseconds=390)
    client.force_login(operator)

    assert reverse("release-figures", args=[model.slug, 1]) in client.get(page_of(model)).content.decode()
    assert "12.0 %" in figures_of(client, model)


def served(*moments):
    """A model whose v1 and v2 answered in turn, from each of these moments on."""
    model = factories.create_model()
    versions = [factories.create_version(model=model) for _ in range(2)]
    return model, [
        factories.create_release(version=versions[position % 2], created_at=at)
        for position, at in enumerate(moments)
    ]


def test_the_figures_of_a_version_that_served_twice_are_those_of_both_times(operator, client, db):
    started = timezone.now() - timedelta(days=3)
    model, releases = served(*(started + timedelta(hours=hours) for hours in (0, 10, 20, 50)))
    for release in releases:
        part = calls(release, requests=10, failed=1, milliseconds=40)
        # The hour of a past call is one row; the release came in its middle.
        hour = release.created_at.replace(minute=0, second=0, microsecond=0)
        ServicePart.objects.filter(pk=part.pk).update(minute=hour)
    client.force_login(operator)

    for number in (1, 3):
        html = figures_of(client, model, number)
        assert html.count('<td class="num">20</td>') == 2
        assert html.count('<td class="num">10.0 %</td>') == 2
    assert "over all the times that it served" in html
    dialog = client.get(page_of(model)).content.decode().split("<dialog")[1]
    assert len(re.findall(r"<time[^>]+>[^<]+</time> – <time", dialog)) == 2


def test_a_day_of_serving_is_told_with_its_times(operator, client, db):
    at = timezone.now().replace(hour=9, minute=5) - timedelta(days=2)
    model, _releases = served(at, at + timedelta(hours=3))
    client.force_login(operator)

    html = client.get(page_of(model)).content.decode()

    assert re.search(r"served\s+<time[^>]+>[^<]+, 09:05</time> – <time[^>]+>12:05</time>", html)


def test_it_counts_who_sends_what_the_old_version_does_not_use(operator, client, db):
    model = factories.create_model()
    factories.create_release(version=factories.create_version(model=model))
    schema = {**factories.SCHEMA, "fields": [*factories.SCHEMA["fields"], {"name": "region", "type": "text"}]}
    current = factories.create_release(version=factories.create_version(model=model, schema=schema))
    for number, name in enumerate(["ana", "ana", "ben"]):
        predicted(current, public_id=f"p_{number}", user_name=name, inputs={"region": "north"})
    client.force_login(operator)

    html = figures_of(client, model)

    assert "<strong>region</strong> in 3 predictions by 2 clients" in html


def test_a_failing_model_says_so_and_offers_the_way_back(operator, client, model):
    calls(Release.objects.current(model), requests=50, failed=6, milliseconds=390)
    client.force_login(operator)

    html = client.get(model.get_absolute_url()).content.decode()

    assert "Serving, but failing: 6 of 50 calls failed" in html
    assert "Roll back…" in html


def test_the_way_back_does_not_need_the_figures(operator, client, model, monkeypatch):
    def broken(*args):
        raise RuntimeError

    monkeypatch.setattr(pages, "service_of", broken)
    monkeypatch.setattr(model_page, "service_of", broken)
    client.force_login(operator)

    assert 'id="roll-back-v1"' in client.get(page_of(model)).content.decode()
    assert "cannot be shown now" in figures_of(client, model)
    assert client.get(model.get_absolute_url()).status_code == 200
    roll_back(client, model)
    assert Release.objects.current(model).version.number == 1


def predicted(release, *, public_id="p_test", at=None, **fields):
    return Prediction.objects.create(
        public_id=public_id, model=release.model, version=release.version, release=release,
        environment="production", channel="page", at=at or timezone.now(), latency_ms=1,
        **{"inputs": {}, **fields},
    )  # fmt: skip


def test_a_rollback_says_how_long_its_first_answer_took(operator, client, model):
    client.force_login(operator)
    roll_back(client, model)
    current = Release.objects.current(model)
    url = reverse("release-first-answer", args=[model.slug, current.number])
    assert url in client.get(page_of(model)).content.decode()
    assert words_of(client, url) == "no answer yet"
    assert 'hx-trigger="every 3s"' in client.get(url).content.decode(), "it arrives without a reload"

    predicted(current, at=current.created_at + timedelta(seconds=1.2))

    assert words_of(client, url) == "first answer after 1.2 s"
    assert "hx-get" not in client.get(url).content.decode()


def words_of(client, url):
    return strip_tags(client.get(url).content.decode()).strip()


@pytest.mark.parametrize("page", ["release-ticks", "release-first-answer"])
def test_an_answer_that_is_only_in_the_log_is_seen_by_who_waits_for_it(
    operator, client, model, monkeypatch, page
):
    client.force_login(operator)
    roll_back(client, model)
    current = Release.objects.current(model)
    monkeypatch.setattr(log, "waiting_bytes", lambda: 100)
    monkeypatch.setattr(log, "ingest", lambda: predicted(current))

    words = words_of(client, reverse(page, args=[model.slug, current.number]))

    assert re.search("First answer from v1 seen|first answer after", words)


@pytest.mark.parametrize("waiting", [0, 10**9])
def test_a_long_log_is_left_to_the_tick(operator, client, model, monkeypatch, waiting):
    client.force_login(operator)
    roll_back(client, model)
    monkeypatch.setattr(log, "waiting_bytes", lambda: waiting)
    monkeypatch.setattr(log, "ingest", lambda: pytest.fail("it was read"))

    url = reverse("release-ticks", args=[model.slug, Release.objects.current(model).number])

    assert "Waiting for the first answer" in client.get(url).content.decode()


def test_the_ticks_stop_asking_when_another_release_has_followed(operator, client, model):
    client.force_login(operator)
    roll_back(client, model)
    roll_back(client, model, to=2, expect=3)

    html = client.get(reverse("release-ticks", args=[model.slug, 3])).content.decode()

    assert "Another release has followed" in html
    assert "hx-get" not in html


def running_batch(release, **fields):
    return BatchJob.objects.create(
        model=release.model, version=release.version, release=release, environment="production",
        filename="loans.csv", sha256="0" * 64, size=1, state="running", **fields,
    )  # fmt: skip


@pytest.mark.parametrize(("asked", "state"), [({"cancel_batches": "on"}, "cancelling"), ({}, "running")])
def test_running_batches_stay_unless_one_asks_to_cancel_them(operator, business, client, model, asked, state):
    job = running_batch(Release.objects.current(model), created_by=business)
    client.force_login(operator)
    assert "1 running batch stays on v2" in client.get(page_of(model)).content.decode()

    roll_back(client, model, **asked)

    job.refresh_from_db()
    assert (Release.objects.current(model).version.number, job.state) == (1, state)


def test_without_a_running_batch_nothing_is_offered_to_cancel(operator, client, model):
    client.force_login(operator)

    assert "Cancel the running batches too" not in client.get(page_of(model)).content.decode()


def test_what_one_cannot_go_back_to_is_listed_with_the_reason(operator, client, model):
    for state in ("quarantined", "retired"):
        version = factories.create_version(model=model)
        factories.create_release(version=version)
        ModelVersion.objects.filter(pk=version.pk).update(state=state)
    missing, altered = (factories.create_version(model=model) for _ in range(2))
    factories.create_release(version=missing)
    factories.create_release(version=altered)
    factories.create_release(version=factories.create_version(model=model))
    factories.create_version(model=model)
    artifacts.storage.delete(artifacts.key_of(missing.sha256))
    artifacts.local_path(altered.sha256).write_bytes(b"something else")
    client.force_login(operator)

    html = client.get(page_of(model)).content.decode()

    for words in (
        "v3: Quarantined: it may not answer any more",
        "v4: Retired: it may not answer any more",
        "v5: Its file is missing",
        "v6: Its file is not the one that was uploaded",
        "v7: Serving now",
        "v8: It never served here: it needs an approval",
    ):
        assert words in html


def test_a_file_of_the_right_size_and_other_bytes_is_not_gone_back_to(operator, client, model):
    version = model.versions.get(number=1)
    artifacts.local_path(version.sha256).write_bytes(b"x" * version.size)
    client.force_login(operator)

    html = roll_back(client, model).content.decode()

    assert "Its file is not the one that was uploaded" in html
    assert Release.objects.current(model).version.number == 2


@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_another_mode_than_full_is_refused_in_a_sentence(operator, client, model, mode):
    version = factories.create_version(model=model)
    factories.create_approval(version=version)
    client.force_login(operator)
    data = {"version": version.pk, "environment": "production", "reason": "better", "mode": mode}

    answer = client.post(reverse("version-release", args=[model.slug, version.number]), data)

    assert answer.status_code == 422
    assert f"The mode “{mode}” is not available yet" in answer.content.decode()
    assert AuditEvent.objects.get(action="release.made").details["code"] == "mode_not_available"


@pytest.mark.parametrize("to", ["²", "9" * 5000, "-1", "v1"])
def test_nonsense_for_a_version_is_no_fault_of_ours(operator, client, model, to):
    client.force_login(operator)

    assert roll_back(client, model, to=to).status_code == 409
    assert client.get(page_of(model), {"done": to, "to": to}).status_code == 200


def test_figures_of_different_rows_are_not_held_against_each_other(operator, client, model):
    """What was judged on the rows that it learned from looks better than what was judged on others."""
    first, second = model.versions.order_by("number")
    seen, unseen = factories.create_dataset(model=model), factories.create_dataset(model=model)
    for version, dataset, figure in ((first, seen, 0.95), (second, unseen, 0.90)):
        version.reference, version.evaluation = seen, dataset
        version.measured_metrics = {"accuracy": figure}
        version.save()
        Measurement.objects.create(
            version=version, dataset=dataset, rows=9, labelled=9, metrics={"accuracy": figure}, answers=b""
        )
    client.force_login(operator)

    html = client.get(page_of(model)).content.decode()

    assert "Each was measured on other rows" in html
    assert "▲" not in html

    Measurement.objects.create(
        version=first, dataset=unseen, rows=9, labelled=9, metrics={"accuracy": 0.85}, answers=b""
    )
    html = client.get(page_of(model)).content.decode()

    assert "Each was measured on other rows" not in html
    assert re.search(r"▼ −0.05\d* worse", html)


def test_declared_figures_are_not_held_against_each_other(operator, client, model):
    model.versions.update(declared_metrics={"accuracy": 0.9})
    model.versions.filter(number=1).update(declared_metrics={"accuracy": 0.95})
    client.force_login(operator)

    html = client.get(page_of(model)).content.decode()

    assert "v1, v2: declared by the author, not measured on the same rows." in html
    assert "0.95" in html
    assert "▲" not in html
    assert "Compare them on the same rows" not in html, "there are none"
