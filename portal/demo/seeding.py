"""The demo from beginning to end, in order, with its progress; stopped anywhere, it goes on from there.

Runs in a process of its own beside a worker: this trains and asks, the worker checks and scores.
"""

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from portal.demo import data, people, progress, record, story, traffic, watching
from portal.demo.papers import EMPLOYMENT
from registry import audit
from registry.actions.people import SYSTEM
from registry.models import Release

SECONDS = 300.0


class Seeding:
    """One run. `months` of each later year; `seconds` is how long a worker may take for any one thing."""

    def __init__(
        self,
        *,
        months: int = data.MONTHS,
        seconds: float = SECONDS,
        tell: Callable[[progress.Progress], None] = lambda _progress: None,
    ) -> None:
        self.stories = story.stories(months)
        self.files = list(story.files(months))
        self.monthly = [file for file in self.files if file.paper is EMPLOYMENT]
        self.seconds, self.tell = seconds, tell
        self.done = 0
        self.total = self._count_steps()
        self.now = timezone.now()

    def run(self) -> None:
        """Everything that is not there yet. Whatever goes wrong is in the progress, too."""
        if not progress.is_complete():
            try:
                self._run()
            except Exception as error:
                self._write("failed", str(error), str(error))
                raise
        self.done = self.total
        self._write("done")

    def _run(self) -> None:
        self._people_and_models()
        self._versions()
        self.now = self._anchor()
        for number in (1, 2):
            self._releases(number)
            self._start_files(number)
        self._releases(3)
        self._outcomes()
        self._questions()
        self._verdicts()
        self._complete()

    # --- the steps ---

    def _people_and_models(self) -> None:
        self._step(_("Inviting the demo's people"))
        for person in people.EVERYBODY:
            people.invite(person)
        for each in self.stories:
            record.create_model(each.paper)
        watching.watch_by_the_month()

    def _versions(self) -> None:
        for each in self.stories:
            for release in each.releases:
                self._step(_("Training and uploading %(file)s") % {"file": release.recipe.filename})
                record.upload(each.paper, release)

    def _releases(self, number: int) -> None:
        """The version of this number of every model that has one: checked, asked for, decided, released."""
        for each in self.stories:
            for release in each.releases[number - 1 : number]:
                self._step(
                    _("Checking and approving %(model)s v%(number)d")
                    % {"model": each.paper.name, "number": number}
                )
                version = record.upload(each.paper, release)
                record.wait_for_checks(version, self.seconds)
                record.govern(each, release, now=self.now)

    def _start_files(self, version: int) -> None:
        """What came in while this version answered."""
        for file in self.files:
            if file.version == version:
                self._step(_("Handing in %(file)s") % {"file": file.name})
                traffic.start(file, self.now)

    def _outcomes(self) -> None:
        for file in self.files:
            self._step(_("Scoring %(file)s") % {"file": file.name})
            job = traffic.start(file, self.now)
            traffic.wait_until_scored(job, self.seconds)
            traffic.tell_outcomes(file, job, self.now)

    def _questions(self) -> None:
        self._step(_("Asking single questions"))
        traffic.ask_single_questions()

    def _verdicts(self) -> None:
        for file in self.monthly:
            self._step(_("Looking for drift in %(file)s") % {"file": file.name})
            watching.check(file, self.now)
        for each in self.stories:
            self._step(_("Looking at %(model)s as it is now") % {"model": each.paper.name})
            watching.check_now(each.paper)

    @transaction.atomic
    def _complete(self) -> None:
        audit.record(
            audit.Action.DEMO_SEEDED,
            target=None,
            actor=SYSTEM,
            models=[each.paper.slug for each in self.stories],
            files=len(self.files),
            as_of_now=self.now,
        )

    # --- when, and how far ---

    def _anchor(self) -> datetime:
        """The instant that the story is told from: of a run that was stopped, the one it began with."""
        longest, first = self.stories[0], self.stories[0].releases[0]
        made = Release.objects.filter(version__filename=first.recipe.filename).order_by("number").first()
        return made.created_at + longest.age(first) if made else self.now

    def _count_steps(self) -> int:
        versions = sum(len(each.releases) for each in self.stories)
        return 2 + 2 * versions + 2 * len(self.files) + len(self.monthly) + len(self.stories)

    def _step(self, text: str) -> None:
        self._write("running", text)
        self.tell(progress.read())
        self.done += 1

    def _write(self, state: progress.State, step: str = "", error: str = "") -> None:
        progress.write(state=state, step=step, done=self.done, total=self.total, error=error)
