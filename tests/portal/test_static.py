"""Promises about the files that pages are made of."""

import re

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.loader import get_template
from plotly.offline import get_plotlyjs_version

from portal.context_processors import NAVIGATION
from portal.templatetags.portal_tags import WORDS, icon

STATIC = settings.BASE_DIR / "static"
TEMPLATES = settings.BASE_DIR / "templates"
OWN_TEMPLATES = sorted(TEMPLATES.rglob("*.html"))


def test_plotly_is_the_version_that_the_package_expects():
    file = STATIC / "vendor" / "plotly" / f"plotly-cartesian-{get_plotlyjs_version()}.min.js"

    assert f"v{get_plotlyjs_version()}" in file.read_text()[:300]


def test_no_vendored_file_points_at_a_source_map():
    for file in (STATIC / "vendor").rglob("*.js"):
        assert "sourceMappingURL" not in file.read_text(), file


def test_every_vendored_folder_has_its_licence():
    for folder in (STATIC / "vendor").iterdir():
        assert not folder.is_dir() or list(folder.glob("LICENSE*")), folder


@pytest.mark.parametrize(
    "path", ["django_htmx/htmx-2.min.js", "js/theme.js", "css/tokens.css", "css/plotly-style.css"]
)
def test_what_the_base_page_asks_for_is_there(path):
    assert finders.find(path)


def test_style_sheets_and_scripts_ask_nobody_else_for_anything():
    for file in [*STATIC.glob("css/*.css"), *STATIC.glob("js/**/*.js")]:
        assert not re.search(r"https?://", file.read_text()), file


@pytest.mark.parametrize("path", OWN_TEMPLATES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_a_template_has_no_inline_script_style_or_handler(path):
    text = path.read_text()

    assert not re.search(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", text)
    assert not re.search(r"<style|\sstyle=|\son(click|change|submit|load|input)=|javascript:", text)
    assert "hx-on" not in text  # it would need eval
    get_template(str(path.relative_to(TEMPLATES)))


def test_every_word_and_every_link_has_its_icon():
    for word in WORDS.values():
        assert "<path" in icon(word.icon)
    for _title, items in NAVIGATION:
        for item in items:
            assert "<path" in icon(item.icon)


def test_every_icon_that_a_template_names_is_there():
    for path in OWN_TEMPLATES:
        for name in re.findall(r"""{% icon ["']([a-z0-9-]+)["']""", path.read_text()):
            assert "<path" in icon(name), (path, name)


# Contrast: the tokens keep WCAG 2.2 AA


def _tokens(theme: str) -> dict[str, str]:
    css = (STATIC / "css" / "tokens.css").read_text()
    light = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", css.split('[data-bs-theme="dark"]')[0]))
    dark = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})\b", css.split('[data-bs-theme="dark"]')[1]))
    return light if theme == "light" else {**light, **dark}


def _luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme):
    tokens = _tokens(theme)
    for name in ("text", "text-2", "link"):
        for ground in ("bg", "surface", "surface-2"):
            assert _contrast(tokens[name], tokens[ground]) >= 4.5, (name, ground)
    for tone in ("ok", "info", "warn", "bad", "mute", "canary", "shadow"):
        assert _contrast(tokens[f"{tone}-fg"], tokens[f"{tone}-bg"]) >= 4.5, tone
    for name in ("primary", "danger"):
        assert _contrast("#ffffff", tokens[name]) >= 4.5, name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_controls_and_lines_of_charts_can_be_seen(theme):
    tokens = _tokens(theme)
    for name in ["control", "focus", *(f"chart-{n}" for n in range(1, 8))]:
        assert _contrast(tokens[name], tokens["surface"]) >= 3, name
