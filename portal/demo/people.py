"""Who the demo invites. Nobody has a password: a one-time link lets each of them in."""

from dataclasses import dataclass

from registry.actions import people
from registry.models import Role, User

DOMAIN = "demo.modelgate.example"


@dataclass(frozen=True)
class Person:
    """One demo user; the part they play decides which verbs they may use."""

    name: str
    role: Role
    words: str

    @property
    def email(self) -> str:
        return f"{self.name.split()[0].lower()}@{DOMAIN}"

    @property
    def user(self) -> User:
        return User.objects.get(email=self.email)


AUTHOR = Person("Asha Rao", Role.AUTHOR, "data scientist: uploads versions, asks for approval")
APPROVER = Person("Meera Iyer", Role.APPROVER, "approver: decides, here and in the admin site")
SECOND_APPROVER = Person("Vikram Shah", Role.APPROVER, "approver, where two are needed")
OPERATOR = Person("Omkar Patil", Role.OPERATOR, "operator: releases and rolls back")
BUSINESS = Person("Bina Das", Role.BUSINESS, "business user: predicts, scores files")
AUDITOR = Person("Anil Menon", Role.AUDITOR, "auditor: reads everything, changes nothing")
INTEGRATOR = Person("Irfan Ali", Role.INTEGRATOR, "integrator: keys, API, outcomes")

EVERYBODY = (AUTHOR, APPROVER, SECOND_APPROVER, OPERATOR, BUSINESS, AUDITOR, INTEGRATOR)


def introductions() -> list[tuple[str, str]]:
    """The addresses, and in a few words what each of them does."""
    return [(person.email, str(person.words)) for person in EVERYBODY]


def invite(person: Person) -> User:
    """The person's account, made now if it was not yet."""
    known = User.objects.filter(email=person.email).first()
    return known or people.invite(
        email=person.email, name=person.name, roles=[person.role], actor=people.SYSTEM
    )
