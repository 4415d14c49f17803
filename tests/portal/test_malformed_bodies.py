"""A thousand bodies that no program should send: each is answered with an error that the document names."""

import gzip
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from portal.short_path import ShortPath
from registry.models import Role
from tests.api import V1, create_key, problem
from tests.factories import create_user
from tests.inference import answers
from tests.portal.test_short_path import Door, ask, environ_of
from tests.portal.world import World, create_world

COUNT = 1000
JSON = "application/json"
GOOD = json.dumps({"rows": [answers.row(), answers.row(age=30)], "environment": "production"}).encode()
Sent = tuple[bytes, str, dict[str, str]]  # body, content type, other headers


def truncated(pick: random.Random) -> Sent:
    return GOOD[: pick.randrange(len(GOOD))], JSON, {}


def flipped(pick: random.Random) -> Sent:
    """One byte of the middle is another one, which is no text any more."""
    place = pick.randrange(1, len(GOOD) - 1)
    return GOOD[:place] + bytes([pick.randrange(128, 256)]) + GOOD[place + 1 :], JSON, {}


def of_the_wrong_type(pick: random.Random) -> Sent:
    wrong: list[Any] = [7, -1.5, "rows", True, None, [], [[]], [[1, 2]], {"rows": {}}, {"rows": "all"}]
    wrong += [{"inputs": []}, {"inputs": 1}, {"rows": [1]}, {"rows": [[]]}, {"rows": [{}], "inputs": {}}]
    wrong += [{"rows": [{"age": {"years": 4}, "city": []}]}, {"inputs": {"age": "old"}, "version": []}]
    return json.dumps(pick.choice(wrong)).encode(), JSON, {}


def nested(pick: random.Random) -> Sent:
    depth = pick.choice([200, 5_000, 200_000])
    opened, closed = pick.choice([("[", "]"), ('{"a":', "}"), ('{"rows":[', "]}")])
    return (opened * depth + ("1" + closed * depth if pick.random() < 0.5 else "")).encode(), JSON, {}


def with_a_huge_number(pick: random.Random) -> Sent:
    number = pick.choice(
        ["1e999", "-1e400", "9" * 400, "9" * 5_000, "-" + "1" * 30, "1e-999999", "0." + "1" * 9_000]
    )
    name = pick.choice(["age", "income", "version"])
    row = f'{{"age": 4, "income": 1, "city": "Pune", "{name}x": {number}}}'
    return f'{{"rows": [{row}], "version": {number}}}'.encode(), JSON, {}


def with_no_number(pick: random.Random) -> Sent:
    token = pick.choice(["NaN", "Infinity", "-Infinity", "nan", "+1", "01", "1.", ".5", "0x10", "1_000", "१"])
    return f'{{"inputs": {{"age": {token}, "city": "Pune"}}}}'.encode(), JSON, {}


def with_a_name_twice(pick: random.Random) -> Sent:
    name = pick.choice(["rows", "inputs", "a", "\\u0061"])
    return f'{{"{name}": [], "{name}": {{}}, "a": 1, "a": 2}}'.encode(), JSON, {}


def in_another_alphabet(pick: random.Random) -> Sent:
    encoding = pick.choice(["latin-1", "cp037"])
    body = '{"inputs": {"age": 4, "city": "Pü"}}'.encode(encoding)
    return body, pick.choice([JSON, f"{JSON}; charset={encoding}", f"{JSON}; charset=none-such"]), {}


def with_half_a_letter(pick: random.Random) -> Sent:
    half = pick.choice(["\\ud800", "\\udfff", "\\ud800\\ud800", "\\u0000", "\\ud83d x"])
    row = pick.choice([f'{{"age": 4, "city": "{half}", "b": 1}}', f'{{"{half}": 1}}', f'"{half}"'])
    return f'{{"rows": [{row}]}}'.encode(), JSON, {}


def of_another_kind(pick: random.Random) -> Sent:
    kinds = [
        "text/plain",
        "application/xml",
        "text/csv",
        "application/x-www-form-urlencoded",
        "",
        "x",
        "a/b/c",
    ]
    kinds += [
        "application/octet-stream",
        "application/jsonx",
        "multipart/form-data",
        "application/json, text/plain",
    ]
    return GOOD, pick.choice(kinds), {}


def packed_wrongly(pick: random.Random) -> Sent:
    whole = gzip.compress(GOOD, mtime=0)
    bodies = [whole[: pick.randrange(len(whole))], GOOD, whole[:-4] + b"\0\0\0\0", whole[1:], b"\x1f\x8b\x08"]
    name = pick.choice(["gzip", "GZIP", "br", "deflate", "gzip, gzip", "zstd", "\tgzip", "x" * 500])
    return pick.choice(bodies[:1] + bodies[2:]), JSON, {"Content-Encoding": name}


def in_parts(pick: random.Random) -> Sent:
    edge = pick.choice(["x", "a" * 70, "'()+_,-./:=?"])
    part = f'--{edge}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    body = pick.choice([part, part * 3, part[:-1], f"--{edge}--", "", part * 2 + f"--{edge}--\r\n"])
    kind = pick.choice(
        [f"multipart/form-data; boundary={edge}", "multipart/form-data; boundary=", "multipart/x"]
    )
    return body.encode(), kind, {}


