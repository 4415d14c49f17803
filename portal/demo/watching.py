"""How the demo's models are watched, and what the checks of the past months found."""

from datetime import datetime

from monitoring import actions
from monitoring.models import MonitoringSettings, Verdict
from portal.demo import people, record, story
from portal.demo.papers import EMPLOYMENT, Paper

WINDOW_HOURS = int(story.MONTH.total_seconds() // 3600)


def watch_by_the_month(paper: Paper = EMPLOYMENT) -> None:
    """A file comes in once a month, so a window holds a month; the default of a week would mostly be empty."""
    model = record.model_of(paper)
    if not MonitoringSettings.objects.filter(model=model).exists():
        actions.set_monitoring(model, window_hours=WINDOW_HOURS, actor=people.OPERATOR.user)


def check_now(paper: Paper) -> Verdict:
    """Judge what is known by now: a check that ran by itself while the demo was made saw less."""
    return actions.run_check(record.model_of(paper), actor=people.OPERATOR.user)


def check(file: story.File, now: datetime) -> Verdict:
    """Judge the month that this file came in, as a check soon afterwards would have, with the outcomes known by now."""
    model = record.model_of(file.paper)
    moment = min(file.arrived(now) + story.LATEST, now)
    known = Verdict.objects.filter(model=model, as_of=moment).first()
    return known or actions.run_check(model, as_of=moment, actor=people.OPERATOR.user)
