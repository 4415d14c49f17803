"""Looking at the names of a file: who may, who may not, and what everybody sees."""

import pytest
from django.test import Client
from django.urls import reverse

from registry.actions import admissions
from registry.models import AuditEvent, ModelVersion, Role, User
from tests.factories import create_model, create_request, create_version, create_version_to_review

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_checks")]

NAMES = ["numpy.nan_to_num"]
URL = "/models/loans/v/1/"


@pytest.fixture
def waiting(author: User) -> ModelVersion:
    model = create_model(slug="loans", name="Loans", owners=[author], created_by=author)
    return create_version_to_review(model=model, uploaded_by=author)


def page(client: Client, user: User, url: str = URL) -> str:
    client.force_login(user)
    return client.get(url).content.decode()


def test_an_approver_sees_it_on_the_start_page_in_the_inbox_and_in_the_navigation(
    waiting: ModelVersion, approver: User, client: Client
) -> None:
    home, inbox = page(client, approver, "/"), page(client, approver, "/approvals/")

    assert "Loans v1 needs a look at its names" in home
    assert "Names in files that you may admit" in inbox
    assert f"{URL}#review" in home and f"{URL}#review" in inbox
    assert 'class="count"' in home


def test_an_approver_admits_on_the_page(waiting: ModelVersion, approver: User, client: Client) -> None:
    assert "Admit this name for this version" in page(client, approver)

    response = client.post(
        f"{URL}review/", {"names": NAMES, "comment": "Only fills gaps.", "admit": "1"}, follow=True
    )

    waiting.refresh_from_db()
    assert waiting.state == "checking"
    text = response.content.decode()
    assert f"{approver.display_name} admitted 1 name for this version" in text
    assert "Only fills gaps." in text


def test_an_approver_refuses_on_the_page(waiting: ModelVersion, approver: User, client: Client) -> None:
    client.force_login(approver)

    response = client.post(f"{URL}review/", {"comment": "Unknown to all.", "refuse": "1"}, follow=True)

    waiting.refresh_from_db()
    assert waiting.state == "checks_failed"
    assert f"{approver.display_name} refused 1 name" in response.content.decode()


@pytest.mark.parametrize(
    "data",
    [{"names": NAMES, "comment": "", "admit": "1"}, {"comment": "Fine.", "admit": "1"}],
    ids=["no comment", "other names"],
)
def test_what_is_missing_is_said_at_the_form_and_nothing_changes(
    waiting: ModelVersion, approver: User, client: Client, data: dict[str, object]
) -> None:
    client.force_login(approver)

    response = client.post(f"{URL}review/", data)

    assert response.status_code == 422
    assert "thing to fix" in response.content.decode()
    waiting.refresh_from_db()
    assert waiting.state == "needs_review"


def test_the_uploader_reads_who_may_and_cannot(
    waiting: ModelVersion, author: User, approver: User, client: Client
) -> None:
    author.grants.create(role=Role.APPROVER)
    text = page(client, author)

    assert "You uploaded this version, so you may not admit its names." in text
    assert approver.display_name in text
    assert "Admit this name" not in text
    response = client.post(f"{URL}review/", {"names": NAMES, "comment": "Trust me.", "admit": "1"})
    assert response.status_code == 403
    event = AuditEvent.objects.get(result="refused")
    assert (event.action, event.details["code"]) == ("version.admitted", "own_version")


def test_two_approvers_one_is_late(
    waiting: ModelVersion, approver: User, second_approver: User, client: Client
) -> None:
    admissions.admit(waiting, names=NAMES, comment="Fine.", actor=second_approver)
    client.force_login(approver)

    response = client.post(f"{URL}review/", {"names": NAMES, "comment": "Fine.", "admit": "1"}, follow=True)

    assert "waits for nobody to admit anything" in response.content.decode()


def test_the_inventory_says_three_groups_in_words(author: User, client: Client) -> None:
    found = {
        "format": "joblib",
        "names": ["numpy.dtype", "a.B", "os.system"],
        "unknown": ["a.B"],
        "dangerous": ["os.system"],
    }
    version = create_version(globals=found, uploaded_by=author)
    text = page(client, author, version.get_absolute_url())

    positions = [text.index(word) for word in ("Dangerous</span>", "Unknown</span>", "Known</span>")]
    assert positions == sorted(positions)
    assert text.count("<li><code>a.B</code></li>") == 1


def test_whoever_decides_on_a_request_sees_the_inventory_too(
    waiting: ModelVersion, approver: User, second_approver: User, client: Client
) -> None:
    admissions.admit(waiting, names=NAMES, comment="Only fills gaps.", actor=second_approver)
    ModelVersion.objects.update(state="checked")
    request = create_request(version=waiting)

    text = page(client, approver, request.get_absolute_url())

    assert "What the file would import" in text
    assert f"{second_approver.display_name} admitted 1 name for this version" in text


# --- the admin site ---


def admin_url(version: ModelVersion) -> str:
    return reverse("admin:registry_modelversion_change", args=[version.pk])


@pytest.mark.parametrize(
    ("act", "state", "action"),
    [("admit", "checking", "version.admitted"), ("refuse", "checks_failed", "version.not_admitted")],
)
def test_the_admin_site_decides_through_the_same_verb(
    waiting: ModelVersion, approver: User, client: Client, act: str, state: str, action: str
) -> None:
    shown = page(client, approver, admin_url(waiting))
    assert "What the file would import" in shown and f'action="{admin_url(waiting)}"' in shown

    answer = client.post(
        admin_url(waiting), {"names": NAMES, "comment": "Only fills gaps.", act: "1"}, follow=True
    )

    waiting.refresh_from_db()
    assert waiting.state == state
    event = AuditEvent.objects.get(action=action)
    assert (event.channel, event.reason) == ("admin", "Only fills gaps.")
    assert "Only fills gaps." in answer.content.decode()


def test_the_admin_site_asks_for_a_comment(waiting: ModelVersion, approver: User, client: Client) -> None:
    client.force_login(approver)

    answer = client.post(admin_url(waiting), {"names": NAMES, "comment": "", "admit": "1"})

    waiting.refresh_from_db()
    assert (answer.status_code, waiting.state) == (422, "needs_review")


def test_its_uploader_does_not_admit_in_the_admin_site_either(
    waiting: ModelVersion, author: User, client: Client
) -> None:
    author.grants.create(role=Role.APPROVER)
    assert 'name="admit"' not in page(client, author, admin_url(waiting))

    client.post(admin_url(waiting), {"names": NAMES, "comment": "Mine is fine.", "admit": "1"})

    waiting.refresh_from_db()
    assert waiting.state == "needs_review"


def test_in_the_admin_site_too_only_one_decides(
    waiting: ModelVersion, approver: User, second_approver: User, client: Client
) -> None:
    client.force_login(approver)
    admissions.refuse(waiting, comment="Unknown to all.", actor=second_approver)

    answer = client.post(
        admin_url(waiting), {"names": NAMES, "comment": "Only fills gaps.", "admit": "1"}, follow=True
    )

    waiting.refresh_from_db()
    assert waiting.state == "checks_failed"
    assert "message" in answer.content.decode()
    assert list(waiting.model.versions.values_list("admissions__comment", flat=True)) == ["Unknown to all."]
