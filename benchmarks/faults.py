"""What faults cost: parts of an installation are killed with -9 under load, and its disk is filled.

    .venv/bin/python -m benchmarks.faults --rounds 20 [--fault web --fault disk] [--seed 1]

Every installation runs on a PostgreSQL and a Redis of its own. Each round lets answers come, strikes at a random
moment, brings the part back (what the installation brings back by itself is left to it) and waits for answers again.
At the end of each fault every answered id is looked up. Exit code 1 when an answered prediction is not recorded, is
recorded or counted twice, or when answers do not come back.

Needs root for the full disk (a small tmpfs under the log); without it that fault is left out and said so.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.inference.faults import CALLERS, FAULTS, Count, running


@dataclass(frozen=True)
class Result:
    """What one fault cost."""

    fault: str
    rounds: int
    count: Count
    refused: Counter[int]
    longest: float  # seconds from a strike to the next answers
    trouble: str = ""

    @property
    def is_bad(self) -> bool:
        return not self.count.is_exact or bool(self.trouble)

    def line(self) -> str:
        count = self.count
        refused = " ".join(f"{status}:{each}" for status, each in sorted(self.refused.items())) or "0"
        numbers = (
            f"{self.rounds:>6} {count.answered:>9} {count.recorded:>9} {count.lost:>5} {count.doubled:>8}"
        )
        return f"{self.fault:<11}{numbers} {self.longest:>9.1f}  {refused} {self.trouble}"


def suffer(fault: str, rounds: int, seed: int) -> Result:
    """All rounds of one fault, on an installation of its own."""
    with tempfile.TemporaryDirectory(prefix="mg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)  # PostgreSQL runs as another user
        with running(Path(name), seed, has_small_disk=fault == "disk") as site:
            struck_times, longest, trouble = 0, 0.0, ""
            with site.callers():
                try:
                    site.wait_for_answers()
                    for _round in range(rounds):
                        site.breathe()
                        FAULTS[fault](site)
                        struck, struck_times = time.monotonic(), struck_times + 1
                        site.wait_for_answers()
                        longest = max(longest, time.monotonic() - struck)
                except (AssertionError, RuntimeError, OSError) as error:
                    trouble = f"{type(error).__name__}: {str(error)[:300]}"
            return Result(fault, struck_times, site.count(), Counter(site.load.refused), longest, trouble)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=20, help="of each fault (default: %(default)s)")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="repeatable (default: all)")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, {CALLERS} callers, rows of predictions", flush=True)
    print(
        "fault      rounds  answered  recorded  lost  doubled  longest s  refused calls by status", flush=True
    )
    bad = False
    for fault in options.fault or FAULTS:
        if fault == "disk" and os.geteuid() != 0:
            print("disk       left out: mounting a small disk needs root", flush=True)
            continue
        result = suffer(fault, options.rounds, options.seed)
        bad = bad or result.is_bad
        print(result.line(), flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
