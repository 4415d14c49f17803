"""Load on a server, and what it cost there: throughput, latencies, processor time of the whole process tree."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

SCRIPT = Path(__file__).with_name("post.lua")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Seen:
    """One run, or the medians of several. Latencies are in ms."""

    throughput: float
    p50: float
    p95: float
    p99: float
    cpu: float  # seconds of the server for 1,000 requests
    failed: int

    @classmethod
    def of(cls, runs: Sequence["Seen"]) -> "Seen":
        def middle(name: str) -> float:
            return median(getattr(each, name) for each in runs)

        names = ("throughput", "p50", "p95", "p99", "cpu")
        return cls(**{name: middle(name) for name in names}, failed=sum(each.failed for each in runs))


def require_wrk() -> None:
    if not shutil.which("wrk"):
        sys.exit("wrk is missing; on Debian and Ubuntu: sudo apt-get install wrk")


def run(address: str, bodies: Path, *, connections: int, seconds: int, pid: int, token: str = "") -> Seen:
    """Ask over kept connections for so many seconds; `pid` is the root of the server's processes."""
    threads = min(2, connections)
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    environ = {**os.environ, "BODIES": str(bodies), **({"TOKEN": token} if token else {})}
    before = cpu_seconds(tree(pid))
    done = subprocess.run(
        [*command, "-s", str(SCRIPT), address], env=environ, capture_output=True, text=True, check=True
    )
    spent = cpu_seconds(tree(pid)) - before
    seen = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    count = max(1, seen["requests"])
    return Seen(
        throughput=seen["requests"] / seen["seconds"],
        p50=seen["p50"],
        p95=seen["p95"],
        p99=seen["p99"],
        cpu=1000 * spent / count,
        failed=seen["refused"] + seen["lost"],
    )


def tree(pid: int) -> list[int]:
    """A process and all that came of it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (words := _stat(int(folder.name))):
            children.setdefault(int(words[1]), []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far."""
    return sum((int(words[11]) + int(words[12])) / TICKS for pid in pids if (words := _stat(pid)))


def memory_mib(pids: Iterable[int]) -> float:
    """What these processes have in memory, shared pages counted in part."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