def noise(pick: random.Random) -> Sent:
    return pick.randbytes(pick.randrange(1, 300)), pick.choice([JSON, "multipart/form-data; boundary=x"]), {}


KINDS: list[Callable[[random.Random], Sent]] = [
    truncated,
    flipped,
    of_the_wrong_type,
    nested,
    with_a_huge_number,
    with_no_number,
    with_a_name_twice,
    in_another_alphabet,
    with_half_a_letter,
    of_another_kind,
    packed_wrongly,
    in_parts,
    noise,
]


def bodies(count: int) -> Iterator[Sent]:
    pick = random.Random(20260)
    for position in range(count):
        yield KINDS[position % len(KINDS)](pick)


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> World:
    answers.install(monkeypatch)
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "DEFAULT_THROTTLE_RATES": {"writes": None}}
    return create_world()


@pytest.fixture
def key(world: World) -> str:
    return create_key(create_user(email="everybody@example.com", roles=Role.values), secret="mg_everybody")


@pytest.fixture(scope="module")
def document(django_db_setup: None) -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found["paths"]


def statuses(document: dict[str, Any], path: str) -> set[int]:
    """How a POST to this may fail, as the document has it."""
    return {int(status) for status in document[V1 + path]["post"]["responses"] if int(status) >= 400}


def test_a_thousand_bodies_to_predict_end_in_documented_errors(
    world: World, key: str, document: dict[str, Any]
) -> None:
    known = statuses(document, "/models/{slug}/predict/")
    client = Client()
    for body, kind, headers in bodies(COUNT):
        named = {"Authorization": f"Bearer {key}", **headers}
        answer: Any = client.generic(
            "POST", f"{V1}/models/loans/predict/", body, content_type=kind, headers=named
        )
        check(answer, known, (body[:300], kind, headers))


@pytest.mark.django_db(transaction=True)
def test_the_short_path_says_the_same_of_them(world: World, key: str) -> None:
    for body, kind, headers in bodies(len(KINDS) * 8):
        seen = []
        for application in (ShortPath, lambda django: django):
            door = Door()
            question = {"body": body, "key": key, "Content_Type": kind, **headers}
            seen.append(ask(application(door.django), door, environ_of(**question)))
        assert seen[0] == seen[1], (body[:300], kind, headers)
        assert 400 <= int(seen[0][0][:3]) < 500, (seen[0], body[:300], kind, headers)


def posts(document: dict[str, Any]) -> list[str]:
    return [path for path, calls in document.items() if "post" in calls and not path.endswith("/predict/")]


def test_no_other_call_answers_such_a_body_with_anything_else(
    world: World, key: str, document: dict[str, Any]
) -> None:
    known = {**world.names, "request_id": world.names["request"], "id": world.names["key"]}
    paths = posts(document)
    assert len(paths) > 25
    client = Client()
    for position, path in enumerate(paths):
        address = path.format_map({**dict.fromkeys(("prediction", "incident_id"), "x"), **known})
        for body, kind, headers in list(bodies(len(KINDS) * 3))[position % 3 :: 3]:
            named = {"Authorization": f"Bearer {key}", **headers}
            answer: Any = client.generic("POST", address, body, content_type=kind, headers=named)
            if answer.status_code >= 400:  # some take no body, and do not read it
                check(answer, statuses(document, path.removeprefix(V1)), (path, body[:300], kind, headers))


def check(answer: Any, known: set[int], sent: Any) -> None:
    assert answer.status_code in known, (answer.status_code, answer.content, sent)
    problem(answer, answer.status_code)


# --- bodies that are meant to cost something ---


def test_a_gzip_bomb_is_refused_at_the_limit(world: World, key: str, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
    bomb = gzip.compress(b" " * (64 << 20), mtime=0)
    assert len(bomb) < settings.DATA_UPLOAD_MAX_MEMORY_SIZE

    answer = Client().generic(
        "POST",
        f"{V1}/models/loans/predict/",
        bomb,
        content_type=JSON,
        headers={"Authorization": f"Bearer {key}", "Content-Encoding": "gzip"},
    )

    assert "1 MiB" in problem(answer, 413, "too_large")["detail"]


@pytest.mark.parametrize(
    "path", ["/models/loans/batches/", "/models/loans/versions/", "/models/loans/datasets/"]
)
@pytest.mark.parametrize("what", ["ten thousand parts", "ten thousand files", "a boundary of ten megabytes"])
def test_a_form_that_is_made_to_cost_is_refused(world: World, key: str, path: str, what: str) -> None:
    edge = "x"
    name = '; filename="a"' if what == "ten thousand files" else ""
    part = f'--{edge}\r\nContent-Disposition: form-data; name="a"{name}\r\n\r\n1\r\n'.encode()
    body = part * 10_000 + b"--x--\r\n"
    if what == "a boundary of ten megabytes":
        edge, body = "x" * (10 << 20), b"--x--\r\n"

    answer = Client().generic(
        "POST",
        V1 + path,
        body,
        content_type=f"multipart/form-data; boundary={edge}",
        headers={"Authorization": f"Bearer {key}"},
    )

    problem(answer, answer.status_code)
    assert answer.status_code in (400, 413, 415)
