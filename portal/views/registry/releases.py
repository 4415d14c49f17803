"""Releases: the timeline, a new one, and the way back."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from inference import clients, comparing, golden, log
from inference.batches.verbs import cancel
from inference.checks import measuring
from inference.models import BatchJob, Prediction
from portal.forms.registry import AtForm, ReasonForm, ReleaseForm, RollbackForm
from portal.notices import with_roles
from portal.templatetags.portal_tags import count, duration, percent
from portal.views.acts import attempt, on_the_record, problems, require_role
from portal.views.gates import get_model, get_version, person, whole_number
from portal.views.model_page import model_page, names_of_approvers, service_of
from portal.views.registry.comparing import declared
from registry import permissions
from registry.actions import releases as verbs
from registry.audit import Action
from registry.differences import schema_changes
from registry.errors import NotFound, Refused
from registry.history import Interval, answered_at, intervals, latest
from registry.models import PRODUCTION, Environment, ModelVersion, RegisteredModel, Release, Role

logger = logging.getLogger(__name__)

PER_PAGE = 50
_LOOK_BACK = timedelta(days=7)  # of serving
_TIMES_SHOWN = 3
_QUIET_AFTER = timedelta(seconds=30)
_WAITED_FOR = timedelta(minutes=10)  # a first answer, by who has the timeline open
_READ_IN_PASSING = 1024 * 1024  # bytes of the log; what is more is left to the tick


@dataclass(frozen=True)
class Choice:
    """One dialog: go back from what serves now to this version."""

    version: ModelVersion
    then: Release
    now: Release
    served: list[Interval]  # the latest times that this version did
    served_before: int  # how many more there were
    metrics: list[tuple[str, Any, Any]]
    is_fair: bool  # both were measured on the same rows
    declared: str  # the versions whose figures are only what their authors say
    is_comparable: bool  # both can be asked the same rows
    unused: list[str]  # fields that clients send today and this version does not know
    needed: list[str]  # fields that this version needs and clients do not send today
    approvers: str
    form: RollbackForm
    is_undo: bool
    is_open: bool = False


def release_index(request: HttpRequest) -> HttpResponse:
    """Every release that this person may see, newest first."""
    models = RegisteredModel.objects.visible_to(request.user)
    releases = (
        Release.objects.filter(model__in=models)
        .select_related("model", "version__model", "environment", "released_by")
        .order_by("-created_at", "-pk")
    )
    page = Paginator(releases, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "registry/release_index.html", {"page": page})


def release_list(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    return _release_page(request, model)


def _release_page(
    request: HttpRequest, model: RegisteredModel, *, failed: RollbackForm | None = None, to: int = 0
) -> HttpResponse:
    environment = _environment(request)
    context = model_page(request, model, "releases")
    timeline = list(
        Release.objects.of(model, environment.slug)
        .select_related("version__model", "released_by", "request", "restores")
        .order_by("-number")[:PER_PAGE]
    )
    context |= {
        "environment": environment,
        "timeline": timeline,
        "release_approvers": names_of_approvers(timeline),
        "replaced": _replaced(timeline),
        "current": timeline[0] if timeline else None,
        "fresh": _fresh(request, timeline),
        "at_form": AtForm(initial={"environment": environment.slug}),
        "freeze_form": ReasonForm(prefix="freeze"),
        "operators": ", ".join(user.display_name for user in with_roles(Role.OPERATOR)[:3]),
        "rollback_reasons": [_("More errors"), _("Too slow"), _("Wrong answers"), _("Drift")],
    }
    context |= _choices(model, environment, failed, to, asked=request.GET.get("to", ""))
    return render(request, "registry/release_list.html", context, status=409 if failed else 200)


def _environment(request: HttpRequest) -> Environment:
    slug = request.POST.get("environment") or request.GET.get("environment") or PRODUCTION
    return get_object_or_404(Environment, slug=slug)


def _fresh(request: HttpRequest, timeline: list[Release]) -> Release | None:
    """The rollback that was just made: its three ticks are shown until they are true."""
    number = request.GET.get("done", "")
    return next((one for one in timeline if str(one.number) == number), None)


def _choices(
    model: RegisteredModel, environment: Environment, failed: RollbackForm | None, to: int, *, asked: str
) -> dict[str, Any]:
    try:
        preview = verbs.rollback_preview(model, environment=environment.slug)
    except NotFound:
        return {"choices": [], "others": [], "by_version": {}, "pinned": 0}
    freeze = verbs.open_freeze(model, environment)
    undone = (
        Release.objects.of(model, environment.slug).filter(number=freeze.release.number - 1).first()
        if freeze
        else None
    )
    running = _running(preview.current).count()
    served = intervals(model, environment.slug)
    choices = []
    for target in preview.targets:
        if not target.is_eligible:
            continue
        number = target.version.number
        choices.append(
            _choice(
                preview.current,
                target,
                served[target.version.pk],
                form=failed if failed and to == number else None,
                running=running,
                is_undo=undone is not None and undone.version_id == target.version.pk,
                is_open=(failed is not None and to == number) or asked == str(number),
            )
        )
    return {
        "choices": choices,
        "others": [target for target in preview.targets if not target.is_eligible],
        "by_version": {choice.version.pk: choice for choice in choices},
        "default_choice": _earlier(preview.current, choices),
        "never_served": preview.never_served,
        "pinned": running,
    }


def _running(release: Release) -> QuerySet[BatchJob]:
    """The batches that stay with this release whatever serves."""
    return BatchJob.objects.filter(release=release, state__in=["queued", "running"])


def _earlier(current: Release, choices: list[Choice]) -> Choice | None:
    """What the button above the timeline offers: a step further back, never forth again."""
    origin = current.restores or current
    return next((choice for choice in choices if choice.then.number < origin.number), None)


def _replaced(timeline: list[Release]) -> set[int]:
    """The releases that somebody rolled back from."""
    return {older.pk for newer, older in pairwise(timeline) if newer.kind != Release.Kind.RELEASE}


def _choice(
    current: Release,
    target: verbs.Target,
    served: list[Interval],
    *,
    form: RollbackForm | None,
    running: int,
    is_undo: bool,
    is_open: bool,
) -> Choice:
    same = measuring.on_the_same_rows(current.version, target.version)
    now, then = same or (current.version.figures, target.version.figures)
    changes = schema_changes(current.version, target.version)
    unused = [change.field for change in changes if change.kind == "removed"]
    number = target.version.number
    if form is None:
        form = RollbackForm(
            initial={"to": number, "expect": current.number},
            running=running,
            needs_tick=bool(unused),
            auto_id=f"id_v{number}_%s",
        )
    return Choice(
        version=target.version,
        then=target.release,
        now=current,
        served=served[-_TIMES_SHOWN:],
        served_before=len(served[:-_TIMES_SHOWN]),
        metrics=[(name, then.get(name), now.get(name)) for name in sorted({*then, *now})][:4],
        is_fair=same is not None,
        declared=declared(target.version, current.version),
        is_comparable=not comparing.why_not(target.version, current.version),
        unused=unused,
        needed=[change.field for change in changes if change.kind == "added"],
        approvers=names_of_approvers([target.release])[target.release.pk],
        form=form,
        is_undo=is_undo,
        is_open=is_open,
    )


def release_figures(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Errors, p95 and who sends what, then and now: asked for by a dialog that is open already and does not need it."""
    model = get_model(request, slug)
    environment = _environment(request)
    then = get_object_or_404(Release.objects.of(model, environment.slug), number=number)
    now = Release.objects.current(model, environment.slug) or then
    times = intervals(model, environment.slug)
    covered = {one.pk: latest(times[one.version_id], _LOOK_BACK, timezone.now()) for one in (then, now)}
    context = {
        "then": then,
        "now": now,
        "service": _service_lines(then, now, covered),
        "covered": [_shown(one.version, covered[one.pk]) for one in (now, then)],
        "senders": _senders(then, now),
    }
    return render(request, "registry/_rollback_figures.html", context)


