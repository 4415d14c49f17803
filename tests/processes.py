"""Waiting for processes, without guessing how long."""

import contextlib
import os
import select
from pathlib import Path


def wait_until_dead(pid: int, seconds: float = 20) -> None:
    """Returns as soon as the process has ended, whoever its parent is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            raise AssertionError(f"process {pid} is still alive")
    finally:
        os.close(descriptor)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            return not select.select([descriptor], [], [], 0)[0]
        finally:
            os.close(descriptor)
    return False


def of_session(leader: int) -> list[int]:
    """Everything that runs in the session which this process leads."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(int(folder.name)) == leader:
                    found.append(int(folder.name))
    return found
