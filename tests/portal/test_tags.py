"""How times, numbers and states are said."""

from datetime import UTC, datetime, timedelta

import pytest
from django.template import Context, Template
from django.utils import timezone
from django.utils.html import strip_tags

from portal.templatetags import portal_tags as tags


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.81234, "0.812"), (0.0004, "<0.001"), (0, "0"), (54.213, "54.2"), (16.0, "16"), (12345, "12,345"),
     (None, "–"), (float("nan"), "–"), ("text", "text")],
)  # fmt: skip
def test_it_says_a_metric_in_three_figures(value, said):
    assert tags.metric(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.1234, "12.3 %"), (0.00001, "<0.1 %"), (1, "100.0 %"), (None, "–")]
)
def test_it_says_a_share_in_percent(value, said):
    assert tags.percent(value) == said


@pytest.mark.parametrize(
    ("value", "said"), [(0.041, "41 ms"), (3.21, "3.2 s"), (95, "1 min 35 s"), (None, "–")]
)
def test_it_says_how_long_something_took(value, said):
    assert tags.duration(value) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (2, "just now"),
        (180, "3 min ago"),
        (7200, "2 h ago"),
        (86400 * 3, "3 days ago"),
        (-86400 * 2, "in 2 days"),
    ],
)
def test_it_says_how_long_ago_with_the_exact_time_beside_it(seconds, said):
    html = tags.ago(timezone.now() - timedelta(seconds=seconds))

    assert f">{said}</time>" in html
    assert "UTC" in html


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("2026-11-03 10:00:00", "2026-11-19 09:00:00", "3 Nov 2026 – 19 Nov 2026"),
        ("2026-11-21 10:00:00", "2026-11-21 14:02:00", "21 Nov 2026, 10:00 – 14:02"),
        ("2026-11-21 10:00:05", "2026-11-21 10:00:40", "21 Nov 2026, 10:00:05 – 10:00:40"),
        ("2026-11-21 10:00:00", None, "since 21 Nov 2026, 10:00"),
    ],
)
def test_it_says_a_period_with_times_where_it_is_of_one_day(start, end, said):
    moments = (datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None for text in (start, end))

    assert strip_tags(tags.period(*moments)) == said


@pytest.mark.parametrize(
    ("name", "now", "then", "word"),
    [("accuracy", 0.9, 0.8, "better"), ("accuracy", 0.7, 0.8, "worse"), ("rmse", 50, 54, "better"),
     ("log_loss", 0.5, 0.4, "worse"), ("auc", 0.8, 0.8, "same")],
)  # fmt: skip
def test_a_difference_has_a_word_and_not_only_a_colour(name, now, then, word):
    assert word in tags.delta(name, now, then)


def test_a_badge_is_an_icon_and_a_word():
    html = Template('{% load portal_tags %}{% badge "serving" %}').render(Context())

    assert "Serving" in html
    assert "<svg" in html


def test_a_state_without_a_word_is_still_shown():
    html = Template("{% load portal_tags %}{% badge state %}").render(Context({"state": "<odd>"}))

    assert "&lt;odd&gt;" in html


def test_a_card_is_read_as_headings_lists_and_paragraphs():
    html = tags.card_text("## Purpose\nPlans **interviews**.\n\n- not for `hiring`\n- not for credit")

    assert "<h3>Purpose</h3>" in html
    assert "<p>Plans <strong>interviews</strong>.</p>" in html
    assert "<li>not for <code>hiring</code></li>" in html


def test_a_card_cannot_bring_a_tag_of_its_own():
    html = tags.card_text("# <script>alert(1)</script>\n**<img src=x onerror=alert(1)>**")

    assert "<script" not in html
    assert "<img" not in html
