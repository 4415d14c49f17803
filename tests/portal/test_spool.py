"""The broker of a machine without Redis: nothing lost, nothing doubled, nothing that stops a worker."""

import multiprocessing
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu.connection import Connection
from kombu.entity import Queue

from portal import spool

spool.register()


def open_spool(folder: Path) -> Connection:
    return Connection("spool://", transport_options={"folder": str(folder), "polling_interval": 0.01})


def write_messages(folder: Path, writer: int, count: int) -> None:
    with open_spool(folder) as connection:
        producer = connection.Producer(serializer="json")
        for number in range(count):
            producer.publish({"n": f"{writer}-{number}"}, routing_key="work", declare=[Queue("work")])


def read_messages(folder: Path, total: int, counter: Any, found: Path) -> None:
    with open_spool(folder) as connection, found.open("w") as report:
        channel = connection.channel()
        queue = Queue("work")(channel)
        queue.declare()
        while counter.value < total:
            message = queue.get(accept=["json"])
            if message is None:
                continue
            report.write(message.payload["n"] + "\n")
            message.ack()
            with counter.get_lock():
                counter.value += 1


@pytest.mark.timeout(60)
def test_it_loses_and_doubles_nothing_with_many_writers_and_readers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    counter = context.Value("i", 0)
    reports = [tmp_path / f"reader-{n}" for n in range(3)]
    writers = [context.Process(target=write_messages, args=(tmp_path, n, 300)) for n in range(3)]
    readers = [context.Process(target=read_messages, args=(tmp_path, 900, counter, path)) for path in reports]

    for process in writers + readers:
        process.start()
    for process in writers + readers:
        process.join()

    found = [line for path in reports for line in path.read_text().splitlines()]
    assert len(found) == 900
    assert set(found) == {f"{writer}-{number}" for writer in range(3) for number in range(300)}
    assert not list((tmp_path / "broken").glob("*")) and not list((tmp_path / "taken").glob("*"))


@pytest.mark.parametrize("content", [b"", b'{"body": "half', b"[1, 2]", b"\xff\xfe\x00"])
def test_a_broken_file_is_set_aside_and_the_next_message_is_read(tmp_path: Path, content: bytes) -> None:
    with open_spool(tmp_path) as connection:
        channel = connection.channel()
        (tmp_path / "queue").mkdir(exist_ok=True)
        (tmp_path / "queue" / "00000000000000000001_broken.work.msg").write_bytes(content)
        write_messages(tmp_path, 0, 1)

        message = Queue("work")(channel).get(accept=["json"])

    assert message is not None and message.payload == {"n": "0-0"}
    assert [path.read_bytes() for path in (tmp_path / "broken").iterdir()] == [content]


def test_it_keeps_the_order_of_arrival(tmp_path: Path) -> None:
    write_messages(tmp_path, 0, 20)
    with open_spool(tmp_path) as connection:
        queue = Queue("work")(connection.channel())
        assert [queue.get(accept=["json"]).payload["n"] for _ in range(20)] == [f"0-{n}" for n in range(20)]


def test_a_half_written_message_is_nobodys(tmp_path: Path) -> None:
    with open_spool(tmp_path) as connection:
        channel = connection.channel()
        channel._put("work", {"n": 1})
        (tmp_path / "queue" / ".00000000000000000001_x.work.msg.aside").write_text('{"n"')
        assert channel._size("work") == 1
        assert channel._get("work") == {"n": 1}
        with pytest.raises(Empty):
            channel._get("work")


def test_a_broken_exchange_file_is_repaired_by_the_next_declaration(tmp_path: Path) -> None:
    write_messages(tmp_path, 0, 1)
    for exchange in (tmp_path / "control").glob("*.exchange"):
        exchange.write_text("")
    with open_spool(tmp_path) as connection:
        queue = Queue("work", exchange="", routing_key="work")(connection.channel())
        queue.declare()
    write_messages(tmp_path, 1, 1)
    with open_spool(tmp_path) as connection:
        queue = Queue("work")(connection.channel())
        assert queue.get(accept=["json"]).payload == {"n": "0-0"}
        assert queue.get(accept=["json"]).payload == {"n": "1-0"}
