"""A random walk over the state machine: acts, people and doors as they come, and what must hold after each step."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from registry import audit, ports
from registry.errors import Refused
from registry.models import AuditEvent, Decision, Freeze, ModelVersion, Release, ReleaseRequest
from tests.factories import create_model, create_version, create_version_to_review
from tests.portal.test_machine_doors import DOORS, UNKNOWN, Door
from tests.registry import machine
from tests.registry.machine import ACTS, BY_NAME, TEAM, WHY, Act, World

PEOPLE = [*sorted(set(machine.PEOPLE) - {"closed"}), "second"]
MOVES = [act.name for act in ACTS if act.name != "delete_model"]  # ends the walk
#: From state to state: the acts of the table, and what the checks and the golden rows do by themselves.
VERSION_EDGES = {
    *(
        (ModelVersion.State(name).value, after)
        for act in ACTS
        if act.scenes is machine.VERSION
        for name, after in act.allowed.items()
        if name in ModelVersion.State.values
    ),
    ("checking", "checked"),
    ("checked", "quarantined"),
}
REQUEST_EDGES = {
    *(("waiting", state) for state in ReleaseRequest.State.values),
    ("approved", "stale"),
    ("approved", "expired"),
}


class Walk(RuleBasedStateMachine):
    """One model with four versions; every person of the table and a second approver."""

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        people = machine.create_people()
        people["second"] = machine.create_user(email="second@machine.example.com", roles=["approver"])
        maker = people["maker"]
        model = create_model(slug="loans", owners=[maker], risk="high")
        model.groups.set(machine.Group.objects.filter(name=TEAM))
        versions = [create_version(model=model, uploaded_by=maker) for _each in range(3)]
        versions.append(create_version_to_review(model=model, uploaded_by=maker))
        self.world = World(people, model, versions[0])
        self.versions = versions

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @initialize(risk=st.sampled_from(["low", "high"]))
    def how_many_must_approve(self, risk: str) -> None:
        machine.RegisteredModel.objects.update(risk=risk)
        self.needed = 2 if risk == "high" else 1
        people = self.world.people
        for number in (0, 1):  # so that there is something to go back to
            self.turn_to(number)
            self.world.request = machine.approvals.ask(self.world.version, reason=WHY, actor=people["asker"])
            for name in ("approver", "second")[: self.needed]:
                machine.approvals.approve(self.world.asked, actor=people[name])
            BY_NAME["release"].call(self.world, people["operator"])

    @rule(choice=st.integers(0, 1000), by_door=st.booleans())
    def onward(self, choice: int, by_door: bool) -> None:
        """What may be done now, by somebody who may: else nothing would ever serve."""
        options = list(self.options())
        if not options:
            return
        name, number = options[choice % len(options)]
        act = BY_NAME[name]
        who = sorted(act.who | ({"second"} if "approver" in act.who else set()))
        doors = [door for door in DOORS if door.act == name] if by_door else [None]
        self.step(act, doors[choice % len(doors)], who[choice // 7 % len(who)], number)

    def options(self) -> Iterator[tuple[str, int]]:
        current = Release.objects.order_by("-number").first()
        for number, version in enumerate(self.versions):
            if version.releases.exists() and current and current.version_id != version.pk:
                yield "roll_back", number
        if self.is_frozen():
            yield "unfreeze", 0
        for number, version in enumerate(self.versions):
            request = version.requests.order_by("-pk").first()
            if request and request.state == "waiting":
                yield "approve", number
            elif request and request.state == "approved" and not request.releases.exists():
                yield "release", number
            elif number < len(self.versions) - 1:
                yield "ask", number

    @rule(name=st.sampled_from(MOVES), who=st.sampled_from(PEOPLE), number=st.integers(0, 3))
    def as_it_comes(self, name: str, who: str, number: int) -> None:
        self.step(BY_NAME[name], None, who, number)

    @rule(
        door=st.sampled_from([door for door in DOORS if door.act in MOVES]),
        who=st.sampled_from(PEOPLE),
        number=st.integers(0, 3),
    )
    def through_a_door(self, door: Door, who: str, number: int) -> None:
        self.step(BY_NAME[door.act], door, who, number)

    @rule(number=st.integers(0, 3), passed=st.booleans())
    def the_checks_end(self, number: int, passed: bool) -> None:
        version = ModelVersion.objects.get(pk=self.versions[number].pk)
        machine.catalog.finish_checks(version, passed=passed, measured={}, environment={})

    def step(self, act: Act, door: Door | None, who: str, number: int) -> None:
        """One act by one person: done along an edge of the table, or refused, on record, and nothing changed."""
        self.turn_to(number)
        if self.world.request is None and act.scenes is machine.REQUEST:
            return
        before, states, frozen = machine.digest(), self.states(), self.is_frozen()
        newest, last = self.newest(), self.last_event()
        status = self.attempt(act, door, who)
        changed = machine.digest() != before
        new = AuditEvent.objects.filter(seq__gt=last)
        told = (act.name, door and door.channel, who, number, status)
        assert status < 500, told
        assert not changed or new.filter(result="done").exists(), told
        if door is not None and not changed:
            refused = new.filter(result="refused", actor_id=self.world.people[who].pk).exists()
            assert refused or status in UNKNOWN or self.may_repeat(act), told
        self.assert_edges(states, told)
        if frozen and self.newest() != newest:
            assert Release.objects.order_by("-number")[0].kind == Release.Kind.ROLLBACK, told

    def attempt(self, act: Act, door: Door | None, who: str) -> int:
        person = self.world.people[who]
        if door is not None:
            return door.knock(self.world, person)
        try:
            with transaction.atomic():
                act.call(self.world, person)
        except Refused as refusal:
            audit.record_refusal(act.action, target=None, actor=person, error=refusal)
            return refusal.status
        return 200

    def turn_to(self, number: int) -> None:
        version = ModelVersion.objects.select_related("model").get(pk=self.versions[number].pk)
        self.world.version, self.world.model = version, version.model
        self.world.request = version.requests.with_context().order_by("-pk").first()

    def may_repeat(self, act: Act) -> bool:
        """Setting the policy that holds already is no change, and no refusal either."""
        return act.name == "change_policy"

    def states(self) -> dict[tuple[str, int], str]:
        versions = ModelVersion.objects.values_list("pk", "state")
        requests = ReleaseRequest.objects.values_list("pk", "state")
        return {
            **{("version", pk): state for pk, state in versions},
            **{("request", pk): state for pk, state in requests},
        }

    def assert_edges(self, before: dict[tuple[str, int], str], told: Any) -> None:
        for (kind, pk), new in self.states().items():
            old = before.get((kind, pk), new)
            edges = VERSION_EDGES if kind == "version" else REQUEST_EDGES
            assert old == new or (old, new) in edges, (told, kind, old, new)

    def is_frozen(self) -> bool:
        return Freeze.objects.filter(lifted_at=None).exists()

    def newest(self) -> int:
        return Release.objects.count()

    def last_event(self) -> int:
        return AuditEvent.objects.order_by("-seq").values_list("seq", flat=True).first() or 0

    @invariant()
    def what_answers_is_approved_by_enough_others(self) -> None:
        for release in Release.objects.select_related("version__model", "request", "restores__request"):
            request = (release.restores or release).request
            assert request is not None
            assert request.state == "approved"
            approvers = set(
                request.decisions.filter(verdict="approved").values_list("decided_by_id", flat=True)
            )
            assert not approvers & {request.requested_by_id, release.version.uploaded_by_id}
            assert len(approvers) >= self.needed
            assert (release.restores or release).created_at < request.expires_at

    @invariant()
    def nobody_decides_twice(self) -> None:
        pairs = list(Decision.objects.values_list("request_id", "decided_by_id"))
        assert len(pairs) == len(set(pairs))

    @invariant()
    def one_release_answers_at_every_instant(self) -> None:
        history = list(Release.objects.order_by("number").values_list("number", "created_at"))
        assert [number for number, _at in history] == list(range(1, len(history) + 1))
        assert all(older[1] <= newer[1] for older, newer in pairwise(history))

    @invariant()
    def the_audit_log_is_whole(self) -> None:
        assert audit.verify().ok


@pytest.mark.django_db
def test_no_walk_leaves_the_table(no_checks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.replay, "replay", lambda version_id: None)
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Walk,
        settings=settings(
            max_examples=8,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
