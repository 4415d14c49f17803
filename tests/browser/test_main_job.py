"""The whole job in the browser: five people, real data, a strict policy, and not one console error."""

import csv
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from portal.demo import data, training
from tests.browser.people import PASSWORD, Person, chromium, picture_folder
from tests.live import Portal, running_portal

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(420)]

CAST = {
    "asha@example.com": "author",
    "meera@example.com": "approver",
    "omkar@example.com": "operator",
    "bina@example.com": "business",
    "anil@example.com": "auditor",
}
CARD = "## Purpose\nFills in an answer that a survey lacks.\n\n## Not for\nDeciding anything about a person."
PERSON = {"age": "41", "education": "bachelor's degree"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    with running_portal(tmp_path_factory.mktemp("walk"), "--web-processes", "2") as portal:
        for email, role in CAST.items():
            portal.add_person(email, role, PASSWORD)
        yield portal


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained models, the data they learned from, and a file of people to ask about."""
    folder = tmp_path_factory.mktemp("files")
    for recipe in training.EMPLOYMENT[:2]:
        training.train(recipe, folder)
    columns = [name for name in data.census().training.columns if name not in data.ALONGSIDE]
    data.census().training[columns].to_csv(folder / "reference.csv", index=False)
    months = [month[columns].drop(columns="employed") for month in data.census_months(2017)]
    people = months[0]
    people.to_csv(folder / "people.csv", index=False)
    with (folder / "people.csv").open("a") as file:
        file.write(
            people.head(1).to_csv(index=False, header=False).replace(str(people.iloc[0]["age"]), "young", 1)
        )
    return folder


def test_the_whole_job(browser: Browser, portal: Portal, files: Path, tmp_path: Path) -> None:
    pictures = picture_folder(tmp_path)
    asha, meera, omkar, bina, anil = (Person(browser, portal, email, pictures).sign_in() for email in CAST)

    create_model(asha)
    upload(asha, files / training.EMPLOYMENT[0].filename, files / "reference.csv", version=1)
    asha.picture("version")
    ask_for_approval(asha, version=1, reason="First version, 0.89 AUC on people held back")
    approve_in_the_admin_site(meera)
    release(omkar, version=1, reason="Approved by Meera")

    assert answer_of_the_form(bina) == "v1"
    key = create_key(bina)
    assert answer_of_the_api(portal, key) == 1
    score_a_file(bina, files / "people.csv")
    drift_verdict(omkar)

    upload(asha, files / training.EMPLOYMENT[1].filename, None, version=2)
    ask_for_approval(asha, version=2, reason="A forest, better on every figure")
    approve_on_the_page(meera)
    release(omkar, version=2, reason="Better on every figure")
    assert answer_of_the_api(portal, key) == 2

    began = roll_back(omkar)
    while answer_of_the_api(portal, key) != 1:
        assert time.monotonic() - began < 2, "the old version did not answer within two seconds"
    answers = {answer_of_the_api(portal, key) for _ in range(20)}
    assert answers == {1}, "one of the two web processes still answers with the other version"
    assert answer_of_the_form(bina) == "v1"

    read_the_record(anil)
    for person in (asha, meera, omkar, bina, anil):
        person.leave()


def create_model(asha: Person) -> None:
    asha.go("/models/")
    asha.press("New model", "link")
    asha.fill("Name", "In work")
    asha.fill("Short name", "employment")
    asha.page.get_by_label("Question").fill("Is this person in work?")
    asha.page.get_by_label("Classification").check()
    asha.page.get_by_label("Low").check()
    asha.page.locator("main form button[type=submit]").first.click()
    expect(asha.page.get_by_role("heading", level=1)).to_contain_text("In work")


def upload(asha: Person, artifact: Path, reference: Path | None, version: int) -> None:
    """A draft whose schema is looked at, then its checks until they have passed."""
    page = asha.page
    asha.go("/models/employment/versions/new/")
    page.locator("input[name=file]").set_input_files(artifact)
    if reference:
        page.locator("input[name=reference_file]").set_input_files(reference)
        page.locator("input[name=target]").fill("employed")
    else:
        page.locator("select[name=reference]").select_option(index=1)
    page.locator("textarea[name=card]").fill(CARD)
    asha.press("Upload and review the schema")
    expect(page.get_by_label("age: Type")).to_have_value("integer")
    page.get_by_label("age: Unit").fill("years")
    page.locator("button[name=check]").click()
    asha.sees("Metrics measured again")
    expect(page.get_by_role("link", name="Ask for approval").first).to_be_visible(timeout=60_000)
    asha.sees("It answers 100 reference rows")
    assert page.url.endswith(f"/models/employment/v/{version}/")


def ask_for_approval(asha: Person, version: int, reason: str) -> None:
    asha.go(f"/models/employment/v/{version}/")
    asha.page.get_by_role("link", name="Ask for approval").first.click()
    asha.page.locator("textarea[name=reason]").fill(reason)
    asha.press("Ask for approval")
    asha.sees("You asked for this, so another approver must decide")


def approve_in_the_admin_site(meera: Person) -> None:
    meera.go("/admin/")
    meera.page.get_by_role("link", name="Approval requests").first.click()
    meera.page.locator("#result_list tbody a").first.click()
    expect(meera.page.locator("body")).to_contain_text("asks to serve v1")
    meera.page.screenshot(path=meera.pictures / "admin-approval-light.png", full_page=True)
    meera.page.locator("textarea[name=comment]").fill("The figures hold on people it never saw")
    meera.press("Approve")
    expect(meera.page.locator("body")).to_contain_text("Approved")


def approve_on_the_page(meera: Person) -> None:
    meera.go("/approvals/")
    meera.page.locator("main table a").first.click()
    meera.sees("asks to serve v2")
    meera.picture("approval")
    meera.press("Approve")
    meera.sees("Approved. An operator can release it.")


def release(omkar: Person, version: int, reason: str) -> None:
    omkar.go(f"/models/employment/v/{version}/")
    omkar.page.get_by_role("link", name="Release…").first.click()
    omkar.page.locator("textarea[name=reason]").fill(reason)
    omkar.press("Release")
    omkar.go("/models/employment/")
    omkar.sees(f"Serving now v{version}")
    omkar.picture("model")


def answer_of_the_form(bina: Person) -> str:
    """Predict with an example of the form; the version that answered, as the page names it."""
    page = bina.page
    bina.go("/models/employment/predict/")
    page.locator(".chip").first.click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator("#result .answer")).to_contain_text(re.compile("yes|no|work", re.I))
    bina.picture("predict")
    version = re.search(r"\bv\d+\b", page.locator("#result").inner_text())
    assert version, page.locator("#result").inner_text()
    return version.group(0)


def create_key(bina: Person) -> str:
    bina.go("/keys/new/")
    bina.fill("Name", "Nightly survey")
    bina.page.get_by_role("checkbox", name="Predict", exact=True).check()
    bina.page.locator("main form button[type=submit]").click()
    secret = re.search(r"mg_[A-Za-z0-9_-]{20,}", bina.page.locator("main").inner_text())
    assert secret, "the secret is shown once, here"
    bina.go("/keys/")
    assert secret.group(0) not in bina.page.content()
    return secret.group(0)


def answer_of_the_api(portal: Portal, key: str) -> int:
    rows = data.census_months(2018)[0].drop(columns=["employed", *data.ALONGSIDE], errors="ignore")
    inputs = {
        name: getattr(value, "item", lambda value=value: value)() for name, value in rows.iloc[0].items()
    }
    status, answer = portal.call("POST", "/api/v1/models/employment/predict/", key, {"inputs": inputs})
    assert status == 200, answer
    return int(answer["version"])


def score_a_file(bina: Person, file: Path) -> None:
    page = bina.page
    bina.go("/models/employment/batch/new/")
    page.locator("input[name=file]").set_input_files(file)
    bina.press("Upload and score")
    bina.sees("Done", seconds=60)
    bina.picture("batch")
    rows = len(file.read_text().splitlines()) - 1
    result = csv_of(bina, "Download the scored file")
    problems = csv_of(bina, "Problem rows only")
    assert [row["row_status"] for row in result] == ["scored"] * (rows - 1) + ["invalid"]
    assert {row["model_version"] for row in result[:-1]} == {"v1"}
    assert (len(problems), problems[0]["age"], problems[0]["row_number"]) == (1, "young", str(rows + 1))


def csv_of(bina: Person, name: str) -> list[dict[str, str]]:
    with bina.page.expect_download() as download:
        bina.page.get_by_role("link", name=name).click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(io.StringIO(text)))


def drift_verdict(omkar: Person) -> None:
    omkar.go("/models/employment/drift/")
    omkar.page.get_by_role("button", name="Check now").click()
    omkar.sees(re.compile(r"inputs? drifted|predictions as before|Healthy|Watch|Alert"), seconds=40)
    expect(omkar.page.locator(".js-plotly-plot, .plotly").first).to_be_visible(timeout=20_000)
    omkar.picture("drift")
    omkar.go("/models/employment/health/")
    expect(omkar.page.locator(".js-plotly-plot, .plotly").first).to_be_visible(timeout=20_000)
    omkar.picture("health")
    omkar.go("/health/")
    omkar.sees("In work")
    omkar.picture("fleet")


def roll_back(omkar: Person) -> float:
    """Press the button, give the reason, confirm; the moment of confirming."""
    omkar.go("/models/employment/releases/")
    button = omkar.page.get_by_role("button", name="Roll back to v1…").first
    dialog = omkar.page.locator("dialog[open]")
    omkar.page.set_viewport_size({"width": 360, "height": 640})
    button.click()
    expect(dialog.get_by_role("heading", name="Roll In work back to v1")).to_be_focused()
    assert dialog.evaluate("dialog => dialog.scrollTop") == 0
    omkar.page.keyboard.press("Escape")
    omkar.page.set_viewport_size({"width": 1280, "height": 860})
    button.click()
    dialog.locator("textarea[name$=reason]").fill("Answers looked wrong for students")
    omkar.page.screenshot(path=omkar.pictures / "roll-back-light.png")
    dialog.get_by_role("button", name="Roll back to v1").click()
    began = time.monotonic()
    omkar.sees("Rolled back to v1")
    omkar.picture("releases")
    return began


def read_the_record(anil: Person) -> None:
    anil.go("/audit/?model=employment")
    for act in (
        "model.created",
        "version.uploaded",
        "version.checked",
        "request.made",
        "request.approved",
        "release.made",
        "batch.started",
        "release.rolled_back",
    ):
        anil.sees(act)
    anil.picture("audit")
    anil.page.set_viewport_size({"width": 360, "height": 780})
    table = anil.page.get_by_role("region", name="Events")
    assert table.evaluate("wrap => wrap.scrollWidth <= wrap.clientWidth"), "the list is cut off on a phone"
    anil.page.set_viewport_size({"width": 1280, "height": 860})
    anil.go("/audit/")
    anil.press("Verify chain")
    anil.sees(re.compile("chain verified from #1 up to", re.I))
