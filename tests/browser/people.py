"""People at their browsers: signed in, watched for anything that the page should not have said to the console."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    expect,
    sync_playwright,
)

from tests.live import Portal, wait_until
from tests.services import required

PASSWORD = "three oaks and a river"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-sync",
]

#: The policy that every page has; pages with charts and the API's own may say more about style attributes only.
STRICT = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "frame-ancestors 'none'",
    "base-uri 'none'",
}
ALSO = {"style-src-attr 'unsafe-inline'", "style-src-elem 'self'"}


@contextmanager
def chromium() -> Iterator[Browser]:
    program = required("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """One signed-in person with a page; `complaints` collects console errors and loose policies."""

    def __init__(self, browser: Browser, portal: Portal, email: str, pictures: Path) -> None:
        self.portal = portal
        self.email = email
        self.pictures = pictures
        self.complaints: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": 1280, "height": 860}, accept_downloads=True, reduced_motion="reduce"
        )
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(f"script failed: {error}"))
        self.page.on("response", self._check_policy)
        self.page.on("requestfailed", lambda request: self._failed(request.url, request.failure))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type} at {self.page.url}: {message.text}")

    def _failed(self, url: str, failure: str | None) -> None:
        if failure != "net::ERR_ABORTED":  # a poll that a page change overtook, or a download
            self.complaints.append(f"{url}: {failure}")

    def _check_policy(self, response: Response) -> None:
        if "text/html" not in response.headers.get("content-type", ""):
            return
        policy = {part.strip() for part in response.headers.get("content-security-policy", "").split(";")}
        scripts = {part for part in policy if part.startswith(("script-src", "style-src"))}
        if not policy >= STRICT or scripts - STRICT - ALSO:
            self.complaints.append(f"{response.url} has the policy {sorted(policy)}")

    def sign_in(self) -> "Person":
        self.go("/")
        self.page.locator("input[name=login]").fill(self.email)
        self.page.locator("input[name=password]").fill(PASSWORD)
        self.page.locator("main button[type=submit]").click()
        expect(self.page.get_by_role("heading", level=1)).to_contain_text("Good to see you")
        return self

    def go(self, path: str) -> None:
        self.page.goto(self.portal.address + path)

    def press(self, name: str, role: str = "button") -> None:
        self.page.get_by_role(role, name=name, exact=True).first.click()  # type: ignore[arg-type]

    def fill(self, label: str, value: str) -> None:
        self.page.get_by_label(label, exact=True).fill(value)

    def sees(self, text: str | re.Pattern[str], seconds: float = 15) -> None:
        expect(self.page.locator("main, #content").first).to_contain_text(text, timeout=seconds * 1000)

    def picture(self, name: str) -> None:
        """Light, dark and as narrow as a phone; nothing may be wider than the screen."""
        page = self.page
        for theme in ("light", "dark"):
            self._wear(theme)
            page.screenshot(path=self.pictures / f"{name}-{theme}.png", full_page=True)
        self._wear("light")
        page.set_viewport_size({"width": 360, "height": 780})
        # Charts draw themselves anew for the narrower screen; what is still wider after that is too wide.
        wait_until(lambda: self._width() <= 360, 10, lambda: f"{name} is {self._width()} px wide")
        page.screenshot(path=self.pictures / f"{name}-360.png", full_page=True)
        page.set_viewport_size({"width": 1280, "height": 860})

    def _width(self) -> int:
        return int(self.page.evaluate("document.documentElement.scrollWidth"))

    def _wear(self, theme: str) -> None:
        self.page.evaluate("theme => window.portalTheme.set(theme)", theme)
        expect(self.page.locator("html")).to_have_attribute("data-bs-theme", theme)

    def leave(self) -> None:
        self.context.close()
        assert self.complaints == []


def picture_folder(fallback: Path) -> Path:
    """Where screenshots go: MODELGATE_PICTURES keeps them, otherwise they go with the test."""
    folder = Path(os.environ.get("MODELGATE_PICTURES", fallback / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
