"""The filter's program, run by hand: for the machine that the tests run on and for the other one."""

import errno
import os
import re
import struct
from pathlib import Path

import pytest

from inference.runner import kernel, seccomp, syscalls

PID = 4321
ALLOW, KILL = seccomp.ALLOW, seccomp.KILL_PROCESS
REFUSE, UNKNOWN = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
COLUMNS = pytest.mark.parametrize("column", range(len(kernel.MACHINES)), ids=kernel.MACHINES)
HEADERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


def verdict(column: int, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would read out of the program for this call."""
    if architecture is None:
        architecture = seccomp.ARCHITECTURES[column]
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *[each % (1 << 64) for each in given])
    program = [struct.unpack("HBBI", each) for each in seccomp.build(column, PID)]
    word, place = 0, 0
    tests = {
        seccomp.EQUALS: lambda value: word == value,
        seccomp.AT_LEAST: lambda value: word >= value,
        seccomp.ANY_BIT: lambda value: bool(word & value),
    }
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        if code == seccomp.RETURN:
            return value
        if code == seccomp.LOAD:
            (word,) = struct.unpack_from("=I", data, value)
        else:
            place += if_true if tests[code](value) else if_false


def number(column: int, name: str) -> int:
    found = syscalls.LOOKED_INTO[name][column]
    assert found is not None
    return found


@COLUMNS
def test_every_refused_call_is_refused(column: int) -> None:
    for calls in syscalls.REFUSED.values():
        for name, numbers in calls.items():
            if numbers[column] is not None:
                assert verdict(column, numbers[column]) == REFUSE, name


@COLUMNS
def test_every_other_call_is_allowed(column: int) -> None:
    named = {numbers[column] for calls in syscalls.REFUSED.values() for numbers in calls.values()}
    named |= {numbers[column] for numbers in syscalls.LOOKED_INTO.values()}

    for each in set(range(syscalls.FIRST_UNKNOWN)) - named:
        assert verdict(column, each) == ALLOW


@COLUMNS
def test_a_call_that_came_later_does_not_exist(column: int) -> None:
    for each in (syscalls.FIRST_UNKNOWN, 1000, 0x40000000, 0x40000001, -1):
        assert verdict(column, each) == UNKNOWN


@COLUMNS
def test_a_call_in_the_numbers_of_another_machine_is_the_end(column: int) -> None:
    for architecture in (0x40000003, 0xC00000F3, *seccomp.ARCHITECTURES):
        if architecture != seccomp.ARCHITECTURES[column]:
            assert verdict(column, 0, architecture=architecture) == KILL


CASES = [
    ("clone", (0x003D0F00,), ALLOW),  # what a thread is made with
    ("clone", (0x01200011,), REFUSE),  # fork
    ("clone", (0x00004111,), REFUSE),  # spawn
    ("clone", (0x003D0F00 | 0x10000000,), REFUSE),  # a thread with a namespace of users
    ("clone3", (1, 88), UNKNOWN),
    ("kill", (PID, 9), ALLOW),
    ("kill", (PID - 1, 9), REFUSE),
    ("kill", (0, 9), REFUSE),
    ("kill", (-1, 9), REFUSE),
    ("tgkill", (PID, PID, 6), ALLOW),
    ("tgkill", (1, 1, 6), REFUSE),
    ("prctl", (15,), ALLOW),
    ("prctl", (1,), REFUSE),
    ("prctl", (4, 1), REFUSE),
    ("prctl", (22, 2), REFUSE),
    ("ioctl", (3, 0x5421), ALLOW),
    ("ioctl", (0, 0x5412), REFUSE),  # a key press for a terminal
    ("prlimit64", (0, 7, 0, 1), ALLOW),
    ("prlimit64", (0, 7, 1, 0), REFUSE),
    ("prlimit64", (0, 7, 1 << 32, 0), REFUSE),
    ("sendto", (3, 1, 1, 0, 0, 0), ALLOW),
    ("sendto", (3, 1, 1, 0, 1, 16), REFUSE),
    ("sendto", (3, 1, 1, 0, 1 << 32, 16), REFUSE),
    ("openat", (-100, 1, os.O_RDONLY | os.O_CLOEXEC), ALLOW),
    ("openat", (-100, 1, os.O_RDONLY | os.O_DIRECTORY), ALLOW),
    ("openat", (-100, 1, os.O_WRONLY), REFUSE),
    ("openat", (-100, 1, os.O_RDWR), REFUSE),
    ("openat", (-100, 1, os.O_RDONLY | os.O_CREAT), REFUSE),
    ("openat", (-100, 1, os.O_RDONLY | os.O_TRUNC), REFUSE),
    ("openat", (-100, 1, os.O_TMPFILE | os.O_RDWR), REFUSE),
    ("openat2", (-100, 1, 1, 24), UNKNOWN),
]


@COLUMNS
@pytest.mark.parametrize(("name", "arguments", "expected"), CASES)
def test_calls_are_looked_into(column: int, name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert verdict(column, number(column, name), *arguments) == expected


def test_the_older_open_is_looked_into_too() -> None:
    assert verdict(0, number(0, "open"), 1, os.O_RDONLY) == ALLOW
    assert verdict(0, number(0, "open"), 1, os.O_WRONLY) == REFUSE


@COLUMNS
def test_no_number_stands_for_two_calls(column: int) -> None:
    tables = [*syscalls.REFUSED.values(), syscalls.LOOKED_INTO]
    found = [each for calls in tables for numbers in calls.values() if (each := numbers[column]) is not None]

    assert len(found) == len(set(found))
    assert max(found) < syscalls.FIRST_UNKNOWN


@pytest.mark.skipif(not HEADERS.exists(), reason="needs the kernel's headers (apt install linux-libc-dev)")
def test_the_numbers_are_those_of_the_kernels_own_headers() -> None:
    known = dict(re.findall(r"#define __NR_(\w+)\s+(\d+)", HEADERS.read_text()))

    for calls in [*syscalls.REFUSED.values(), syscalls.LOOKED_INTO]:
        for name, (x86_64, _aarch64) in calls.items():
            assert str(x86_64) == known[name], name