def _shown(version: ModelVersion, times: list[Interval]) -> tuple[str, list[Interval], int]:
    """A version, the latest of the times that its figures cover, and how many more there are."""
    return version.label, times[-_TIMES_SHOWN:], len(times[:-_TIMES_SHOWN])


def _senders(then: Release, now: Release) -> list[tuple[str, int, int]]:
    """For each field that the earlier version does not use: predictions of a day that sent it, and by how many."""
    changes = schema_changes(now.version, then.version)
    return clients.senders(now, [change.field for change in changes if change.kind == "removed"])


def release_first_answer(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """How long it took from the click until the first answer: one small line of the timeline, fetched apart."""
    model = get_model(request, slug)
    release = get_object_or_404(Release.objects.of(model, _environment(request).slug), number=number)
    first = _first_answer(release, by="pk")
    took = max(0.0, (first.at - release.created_at).total_seconds()) if first else None
    context = {
        "model": model,
        "release": release,
        "took": duration(took) if first else "",
        "is_waited_for": release.until is None and timezone.now() - release.created_at < _WAITED_FOR,
    }
    return render(request, "registry/_first_answer.html", context)


def _first_answer(release: Release, *, by: str) -> Prediction | None:
    """The first answer of a release. It is in the log before the database has it: whoever waits reads that first."""
    answers = Prediction.objects.filter(release=release).order_by(by)
    first = answers.first()
    if first is not None or release.until is not None:
        return first
    try:
        if 0 < log.waiting_bytes() <= _READ_IN_PASSING:
            log.ingest()
    except Exception:
        logger.exception("the log cannot be read for a first answer")
    return answers.first()


def _service_lines(
    then: Release, now: Release, covered: dict[int, list[Interval]]
) -> list[tuple[str, str, str]] | None:
    """Errors and p95 of each version since the first of its times; None where they cannot be had.

    Between its times a version answers nothing here. Past hours are kept as one row each, which begins with the hour.
    """
    try:
        before, after = (
            service_of(one, covered[one.pk][0].start.replace(minute=0, second=0, microsecond=0)).to_json()
            for one in (then, now)
        )
    except Exception:
        logger.exception("no service figures for a rollback")
        return None
    if not before["requests"] and not after["requests"]:
        return []
    return [
        (_("Requests"), count(before["requests"]), count(after["requests"])),
        (_("Errors"), _share(before), _share(after)),
        ("p95", _milliseconds(before), _milliseconds(after)),
    ]


def _share(service: dict[str, Any]) -> str:
    return percent(service["failed"] / service["requests"]) if service["requests"] else "–"


def _milliseconds(service: dict[str, Any]) -> str:
    return duration(service["p95"] / 1000) if service["p95"] is not None else "–"


def release_at(request: HttpRequest, slug: str) -> HttpResponse:
    """What answered at a time that has passed, approved by whom."""
    model = get_model(request, slug)
    form = AtForm(request.GET or None)
    context = model_page(request, model, "releases") | {"at_form": form, "asked": False}
    if form.is_valid():
        place = form.cleaned_data["environment"]
        answered = answered_at(model, form.cleaned_data["time"], place.slug if place else PRODUCTION)
        context |= {"asked": True, "answered": answered}
    return render(request, "registry/release_at.html", context, status=422 if form.errors else 200)


@require_POST
def roll_back(request: HttpRequest, slug: str) -> HttpResponse:
    """Two clicks and a reason. Needs neither Celery nor the model service."""
    model = get_model(request, slug)
    may = permissions.can_roll_back(request.user, model)
    require_role(request, Action.RELEASE_ROLLED_BACK, model, may, Role.OPERATOR)
    environment = _environment(request)
    to = whole_number(request.POST.get("to", ""))
    before = Release.objects.current(model, environment.slug)
    form = RollbackForm(
        request.POST,
        needs_tick=_needs_tick(model, environment, to),
        running=_running(before).count() if before else 0,
        auto_id=f"id_v{to}_%s",
    )
    if form.is_valid():
        made = attempt(
            request,
            form,
            Action.RELEASE_ROLLED_BACK,
            model,
            verbs.roll_back,
            model,
            environment=environment.slug,
            reason=form.cleaned_data["reason"],
            to=form.cleaned_data["to"],
            expect=form.cleaned_data["expect"],
        )
        if made:
            if before and form.cleaned_data.get("cancel_batches"):
                _cancel_batches(request, before)
            url = redirect("release-list", model.slug).url
            return redirect(f"{url}?environment={environment.slug}&done={made.number}")
    # Whoever may not, or came second, is told above the timeline; a slip in the form opens its dialog again.
    if form.errors:
        messages.error(request, problems(form))
    return _release_page(request, model, failed=form, to=to)


def _cancel_batches(request: HttpRequest, release: Release) -> None:
    """The rollback is made by now: a batch that cannot be stopped is told, and changes nothing of it."""
    for job in _running(release):
        try:
            with on_the_record(request, Action.BATCH_CANCELLED, job):
                cancel(job, actor=request.user)
        except Refused as error:
            messages.warning(request, f"{job.filename}: {error}")


def _needs_tick(model: RegisteredModel, environment: Environment, to: int) -> bool:
    current = Release.objects.current(model, environment.slug)
    target = model.versions.filter(number=to).first()
    if current is None or target is None:
        return False
    return any(change.kind == "removed" for change in schema_changes(current.version, target))


def release_ticks(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Recorded, switched, first answer seen: asked for every second until all three are true."""
    model = get_model(request, slug)
    environment = _environment(request)
    release = get_object_or_404(Release.objects.of(model, environment.slug), number=number)
    first = _first_answer(release, by="at")
    current = Release.objects.current(model, environment.slug)
    context = {
        "model": model,
        "release": release,
        "environment": environment,
        "is_current": current is not None and current.pk == release.pk,
        "first": first,
        "is_quiet": first is None and timezone.now() - release.created_at > _QUIET_AFTER,
    }
    return render(request, "registry/_release_ticks.html", context)


@require_POST
def unfreeze(request: HttpRequest, slug: str) -> HttpResponse:
    model = get_model(request, slug)
    may = permissions.can_release(request.user, model)
    require_role(request, Action.FREEZE_LIFTED, model, may, Role.OPERATOR)
    environment = _environment(request)
    form = ReasonForm(request.POST, prefix="freeze")
    done = None
    if form.is_valid():
        done = attempt(
            request,
            form,
            Action.FREEZE_LIFTED,
            model,
            verbs.unfreeze,
            model,
            environment=environment.slug,
            reason=form.cleaned_data["reason"],
        )
    if done:
        messages.success(request, _("The freeze is lifted: approved versions can be released again."))
    if form.errors:
        messages.error(request, problems(form))
    return redirect("release-list", model.slug)


def version_release(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    """Let an approved version answer: an operator's act."""
    version = get_version(request, slug, number)
    model = version.model
    may = permissions.can_release(request.user, model)
    require_role(request, Action.RELEASE_MADE, version, may, Role.OPERATOR)
    golden.prepare(version)
    current = Release.objects.current(model)
    form = ReleaseForm(
        request.POST or None,
        version=version,
        initial={
            "version": version.pk,
            "environment": _first_environment(version),
            "expect": _number(current),
        },
    )
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        expect = given["expect"] if given["environment"].slug == PRODUCTION else None
        made = attempt(
            request,
            form,
            Action.RELEASE_MADE,
            given["version"],
            verbs.release,
            model,
            environment=given["environment"].slug,
            version=given["version"],
            reason=given["reason"],
            mode=given["mode"] or Release.Mode.FULL,
            expect=expect,
        )
        if made:
            messages.success(
                request,
                _("%(version)s answers in %(environment)s now.")
                % {"version": made.version, "environment": made.environment},
            )
            return redirect("release-list", model.slug)
    context = model_page(request, model, "releases")
    context |= {"version": version, "form": form, "current": current, "person": person(request)}
    return render(request, "registry/version_release.html", context, status=422 if form.errors else 200)


def _number(current: Release | None) -> int:
    return current.number if current else 0


def _first_environment(version: ModelVersion) -> str:
    """The environment that this version is approved for and does not serve in."""
    for environment in Environment.objects.order_by("-position"):
        if verbs.approved_request(version, environment):
            return environment.slug
    return PRODUCTION
