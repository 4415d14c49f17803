"""The seccomp filter: which system calls a model's process may still make. Built here, instruction by instruction.

Refused calls answer "operation not permitted", so that a library which merely tries goes on. What the filter asks of
every call is its number; only a few are looked into. Calls younger than this table answer as if the kernel were older.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

from . import kernel
from .syscalls import FIRST_UNKNOWN, LOOKED_INTO, REFUSED

SECCOMP = (317, 277)
SET_MODE_FILTER, ALL_THREADS = 1, 1
ARCHITECTURES = (0xC000003E, 0xC00000B7)

LOAD, RETURN = 0x20, 0x06
EQUALS, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16  # where struct seccomp_data keeps them

ALLOW = 0x7FFF0000
KILL_PROCESS = 0x80000000
REFUSE = 0x00050000 | errno.EPERM
UNKNOWN = 0x00050000 | errno.ENOSYS

CLONE_THREAD = 0x00010000
CLONE_NAMESPACES = 0x7E020000
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
PRCTL_OPTIONS = (15, 16, 0x53564D41)  # the name of a thread, read or set; the name of a piece of memory
IOCTLS = (
    0x5421,
    0x5450,
    0x5451,
    0x541B,
    0x5401,
)  # blocking or not, closed on exec or not, bytes waiting, a terminal?

Instruction = bytes
Block = list[Instruction]


def install() -> str:
    """Filter every later system call of this process, for good. Raises OSError where that cannot be."""
    program = build(machine(), os.getpid())
    load(program)
    return f"on: {len(program)} instructions"


def machine() -> int:
    """This machine's column in the tables."""
    column = kernel.machine()
    if column is None:
        raise OSError("there is no table of system calls for this machine")
    return column


def load(program: Block) -> None:
    code = ctypes.create_string_buffer(b"".join(program))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    described = ctypes.create_string_buffer(header, len(header))
    kernel.syscall(SECCOMP[machine()], SET_MODE_FILTER, ALL_THREADS, described)


def build(column: int, pid: int) -> Block:
    """The whole program for a machine and a process. Every block but the last lets calls of other numbers pass by."""
    program = [
        load_word(ARCHITECTURE),
        _jump(EQUALS, ARCHITECTURES[column], 1, 0),
        answer(KILL_PROCESS),  # a call of another machine's numbering
        load_word(NUMBER),
        _jump(AT_LEAST, FIRST_UNKNOWN, 0, 1),
        answer(UNKNOWN),
    ]
    for name, block in _looked_into(column, pid).items():
        program += for_call(LOOKED_INTO[name][column], block)
    for calls in REFUSED.values():
        for numbers in calls.values():
            program += for_call(numbers[column], [answer(REFUSE)])
    return [*program, answer(ALLOW)]


def _looked_into(column: int, pid: int) -> dict[str, Block]:
    """What is done with a call that some arguments make harmless. Each block ends in an answer on every way."""
    return {
        "clone3": [answer(UNKNOWN)],  # its flags are out of reach of a filter: libraries go back to clone
        "clone": [  # threads, no processes, no namespaces
            _load_argument(0),
            _jump(ANY_BIT, CLONE_NAMESPACES, 2, 0),
            _jump(ANY_BIT, CLONE_THREAD, 0, 1),
            answer(ALLOW),
            answer(REFUSE),
        ],
        "kill": _only(0, [pid]),
        "tgkill": _only(0, [pid]),  # abort() and raise() signal their own process
        "prctl": _only(0, PRCTL_OPTIONS),
        "ioctl": _only(1, IOCTLS),
        "prlimit64": _only_null(2),  # limits may be read
        "sendto": _only_null(4),  # an answer on the open socket; to no other address
        "open": _without(1, WRITING),
        "openat": _without(2, WRITING),
        "openat2": [answer(UNKNOWN)],
    }


def for_call(number: int | None, block: Block) -> Block:
    return [] if number is None else [_jump(EQUALS, number, 0, len(block)), *block]


def _only(argument: int, values: Iterable[int]) -> Block:
    block = [_load_argument(argument)]
    for value in values:
        block += [_jump(EQUALS, value, 0, 1), answer(ALLOW)]
    return [*block, answer(REFUSE)]


def _only_null(argument: int) -> Block:
    return [
        _load_argument(argument),
        _jump(EQUALS, 0, 0, 3),
        _load_argument(argument, upper=True),
        _jump(EQUALS, 0, 0, 1),
        answer(ALLOW),
        answer(REFUSE),
    ]


def _without(argument: int, bits: int) -> Block:
    return [_load_argument(argument), _jump(ANY_BIT, bits, 0, 1), answer(REFUSE), answer(ALLOW)]


def _load_argument(index: int, *, upper: bool = False) -> Instruction:
    """Half of a 64-bit argument; both machines keep the lower half first."""
    return load_word(ARGUMENTS + 8 * index + (4 if upper else 0))


def load_word(offset: int) -> Instruction:
    return _instruction(LOAD, 0, 0, offset)


def _jump(test: int, value: int, if_true: int, if_false: int) -> Instruction:
    return _instruction(test, if_true, if_false, value)


def answer(verdict: int) -> Instruction:
    return _instruction(RETURN, 0, 0, verdict)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> Instruction:
    return struct.pack("HBBI", code, if_true, if_false, value)
